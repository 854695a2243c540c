//! Thresholds: shares of a bound that are told once in a window.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::catalogue::LimitName;

/// A share of a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threshold {
    /// 80 % of the bound.
    Near,
    /// All of it.
    Reached,
}

impl Threshold {
    /// All thresholds, the lowest first.
    pub const ALL: [Self; 2] = [Self::Near, Self::Reached];

    /// Its share of the bound, in percent.
    #[must_use]
    pub fn percent(self) -> u8 {
        match self {
            Self::Near => 80,
            Self::Reached => 100,
        }
    }

    /// The threshold of this share.
    #[must_use]
    pub fn of_percent(percent: u8) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|threshold| threshold.percent() == percent)
    }

    /// Whether so much is at or above this share of the bound.
    #[must_use]
    pub fn is_met(self, used: u64, bound: u64) -> bool {
        u128::from(used) * 100 >= u128::from(bound) * u128::from(self.percent())
    }
}

/// The thresholds that lie between a former use and a present one, the lowest first.
pub fn crossed(former: u64, used: u64, bound: u64) -> impl Iterator<Item = Threshold> {
    let between = move |threshold: &Threshold| {
        threshold.is_met(used, bound) && !threshold.is_met(former, bound)
    };
    Threshold::ALL.into_iter().filter(between)
}

/// A threshold that was crossed for the first time in a window, for this bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crossing {
    /// The limit.
    pub limit: LimitName,
    /// The first instant of the window.
    pub window_start: DateTime<Utc>,
    /// Which threshold.
    pub threshold: Threshold,
    /// The bound that it is a share of: the soft one, or else the hard one.
    pub bound: u64,
    /// What was used then.
    pub used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(former: u64, used: u64, bound: u64) -> Vec<Threshold> {
        crossed(former, used, bound).collect()
    }

    #[test]
    fn a_threshold_is_crossed_when_it_is_met_for_the_first_time() {
        use Threshold::{Near, Reached};
        assert_eq!(between(0, 79, 100), []);
        assert_eq!(between(79, 80, 100), [Near]);
        assert_eq!(between(80, 99, 100), []);
        assert_eq!(between(99, 100, 100), [Reached]);
        assert_eq!(between(100, 250, 100), []);
        assert_eq!(between(0, 250, 100), [Near, Reached]);
        assert_eq!(between(250, 0, 100), []);
        assert_eq!(between(2, 3, 3), [Near, Reached], "80 % of 3 is 2.4");
        assert_eq!(
            between(0, 5, 0),
            [],
            "a bound of nothing is met from the start"
        );
        assert_eq!(between(0, u64::MAX, u64::MAX), [Near, Reached]);
    }

    #[test]
    fn a_threshold_is_its_percent() {
        for threshold in Threshold::ALL {
            assert_eq!(Threshold::of_percent(threshold.percent()), Some(threshold));
        }
        assert_eq!(Threshold::of_percent(90), None);
    }
}
