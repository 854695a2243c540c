//! A PostgreSQL for the tests: one server per process, one database per test.
//!
//! The server is a private one, made from installed programs, or the one that
//! `TENANTRY_TEST_DATABASE_URL` names. It goes, with everything in it, when the process ends,
//! however that ends. Each test gets a database of its own, cloned from a template that was
//! migrated once:
//!
//! ```text
//! static TEMPLATE: Template = Template::new("name", &["a_role"], |url| Box::pin(migrate(url)));
//!
//! #[tokio::test(flavor = "multi_thread")]
//! async fn a_test() {
//!     let database = TEMPLATE.database().await;
//!     let pool = database.pool().await;
//! }
//! ```
//!
//! Deliberately absent: anything of the suite. Benchmarks use this directory by `#[path]`.

pub(crate) mod process;
mod server;

use std::error::Error;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

pub(crate) use server::{Programs, Server, Settings, URL_VARIABLE, local, url};

/// What a migration returns.
pub(crate) type Migrated =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send>>;

/// A migrated database that tests get clones of.
#[derive(Debug)]
pub(crate) struct Template {
    name: &'static str,
    roles: &'static [&'static str],
    migrate: fn(String) -> Migrated,
    made: OnceLock<Result<(), String>>,
}

impl Template {
    /// A template made by `migrate`, which gets the URL of a superuser. The plain login becomes a
    /// member of the `roles`, once the migration has created them.
    pub(crate) const fn new(
        name: &'static str,
        roles: &'static [&'static str],
        migrate: fn(String) -> Migrated,
    ) -> Self {
        Self {
            name,
            roles,
            migrate,
            made: OnceLock::new(),
        }
    }

    /// A fresh clone. The first call starts the server and makes the template.
    ///
    /// # Panics
    /// When there is no server, or the migration fails; every call says the same.
    pub(crate) async fn database(&'static self) -> TestDatabase {
        match self.try_database().await {
            Ok(database) => database,
            Err(why) => panic!("{why}"),
        }
    }

    /// The same, for a test of the failure.
    pub(crate) async fn try_database(&'static self) -> Result<TestDatabase, String> {
        let server = Server::shared()?;
        let made = self.made.get_or_init(|| {
            // Two migrations at once would meet at the roles, which belong to the whole server.
            static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
            let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            server::on_a_runtime(async move || self.make(server).await)
        });
        made.clone()
            .map_err(|why| format!("the template database `{}`: {why}", self.name))?;
        TestDatabase::clone_of(server, &self.database_name()).await
    }

    fn database_name(&self) -> String {
        format!("template_{}", self.name)
    }

    async fn make(&self, server: &Server) -> Result<(), String> {
        let name = self.database_name();
        let full_name = server.name(&name);
        server
            .execute(&format!("CREATE DATABASE \"{full_name}\""))
            .await?;
        (self.migrate)(server.url(&name, "superuser"))
            .await
            .map_err(|error| format!("its migration failed: {error}"))?;
        for role in self.roles {
            let plain = server.name("app_plain");
            server
                .execute(&format!("GRANT \"{role}\" TO \"{plain}\""))
                .await?;
        }
        // A database with connections cannot be cloned.
        server
            .execute(&format!(
                "ALTER DATABASE \"{full_name}\" ALLOW_CONNECTIONS false"
            ))
            .await?;
        server
            .execute(&format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                 WHERE datname = '{full_name}'"
            ))
            .await
    }
}

/// A database of one test's own. It is dropped with this value: keep it as long as its pools.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    /// The URL for a login that may do everything.
    pub(crate) url_superuser: String,
    /// The URL for a login like a host's: neither a superuser, nor free of row-level security.
    pub(crate) url_plain: String,
    name: String,
    server: &'static Server,
}

impl TestDatabase {
    async fn clone_of(server: &'static Server, template: &str) -> Result<Self, String> {
        /// The template is in use: a worker of the server's own looks at it now and then.
        const OBJECT_IN_USE: &str = "55006";
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Copying files is the fastest where nothing waits for the disk.
        let strategy = if server.directory().is_some() {
            "STRATEGY file_copy"
        } else {
            ""
        };
        let sql = format!(
            "CREATE DATABASE \"{}\" TEMPLATE \"{}\" {strategy}",
            server.name(&name),
            server.name(template)
        );
        let mut tries = 5;
        loop {
            tries -= 1;
            match server.try_execute(&sql).await {
                Ok(()) => break,
                Err(sqlx::Error::Database(error))
                    if tries > 0 && error.code().as_deref() == Some(OBJECT_IN_USE) =>
                {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(format!("{error} in: {sql}")),
            }
        }
        Ok(Self {
            url_superuser: server.url(&name, "superuser"),
            url_plain: server.url(&name, "app_plain"),
            name,
            server,
        })
    }

    /// The server that the database is on.
    pub(crate) fn server(&self) -> &'static Server {
        self.server
    }

    /// How the superuser reaches the database.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.server.options(&self.name, "superuser")
    }

    /// The same over TCP, for what stands between a test and the server.
    pub(crate) fn options_tcp(&self) -> PgConnectOptions {
        let url = self.server.url_tcp(&self.name, "superuser");
        match url.parse() {
            Ok(options) => options,
            Err(error) => panic!("{error} in: {url}"),
        }
    }

    /// A pool of the superuser's connections. It belongs to the runtime that asks for it.
    pub(crate) async fn pool(&self) -> PgPool {
        connect(self.options()).await
    }

    /// A pool of the plain login's connections. It belongs to the runtime that asks for it.
    pub(crate) async fn pool_plain(&self) -> PgPool {
        connect(self.server.options(&self.name, "app_plain")).await
    }

    /// Creates a login for this test, with attributes such as `NOINHERIT IN ROLE tenantry_tenant`,
    /// and returns its URL.
    pub(crate) async fn login(&self, name: &str, attributes: &str) -> String {
        let login = format!("{}_{name}", self.name);
        if let Err(why) = self.server.create_login(&login, attributes).await {
            panic!("{why}");
        }
        self.server.url(&self.name, &login)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Nobody listens when the process ends; then everything goes anyway.
        let _ = JANITOR.send((self.server, self.server.name(&self.name)));
    }
}

/// Drops databases behind the tests' back, so that a long run doesn't fill the disk.
static JANITOR: LazyLock<mpsc::Sender<(&'static Server, String)>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<(&'static Server, String)>();
    std::thread::spawn(move || {
        while let Ok((server, name)) = receiver.recv() {
            let dropped = server::on_a_runtime(async move || {
                server
                    .execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))
                    .await
            });
            if let Err(why) = dropped {
                eprintln!("a test's database is left behind: {why}");
            }
        }
    });
    sender
});

async fn connect(options: PgConnectOptions) -> PgPool {
    match PgPoolOptions::new()
        .max_connections(10)
        .connect_with(options)
        .await
    {
        Ok(pool) => pool,
        Err(error) => panic!("the test's database cannot be reached: {error}"),
    }
}
