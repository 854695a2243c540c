//! What the world is told when an execution has ended: one analytics event, one message.

use std::fmt::Write as _;

use super::Execution;

impl Execution {
    /// The details of the analytics event `workflow_execution`, as JSON text.
    #[must_use]
    pub fn event_text(&self) -> String {
        let mut text = String::with_capacity(256);
        text.push('{');
        self.push_facts(&mut text);
        text.push('}');
        text
    }

    /// The real-time message `execution_complete`, as JSON text.
    #[must_use]
    pub fn message_text(&self) -> String {
        let mut text = String::with_capacity(384);
        text.push_str(r#"{"type":"execution_complete","execution":{"#);
        self.push_facts(&mut text);
        // Writing to a string cannot fail; instants have no character to escape.
        let _ = write!(text, r#","started_at":"{}""#, self.started_at.to_rfc3339());
        if let Some(finished_at) = self.finished_at {
            let _ = write!(text, r#","finished_at":"{}""#, finished_at.to_rfc3339());
        }
        text.push_str("}}");
        text
    }

    fn push_facts(&self, text: &mut String) {
        // Ids and states are plain words; what a source wrote is escaped.
        let _ = write!(
            text,
            r#""execution_id":"{}","workflow_id":"{}","status":"{}","mode":{},"source_id":"{}","n8n_execution_id":{},"execution_time":{}"#,
            self.id,
            self.workflow,
            self.status,
            quoted(self.mode.as_str()),
            self.source,
            quoted(self.external_id.as_str()),
            self.duration_ms.unwrap_or(0),
        );
    }
}

fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}
