//! Real reports, as many as wanted.

use chrono::TimeDelta;
use tenantry::adapter::n8n;
use tenantry::domain::execution::ExecutionReport;
use tenantry::domain::payload::PayloadPolicy;
use tenantry::domain::text::ExternalId;

use crate::support::database::noon;

/// A million of them fit into less than a day.
const EVERY: TimeDelta = TimeDelta::milliseconds(50);

/// What a real n8n answered for 55 executions.
pub(crate) const LINES: &str = include_str!("../../tests/fixtures/n8n/executions.ndjson");

/// The real reports again and again, each time as another execution that began a little later than
/// the one before, as those of an n8n do.
#[derive(Debug)]
pub(crate) struct Reports {
    real: Vec<ExecutionReport>,
    next: usize,
}

impl Reports {
    pub(crate) fn new() -> Self {
        let real = n8n::parse_many(LINES, &PayloadPolicy::default())
            .map(|item| item.result.unwrap())
            .collect();
        Self { real, next: 0 }
    }

    /// The real ones as they are.
    pub(crate) fn real(&self) -> &[ExecutionReport] {
        &self.real
    }

    /// The next batch.
    pub(crate) fn batch(&mut self, size: usize) -> Vec<ExecutionReport> {
        let first = self.next;
        self.next += size;
        (first..first + size)
            .map(|number| renamed(&self.real[number % self.real.len()], number))
            .collect()
    }
}

fn renamed(real: &ExecutionReport, number: usize) -> ExecutionReport {
    let started = noon() - TimeDelta::days(1) + EVERY * i32::try_from(number).unwrap();
    let mut report = ExecutionReport::new(
        ExternalId::new(&number.to_string()).unwrap(),
        real.workflow().clone(),
        real.status(),
        real.mode().clone(),
        started,
    )
    .with_errors(real.shared_errors())
    .with_ai_calls(real.ai_calls());
    if let Some(at) = real.stopped_at() {
        report = report.with_stopped_at(started + (at - real.started_at()));
    }
    if let Some(snapshot) = real.snapshot() {
        report = report.with_snapshot(snapshot.clone());
    }
    if let Some(input) = real.input() {
        report = report.with_input(input.clone());
    }
    if let Some(output) = real.output() {
        report = report.with_output(output.clone());
    }
    if let Some(error) = real.error() {
        report = report.with_error(error.clone());
    }
    report
}
