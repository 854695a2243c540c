//! The statements, made from the catalogue, and what must come of each.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sqlx::{PgConnection, Row};

use super::attack::{Attacker, Outcome, Setting};
use super::catalogue::{Table, sample, tables};
use super::{CALLABLE, OPEN, World};

/// SQLSTATE: the role may not, or a policy forbids it.
const FORBIDDEN: &str = "42501";
/// SQLSTATE: the setting is no UUID.
const NO_UUID: &str = "22P02";

/// A tenant that never existed.
const GHOST: &str = "019a0000-0000-7eee-8eee-eeeeeeeeeeee";

type Record = Map<String, Value>;

/// What both tenants have in one table.
struct Rows {
    mine: Record,
    theirs: Record,
    count: u64,
}

/// An attack in progress.
pub(super) struct Probe<'c> {
    attacker: Attacker<'c>,
    tables: Vec<Table>,
    me: String,
    them: String,
    pub(super) statements: u32,
    pub(super) findings: Vec<String>,
}

impl<'c> Probe<'c> {
    pub(super) async fn new(connection: &'c mut PgConnection, world: &World) -> Self {
        let (me, them) = (world.attacker.tenant(), world.victim.tenant());
        let (me, them) = (me.to_string(), them.to_string());
        let tables = tables(connection).await;
        Self {
            attacker: Attacker::new(connection, &tables, &them).await,
            tables,
            me,
            them,
            statements: 0,
            findings: Vec::new(),
        }
    }

    /// Attacks the tables of this name, or all.
    pub(super) async fn everything(&mut self, only: Option<&str>) {
        let mut tables = self.tables.clone();
        tables.retain(|table| only.is_none_or(|name| name == table.name));
        // Before anything else: a setting that was set once is never absent again.
        for table in tables
            .iter()
            .filter(|table| !table.partition && !table.view)
        {
            if let Some((mine, _)) = sample(self.attacker.connection, table, &self.me).await {
                self.without_tenant(table, &mine, Setting::Unset).await;
            }
        }
        for table in &tables {
            match &table.tenant {
                Some(tenant) if !table.partition => self.tenant_table(table, tenant).await,
                _ => {
                    let open = OPEN.iter().filter(|(name, _, _)| *name == table.name);
                    let open: Vec<_> = open.map(|(_, privilege, _)| *privilege).collect();
                    self.closed(table, &open).await;
                }
            }
        }
        self.functions().await;
        self.sequences().await;
        self.statistics().await;
        if !self.attacker.is_untouched().await {
            self.find("the other tenant's rows", "are not as they were");
        }
    }

    async fn tenant_table(&mut self, table: &Table, tenant: &str) {
        let mine = sample(self.attacker.connection, table, &self.me).await;
        let theirs = sample(self.attacker.connection, table, &self.them).await;
        let (Some((mine, count)), Some((theirs, _))) = (mine, theirs) else {
            let advice = "no row of both tenants: fill it in tests/suite/isolation/probe/seed.rs";
            return self.find(&table.name, advice);
        };
        let rows = Rows {
            mine,
            theirs,
            count,
        };
        let settings = ["", "garbage", GHOST];
        for setting in settings.into_iter().filter(|_| !table.view) {
            self.without_tenant(table, &rows.mine, Setting::To(setting))
                .await;
        }
        self.reads(table, tenant, &rows).await;
        if table.view {
            return self.closed(table, &["select"]).await;
        }
        self.changes(table, tenant, &rows).await;
        self.inserts(table, tenant, &rows).await;
    }

    /// Statements for no tenant at all: none set, none left, none that could be one.
    async fn without_tenant(&mut self, table: &Table, mine: &Record, setting: Setting<'_>) {
        let path = table.path();
        for sql in [
            format!("SELECT 1 FROM {path}"),
            format!("DELETE FROM {path}"),
            insert(table, mine),
        ] {
            let (outcome, touched) = self.attacker.run(setting, "", &sql).await;
            self.statements += 1;
            let nothing = outcome == Outcome::Done(0)
                || outcome.is_refused(FORBIDDEN)
                || outcome.is_refused(NO_UUID) && matches!(setting, Setting::To("garbage"));
            if !nothing || touched {
                self.find(&table.name, &format!("{setting:?}: {sql}: {outcome:?}"));
            }
        }
    }

