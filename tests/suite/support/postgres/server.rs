//! The server behind the tests: a private one from installed programs, or the one that
//! `TENANTRY_TEST_DATABASE_URL` names.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::LazyLock;
use std::thread;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::process::{
    Account, Watchdog, free_port, is_program, memory_disk, private_directory, search_path, write,
};

/// The oldest version that tenantry supports.
const OLDEST: u32 = 15;

/// A superuser's URL of a server to use instead of a private one.
pub(crate) const URL_VARIABLE: &str = "TENANTRY_TEST_DATABASE_URL";

/// Where the packages of the common systems put PostgreSQL.
const USUAL: [&str; 10] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/bin",
];

/// How a private server is set up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settings {
    /// Whether a commit waits for the disk: for benchmarks. Tests don't need it.
    pub(crate) durable: bool,
    /// More lines of `postgresql.conf`: name and value.
    pub(crate) more: &'static [(&'static str, &'static str)],
}

impl Settings {
    fn lines(self, port: u16, directory: &Path) -> String {
        let directory = directory.display();
        let mut lines = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{directory}'\n\
             max_connections = 300\n"
        );
        if !self.durable {
            lines += "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n\
                      wal_level = minimal\nmax_wal_senders = 0\nmax_wal_size = 256MB\n";
        }
        for (name, value) in self.more {
            lines += &format!("{name} = '{}'\n", value.replace('\'', "''"));
        }
        lines
    }
}

/// A running server, and how it is reached. A private one is stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// How the tests' first connection is made.
    first: PgConnectOptions,
    /// Begins every name that the run creates, so that two runs on one server never meet.
    prefix: String,
    /// The password of every login that the run creates.
    password: String,
    /// The data, logs and socket of a private server.
    directory: Option<PathBuf>,
    _watchdog: Watchdog,
}

impl Server {
    /// The server that all tests of this process share, started by the first that asks.
    ///
    /// # Errors
    /// What is missing, where it was looked for and what to do about it; the same for every caller.
    pub(crate) fn shared() -> Result<&'static Self, String> {
        static SHARED: LazyLock<Result<Server, String>> = LazyLock::new(|| {
            let started = match std::env::var(URL_VARIABLE) {
                Ok(url) if !url.is_empty() => on_a_runtime(async move || Server::given(&url).await),
                _ => on_a_runtime(async || Server::start(Settings::default()).await),
            };
            started.map_err(|why| {
                format!(
                    "no PostgreSQL server for the tests: {why}\n\
                     Either run `tests/run`, which finds or installs what is needed, or set \
                     {URL_VARIABLE} to a superuser's URL on a server of version {OLDEST} or later."
                )
            })
        });
        SHARED.as_ref().map_err(Clone::clone)
    }

    /// Starts a private server from the newest installed programs.
    pub(crate) async fn start(settings: Settings) -> Result<Self, String> {
        let programs = Programs::installed()?;
        let account = Account::for_servers()?;
        // Another process may take the port between the look and the start.
        let mut tries = 3;
        loop {
            tries -= 1;
            match Self::start_once(&programs, account, settings) {
                Ok(server) => {
                    server.create_logins().await?;
                    return Ok(server);
                }
                Err(why) if tries > 0 && why.contains("Address already in use") => {}
                Err(why) => return Err(why),
            }
        }
    }

    fn start_once(
        programs: &Programs,
        account: Option<Account>,
        settings: Settings,
    ) -> Result<Self, String> {
        /// An ICU collation, because servers in use have a linguistic one: an order that only
        /// holds in the collation `C` must not pass.
        const SCRIPT: &str = r#"
            started() {
                cd "$2" &&
                "$1/initdb" -D data -U superuser --pwfile=password --no-sync --no-instructions \
                    --encoding=UTF8 --locale=C --locale-provider=icu --icu-locale=en-US \
                    --auth-local=trust --auth-host=password >initdb.log 2>&1 &&
                cat settings.conf >>data/postgresql.conf &&
                "$1/pg_ctl" start -D data -w -t 60 -l postgres.log >start.log 2>&1 </dev/null
            }
            if started "$1" "$2"; then echo ready; else echo failed; fi
            cat >/dev/null
            "$1/pg_ctl" stop -D "$2/data" -m immediate >/dev/null 2>&1
            cd / && rm -rf "$2"
        "#;
        let password = random_hex()?;
        let port = free_port()?;
        // What is lost with the machine anyway is many times faster in memory.
        let place = if settings.durable {
            None
        } else {
            memory_disk()
        };
        let directory = private_directory("tenantry-pg", place, account)?;
        write(&directory, "password", &password, account)?;
        let lines = settings.lines(port, &directory);
        write(&directory, "settings.conf", &lines, account)?;
        let arguments = [programs.directory.clone().into(), directory.clone().into()];
        let (watchdog, answer) = Watchdog::start(SCRIPT, &arguments, account)?;
        if answer != "ready" {
            return Err(format!(
                "PostgreSQL in {} did not start:{}",
                programs.directory.display(),
                logs(&directory)
            ));
        }
        let first = PgConnectOptions::new_without_pgpass()
            .socket(&directory)
            .port(port)
            .ssl_mode(PgSslMode::Disable)
            .database("postgres")
            .username("superuser")
            .password(&password);
        Ok(Self {
            first,
            prefix: String::new(),
            password,
            directory: Some(directory),
            _watchdog: watchdog,
        })
    }

    /// Uses a server that somebody else runs. What the tests create there goes when they end.
    async fn given(url: &str) -> Result<Self, String> {
        /// The kill stops a clone that is still being made; it would land after the sweep.
        const SCRIPT: &str = r#"
            echo ready
            cat >/dev/null
            "$1" -Xq "$2" >/dev/null <<END
                SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                    WHERE application_name = '$3' AND pid <> pg_backend_pid();
                SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname)
                    FROM pg_database WHERE starts_with(datname, '$3') \gexec
                SELECT format('DROP ROLE IF EXISTS %I', rolname)
                    FROM pg_roles WHERE starts_with(rolname, '$3') \gexec
