//! A private pgbouncer in transaction mode, in front of one test's database.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::postgres::process::{
    Account, Watchdog, free_port, is_program, private_directory, search_path, write,
};
use super::postgres::{TestDatabase, local, url};

/// Packages put it where only root's `PATH` leads.
const USUAL: [&str; 5] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/pgbouncer/bin",
];

/// A running pgbouncer. It ends when it is dropped, or with the process, however that ends.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    port: u16,
    password: String,
    directory: PathBuf,
    _watchdog: Watchdog,
}

impl PgBouncer {
    /// Starts one that shares `connections` server connections per login among all its clients.
    ///
    /// Every login that exists now may use it, with the same password.
    ///
    /// # Panics
    /// When there is no pgbouncer, with what is missing and what to do about it.
    pub(crate) async fn start(database: &TestDatabase, connections: u16) -> Self {
        match Self::try_start(database, connections, &search_path(&USUAL)).await {
            Ok(bouncer) => bouncer,
            Err(why) => panic!("{why}"),
        }
    }

    /// The same with the places to look in, for a test of the failure.
    pub(crate) async fn try_start(
        database: &TestDatabase,
        connections: u16,
        places: &[PathBuf],
    ) -> Result<Self, String> {
        let program = places
            .iter()
            .map(|place| place.join("pgbouncer"))
            .find(|file| is_program(file))
            .ok_or_else(|| {
                let places: String = places
                    .iter()
                    .map(|place| format!("\n  {}", place.display()))
                    .collect();
                format!(
                    "no pgbouncer for this test. Looked in:{places}\n\
                     Run `tests/run`, which finds or installs what is needed."
                )
            })?;
        let logins = logins(database).await?;
        // Another process may take the port between the look and the start.
        let mut tries = 3;
        loop {
            tries -= 1;
            match Self::start_once(database, connections, program.clone(), &logins) {
                Ok(bouncer) => return Ok(bouncer),
                Err(why) if tries > 0 && why.contains("Address already in use") => {}
                Err(why) => return Err(why),
            }
        }
    }

    fn start_once(
        database: &TestDatabase,
        connections: u16,
        program: PathBuf,
        logins: &str,
    ) -> Result<Self, String> {
        /// No gentler signal ends every version at once while clients are connected.
        const SCRIPT: &str = r#"
            "$1" "$2/pgbouncer.ini" 2>"$2/log" </dev/null >/dev/null &
            tries=300
            until grep -q 'process up' "$2/log"; do
                tries=$((tries - 1))
                if ! kill -0 $! 2>/dev/null || test $tries -eq 0; then break; fi
                sleep 0.1
            done
            if grep -q 'process up' "$2/log"; then echo ready; else echo failed; fi
            cat >/dev/null
            kill -KILL $! 2>/dev/null
            wait
            cd / && rm -rf "$2"
        "#;
        let account = Account::for_servers()?;
        let directory = private_directory("tenantry-pgbouncer", None, account)?;
        let port = free_port()?;
        let options = database.options();
        let name = options.get_database().unwrap_or_default();
        let host = options.get_socket().map_or_else(
            || options.get_host().to_owned(),
            |socket| socket.display().to_string(),
        );
        let server_port = options.get_port();
        let directory_name = directory.display();
        let ini = format!(
            "[databases]\n\
             {name} = host={host} port={server_port} dbname={name}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = md5\n\
             auth_file = {directory_name}/logins\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n\
             max_client_conn = 300\n"
        );
        write(&directory, "pgbouncer.ini", &ini, account)?;
        write(&directory, "logins", logins, account)?;
        let arguments: [OsString; 2] = [program.into(), directory.clone().into()];
        let (watchdog, answer) = Watchdog::start(SCRIPT, &arguments, account)?;
        let reached =
            TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(5));
        if answer != "ready" || reached.is_err() {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            return Err(format!("pgbouncer did not start:\n{log}"));
        }
        Ok(Self {
            port,
            password: database.server().password().to_owned(),
            directory,
            _watchdog: watchdog,
        })
    }

    /// The URL that reaches through the pooler what the given one of the database reaches directly.
    pub(crate) fn url(&self, direct: &str) -> String {
        match PgConnectOptions::from_str(direct) {
            Ok(options) => {
                let through = local(self.port, options.get_username(), &self.password);
                url(&through.database(options.get_database().unwrap_or_default()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Where its files are while it runs.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.directory
    }
}

/// The file of logins: pgbouncer checks clients against it and logs in to the server with it.
async fn logins(database: &TestDatabase) -> Result<String, String> {
    let server = database.server();
    let names: Result<Vec<String>, sqlx::Error> = async {
        let mut connection = database.options().connect().await?;
        sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND starts_with(rolname, '{}')",
            server.name("")
        )))
        .fetch_all(&mut connection)
        .await
    }
    .await;
    Ok(names
        .map_err(|error| format!("the logins for pgbouncer: {error}"))?
        .iter()
        .map(|name| format!("\"{name}\" \"{}\"\n", server.password()))
        .collect())
}
