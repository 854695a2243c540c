//! How well a workflow runs: counts, failure rate and percentiles of execution time.

use serde::{Deserialize, Serialize};

use super::ExecutionStatus;
use crate::domain::ids::WorkflowId;

/// The ends that count as failures. A cancellation is somebody's wish.
pub const FAILURES: [ExecutionStatus; 2] = [ExecutionStatus::Error, ExecutionStatus::Crashed];

/// How the executions of one workflow ended in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowPerformance {
    /// The workflow.
    pub workflow: WorkflowId,
    /// How many ended.
    pub executions: u64,
    /// How many of them ended in one of [`FAILURES`].
    pub failures: u64,
    /// Half of them took at most this long, in milliseconds.
    pub p50_ms: i64,
    /// 95 of 100 took at most this long, in milliseconds.
    pub p95_ms: i64,
}

impl WorkflowPerformance {
    /// Summarises executions that ended: state and milliseconds of each. `None` for none.
    #[must_use]
    pub fn of(
        workflow: WorkflowId,
        ended: impl IntoIterator<Item = (ExecutionStatus, i64)>,
    ) -> Option<Self> {
        let (mut times, mut failures) = (Vec::new(), 0);
        for (status, millis) in ended {
            times.push(millis);
            failures += u64::from(FAILURES.contains(&status));
        }
        times.sort_unstable();
        Some(Self {
            workflow,
            executions: u64::try_from(times.len()).unwrap_or(u64::MAX),
            failures,
            p50_ms: percentile(&times, 50)?,
            p95_ms: percentile(&times, 95)?,
        })
    }

    /// The share of executions that failed, from 0 to 1.
    #[must_use]
    pub fn failure_rate(&self) -> f64 {
        if self.executions == 0 {
            return 0.0;
        }
        // Counts of executions are far below 2^52.
        self.failures as f64 / self.executions as f64
    }
}

/// The smallest value that at least `percent` of 100 values do not exceed: the nearest rank, which
/// is PostgreSQL's `percentile_disc`. `None` of no values.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<i64> = (1..=20).collect();
        assert_eq!(percentile(&values, 50), Some(10));
        assert_eq!(percentile(&values, 95), Some(19));
        assert_eq!(percentile(&[7], 95), Some(7));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn errors_and_crashes_are_failures_and_cancellations_are_not() {
        use ExecutionStatus::{Canceled, Crashed, Error, Success};
        let ended = [(Success, 5), (Error, 1), (Crashed, 9), (Canceled, 2)];
        let summary = WorkflowPerformance::of(uuid::Uuid::nil().into(), ended).unwrap();
        assert_eq!((summary.executions, summary.failures), (4, 2));
        assert_eq!((summary.p50_ms, summary.p95_ms), (2, 9));
        assert!((summary.failure_rate() - 0.5).abs() < f64::EPSILON);
        assert_eq!(WorkflowPerformance::of(uuid::Uuid::nil().into(), []), None);
    }
}
