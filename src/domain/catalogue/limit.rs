//! What a plan allows: counted limits, levels, and what is simply included.

use serde::{Deserialize, Serialize};

use super::CatalogueError;
use crate::domain::text::code_type;

code_type! {
    /// The name of a limit: at most 50 letters, digits, `.`, `_` or `-`.
    LimitName, "limit", 50;
    /// Workflows that are not archived.
    WORKFLOWS = "workflows";
    /// Users that are active.
    USERS = "users";
    /// Executions.
    EXECUTIONS = "executions";
    /// Calls of language models.
    AI_CALLS = "ai_calls";
    /// Bytes of payload kept.
    STORAGE = "storage";
}

code_type! {
    /// Something that a plan includes or not, such as `sso`: at most 50 letters, digits, `.`, `_`
    /// or `-`.
    Entitlement, "entitlement", 50;
}

/// Over which stretch a limit counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitWindow {
    /// All of it: what there is at one time. The default.
    #[default]
    Lifetime,
    /// A day of the calendar, in the tenant's time zone.
    Day,
    /// A month of the calendar, in the tenant's time zone.
    Month,
    /// The billing period of the subscription.
    BillingPeriod,
}

/// The bounds of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// No more than this is admitted; `None` where more is admitted and billed as overage.
    #[serde(default)]
    pub hard: Option<u64>,
    /// From here on thresholds are told, and nothing is refused.
    #[serde(default)]
    pub soft: Option<u64>,
    /// Over which stretch it counts.
    #[serde(default)]
    pub window: LimitWindow,
}

impl Limit {
    /// So many at one time, and not one more.
    #[must_use]
    pub fn hard(bound: u64) -> Self {
        Self {
            hard: Some(bound),
            soft: None,
            window: LimitWindow::Lifetime,
        }
    }

    /// The same bounds over another stretch.
    #[must_use]
    pub fn per(self, window: LimitWindow) -> Self {
        Self { window, ..self }
    }

    pub(super) fn check(&self, name: &LimitName) -> Result<(), CatalogueError> {
        let limit = || name.clone();
        match (self.soft, self.hard) {
            (None, None) => Err(CatalogueError::NoBound { limit: limit() }),
            (Some(soft), Some(hard)) if soft > hard => Err(CatalogueError::SoftAboveHard {
                limit: limit(),
                soft,
                hard,
            }),
            _ => Ok(()),
        }
    }
}