    async fn reads(&mut self, table: &Table, tenant: &str, rows: &Rows) {
        let (path, me, them) = (table.path(), self.me.clone(), self.them.clone());
        for condition in [
            format!("{tenant} = '{them}'"),
            format!("{tenant} IS DISTINCT FROM '{me}'"),
            // Fails on a row of theirs, if it is looked at before the policy is.
            format!("1 / ({tenant} <> '{them}')::int = 0"),
        ] {
            self.nothing(table, &format!("SELECT 1 FROM {path} WHERE {condition}"))
                .await;
            let locked = format!("SELECT 1 FROM {path} WHERE {condition} FOR UPDATE");
            self.nothing(table, &locked).await;
        }
        for column in table.columns.iter().filter(|c| c.tenant_reads) {
            let (name, cast) = (&column.name, &column.data_type);
            let quoted = literal(rows.theirs.get(name), cast);
            let sql = format!("SELECT {name} FROM {path} WHERE {tenant} <> '{me}'");
            self.nothing(table, &sql).await;
            // `json` has no equality.
            if cast != "json" {
                let sql = format!(
                    "SELECT 1 FROM {path} WHERE {name} = {quoted}::{cast} AND {tenant} <> '{me}'"
                );
                self.nothing(table, &sql).await;
            }
        }
        let all = self.run("", &format!("SELECT 1 FROM {path}")).await.0;
        if all != Outcome::Done(rows.count) && !all.is_refused(FORBIDDEN) {
            let wrong = format!("a tenant with {} rows reads {all:?}", rows.count);
            self.find(&table.name, &wrong);
        }
        let sql = format!("SET LOCAL row_security = off; SELECT 1 FROM {path}");
        let outcome = self.run("", &sql).await.0;
        if !outcome.is_refused(FORBIDDEN) {
            self.find(&table.name, &format!("{sql}: {outcome:?}"));
        }
    }

    async fn changes(&mut self, table: &Table, tenant: &str, rows: &Rows) {
        let (path, me, them) = (table.path(), self.me.clone(), self.them.clone());
        for column in table.columns.iter().filter(|column| column.given) {
            let name = &column.name;
            let set = format!("UPDATE {path} SET {name} = {name}");
            self.nothing(table, &format!("{set} WHERE {tenant} = '{them}'"))
                .await;
            self.only_mine(table, &set, rows.count).await;
        }
        self.nothing(
            table,
            &format!("DELETE FROM {path} WHERE {tenant} = '{them}'"),
        )
        .await;
        self.only_mine(table, &format!("DELETE FROM {path}"), rows.count)
            .await;
        let merge = format!(
            "MERGE INTO {path} t USING (VALUES ('{them}'::uuid)) v (id) ON t.{tenant} = v.id
            WHEN MATCHED THEN DELETE"
        );
        self.nothing(table, &merge).await;
        let truncate = format!("TRUNCATE {path}");
        self.forbidden(table, "", &truncate).await;
        let give =
            |to: &str| format!("UPDATE {path} SET {tenant} = '{to}' WHERE {tenant} = '{me}'");
        self.same(table, "", [&give(&them), &give(GHOST)], &[&them, GHOST])
            .await;
        self.forbidden(table, "", &give(&them)).await;
        for group in table.groups() {
            let (theirs, ghosts) = (pick(&rows.theirs, &group), ghosts(table, rows, &group));
            let values = differing(&theirs, &ghosts);
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let (b, ghost) = (equal(table, &theirs), equal(table, &ghosts));
            for statement in ["SELECT 1 FROM", "DELETE FROM"] {
                let sql = |condition: &str| format!("{statement} {path} WHERE {condition}");
                self.same(table, "", [&sql(&b), &sql(&ghost)], &values)
                    .await;
                self.nothing(table, &sql(&b)).await;
            }
            let set = |to: &Record| {
                format!(
                    "UPDATE {path} SET {} WHERE {tenant} = '{me}'",
                    assign(table, to)
                )
            };
            self.same(table, "", [&set(&theirs), &set(&ghosts)], &values)
                .await;
        }
    }

