//! Ratios of what is measured to a reference that ran right beside it.

use std::time::Duration;

/// Collects ratios, and prints the median of each with its extremes.
#[derive(Debug, Default)]
pub(crate) struct Ratios {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    what: String,
    aim: &'static str,
    ratios: Vec<f64>,
}

impl Ratios {
    /// One measurement: how many times faster `what` was than its reference. `what` names both.
    pub(crate) fn speed(&mut self, what: &str, aim: &'static str, own: Duration, other: Duration) {
        self.add(what, aim, other.as_secs_f64() / own.as_secs_f64());
    }

    /// One measurement: how many times longer `what` took than its reference.
    pub(crate) fn time(&mut self, what: &str, aim: &'static str, own: Duration, other: Duration) {
        self.add(what, aim, own.as_secs_f64() / other.as_secs_f64());
    }

    /// One measurement, as it is.
    pub(crate) fn add(&mut self, what: &str, aim: &'static str, ratio: f64) {
        match self.lines.iter_mut().find(|line| line.what == what) {
            Some(line) => line.ratios.push(ratio),
            None => self.lines.push(Line {
                what: what.to_owned(),
                aim,
                ratios: vec![ratio],
            }),
        }
    }

    /// Prints a line for each, in the order in which they came.
    pub(crate) fn print(&mut self, bench: &str) {
        println!("\n{bench}: median (least .. most) of the paired runs");
        for Line { what, aim, ratios } in &mut self.lines {
            ratios.sort_by(f64::total_cmp);
            let at = |share: usize| ratios.get((ratios.len() - 1) * share / 2);
            if let (Some(least), Some(median), Some(most)) = (at(0), at(1), at(2)) {
                println!(
                    "  {what:<72} {} ({} .. {}) of {}; {aim}",
                    short(*median),
                    short(*least),
                    short(*most),
                    ratios.len()
                );
            }
        }
    }
}

fn short(number: f64) -> String {
    match number {
        large if large >= 1_000.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}
