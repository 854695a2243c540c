//! What can be asked for: a new subscription, a change of one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{FirstPayment, StartTerms, When};
use crate::domain::access::Permission;
use crate::domain::catalogue::PlanVersion;
use crate::domain::discount::Coupon;
use crate::domain::json::Document;
use crate::domain::money::Currency;
use crate::domain::tenancy::TenantProfile;
use crate::domain::text::PlanCode;

/// What is needed to subscribe to a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewSubscription {
    /// The plan.
    pub plan: PlanCode,
    /// The number of its version; the newest if it is not said.
    pub version: Option<u32>,
    /// The currency of every amount; the tenant's if it is not said.
    pub currency: Option<Currency>,
    /// The seats.
    pub quantity: u32,
    /// How many days are free; as many as the plan says if it is not said.
    pub trial_days: Option<u32>,
    /// On which day of the month periods begin: see [`StartTerms::anchor_day`].
    pub anchor_day: Option<u32>,
    /// Whether it waits for its first payment.
    pub first_payment: FirstPayment,
    /// What is taken off, from the first period that is not free.
    pub coupons: Vec<Coupon>,
    /// What the host keeps with it.
    pub metadata: Document,
}

impl NewSubscription {
    /// One seat of the newest version of a plan, with its trial, in the tenant's currency.
    #[must_use]
    pub fn to(plan: PlanCode) -> Self {
        Self {
            plan,
            version: None,
            currency: None,
            quantity: 1,
            trial_days: None,
            anchor_day: None,
            first_payment: FirstPayment::Later,
            coupons: Vec::new(),
            metadata: Document::empty(),
        }
    }

    /// What it takes to ask for it: more where something is given for nothing.
    #[must_use]
    pub fn permission(&self) -> Permission {
        let plain = self.version.is_none() && self.trial_days.is_none() && self.coupons.is_empty();
        if plain {
            Permission::BillingManage
        } else {
            Permission::BillingOperate
        }
    }

    /// How the subscription of a tenant to a version of the plan begins.
    #[must_use]
    pub fn terms(&self, tenant: &TenantProfile, version: &PlanVersion) -> StartTerms {
        StartTerms {
            currency: self.currency.unwrap_or(tenant.currency),
            zone: tenant.time_zone,
            quantity: self.quantity,
            trial_days: self.trial_days.unwrap_or(version.definition.trial_days),
            anchor_day: self.anchor_day,
            first_payment: self.first_payment,
            coupons: self.coupons.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

/// A change of a subscription.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubscriptionAct {
    /// Takes another plan, or another version of its plan.
    ChangePlan {
        /// The plan.
        plan: PlanCode,
        /// The number of its version; the newest if it is not said.
        version: Option<u32>,
        /// When.
        when: When,
    },
    /// Takes more seats, or fewer.
    ChangeQuantity {
        /// How many there are to be.
        quantity: u32,
        /// When.
        when: When,
    },
    /// Takes back what was to change with the next period.
    KeepPlan,
    /// Ends the trial now.
    EndTrial,
    /// Ends it now.
    Cancel {
        /// Whether what is left of the period is credited.
        credit: bool,
    },
    /// Lets it end with the present period.
    CancelAtPeriodEnd,
    /// Lets it end at an instant.
    CancelAt {
        /// The instant.
        at: DateTime<Utc>,
    },
    /// Takes a decision to end it back.
    Keep,
    /// Pauses it.
    Pause {
        /// Until when; until it is resumed if it is not said.
        resumes_at: Option<DateTime<Utc>>,
    },
    /// Lets it go on after a pause.
    Resume,
    /// Gives it a coupon.
    ApplyCoupon {
        /// The coupon.
        coupon: Coupon,
    },
    /// Replaces what the host keeps with it.
    Describe {
        /// The new metadata.
        metadata: Document,
    },
    /// An invoice was paid.
    Paid,
    /// A try to pay an invoice has failed.
    PaymentFailed {
        /// The number of the try, from 1.
        attempt: u32,
    },
}

impl SubscriptionAct {
    /// What it takes to ask for it: more where something is given for nothing, and for what only the
    /// payment provider knows.
    #[must_use]
    pub fn permission(&self) -> Permission {
        match self {
            Self::ChangePlan {
                version: Some(_), ..
            }
            | Self::Cancel { credit: true }
            | Self::ApplyCoupon { .. }
            | Self::Paid
            | Self::PaymentFailed { .. } => Permission::BillingOperate,
            _ => Permission::BillingManage,
        }
    }
}