    async fn inserts(&mut self, table: &Table, tenant: &str, rows: &Rows) {
        let path = table.path();
        let (me, them) = (self.me.clone(), self.them.clone());
        // A row of theirs, as it is, and the same one of nobody's.
        let stolen = insert(table, &rows.theirs);
        let ghost = insert(table, &with(&rows.theirs, tenant, GHOST));
        for conflict in self.conflicts(table) {
            let (stolen, ghost) = (stolen.clone() + &conflict, ghost.clone() + &conflict);
            self.forbidden(table, "", &stolen).await;
            self.same(table, "", [&stolen, &ghost], &[&them, GHOST])
                .await;
        }
        // My own row, put in place of itself, proves that the statement reaches the table.
        let cleared = format!("DELETE FROM {path} WHERE {tenant} = '{me}'");
        let own = insert(table, &rows.mine);
        let outcome = self.run(&cleared, &own).await.0;
        let may = table.columns.iter().any(|c| c.given && c.tenant_inserts);
        if may && outcome != Outcome::Done(1) || !may && !outcome.is_refused(FORBIDDEN) {
            self.find(&table.name, &format!("{own}: {outcome:?}"));
        }
        for group in table.groups() {
            let (theirs, ghosts) = (pick(&rows.theirs, &group), ghosts(table, rows, &group));
            let values = differing(&theirs, &ghosts);
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let (mut b, mut ghost) = (rows.mine.clone(), rows.mine.clone());
            b.extend(theirs);
            ghost.extend(ghosts);
            for conflict in self.conflicts(table) {
                let b = insert(table, &b) + &conflict;
                let ghost = insert(table, &ghost) + &conflict;
                self.same(table, &cleared, [&b, &ghost], &values).await;
            }
        }
    }

    /// Nothing, DO NOTHING, and DO UPDATE over every key.
    fn conflicts(&self, table: &Table) -> Vec<String> {
        let mut conflicts = vec![String::new(), " ON CONFLICT DO NOTHING".to_owned()];
        let given = table.columns.iter().filter(|column| column.given);
        let updated = given.clone().find(|column| column.tenant_updates);
        let updated = updated.or_else(|| given.clone().next());
        if let Some(column) = updated {
            let name = &column.name;
            let targets = table.keys.iter().filter_map(|key| key.target.as_ref());
            conflicts.extend(targets.map(|target| {
                format!(" ON CONFLICT {target} DO UPDATE SET {name} = EXCLUDED.{name}")
            }));
        }
        conflicts
    }

    /// A partition, or what belongs to no tenant: closed, but for what is reviewed.
    async fn closed(&mut self, table: &Table, open: &[&str]) {
        let path = table.path();
        let Some(column) = table.columns.iter().find(|column| column.given) else {
            return self.find(&table.name, "has no column");
        };
        let column = &column.name;
        for (kind, sql) in [
            ("select", format!("SELECT 1 FROM {path}")),
            ("select", format!("SELECT {column} FROM {path} LIMIT 1")),
            ("update", format!("UPDATE {path} SET {column} = {column}")),
            ("delete", format!("DELETE FROM {path}")),
            ("truncate", format!("TRUNCATE {path}")),
            ("insert", format!("INSERT INTO {path} DEFAULT VALUES")),
            (
                "insert",
                format!("INSERT INTO {path} DEFAULT VALUES ON CONFLICT DO NOTHING"),
            ),
        ] {
            if !open.contains(&kind) {
                self.forbidden(table, "", &sql).await;
            }
        }
    }

