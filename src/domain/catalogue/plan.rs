//! Plans, and the versions in which they are sold.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{CatalogueError, Entitlement, Limit, LimitName};
use crate::domain::billing_cycle::Interval;
use crate::domain::ids::{PlanId, PlanVersionId};
use crate::domain::metering::{Exact, MeterName};
use crate::domain::text::{Name, PlanCode, code_type};
use crate::domain::time::micros;

code_type! {
    /// The name of a charge within its plan, such as `base` or `executions`: at most 64 letters,
    /// digits, `.`, `_` or `-`.
    ChargeCode, "charge", 64;
}

/// How a charge comes about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChargeKind {
    /// Due at the start of every period, for the period; prorated where the period is not whole.
    Recurring {
        /// Whether the price's quantity is the subscription's seats; it is 1 otherwise.
        #[serde(default)]
        per_seat: bool,
    },
    /// Due at the end of a period, for what was consumed in it; never prorated.
    Usage {
        /// What is counted.
        meter: MeterName,
        /// How much of it costs nothing, per period: from 0 on, at most 16 digits before and 12
        /// after the decimal point. The price's quantity is what is above.
        #[serde(default)]
        included: Decimal,
    },
    /// Due once, when the subscription starts.
    OneTime,
}

impl ChargeKind {
    /// The name that is stored.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Recurring { .. } => "recurring",
            Self::Usage { .. } => "usage",
            Self::OneTime => "one_time",
        }
    }
}

/// One thing that a plan charges for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Charge {
    /// Its name within the plan.
    pub code: ChargeCode,
    /// What invoices call it.
    pub name: Name,
    /// How it comes about.
    #[serde(flatten)]
    pub kind: ChargeKind,
}

impl Charge {
    fn check(&self) -> Result<(), CatalogueError> {
        match &self.kind {
            ChargeKind::Usage { included, .. }
                if included.is_sign_negative() || Exact::of(*included).is_none() =>
            {
                Err(CatalogueError::Included {
                    charge: self.code.clone(),
                    included: *included,
                })
            }
            _ => Ok(()),
        }
    }
}

/// What a version of a plan consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanDefinition {
    /// What invoices call the plan.
    pub name: Name,
    /// How long a billing period is.
    #[serde(flatten)]
    pub interval: Interval,
    /// How many days are free at the start, at most 730.
    #[serde(default)]
    pub trial_days: u32,
    /// What it charges for, in the order of the invoice: at most 100 charges.
    #[serde(default)]
    pub charges: Vec<Charge>,
    /// What it allows. What has no limit here is not limited.
    #[serde(default)]
    pub limits: BTreeMap<LimitName, Limit>,
    /// What it includes.
    #[serde(default)]
    pub entitlements: BTreeSet<Entitlement>,
    /// How many days executions are kept after their end, at most 36,500; `None` for ever.
    #[serde(default)]
    pub retention_days: Option<u32>,
}

impl PlanDefinition {
    /// The most charges of a plan.
    pub const MAX_CHARGES: usize = 100;
    /// The longest trial.
    pub const MAX_TRIAL_DAYS: u32 = 730;
    /// The longest retention that is a number of days.
    pub const MAX_RETENTION_DAYS: u32 = 36_500;

    /// A plan that charges nothing, allows everything and includes nothing.
    #[must_use]
    pub fn new(name: Name, interval: Interval) -> Self {
        Self {
            name,
            interval,
            trial_days: 0,
            charges: Vec::new(),
            limits: BTreeMap::new(),
            entitlements: BTreeSet::new(),
            retention_days: None,
        }
    }

    /// Checks everything that the types alone do not.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), CatalogueError> {
        if self.charges.len() > Self::MAX_CHARGES {
            let count = self.charges.len();
            return Err(CatalogueError::TooManyCharges { count });
        }
        let mut codes = BTreeSet::new();
        for charge in &self.charges {
            charge.check()?;
            if !codes.insert(&charge.code) {
                let code = charge.code.clone();
                return Err(CatalogueError::ChargeTwice { code });
            }
        }
        for (name, limit) in &self.limits {
            limit.check(name)?;
        }
        if self.trial_days > Self::MAX_TRIAL_DAYS {
            let days = self.trial_days;
            return Err(CatalogueError::Trial { days });
        }
        match self.retention_days {
            Some(days) if !(1..=Self::MAX_RETENTION_DAYS).contains(&days) => {
                Err(CatalogueError::Retention { days })
            }
            _ => Ok(()),
        }
    }

    /// The charge of this code.
    #[must_use]
    pub fn charge(&self, code: &ChargeCode) -> Option<&Charge> {
        self.charges.iter().find(|charge| charge.code == *code)
    }
}

/// A plan: a name that stays, whatever its versions say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// Its name, which is never used for another plan.
    pub code: PlanCode,
    /// Whether it can be subscribed to. Who has it keeps it.
    pub active: bool,
    /// The number of its newest version.
    pub version: u32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

impl Plan {
    /// A new plan that can be subscribed to, with its first version.
    ///
    /// # Errors
    /// As [`PlanDefinition::check`].
    pub fn create(
        id: PlanId,
        version: PlanVersionId,
        code: PlanCode,
        definition: PlanDefinition,
        now: DateTime<Utc>,
    ) -> Result<(Self, PlanVersion), CatalogueError> {
        let now = micros(now);
        let plan = Self {
            id,
            code,
            active: true,
            version: 1,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let version = PlanVersion::new(version, &plan, definition, now)?;
        Ok((plan, version))
    }

    /// The plan with one version more.
    ///
    /// # Errors
    /// As [`PlanDefinition::check`].
    pub fn publish(
        &self,
        version: PlanVersionId,
        definition: PlanDefinition,
        now: DateTime<Utc>,
    ) -> Result<(Self, PlanVersion), CatalogueError> {
        let now = micros(now);
        let plan = Self {
            version: self.version.saturating_add(1),
            updated_at: now,
            ..self.clone()
        };
        let version = PlanVersion::new(version, &plan, definition, now)?;
        Ok((plan, version))
    }

    /// The plan, to be subscribed to or not; `None` if it is so already.
    #[must_use]
    pub fn with_active(&self, active: bool, now: DateTime<Utc>) -> Option<Self> {
        (self.active != active).then(|| Self {
            active,
            updated_at: micros(now),
            ..self.clone()
        })
    }
}

/// One version of a plan. It never changes, and never goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanVersion {
    /// Its id.
    pub id: PlanVersionId,
    /// The plan.
    pub plan: PlanId,
    /// The plan's name.
    pub code: PlanCode,
    /// Its number within the plan, from 1.
    pub version: u32,
    /// What it consists of.
    #[serde(flatten)]
    pub definition: PlanDefinition,
    /// When it was published.
    pub created_at: DateTime<Utc>,
}

impl PlanVersion {
    fn new(
        id: PlanVersionId,
        plan: &Plan,
        definition: PlanDefinition,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogueError> {
        definition.check()?;
        Ok(Self {
            id,
            plan: plan.id,
            code: plan.code.clone(),
            version: plan.version,
            definition,
            created_at: now,
        })
    }

    /// The charge of this code.
    ///
    /// # Errors
    /// `UnknownCharge`, with those that there are.
    pub fn must_have(&self, charge: &ChargeCode) -> Result<&Charge, CatalogueError> {
        self.definition
            .charge(charge)
            .ok_or_else(|| CatalogueError::UnknownCharge {
                plan: self.code.clone(),
                charge: charge.clone(),
                there_are: self
                    .definition
                    .charges
                    .iter()
                    .map(|charge| charge.code.clone())
                    .collect(),
            })
    }
}
