//! Runs statements as a tenant, each undone afterwards, and tells what came of them.

use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use super::catalogue::Table;

/// What a tenant is told of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done, with so many rows.
    Done(u64),
    /// It was refused: SQLSTATE, and everything that the database says of it.
    Refused { code: String, told: String },
}

impl Outcome {
    pub(super) fn is_refused(&self, by: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == by)
    }

    /// The same as if it had been about another value.
    pub(super) fn about(self, values: &[String]) -> Self {
        match self {
            Self::Done(rows) => Self::Done(rows),
            Self::Refused { code, mut told } => {
                for value in values {
                    told = told.replace(value.as_str(), "…");
                }
                Self::Refused { code, told }
            }
        }
    }

    fn of(result: Result<u64, sqlx::Error>) -> Self {
        let error = match result {
            Ok(rows) => return Self::Done(rows),
            Err(sqlx::Error::Database(error)) => error,
            Err(other) => panic!("the probe itself failed: {other}"),
        };
        let error = error.downcast_ref::<PgDatabaseError>();
        let told = [
            Some(error.message()),
            error.detail(),
            error.hint(),
            error.table(),
            error.column(),
            error.constraint(),
            error.r#where(),
        ];
        Self::Refused {
            code: error.code().to_owned(),
            told: told.into_iter().flatten().collect::<Vec<_>>().join(" | "),
        }
    }
}

/// The tenant for which the statements run, or what stands in the setting instead.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting<'s> {
    Unset,
    To(&'s str),
}

/// A superuser's connection inside a transaction that is never committed.
pub(super) struct Attacker<'c> {
    pub(super) connection: &'c mut PgConnection,
    fingerprint: String,
    before: String,
}

impl<'c> Attacker<'c> {
    /// `guarded` is the tenant whose rows are watched.
    pub(super) async fn new(
        connection: &'c mut PgConnection,
        tables: &[Table],
        guarded: &str,
    ) -> Self {
        let fingerprint = fingerprint(tables, guarded);
        let before = print(connection, &fingerprint).await;
        Self {
            connection,
            fingerprint,
            before,
        }
    }

    /// Runs a statement as the role of tenants, after `first` as a superuser without triggers and
    /// references. Tells also whether a watched row was changed, replaced or locked.
    pub(super) async fn run(
        &mut self,
        setting: Setting<'_>,
        first: &str,
        sql: &str,
    ) -> (Outcome, bool) {
        let set = match setting {
            Setting::Unset => String::new(),
            Setting::To(value) => format!("SET LOCAL tenantry.tenant_id = '{value}';"),
        };
        self.execute(format!(
            "SAVEPOINT attack; SET LOCAL session_replication_role = replica; {first};
            SET LOCAL session_replication_role = origin; SET LOCAL ROLE tenantry_tenant; {set}"
        ))
        .await;
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let result = (&mut *self.connection).execute(statement).await;
        let outcome = Outcome::of(result.map(|done| done.rows_affected()));
        let mut touched = false;
        if matches!(outcome, Outcome::Done(_)) && !sql.starts_with("SELECT") {
            self.execute("RESET ROLE".to_owned()).await;
            touched = !self.is_untouched().await;
        }
        self.execute("ROLLBACK TO SAVEPOINT attack; RELEASE SAVEPOINT attack".to_owned())
            .await;
        (outcome, touched)
    }

    /// Whether all watched rows are as they were.
    pub(super) async fn is_untouched(&mut self) -> bool {
        print(self.connection, &self.fingerprint).await == self.before
    }

    async fn execute(&mut self, sql: String) {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql));
        (&mut *self.connection).execute(statement).await.unwrap();
    }
}

/// The query for a checksum over all columns of all rows that no statement of the attacker may
/// touch: the guarded tenant's and those that are no tenant's. A row's place and who has written
/// it count, and who has locked it where it is a tenant's.
fn fingerprint(tables: &[Table], guarded: &str) -> String {
    let stored = tables
        .iter()
        .filter(|table| !table.partition && !table.view);
    let parts = stored.map(|table| {
        // A reference to what is sold shares a lock on it, and that disturbs nobody.
        let (locks, rows) = match &table.tenant {
            Some(column) => ("t.xmax,", format!("WHERE t.{column} = '{guarded}'")),
            None => ("", String::new()),
        };
        format!(
            "SELECT '{}' AS name, md5(string_agg(
                concat_ws(' ', t.ctid, t.xmin, {locks} t.*::text), '\n' ORDER BY t.*::text)) AS sum
            FROM {} t {rows}",
            table.name,
            table.path()
        )
    });
    let parts = parts.collect::<Vec<_>>().join("\nUNION ALL ");
    format!(
        "SELECT string_agg(name || ' ' || coalesce(sum, '-'), ', ' ORDER BY name) FROM ({parts}) s"
    )
}

async fn print(connection: &mut PgConnection, fingerprint: &str) -> String {
    let query = sqlx::query(AssertSqlSafe(fingerprint.to_owned()));
    query.fetch_one(connection).await.unwrap().get(0)
}