    /// Every function that a tenant may call is reviewed; those that take an id sense nothing.
    async fn functions(&mut self) {
        let rows = sqlx::query(
            "SELECT p.proname::text AS name, p.prosecdef AS definer,
                oidvectortypes(p.proargtypes) AS arguments
            FROM pg_proc p
            WHERE p.pronamespace = 'tenantry'::regnamespace
                AND p.prorettype <> 'trigger'::regtype
                AND has_function_privilege('tenantry_tenant', p.oid, 'EXECUTE')
            ORDER BY 1",
        )
        .fetch_all(&mut *self.attacker.connection)
        .await
        .unwrap();
        let ids = self.their_ids().await;
        for row in rows {
            let (name, definer): (String, bool) = (row.get("name"), row.get("definer"));
            if !CALLABLE.iter().any(|(reviewed, _)| *reviewed == name) {
                self.find(
                    &name,
                    "a tenant may call this function, and nobody reviewed it",
                );
            }
            if definer && row.get::<String, _>("arguments") == "uuid" {
                let function = Table {
                    name: format!("{name}()"),
                    partition: false,
                    view: false,
                    tenant: None,
                    columns: Vec::new(),
                    keys: Vec::new(),
                    references: Vec::new(),
                };
                let call = |id: &str| format!("DO $$BEGIN PERFORM tenantry.{name}('{id}'); END$$");
                for id in &ids {
                    let statements = [call(id), call(GHOST)];
                    let statements = statements.each_ref().map(String::as_str);
                    self.same(&function, "", statements, &[id, GHOST]).await;
                }
            }
        }
    }

    async fn their_ids(&mut self) -> BTreeSet<String> {
        let mut ids = BTreeSet::from([self.them.clone()]);
        let tables = self.tables.clone();
        for table in tables.iter().filter(|table| !table.partition) {
            let row = sample(self.attacker.connection, table, &self.them).await;
            let id = row.and_then(|(row, _)| Some(row.get("id")?.as_str()?.to_owned()));
            ids.extend(id);
        }
        ids
    }

    /// Numbers that all tenants draw from would tell how much the others write.
    async fn sequences(&mut self) {
        let rows = sqlx::query(
            "SELECT c.relname::text AS name FROM pg_class c
            WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind = 'S'",
        )
        .fetch_all(&mut *self.attacker.connection)
        .await
        .unwrap();
        for row in rows {
            let name: String = row.get("name");
            for sql in [
                format!("SELECT last_value FROM tenantry.{name}"),
                format!("SELECT nextval('tenantry.{name}')"),
            ] {
                let outcome = self.run("", &sql).await.0;
                if !outcome.is_refused(FORBIDDEN) {
                    self.find(&name, &format!("{sql}: {outcome:?}"));
                }
            }
        }
    }

    /// The planner's statistics hold values of all tenants' rows.
    async fn statistics(&mut self) {
        let open: Vec<_> = OPEN
            .iter()
            .map(|(name, _, _)| format!("'{name}'"))
            .collect();
        let sql = format!(
            "SELECT 1 FROM pg_stats WHERE schemaname = 'tenantry' AND tablename NOT IN ({})",
            open.join(", ")
        );
        let outcome = self.run("ANALYZE", &sql).await.0;
        if outcome != Outcome::Done(0) {
            self.find("pg_stats", &format!("{sql}: {outcome:?}"));
        }
    }

    async fn run(&mut self, first: &str, sql: &str) -> (Outcome, bool) {
        self.statements += 1;
        let me = self.me.clone();
        self.attacker.run(Setting::To(&me), first, sql).await
    }

    /// No row, or refused.
    async fn nothing(&mut self, table: &Table, sql: &str) {
        let (outcome, touched) = self.run("", sql).await;
        if outcome != Outcome::Done(0) && !outcome.is_refused(FORBIDDEN) || touched {
            self.find(&table.name, &format!("{sql}: {outcome:?}"));
        }
    }

    /// At most the attacker's own rows, or refused for whatever reason of their own.
    async fn only_mine(&mut self, table: &Table, sql: &str, count: u64) {
        let (outcome, touched) = self.run("", sql).await;
        let wrong = match &outcome {
            Outcome::Done(rows) => *rows > count,
            Outcome::Refused { told, .. } => told.contains(self.them.as_str()),
        };
        if wrong || touched {
            self.find(&table.name, &format!("{sql}: {outcome:?}"));
        }
    }