END
        "#;
        let problem = |error: sqlx::Error| format!("{URL_VARIABLE}: {error}");
        let prefix = format!("tenantry_test_{}_", random_hex()?.split_at(12).0);
        let first = PgConnectOptions::from_str(url)
            .map_err(problem)?
            .application_name(&prefix);
        let mut connection = first.connect().await.map_err(problem)?;
        let (version, superuser): (i32, bool) = sqlx::query_as(
            "SELECT current_setting('server_version_num')::int, rolsuper
             FROM pg_roles WHERE rolname = current_user",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(problem)?;
        if version.unsigned_abs() / 10_000 < OLDEST || !superuser {
            return Err(format!(
                "{URL_VARIABLE} must be the URL of a superuser on version {OLDEST} or later; it is \
                 version {} and {} superuser",
                version / 10_000,
                if superuser { "a" } else { "no" }
            ));
        }
        let psql = search_path(&USUAL)
            .into_iter()
            .map(|directory| directory.join("psql"))
            .find(|file| is_program(file))
            .ok_or_else(|| {
                format!("{URL_VARIABLE} needs `psql`, to clean up even after a killed run")
            })?;
        let arguments: [OsString; 3] = [psql.into(), url.into(), prefix.clone().into()];
        let (watchdog, _) = Watchdog::start(SCRIPT, &arguments, None)?;
        let server = Self {
            first,
            prefix,
            password: random_hex()?,
            directory: None,
            _watchdog: watchdog,
        };
        server.create_logins().await?;
        Ok(server)
    }

    async fn create_logins(&self) -> Result<(), String> {
        if !self.prefix.is_empty() {
            self.create_login("superuser", "SUPERUSER").await?;
        }
        self.create_login("app_plain", "NOSUPERUSER NOBYPASSRLS")
            .await
    }

    /// Creates a login with the run's password and these further attributes.
    pub(crate) async fn create_login(&self, name: &str, attributes: &str) -> Result<(), String> {
        let (role, password) = (self.name(name), &self.password);
        self.execute(&format!(
            "CREATE ROLE \"{role}\" LOGIN PASSWORD '{password}' {attributes}"
        ))
        .await
    }

    /// The run's own name for a database or a role.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The directory of a private server.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The password of every login of the run.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// How a login of the run reaches a database of the run.
    pub(crate) fn options(&self, database: &str, login: &str) -> PgConnectOptions {
        self.first
            .clone()
            .database(&self.name(database))
            .username(&self.name(login))
            .password(&self.password)
    }

    /// The same as a URL.
    pub(crate) fn url(&self, database: &str, login: &str) -> String {
        url(&self.options(database, login))
    }

    /// The same over TCP, for what cannot use a private server's socket. It takes the password,
    /// which costs a connection some milliseconds.
    pub(crate) fn url_tcp(&self, database: &str, login: &str) -> String {
        let options = self.options(database, login);
        if self.directory.is_none() {
            return url(&options);
        }
        let (database, login) = (self.name(database), self.name(login));
        url(&local(options.get_port(), &login, &self.password).database(&database))
    }

    /// Runs statements outside of the tests' databases, as the superuser.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), String> {
        self.try_execute(sql)
            .await
            .map_err(|error| format!("{error} in: {}", sql.replace(&self.password, "***")))
    }

    /// The same with the database's own error.
    pub(crate) async fn try_execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut connection = self.first.connect().await?;
        connection
            .execute(AssertSqlSafe(sql.to_owned()))
            .await
            .map(drop)?;
        connection.close().await
    }
}

