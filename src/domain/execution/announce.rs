//! What the analytics are told when an execution has ended.

use std::fmt::Write as _;

use super::Execution;

impl Execution {
    /// The details of the analytics event `workflow_execution`, as JSON text.
    ///
    /// Written by hand, since it is made for every execution there is.
    #[must_use]
    pub fn event_text(&self) -> String {
        let mut text = String::with_capacity(256);
        // Writing to a string cannot fail. Ids and states are plain words; what a source wrote is
        // escaped.
        let _ = write!(
            text,
            r#"{{"execution_id":"{}","workflow_id":"{}","status":"{}","mode":{},"execution_time":{}}}"#,
            self.id,
            self.workflow,
            self.status,
            serde_json::Value::from(self.mode.as_str()),
            self.duration_ms.unwrap_or(0),
        );
        text
    }
}
