//! What a finished execution adds to the meters.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{ExecutionMode, ExecutionReport, ExecutionStatus};
use crate::domain::metering::MeterName;

/// Which executions are billed as such.
///
/// Calls to language models, execution time and storage are metered for every execution that
/// reached its end, billable or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterPolicy {
    /// The modes that are billed.
    pub modes: BTreeSet<ExecutionMode>,
    /// The ends that are billed.
    pub statuses: BTreeSet<ExecutionStatus>,
}

impl MeterPolicy {
    /// Whether an execution that was started so and ended so is billed.
    #[must_use]
    pub fn bills(&self, mode: &ExecutionMode, status: ExecutionStatus) -> bool {
        self.statuses.contains(&status) && self.modes.contains(mode)
    }

    /// What is read from what a report brings, and not from the run itself.
    pub(super) fn readings_of_attachment(report: &ExecutionReport) -> Vec<MeterReading> {
        above_zero([
            (MeterName::AI_CALLS, Decimal::from(report.ai_calls())),
            (MeterName::STORAGE, Decimal::from(report.storage_bytes())),
        ])
    }

    pub(super) fn readings(&self, report: &ExecutionReport, duration_ms: i64) -> Vec<MeterReading> {
        let billable = self.bills(report.mode(), report.status());
        above_zero([
            (MeterName::EXECUTIONS, Decimal::from(u8::from(billable))),
            (MeterName::AI_CALLS, Decimal::from(report.ai_calls())),
            (MeterName::EXECUTION_MS, Decimal::from(duration_ms)),
            (MeterName::STORAGE, Decimal::from(report.storage_bytes())),
        ])
    }
}

fn above_zero<const N: usize>(readings: [(MeterName, Decimal); N]) -> Vec<MeterReading> {
    readings
        .into_iter()
        .filter(|(_, quantity)| !quantity.is_zero())
        .map(|(meter, quantity)| MeterReading { meter, quantity })
        .collect()
}

/// Production runs (webhook, trigger, chat) that ended in success or error. Not manual runs,
/// retries of a failed run, sub-workflows, error workflows, or n8n's own.
impl Default for MeterPolicy {
    fn default() -> Self {
        Self {
            modes: [
                ExecutionMode::Webhook,
                ExecutionMode::Trigger,
                ExecutionMode::Chat,
            ]
            .into(),
            statuses: [ExecutionStatus::Success, ExecutionStatus::Error].into(),
        }
    }
}

/// A quantity to add to a meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeterReading {
    /// The meter's name.
    pub meter: MeterName,
    /// The quantity, above zero.
    pub quantity: Decimal,
}
