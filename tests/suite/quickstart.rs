//! The quick start, run as a user runs it: a process of its own, with files and a database.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::backend::SCHEMA;

const EXECUTIONS: &str = include_str!("../fixtures/n8n/executions.ndjson");
const WAITING: &str = include_str!("../fixtures/n8n/waiting_then_finished.ndjson");

async fn quickstart(arguments: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    // What cargo tells this process about the package would make it build dependencies anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|told| name.starts_with(told))
        {
            command.env_remove(name.as_ref());
        }
    }
    command
        .args(["run", "--quiet", "--example", "quickstart", "--"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .await
        .unwrap()
}

async fn printed(arguments: &[&str]) -> String {
    let output = quickstart(arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

async fn told(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(&[&["--json"], arguments].concat()).await).unwrap()
}

/// A file that goes with the value.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = directory.join(format!("{}-{name}", std::process::id()));
        fs::write(&file, text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// What the files themselves say, by another way than through tenantry.
fn of_status(status: &str) -> usize {
    #[derive(serde::Deserialize)]
    struct Shown<'l> {
        status: &'l str,
    }
    EXECUTIONS
        .lines()
        .map(|line| serde_json::from_str::<Shown<'_>>(line).unwrap())
        .filter(|shown| shown.status == status)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_the_same_in_memory_and_on_postgres() {
    let database = SCHEMA.database().await;
    let in_memory = told(&[]).await;
    let on_postgres = told(&["--postgres", &database.url_superuser]).await;
    assert_eq!(in_memory, on_postgres);
    assert_eq!(in_memory["reports"], json!(55));
    assert_eq!(in_memory["stored"], json!(55));
    assert_eq!(in_memory["rejected"], json!([]));
    assert_eq!(in_memory["published"], json!(55));
    assert_eq!(
        in_memory["by_status"],
        json!({
            "success": of_status("success"),
            "error": of_status("error"),
            "canceled": of_status("canceled"),
        })
    );
    // Not billed: one retry, one sub-workflow, one error workflow, one that was canceled.
    assert_eq!(in_memory["usage"]["executions"], json!(51));
    assert_eq!(
        in_memory["second_run"],
        json!({"reports": 55, "stored": 0, "known": 55, "rejected": []})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_waited_is_one_in_either_order() {
    let mut lines: Vec<&str> = WAITING.lines().collect();
    let forward = File::new("forward.ndjson", &lines.join("\n"));
    lines.reverse();
    let backward = File::new("backward.ndjson", &lines.join("\n"));
    let mut both = Vec::new();
    for file in [&forward, &backward] {
        let told = told(&[file.path()]).await;
        assert_eq!(told["by_status"], json!({"success": 1}));
        assert_eq!(told["usage"]["executions"], json!(1));
        assert_eq!(told["published"], json!(1));
        both.push(told["usage"].clone());
    }
    assert_eq!(both[0], both[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_read_is_told_with_its_place_and_loses_nothing_else() {
    let mut lines: Vec<&str> = EXECUTIONS.lines().collect();
    lines.insert(3, r#"{"id": "7", "status": "success"}"#);
    lines.insert(9, "no JSON at all");
    let file = File::new("unreadable.ndjson", &lines.join("\n"));
    let told = told(&[file.path()]).await;
    assert_eq!(
        (&told["reports"], &told["stored"]),
        (&json!(57), &json!(55))
    );
    let rejected = told["rejected"].as_array().unwrap();
    let places: Vec<_> = rejected.iter().map(|item| &item["index"]).collect();
    assert_eq!(places, [3, 9]);
    let reason = rejected[0]["reason"].as_str().unwrap();
    assert!(reason.contains("`workflowId` is missing"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_people_what_happened() {
    let text = printed(&[]).await;
    for part in [
        "55 reports: 55 stored, 0 known, 0 rejected",
        "tenant acme",
        "tenant globex",
        "55 updates published",
        "the same files again: 0 stored, 55 known, 0 rejected",
        "an execution of acme, asked for by globex: ",
        "not found",
    ] {
        assert!(text.contains(part), "{part:?} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_argument_is_refused_with_what_would_be_right() {
    for (arguments, message) in [
        (&["--jsn"][..], "--jsn is not known; there are --json"),
        (&["--postgres"], "--postgres needs the URL of a database"),
        (&["no-such-file.ndjson"], "no-such-file.ndjson: "),
    ] {
        let output = quickstart(arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(errors.contains(message), "{errors}");
    }
}
