//! Executions: what sources report of them, and the state machine that makes one row of it.

mod announce;
mod attachment;
mod batch;
mod error_log;
mod metering;
mod observe;
mod performance;
mod report;
mod status;

pub use self::attachment::{PayloadKind, error_log_id};
pub use self::batch::{Batch, Ended, Late, Rejection, SyncCounts, SyncOutcome, SyncReport, Writes};
pub use self::error_log::ErrorEntry;
pub use self::metering::{MeterPolicy, MeterReading};
pub use self::observe::{Advance, Completed, Contradiction, End, Execution, Observation};
pub use self::performance::{FAILURES, WorkflowPerformance};
pub use self::report::ExecutionReport;
pub use self::status::{ExecutionMode, ExecutionStatus, Label, StatusError};

#[cfg(test)]
mod tests;
