//! What a tenant's plan and its own overrides say about its limits.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{LimitError, LimitSpan, window_at};
use crate::domain::catalogue::{Entitlement, Limit, LimitName, LimitWindow};
use crate::domain::tenancy::LimitOverrides;
use crate::domain::time::Period;

/// The bounds of one limit of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The limit.
    pub limit: LimitName,
    /// No more than this is admitted; `None` where everything is.
    pub hard: Option<u64>,
    /// From here on thresholds are told, and nothing is refused.
    pub soft: Option<u64>,
    /// Over which stretch it counts.
    pub window: LimitWindow,
}

impl Bounds {
    /// No bounds at all: everything is admitted and counted.
    #[must_use]
    pub fn none(limit: LimitName) -> Self {
        let window = window_of(&limit);
        Self {
            limit,
            hard: None,
            soft: None,
            window,
        }
    }

    /// What thresholds are shares of: the soft bound, or else the hard one.
    #[must_use]
    pub fn base(&self) -> Option<u64> {
        self.soft.or(self.hard)
    }
}

/// What decides on the limits of a tenant at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitTerms {
    /// The limits of the version of the plan; none where the catalogue has no such plan.
    pub plan: BTreeMap<LimitName, Limit>,
    /// What that version includes.
    pub entitlements: BTreeSet<Entitlement>,
    /// The tenant's own bounds in place of the plan's.
    pub overrides: LimitOverrides,
    /// The zone in which days and months begin.
    pub time_zone: Tz,
    /// The present billing period; where there is none yet, the calendar month counts.
    pub billing_period: Option<Period>,
}

impl LimitTerms {
    /// The bounds of a limit, or `None` where the tenant is not limited in it.
    ///
    /// An override's number replaces the hard bound, and lowers a soft bound that is above it; an
    /// override without a number lifts the hard bound and leaves the soft one.
    ///
    /// # Errors
    /// `Unknown` for a name that only the overrides have: neither the plan nor the library.
    pub fn bounds(&self, limit: &LimitName) -> Result<Option<Bounds>, LimitError> {
        let planned = self.plan.get(limit);
        let own = self.overrides.0.get(limit.as_str());
        if planned.is_none() && own.is_some() && !KNOWN.contains(limit) {
            return Err(LimitError::Unknown {
                limit: limit.to_string(),
                there_are: self.names().into_iter().collect(),
            });
        }
        let window = planned.map_or_else(|| window_of(limit), |limit| limit.window);
        let hard = own.copied().unwrap_or(planned.and_then(|limit| limit.hard));
        let soft = planned.and_then(|limit| limit.soft);
        let soft = match (soft, hard) {
            (Some(soft), Some(hard)) => Some(soft.min(hard)),
            (soft, _) => soft,
        };
        Ok((hard.is_some() || soft.is_some()).then(|| Bounds {
            limit: limit.clone(),
            hard,
            soft,
            window,
        }))
    }

    /// All limits that the tenant has, in the order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<Bounds> {
        let names = self.names().into_iter();
        names
            .filter_map(|name| self.bounds(&name).ok().flatten())
            .collect()
    }

    /// The overrides that change nothing, since neither the plan nor the library has their names.
    #[must_use]
    pub fn unknown(&self) -> Vec<&str> {
        let names = self.names();
        let own = self.overrides.0.keys().map(String::as_str);
        own.filter(|own| !names.iter().any(|name| name.as_str() == *own))
            .collect()
    }

    /// Whether the tenant's plan includes this.
    #[must_use]
    pub fn includes(&self, entitlement: &Entitlement) -> bool {
        self.entitlements.contains(entitlement)
    }

    /// The window of a limit that holds the instant.
    #[must_use]
    pub fn span(&self, bounds: &Bounds, at: DateTime<Utc>) -> LimitSpan {
        let (start, end) = window_at(bounds.window, self.time_zone, self.billing_period, at);
        LimitSpan {
            limit: bounds.limit.clone(),
            start,
            end,
        }
    }

    /// The names of the plan and of the library.
    fn names(&self) -> BTreeSet<LimitName> {
        self.plan.keys().cloned().chain(KNOWN).collect()
    }
}