/// How a program of the tests on this machine is reached over TCP.
pub(crate) fn local(port: u16, login: &str, password: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .ssl_mode(PgSslMode::Disable)
        .username(login)
        .password(password)
}

/// The URL of these options, without the parameter that only sqlx knows.
pub(crate) fn url(options: &PgConnectOptions) -> String {
    let mut url = options.to_url_lossy();
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "statement-cache-capacity")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept);
    url.into()
}

/// Runs the future to its end on a thread and a runtime of its own: the caller's runtime is that
/// of one test, and goes with it.
pub(crate) fn on_a_runtime<T, F>(work: F) -> Result<T, String>
where
    T: Send + 'static,
    F: AsyncFnOnce() -> Result<T, String> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    thread::spawn(move || runtime.block_on(work()))
        .join()
        .unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(text.unwrap_or_else(|| "it panicked".to_owned()))
        })
}

fn random_hex() -> Result<String, String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn logs(directory: &Path) -> String {
    ["initdb.log", "start.log", "postgres.log"]
        .iter()
        .filter_map(|file| fs::read_to_string(directory.join(file)).ok())
        .flat_map(|text| {
            let lines: Vec<String> = text.lines().map(|line| format!("\n  {line}")).collect();
            let skipped = lines.len().saturating_sub(20);
            lines.into_iter().skip(skipped)
        })
        .collect()
}

/// The directory with the newest `initdb`, `postgres` and `pg_ctl`.
#[derive(Debug)]
pub(crate) struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Where they are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The newest on this machine, where PATH leads or packages put them.
    pub(crate) fn installed() -> Result<Self, String> {
        Self::find(&search_path(&USUAL))
    }

    /// Takes the newest version, if it is not too old.
    ///
    /// # Errors
    /// What is missing and where it was looked for.
    pub(crate) fn find(places: &[PathBuf]) -> Result<Self, String> {
        let complete = |directory: &Path| {
            ["initdb", "postgres", "pg_ctl"]
                .iter()
                .all(|program| is_program(&directory.join(program)))
        };
        let newest = places
            .iter()
            .filter(|directory| complete(directory))
            .filter_map(|directory| Some((version(directory)?, directory)))
            .max_by_key(|(version, _)| *version);
        match newest {
            Some((version, directory)) if version >= OLDEST => Ok(Self {
                directory: directory.clone(),
            }),
            other => {
                let found = other.map_or_else(
                    || "none was found".to_owned(),
                    |(version, directory)| {
                        format!("only version {version} in {}", directory.display())
                    },
                );
                let places: String = places
                    .iter()
                    .map(|place| format!("\n  {}", place.display()))
                    .collect();
                Err(format!(
                    "it takes the programs initdb, postgres and pg_ctl of version {OLDEST} or \
                     later; {found}. Looked in:{places}"
                ))
            }
        }
    }
}

/// The first number of `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version(directory: &Path) -> Option<u32> {
    let output = Command::new(directory.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (_, number) = text.split_once("(PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
