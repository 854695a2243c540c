//! The pipeline: `sync` on PostgreSQL and in memory, and the parser before it.
//!
//! `cargo bench --bench pipeline` prints criterion's estimates, and at the end the ratios: each
//! measurement ran right beside its reference.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on should stop at once"
)]

mod in_memory;
mod on_postgres;
mod parsing;
mod reports;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use criterion::{Criterion, SamplingMode};

use crate::support::Ratios;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut ratios = Ratios::default();
    parsing::bench(&mut criterion, &mut ratios);
    in_memory::bench(&mut criterion, &mut ratios);
    on_postgres::bench(&mut criterion, &mut ratios);
    criterion.final_summary();
    ratios.print("pipeline");
}

/// Whether the command line asks for a part of what criterion does not choose by itself.
fn wanted(name: &str) -> bool {
    let mut filters = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    filters
        .next()
        .is_none_or(|filter| name.contains(&filter) || filter.contains(name))
}

/// Measures something that prepares each of its runs itself.
fn measured(criterion: &mut Criterion, name: &str, mut run: impl FnMut() -> Duration) {
    let mut group = criterion.benchmark_group("pipeline");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|runs| (0..runs).map(|_| run()).sum());
    });
    group.finish();
}
