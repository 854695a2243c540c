//! Prepaid credit: in which order grants are burnt.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::money::{Money, MoneyError};

/// A broken rule about prepaid credit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepaidError {
    /// A grant that owes something.
    #[error("grant {number}: balance {balance} must not be negative")]
    NegativeBalance {
        /// Its number in the list, from 1.
        number: usize,
        /// Its balance.
        balance: Money,
    },
    /// An amount that breaks a rule of money.
    #[error("prepaid: {0}")]
    Money(#[from] MoneyError),
}

/// Where a grant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GrantCategory {
    /// Given for nothing.
    Promotional,
    /// Paid for.
    Paid,
}

/// What is left of a grant of prepaid credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CreditGrant {
    /// What is left.
    pub balance: Money,
    /// Where it comes from.
    pub category: GrantCategory,
    /// From when on it can be burnt.
    pub effective_at: DateTime<Utc>,
    /// From when on it cannot be burnt any more; `None` for one that does not expire.
    pub expires_at: Option<DateTime<Utc>>,
}

impl CreditGrant {
    /// Whether it can be burnt at the instant.
    #[must_use]
    pub fn is_usable(&self, at: DateTime<Utc>) -> bool {
        self.effective_at <= at && self.expires_at.is_none_or(|end| at < end)
    }
}

/// What grants pay of an amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BurnDown {
    /// What each grant pays, in the order of the grants given.
    pub applied: Vec<Money>,
    /// What is left to be paid.
    pub due: Money,
}

/// Pays an amount from grants, as far as they last.
///
/// The order is that of Stripe's billing credits: the grant that expires first, those that do not
/// expire last; of two that expire together the promotional before the paid one; then the one that
/// has been effective longer; then the one given first. Grants that are not effective yet, or have
/// expired, pay nothing, and an amount of 0 or below takes nothing.
///
/// # Errors
/// For a grant with a negative balance, and for one in another currency than the amount.
pub fn burn_down(
    amount: Money,
    grants: &[CreditGrant],
    at: DateTime<Utc>,
) -> Result<BurnDown, PrepaidError> {
    let nothing = amount.with_minor(0);
    let mut order = Vec::with_capacity(grants.len());
    for (index, grant) in grants.iter().enumerate() {
        amount.alike(grant.balance)?;
        if grant.balance.is_negative() {
            return Err(PrepaidError::NegativeBalance {
                number: index + 1,
                balance: grant.balance,
            });
        }
        if grant.is_usable(at) {
            order.push((index, grant));
        }
    }
    order.sort_by_key(|(_, grant)| {
        let expires = (grant.expires_at.is_none(), grant.expires_at);
        (expires, grant.category, grant.effective_at)
    });
    let mut applied = vec![nothing; grants.len()];
    let mut due = amount;
    for (index, grant) in order {
        let part = due.max(nothing)?.min(grant.balance)?;
        due = due.checked_sub(part)?;
        if let Some(applied) = applied.get_mut(index) {
            *applied = part;
        }
    }
    Ok(BurnDown { applied, due })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::money::Currency;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    fn t(day: u32) -> DateTime<Utc> {
        format!("2026-01-{day:02}T00:00:00Z").parse().unwrap()
    }

    fn grant(minor: i64, category: GrantCategory, from: u32, to: Option<u32>) -> CreditGrant {
        CreditGrant {
            balance: eur(minor),
            category,
            effective_at: t(from),
            expires_at: to.map(t),
        }
    }

    #[test]
    fn what_expires_first_is_burnt_first() {
        use GrantCategory::{Paid, Promotional};
        let grants = [
            grant(100, Paid, 1, None),
            grant(100, Promotional, 2, None),
            grant(100, Paid, 1, Some(20)),
            grant(100, Promotional, 3, Some(20)),
            grant(100, Paid, 1, Some(10)),
            grant(100, Promotional, 1, Some(5)),
            grant(100, Promotional, 6, None),
            grant(100, Promotional, 1, None),
        ];
        let applied = |amount| {
            let burnt = burn_down(eur(amount), &grants, t(5)).unwrap();
            let applied: Vec<_> = burnt.applied.iter().map(|part| part.minor()).collect();
            (applied, burnt.due.minor())
        };
        assert_eq!(applied(50), (vec![0, 0, 0, 0, 50, 0, 0, 0], 0));
        assert_eq!(applied(150), (vec![0, 0, 0, 50, 100, 0, 0, 0], 0));
        assert_eq!(applied(250), (vec![0, 0, 50, 100, 100, 0, 0, 0], 0));
        assert_eq!(applied(350), (vec![0, 0, 100, 100, 100, 0, 0, 50], 0));
        assert_eq!(applied(450), (vec![0, 50, 100, 100, 100, 0, 0, 100], 0));
        assert_eq!(
            applied(700),
            (vec![100, 100, 100, 100, 100, 0, 0, 100], 100)
        );
        assert_eq!(applied(-5), (vec![0; 8], -5));
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        let owing = grant(-1, GrantCategory::Paid, 1, None);
        let error = burn_down(eur(1), &[owing], t(2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "grant 1: balance EUR -0.01 must not be negative"
        );
        let dollars = Money::new(1, Currency::USD).unwrap();
        assert!(burn_down(dollars, &[grant(1, GrantCategory::Paid, 1, None)], t(2)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_burnt_twice_or_lost(
            amount in 0_i64..10_000,
            balances in prop::collection::vec((0_i64..3_000, any::<bool>(), 1_u32..9, prop::option::of(1_u32..20)), 0..8),
        ) {
            let grants: Vec<_> = balances
                .into_iter()
                .map(|(minor, paid, from, to)| {
                    let category = if paid { GrantCategory::Paid } else { GrantCategory::Promotional };
                    grant(minor, category, from, to)
                })
                .collect();
            let burnt = burn_down(eur(amount), &grants, t(5)).unwrap();
            let applied: i64 = burnt.applied.iter().map(|part| part.minor()).sum();
            prop_assert_eq!(applied + burnt.due.minor(), amount);
            let usable: i64 = grants.iter().filter(|g| g.is_usable(t(5))).map(|g| g.balance.minor()).sum();
            prop_assert_eq!(applied, usable.min(amount));
            for (part, grant) in burnt.applied.iter().zip(&grants) {
                prop_assert!((0..=grant.balance.minor()).contains(&part.minor()));
            }
        }
    }
}
