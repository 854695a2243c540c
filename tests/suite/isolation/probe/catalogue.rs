//! What there is to be attacked, read from the catalogue of the database.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection, Row};

/// A table, a partition or a view of the schema.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) partition: bool,
    /// A view or a materialized view.
    pub(super) view: bool,
    /// The column that holds the tenant; `None` if the rows are nobody's.
    pub(super) tenant: Option<String>,
    pub(super) columns: Vec<Column>,
    /// The columns of each unique key, without the tenant. A partitioned table has those of its
    /// partitions too.
    pub(super) keys: Vec<Key>,
    /// The columns of each reference to another table, without the tenant.
    pub(super) references: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: String,
    /// Whether an INSERT may name it: it is not made by the database.
    pub(super) given: bool,
    pub(super) tenant_reads: bool,
    pub(super) tenant_inserts: bool,
    pub(super) tenant_updates: bool,
}

/// A unique key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// All its columns, as after ON CONFLICT; `None` for a key of partitions, which an INSERT into
    /// their table cannot name.
    pub(super) target: Option<String>,
    /// Its columns without the tenant.
    pub(super) columns: Vec<String>,
}

impl Table {
    pub(super) fn path(&self) -> String {
        format!("tenantry.{}", self.name)
    }

    /// The columns that an INSERT of a tenant names: those it may give, or if there are none, all.
    pub(super) fn inserted(&self) -> Vec<&str> {
        let may = |c: &&Column| c.given && c.tenant_inserts;
        let mut columns: Vec<_> = self.columns.iter().filter(may).collect();
        if columns.is_empty() {
            columns = self.columns.iter().filter(|c| c.given).collect();
        }
        columns.iter().map(|c| c.name.as_str()).collect()
    }

    /// The groups of columns that may tell of another tenant's rows: keys and references.
    pub(super) fn groups(&self) -> BTreeSet<Vec<String>> {
        let keys = self.keys.iter().map(|key| &key.columns);
        let groups = keys.chain(&self.references);
        groups.filter(|group| !group.is_empty()).cloned().collect()
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

const TABLES: &str = "
    SELECT c.oid::bigint AS oid, c.relname::text AS name, c.relispartition AS partition,
        c.relkind IN ('v', 'm') AS view,
        CASE WHEN c.relname = 'tenants' THEN 'id' ELSE (
            SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        ) END AS tenant
    FROM pg_class c
    WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    ORDER BY c.relname";

const COLUMNS: &str = "
    SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS data_type,
        a.attgenerated = '' AND a.attidentity <> 'a' AS given,
        has_column_privilege('tenantry_tenant', a.attrelid, a.attnum, 'SELECT') AS reads,
        has_column_privilege('tenantry_tenant', a.attrelid, a.attnum, 'INSERT') AS inserts,
        has_column_privilege('tenantry_tenant', a.attrelid, a.attnum, 'UPDATE') AS updates
    FROM pg_attribute a
    WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

const KEYS: &str = "
    SELECT DISTINCT x.indrelid = $1::bigint::oid AS own,
        (SELECT array_agg(a.attname::text ORDER BY k.place)
            FROM unnest(x.indkey::smallint[]) WITH ORDINALITY k (number, place)
            JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
            WHERE k.place <= x.indnkeyatts) AS columns,
        pg_get_expr(x.indpred, x.indrelid) AS condition
    FROM pg_index x
    WHERE x.indisunique AND (x.indrelid = $1::bigint::oid OR x.indrelid IN (
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = $1::bigint::oid))
    ORDER BY 1 DESC, 2, 3";

const REFERENCES: &str = "
    SELECT (SELECT array_agg(a.attname::text ORDER BY k.place)
        FROM unnest(f.conkey) WITH ORDINALITY k (number, place)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number) AS columns
    FROM pg_constraint f
    WHERE f.conrelid = $1::bigint::oid AND f.contype = 'f'
        -- A tenant reads what is sold anyway, so a reference to it tells nothing.
        AND NOT (has_table_privilege('tenantry_tenant', f.confrelid, 'SELECT')
            AND f.confrelid <> 'tenantry.tenants'::regclass
            AND NOT EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = f.confrelid AND a.attname = 'tenant_id'))
    ORDER BY f.conname";

/// Reads every table, partition and view of the schema.
pub(super) async fn tables(connection: &mut PgConnection) -> Vec<Table> {
    let rows = sqlx::query(TABLES).fetch_all(&mut *connection).await;
    let mut tables = Vec::new();
    for row in rows.unwrap() {
        let oid: i64 = row.get("oid");
        let tenant: Option<String> = row.get("tenant");
        let without_tenant = |columns: Vec<String>| -> Vec<String> {
            let own = |column: &String| Some(column) != tenant.as_ref();
            columns.into_iter().filter(own).collect()
        };
        let columns = sqlx::query(COLUMNS).bind(oid);
        let columns = columns.fetch_all(&mut *connection).await.unwrap();
        let columns = columns.iter().map(|column| Column {
            name: column.get("name"),
            data_type: column.get("data_type"),
            given: column.get("given"),
            tenant_reads: column.get("reads"),
            tenant_inserts: column.get("inserts"),
            tenant_updates: column.get("updates"),
        });
        let keys = sqlx::query(KEYS).bind(oid);
        let keys = keys.fetch_all(&mut *connection).await.unwrap();
        let keys = keys.iter().map(|key| {
            let all: Vec<String> = key.get("columns");
            let condition: Option<String> = key.get("condition");
            let condition = condition.map(|text| format!(" WHERE {text}"));
            let target = format!("({}){}", all.join(", "), condition.unwrap_or_default());
            Key {
                target: key.get::<bool, _>("own").then_some(target),
                columns: without_tenant(all),
            }
        });
        let references = sqlx::query(REFERENCES).bind(oid);
        let references = references.fetch_all(&mut *connection).await.unwrap();
        let references = references.iter().map(|r| without_tenant(r.get("columns")));
        tables.push(Table {
            name: row.get("name"),
            partition: row.get("partition"),
            view: row.get("view"),
            columns: columns.collect(),
            keys: keys.collect(),
            references: references.collect(),
            tenant,
        });
    }
    tables
}

/// A row of a tenant as JSON that `json_populate_record` takes back, and how many there are. Of
/// several, one with as many values as possible.
pub(super) async fn sample(
    connection: &mut PgConnection,
    table: &Table,
    tenant: &str,
) -> Option<(Map<String, Value>, u64)> {
    let column = table.tenant.as_ref()?;
    let sql = format!(
        "SELECT row_to_json(t)::text AS sample, count(*) OVER () AS rows
        FROM {} t WHERE t.{column} = '{tenant}'
        ORDER BY num_nonnulls(t.*) DESC, row_to_json(t)::text LIMIT 1",
        table.path()
    );
    let nonnulls = table.columns.iter().map(|c| format!("t.{}", c.name));
    let nonnulls = nonnulls.collect::<Vec<_>>().join(", ");
    let sql = sql.replace("t.*", &nonnulls);
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(connection);
    let row = row.await.unwrap()?;
    let sample = serde_json::from_str(&row.get::<String, _>("sample")).unwrap();
    Some((sample, row.get::<i64, _>("rows").unsigned_abs()))
}
