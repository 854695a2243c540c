//! psql's `\copy`: the fastest ordinary way into a table, and so the ceiling of every insert.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::postgres::Programs;

/// Rows of one table, as texts.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Writes batches of rows by `\copy … CSV`, each batch in one transaction of one session, and
/// answers the server's time from the first BEGIN to the last COMMIT.
pub(crate) fn copy(url: &str, batches: &[Vec<Rows>]) -> Duration {
    let directory = Directory::new();
    let mut script = String::from("\\set ON_ERROR_STOP on\n\\pset tuples_only on\n");
    script += "\\pset format unaligned\n\\set QUIET on\nSELECT clock_timestamp();\n";
    for (number, batch) in batches.iter().enumerate() {
        script += "BEGIN;\n";
        for part in batch.iter().filter(|part| !part.rows.is_empty()) {
            let file = directory.0.join(format!("{number}.{}.csv", part.table));
            fs::write(&file, csv(&part.rows)).unwrap();
            let (table, columns) = (&part.table, part.columns.join(", "));
            let file = file.display();
            writeln!(
                script,
                "\\copy tenantry.{table} ({columns}) FROM '{file}' CSV"
            )
            .unwrap();
        }
        script += "COMMIT;\n";
    }
    script += "SELECT clock_timestamp();\n";
    let file = directory.0.join("script.sql");
    fs::write(&file, script).unwrap();
    let times = run(url, &file);
    let (first, last) = (times.first().unwrap(), times.last().unwrap());
    let parse = |text: &String| chrono::DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
    let took = parse(last).unwrap() - parse(first).unwrap();
    took.to_std().unwrap()
}

fn run(url: &str, file: &Path) -> Vec<String> {
    let program = Programs::installed().unwrap().directory().join("psql");
    let output = Command::new(program)
        .args(["-X", "-q", "-f"])
        .arg(file)
        .arg(url)
        .output()
        .expect("psql runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "psql failed: {errors}");
    let answer = String::from_utf8(output.stdout).unwrap();
    answer.lines().map(str::to_owned).collect()
}

/// Every value quoted; what is absent is empty and unquoted, as CSV in PostgreSQL has it.
fn csv(rows: &[Vec<Option<String>>]) -> String {
    let mut text = String::new();
    for row in rows {
        let values: Vec<String> = row
            .iter()
            .map(|value| match value {
                Some(value) => format!("\"{}\"", value.replace('"', "\"\"")),
                None => String::new(),
            })
            .collect();
        text += &values.join(",");
        text.push('\n');
    }
    text
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("tenantry-bench-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nothing depends on it: what stays is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
