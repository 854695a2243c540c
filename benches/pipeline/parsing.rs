//! The n8n adapter against `serde_json` skipping the same text.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use serde::de::IgnoredAny;
use tenantry::adapter::n8n;
use tenantry::domain::payload::PayloadPolicy;

use crate::reports::LINES;
use crate::support::Ratios;
use crate::wanted;

pub(crate) fn bench(criterion: &mut Criterion, ratios: &mut Ratios) {
    let lines: Vec<&str> = LINES.lines().collect();
    let policy = PayloadPolicy::default();
    let parse = || {
        for line in &lines {
            black_box(n8n::parse_line(line, &policy).unwrap());
        }
    };
    let skip = || {
        for line in &lines {
            black_box(serde_json::from_str::<IgnoredAny>(line).unwrap());
        }
    };
    for (unit, throughput) in [
        ("reports", Throughput::Elements(lines.len() as u64)),
        ("bytes", Throughput::Bytes(LINES.len() as u64)),
    ] {
        let mut group = criterion.benchmark_group(format!("pipeline/parse, {unit}"));
        group.throughput(throughput);
        group.bench_function("tenantry", |bencher| bencher.iter(parse));
        group.bench_function("serde_json skipping", |bencher| bencher.iter(skip));
        group.finish();
    }
    let rounds = if wanted("parse") { 51 } else { 0 };
    for _ in 0..rounds {
        let started = Instant::now();
        parse();
        let own = started.elapsed();
        let started = Instant::now();
        skip();
        let other = started.elapsed();
        ratios.speed(
            "parsing / serde_json skipping the same text (speed)",
            "no aim stated",
            own,
            other,
        );
        let rate = lines.len() as f64 / own.as_secs_f64();
        ratios.add(
            "parsing, thousand reports a second",
            "this machine",
            rate / 1e3,
        );
        let rate = LINES.len() as f64 / own.as_secs_f64();
        ratios.add("parsing, megabytes a second", "this machine", rate / 1e6);
    }
}
