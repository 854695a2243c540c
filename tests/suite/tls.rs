//! TLS is the host's pool's business: what it asks for holds for everything that tenantry does.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{Executor, Row};
use tenantry::domain::tenancy::NewTenant;
use tenantry::postgres::{MigrateOptions, PgOptions, PgStore};
use tenantry::{PlatformContext, Tenantry};

use crate::support::postgres::process::{Account, write};
use crate::support::postgres::{Server, Settings, local};

/// A server that speaks TLS, with a certificate of its own making for `localhost`.
struct Secured {
    server: Server,
    certificate: PathBuf,
}

impl Secured {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let server = Server::start(Settings::default()).await.unwrap();
        let directory = server.directory().unwrap().to_owned();
        let account = Account::for_servers().unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        write(&directory, "server.crt", &certificate, account).unwrap();
        write(&directory, "server.key", &key, account).unwrap();
        for (name, value) in [
            ("ssl_cert_file", directory.join("server.crt")),
            ("ssl_key_file", directory.join("server.key")),
            ("ssl", PathBuf::from("on")),
        ] {
            let sql = format!("ALTER SYSTEM SET {name} = '{}'", value.display());
            server.execute(&sql).await.unwrap();
        }
        server.execute("SELECT pg_reload_conf()").await.unwrap();
        let certificate = directory.join("server.crt");
        assert!(fs::exists(&certificate).unwrap());
        Self {
            server,
            certificate,
        }
    }

    /// Over TCP, as a host in another place would.
    fn options(&self) -> PgConnectOptions {
        let inside = self.server.options("postgres", "superuser");
        local(inside.get_port(), "superuser", self.server.password())
            .host("localhost")
            .database("postgres")
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(&self.certificate)
    }

    /// The server takes up its new settings a moment after it was told to.
    async fn pool(&self) -> PgPool {
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(self.options());
        for _ in 0..100 {
            if pool.acquire().await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pool
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_is_as_secure_as_the_pool_s() {
    let secured = Secured::start().await;
    let pool = secured.pool().await;
    let store = PgStore::connect(pool.clone(), PgOptions::new())
        .await
        .unwrap();
    store.migrate(&MigrateOptions::new()).await.unwrap();
    let _wake = PgStore::listen(secured.options()).await.unwrap();
    let app = Tenantry::new(std::sync::Arc::new(store.clone()));
    let new = NewTenant::named("acme").unwrap();
    let system = PlatformContext::system();
    app.tenants().create(&system, new).await.unwrap();
    store.health().await.unwrap();
    let row = pool
        .fetch_one(
            "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
            FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE backend_type = 'client backend'",
        )
        .await
        .unwrap();
    let (secure, insecure): (i64, i64) = (row.get(0), row.get(1));
    assert!(secure >= 2, "the pool's, and the listener's: {secure}");
    assert_eq!(insecure, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let secured = Secured::start().await;
    let _works = secured.pool().await.acquire().await.unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let trusted = other.cert.pem().into_bytes();
    let options = secured.options().ssl_root_cert_from_pem(trusted);
    let refused = PgPoolOptions::new()
        .connect_with(options)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("invalid peer certificate"),
        "{refused}"
    );
}
