//! Tests of the test support itself.

use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{env, fs};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};

use super::pgbouncer::PgBouncer;
use super::postgres::process::private_directory;
use super::postgres::{Programs, Server, Settings, Template, URL_VARIABLE};

/// How long a thing may take to go, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

static TEMPLATE: Template = Template::new("harness", &[], |url| Box::pin(migrate(url)));

async fn migrate(url: String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut connection = PgConnection::connect(&url).await?;
    connection
        .execute(
            "CREATE TABLE notes (note text PRIMARY KEY); INSERT INTO notes VALUES ('of the template');
             GRANT SELECT ON notes TO PUBLIC",
        )
        .await?;
    Ok(())
}

async fn notes(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT note FROM notes ORDER BY note")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_test_has_a_copy_of_the_template_to_itself() {
    let (one, other) = (TEMPLATE.database().await, TEMPLATE.database().await);
    let pool = one.pool().await;
    sqlx::query("INSERT INTO notes VALUES ('of one')")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        notes(&one.url_superuser).await,
        ["of one", "of the template"]
    );
    assert_eq!(notes(&other.url_superuser).await, ["of the template"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_can_be_made_at_once() {
    let tasks: Vec<_> = (0..6)
        .map(|_| tokio::spawn(async { notes(&TEMPLATE.database().await.url_plain).await }))
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), ["of the template"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_database_goes() {
    let database = TEMPLATE.database().await;
    let (server, url) = (database.server(), database.url_superuser.clone());
    drop(database);
    let gone = within(PATIENCE, async || {
        PgConnection::connect(&url).await.is_err()
    });
    assert!(gone.await, "{url}");
    server.execute("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_login_is_as_weak_as_a_host_should_be() {
    static WITH_ROLE: Template =
        Template::new("role", &["pg_read_all_stats"], |url| Box::pin(migrate(url)));
    let database = WITH_ROLE.database().await;
    let rights = "SELECT rolsuper, rolbypassrls, rolcreaterole,
                         pg_has_role(current_user, 'pg_read_all_stats', 'MEMBER')
                  FROM pg_roles WHERE rolname = current_user";
    let read = async |url: &str| -> (bool, bool, bool, bool) {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_as(rights)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    assert_eq!(read(&database.url_plain).await, (false, false, false, true));
    assert!(read(&database.url_superuser).await.0);
    let stranger = database.login("stranger", "CREATEROLE").await;
    assert_eq!(read(&stranger).await, (false, false, true, false));

    let own: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&database.pool_plain().await)
        .await
        .unwrap();
    assert!(database.url_plain.contains(&own));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_fails_every_test_with_its_reason() {
    static BROKEN: Template = Template::new("broken", &[], |url| {
        Box::pin(async move {
            PgConnection::connect(&url)
                .await?
                .execute("SELECT 1/0")
                .await?;
            Ok(())
        })
    });
    static PANICS: Template = Template::new("panics", &[], |_| {
        Box::pin(async { panic!("no such thing") })
    });
    for _ in 0..2 {
        let why = BROKEN.try_database().await.unwrap_err();
        assert!(
            why.starts_with("the template database `broken`: its migration failed"),
            "{why}"
        );
        assert!(why.contains("division by zero"), "{why}");
        let why = PANICS.try_database().await.unwrap_err();
        assert!(why.contains("no such thing"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_for_benchmarks_can_be_durable_and_ends_with_its_value() {
    let settings = Settings {
        durable: true,
        more: &[("shared_buffers", "48MB"), ("search_path", "it''s, public")],
    };
    let server = Server::start(settings).await.unwrap();
    let directory = server.directory().unwrap().to_owned();
    let mut connection = PgConnection::connect(&server.url("postgres", "superuser"))
        .await
        .unwrap();
    let read: (String, String, String) = sqlx::query_as(
        "SELECT current_setting('fsync'), current_setting('shared_buffers'),
                current_setting('max_connections')",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(read, ("on".into(), "48MB".into(), "300".into()));
    let over_tcp = server.url_tcp("postgres", "app_plain");
    assert!(over_tcp.contains("127.0.0.1"), "{over_tcp}");
    assert!(PgConnection::connect(&over_tcp).await.is_ok());
    let guessed = PgConnectOptions::from_str(&over_tcp)
        .unwrap()
        .password("guessed");
    assert!(guessed.connect().await.is_err());

    assert!(directory.is_dir());
    drop(server);
    assert!(!directory.exists());
    assert!(connection.ping().await.is_err());
}

#[test]
fn missing_programs_are_named_with_the_places() {
    assert_eq!(
        Programs::find(&[PathBuf::from("/nowhere/bin")]).unwrap_err(),
        "it takes the programs initdb, postgres and pg_ctl of version 15 or later; none was found. \
         Looked in:\n  /nowhere/bin"
    );
}

#[test]
fn programs_of_an_old_version_are_refused_and_the_newest_is_taken() {
    let root = private_directory("tenantry-programs", None, None).unwrap();
    let version = |number: &str| {
        let directory = root.join(number);
        fs::create_dir(&directory).unwrap();
        for program in ["initdb", "postgres", "pg_ctl"] {
            let file = directory.join(program);
            fs::write(
                &file,
                format!("#!/bin/sh\necho '{program} (PostgreSQL) {number} (Any)'\n"),
            )
            .unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    };
    let (old, new, newest) = (version("14.20"), version("16.1"), version("18beta1"));
    let chosen = Programs::find(&[old.clone(), new, newest.clone()]).unwrap();
    assert_eq!(chosen.directory(), newest);
    let why = Programs::find(std::slice::from_ref(&old)).unwrap_err();
    assert!(
        why.contains(&format!("only version 14 in {}", old.display())),
        "{why}"
    );
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn without_a_server_a_test_fails_and_says_what_to_do() {
    let output = child("each_test_has_a_copy_of_the_template_to_itself")
        .env(URL_VARIABLE, "postgres://nobody@127.0.0.1:1/nothing")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for part in [
        "no PostgreSQL server for the tests: TENANTRY_TEST_DATABASE_URL: ",
        "Either run `tests/run`, which finds or installs what is needed, or set \
         TENANTRY_TEST_DATABASE_URL to a superuser's URL on a server of version 15 or later.",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

/// Set in a child process: how the tests below end it, once it has said what it runs.
const ENDS_BY: &str = "TENANTRY_TEST_ENDS_BY";

/// Runs one test of this file in a process of its own.
fn child(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "--nocapture",
            &format!("{}::{test}", module_path!().split_once("::").unwrap().1),
        ])
        .env_remove(URL_VARIABLE);
    command
}

/// A child process that runs a server, a database and a pooler.
struct Run {
    process: Child,
    url: String,
    directories: Vec<PathBuf>,
    /// Kept open: a test that cannot print fails.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Run {
    fn start(command: &mut Command, ends_by: &str) -> Self {
        let mut process = command
            .env(ENDS_BY, ends_by)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = output.by_ref().map_while(Result::ok);
        let started = lines.any(|line| line == "running now");
        assert!(started, "the child process could not start a server");
        let url = lines.next().unwrap();
        let directories = lines
            .map_while(|line| line.strip_prefix("in ").map(PathBuf::from))
            .collect();
        Self {
            process,
            url,
            directories,
            _output: output,
        }
    }

    /// What the child does: it says what it runs and waits for its end.
    async fn be_one(ends_by: &str) {
        let database = TEMPLATE.database().await;
        let login = database.login("guest", "").await;
        let bouncer = PgBouncer::start(&database, 1).await;
        let through = PgConnectOptions::from_str(&bouncer.url(&login)).unwrap();
        through.extra_float_digits(None).connect().await.unwrap();
        println!(
            "\nrunning now\n{}\nin {}",
            database.url_superuser,
            bouncer.directory().display()
        );
        if let Some(directory) = database.server().directory() {
            println!("in {}", directory.display());
        }
        println!("that is all");
        // The other side says when.
        std::io::stdin().read_to_string(&mut String::new()).unwrap();
        assert_ne!(ends_by, "panic", "it ends as it was told to");
    }

    /// Ends it as it was told it would, and waits until everything it ran is gone.
    async fn end(mut self, ends_by: &str) -> bool {
        assert!(PgConnection::connect(&self.url).await.is_ok());
        if ends_by == "kill" {
            self.process.kill().unwrap();
        }
        drop(self.process.stdin.take());
        let status = self.process.wait().unwrap();
        assert!(!status.success());
        within(PATIENCE, async || {
            self.directories.iter().all(|directory| !directory.exists())
                && PgConnection::connect(&self.url).await.is_err()
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_nothing_behind_however_it_ends() {
    if let Ok(ends_by) = env::var(ENDS_BY) {
        return Run::be_one(&ends_by).await;
    }
    for ends_by in ["panic", "kill"] {
        let run = Run::start(
            &mut child("a_run_leaves_nothing_behind_however_it_ends"),
            ends_by,
        );
        assert_eq!(run.directories.len(), 2);
        assert!(run.directories.iter().all(|directory| directory.is_dir()));
        assert!(run.end(ends_by).await, "after {ends_by}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_a_given_server_leaves_nothing_behind_however_it_ends() {
    let database = TEMPLATE.database().await;
    let mut connection = PgConnection::connect(&database.url_superuser)
        .await
        .unwrap();
    for ends_by in ["panic", "kill"] {
        let mut command = child("a_run_leaves_nothing_behind_however_it_ends");
        command.env(URL_VARIABLE, &database.url_superuser);
        let run = Run::start(&mut command, ends_by);
        let options = PgConnectOptions::from_str(&run.url).unwrap();
        let prefix = options
            .get_database()
            .unwrap()
            .strip_suffix("test_1")
            .unwrap()
            .to_owned();
        assert!(prefix.starts_with("tenantry_test_"), "{prefix}");
        let mut left = async || -> i64 {
            sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM pg_database WHERE starts_with(datname, $1))
                      + (SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1))",
            )
            .bind(&prefix)
            .fetch_one(&mut connection)
            .await
            .unwrap()
        };
        // The template, the clone; the superuser, the plain login, the guest.
        assert_eq!(left().await, 5);
        assert!(run.end(ends_by).await, "after {ends_by}");
        assert!(
            within(PATIENCE, async || left().await == 0).await,
            "after {ends_by}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pooler_shares_a_connection_between_transactions() {
    let database = TEMPLATE.database().await;
    let bouncer = PgBouncer::start(&database, 1).await;
    let options = PgConnectOptions::from_str(&bouncer.url(&database.url_plain))
        .unwrap()
        .extra_float_digits(None);
    let mut backends = Vec::new();
    let (mut one, mut other) = (
        options.connect().await.unwrap(),
        options.connect().await.unwrap(),
    );
    for client in [&mut one, &mut other] {
        let row = client
            .fetch_one("SELECT pg_backend_pid(), current_user::text")
            .await
            .unwrap();
        backends.push(row.get::<i32, _>(0));
        assert_eq!(row.get::<String, _>(1), database.server().name("app_plain"));
    }
    assert_eq!(backends[0], backends[1]);

    let directory = bouncer.directory().to_owned();
    drop(bouncer);
    assert!(!directory.exists());
    assert!(options.connect().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pooler_is_named_with_the_places() {
    let database = TEMPLATE.database().await;
    let nowhere = [PathBuf::from("/nowhere/sbin")];
    assert_eq!(
        PgBouncer::try_start(&database, 1, &nowhere)
            .await
            .unwrap_err(),
        "no pgbouncer for this test. Looked in:\n  /nowhere/sbin\n\
         Run `tests/run`, which finds or installs what is needed."
    );
}

/// Asks again and again until the answer is yes or the time is over.
async fn within(time: Duration, mut yes: impl AsyncFnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if yes().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