    async fn forbidden(&mut self, table: &Table, first: &str, sql: &str) {
        let (outcome, touched) = self.run(first, sql).await;
        if !outcome.is_refused(FORBIDDEN) || touched {
            self.find(&table.name, &format!("{sql}: {outcome:?}"));
        }
    }

    /// Two statements that differ in these values have one outcome.
    async fn same(&mut self, table: &Table, first: &str, sql: [&str; 2], values: &[&str]) {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let (b, touched) = self.run(first, sql[0]).await;
        let ghost = self.run(first, sql[1]).await.0;
        let (b, ghost) = (b.about(&values), ghost.about(&values));
        if b != ghost || touched {
            let how = format!("{}: {b:?}, of something that never was: {ghost:?}", sql[0]);
            self.find(&table.name, &how);
        }
    }

    fn find(&mut self, place: &str, what: &str) {
        self.findings.push(format!("{place}: {what}"));
    }
}

fn insert(table: &Table, row: &Record) -> String {
    let columns = table.inserted().join(", ");
    let (path, row) = (table.path(), Value::Object(row.clone()));
    format!(
        "INSERT INTO {path} ({columns})
        SELECT {columns} FROM json_populate_record(NULL::{path}, $row${row}$row$)"
    )
}

fn pick(row: &Record, columns: &[String]) -> Record {
    let picked = columns.iter().map(|name| {
        let value = row.get(name).cloned().unwrap_or_default();
        (name.clone(), value)
    });
    picked.collect()
}

fn with(row: &Record, column: &str, value: &str) -> Record {
    let mut row = row.clone();
    row.insert(column.to_owned(), value.into());
    row
}

/// The same columns with values that never were, in at least one of them: ids if there are any,
/// texts if not. The instant of an id stays, so that it falls into the same month.
fn ghosts(table: &Table, rows: &Rows, group: &[String]) -> Record {
    let mut ghosts = pick(&rows.theirs, group);
    let is = |name: &str, wanted: &str| {
        table
            .column(name)
            .is_some_and(|column| column.data_type == wanted)
    };
    let by_id = group.iter().any(|name| is(name, "uuid"));
    for (name, value) in &mut ghosts {
        let Value::String(text) = value else { continue };
        if by_id && is(name, "uuid") {
            *text = format!("{}eee-8eee-eeeeeeeeeeee", &text[..15]);
        } else if !by_id && is(name, "text") {
            // As long as the other, and within the same alphabet.
            text.pop();
            text.push('q');
        }
    }
    ghosts
}

fn differing(one: &Record, other: &Record) -> Vec<String> {
    let values = one.values().zip(other.values());
    let differing = values.filter(|(one, other)| one != other);
    differing
        .flat_map(|(one, other)| [one.as_str(), other.as_str()])
        .flatten()
        .map(str::to_owned)
        .collect()
}

fn literal(value: Option<&Value>, cast: &str) -> String {
    match value {
        None | Some(Value::Null) => "NULL".to_owned(),
        Some(json @ Value::Array(_)) if cast == "jsonb" => {
            format!("'{}'", json.to_string().replace('\'', "''"))
        }
        Some(Value::String(text)) => format!("'{}'", text.replace('\'', "''")),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| literal(Some(item), cast)).collect();
            format!("ARRAY[{}]", items.join(", "))
        }
        Some(other) => format!("'{}'", other.to_string().replace('\'', "''")),
    }
}

fn equal(table: &Table, values: &Record) -> String {
    comparisons(table, values).join(" AND ")
}

fn assign(table: &Table, values: &Record) -> String {
    comparisons(table, values).join(", ")
}

fn comparisons(table: &Table, values: &Record) -> Vec<String> {
    let one = |(name, value): (&String, &Value)| {
        let cast = table
            .column(name)
            .map_or("text", |column| &column.data_type);
        format!("{name} = {}::{cast}", literal(Some(value), cast))
    };
    values.iter().map(one).collect()
}