/// The limits that the library knows.
const KNOWN: [LimitName; 5] = [
    LimitName::WORKFLOWS,
    LimitName::USERS,
    LimitName::EXECUTIONS,
    LimitName::AI_CALLS,
    LimitName::STORAGE,
];

/// The window of a limit that no plan tells: consumption counts per billing period, all else for
/// ever.
fn window_of(limit: &LimitName) -> LimitWindow {
    if *limit == LimitName::EXECUTIONS || *limit == LimitName::AI_CALLS {
        LimitWindow::BillingPeriod
    } else {
        LimitWindow::Lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(plan: &[(LimitName, Limit)], own: &[(&str, Option<u64>)]) -> LimitTerms {
        let own = own.iter().map(|(name, bound)| ((*name).to_owned(), *bound));
        LimitTerms {
            plan: plan.iter().cloned().collect(),
            entitlements: BTreeSet::from([Entitlement::new("sso").unwrap()]),
            overrides: LimitOverrides(own.collect()),
            time_zone: Tz::UTC,
            billing_period: None,
        }
    }

    fn soft(soft: u64, hard: Option<u64>) -> Limit {
        Limit {
            hard,
            soft: Some(soft),
            window: LimitWindow::Month,
        }
    }

    fn both(bounds: &Bounds) -> (Option<u64>, Option<u64>) {
        (bounds.soft, bounds.hard)
    }

    #[test]
    fn what_nobody_limits_is_not_limited() {
        let terms = terms(&[], &[]);
        assert_eq!(terms.bounds(&LimitName::USERS), Ok(None));
        let own = LimitName::new("exports").unwrap();
        assert_eq!(terms.bounds(&own), Ok(None));
        assert!(terms.all().is_empty());
    }

    #[test]
    fn a_number_replaces_the_hard_bound_and_nothing_lifts_it() {
        let limit = (LimitName::EXECUTIONS, soft(80, Some(100)));
        let bounds = |own: &[(&str, Option<u64>)]| {
            let terms = terms(std::slice::from_ref(&limit), own);
            terms.bounds(&LimitName::EXECUTIONS).unwrap().unwrap()
        };
        assert_eq!(both(&bounds(&[])), (Some(80), Some(100)));
        assert_eq!(
            both(&bounds(&[("executions", Some(500))])),
            (Some(80), Some(500))
        );
        assert_eq!(
            both(&bounds(&[("executions", Some(50))])),
            (Some(50), Some(50))
        );
        let lifted = bounds(&[("executions", None)]);
        assert_eq!(
            (both(&lifted), lifted.window),
            ((Some(80), None), LimitWindow::Month)
        );
        let only = terms(&[], &[("executions", Some(7)), ("users", None)]);
        let bounds = only.bounds(&LimitName::EXECUTIONS).unwrap().unwrap();
        assert_eq!(
            (bounds.hard, bounds.base(), bounds.window),
            (Some(7), Some(7), LimitWindow::BillingPeriod)
        );
        assert_eq!(only.bounds(&LimitName::USERS), Ok(None));
    }

    #[test]
    fn an_override_of_an_unknown_name_is_kept_and_refused() {
        let own = LimitName::new("exports").unwrap();
        let misspelt = LimitName::new("exections").unwrap();
        let terms = terms(
            &[(own.clone(), Limit::hard(3))],
            &[
                ("exections", Some(5)),
                ("exports", Some(4)),
                ("no name", None),
            ],
        );
        assert_eq!(terms.bounds(&own).unwrap().unwrap().hard, Some(4));
        match terms.bounds(&misspelt) {
            Err(LimitError::Unknown { limit, there_are }) => {
                assert_eq!((limit.as_str(), there_are.len()), ("exections", 6));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(terms.unknown(), ["exections", "no name"]);
        let names: Vec<_> = terms.all().into_iter().map(|bounds| bounds.limit).collect();
        assert_eq!(names, [own]);
        assert!(terms.includes(&Entitlement::new("sso").unwrap()));
        assert!(!terms.includes(&Entitlement::new("audit").unwrap()));
    }
}
