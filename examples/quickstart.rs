//! Real n8n executions flow through tenantry, for two tenants, in memory or on PostgreSQL.
//!
//! ```text
//! cargo run --example quickstart [--json] [--postgres URL] [FILE.ndjson …]
//! ```
//!
//! Each file holds what `GET /api/v1/executions/{id}?includeData=true` answers, one object a line;
//! without a file, a bundled sample is used. A line goes to one of two tenants by the id of its
//! execution: odd ids to `acme`, even ids and lines without a readable id to `globex`. Then the
//! same files are read a second time, which changes nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use rust_decimal::Decimal;
use serde::Serialize;
use tenantry::adapter::n8n;
use tenantry::domain::execution::{ExecutionReport, SyncCounts};
use tenantry::domain::ids::{SourceId, TenantId};
use tenantry::domain::outbox::Delivery;
use tenantry::domain::page::PageRequest;
use tenantry::domain::payload::PayloadPolicy;
use tenantry::domain::tenancy::NewTenant;
use tenantry::domain::text::Name;
use tenantry::domain::time::{Month, Period};
use tenantry::memory::MemoryStore;
use tenantry::postgres::sqlx::PgPool;
use tenantry::postgres::{MigrateOptions, PgOptions, PgStore};
use tenantry::service::{PublishError, Publisher};
use tenantry::store::{Clock, ExecutionFilter, Store, SystemClock, SystemEntropy};
use tenantry::{Context, PlatformContext, Tenantry};

type Outcome<T> = Result<T, Box<dyn Error>>;

const EXECUTIONS: &str = include_str!("../tests/fixtures/n8n/executions.ndjson");
const WORKFLOWS: &str = include_str!("../tests/fixtures/n8n/workflows.ndjson");
/// How many reports one unit of work takes.
const BATCH: usize = 1_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let lines = Lines::read(&options.files)?;
    let clock = Arc::new(ReplayClock {
        not_before: lines.latest,
    });
    let store = open(&options, clock).await?;
    let tenantry = Tenantry::new(Arc::clone(&store));
    make_room(&*store, &lines).await?;
    let tenants = [
        Tenant::create(&tenantry, "acme").await?,
        Tenant::create(&tenantry, "globex").await?,
    ];

    let first = sync(&tenantry, &tenants, &lines).await?;
    let updates = Arc::new(Updates::default());
    let relay = tenantry.relay(Arc::clone(&updates) as Arc<dyn Publisher>);
    while relay.run_once().await?.published > 0 {}
    let second = sync(&tenantry, &tenants, &lines).await?;

    let mut summaries = Vec::new();
    for tenant in &tenants {
        summaries.push(tenant.summary(&tenantry, &lines).await?);
    }
    if options.json {
        let totals = Totals::of(&first, &second, &summaries, updates.count());
        println!("{}", serde_json::to_string_pretty(&totals)?);
    } else {
        show(&tenants, &summaries, &first, &second, &updates);
        show_isolation(&tenantry, &tenants).await?;
    }
    Ok(())
}

/// What the command line asks for.
struct Options {
    json: bool,
    postgres: Option<String>,
    files: Vec<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            json: false,
            postgres: None,
            files: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                "--postgres" => {
                    let url = arguments
                        .next()
                        .ok_or("--postgres needs the URL of a database")?;
                    options.postgres = Some(url);
                }
                "--help" | "-h" => {
                    println!("quickstart [--json] [--postgres URL] [FILE.ndjson …]");
                    std::process::exit(0);
                }
                flag if flag.starts_with('-') => {
                    return Err(format!(
                        "{flag} is not known; there are --json and --postgres URL"
                    )
                    .into());
                }
                file => options.files.push(file.to_owned()),
            }
        }
        Ok(options)
    }
}

/// The machine's clock, but never before the newest report: a replay of recorded executions must
/// not come from the future.
#[derive(Debug)]
struct ReplayClock {
    not_before: DateTime<Utc>,
}

impl Clock for ReplayClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now().max(self.not_before)
    }
}

async fn open(options: &Options, clock: Arc<dyn Clock>) -> Outcome<Arc<dyn Store>> {
    let Some(url) = &options.postgres else {
        return Ok(Arc::new(MemoryStore::with(clock, Arc::new(SystemEntropy))));
    };
    let pool = PgPool::connect(url).await?;
    let store = PgStore::connect(pool, PgOptions::new().clock(clock)).await?;
    store.migrate(&MigrateOptions::new()).await?;
    Ok(Arc::new(store))
}

/// A store keeps months; the reports may be older than those it begins with.
async fn make_room(store: &dyn Store, lines: &Lines) -> Outcome<()> {
    let mut unit = store.begin_platform(&PlatformContext::system()).await?;
    unit.months()
        .ensure(Month::of(lines.earliest), Month::of(lines.latest))
        .await?;
    unit.commit().await?;
    Ok(())
}

/// The reports of all files, each for one of the two tenants, and the lines that are none.
struct Lines {
    of_tenant: [Vec<(usize, ExecutionReport)>; 2],
    unreadable: Vec<Rejected>,
    earliest: DateTime<Utc>,
    latest: DateTime<Utc>,
}

impl Lines {
    fn read(files: &[String]) -> Outcome<Self> {
        let text = if files.is_empty() {
            EXECUTIONS.to_owned()
        } else {
            let mut text = String::new();
            for file in files {
                text.push_str(&std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?);
                text.push('\n');
            }
            text
        };
        let now = SystemClock.now();
        let mut lines = Self {
            of_tenant: [Vec::new(), Vec::new()],
            unreadable: Vec::new(),
            earliest: now,
            latest: DateTime::UNIX_EPOCH,
        };
        let policy = PayloadPolicy::default();
        for item in n8n::parse_many(&text, &policy) {
            let index = item.index;
            match item.result {
                Ok(report) => lines.take(index, report),
                Err(error) => {
                    lines.unreadable.push(Rejected {
                        index,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(lines)
    }

    fn take(&mut self, index: usize, report: ExecutionReport) {
        let end = report.stopped_at().unwrap_or(report.started_at());
        self.earliest = self.earliest.min(report.started_at()).min(end);
        self.latest = self.latest.max(report.started_at()).max(end);
        let odd = report
            .external_id()
            .as_str()
            .bytes()
            .last()
            .is_some_and(|last| last % 2 == 1);
        let [acme, globex] = &mut self.of_tenant;
        if odd { acme } else { globex }.push((index, report));
    }
}

/// A tenant, and the n8n instance whose reports it takes.
struct Tenant {
    id: TenantId,
    name: &'static str,
    source: SourceId,
}

impl Tenant {
    async fn create(tenantry: &Tenantry, name: &'static str) -> Outcome<Self> {
        let operator = PlatformContext::system();
        let tenant = tenantry
            .tenants()
            .create(&operator, NewTenant::named(name)?)
            .await?;
        let ctx = Context::system(tenant.id);
        let source = tenantry
            .sources()
            .register(&ctx, Name::new("n8n")?)
            .await?
            .id;
        let snapshots = n8n::parse_workflows(WORKFLOWS)
            .map(|item| item.result)
            .collect::<Result<Vec<_>, _>>()?;
        tenantry
            .workflows()
            .import(&ctx, source, &snapshots)
            .await?;
        Ok(Self {
            id: tenant.id,
            name,
            source,
        })
    }

    fn context(&self) -> Context {
        Context::system(self.id)
    }

    async fn summary(&self, tenantry: &Tenantry, lines: &Lines) -> Outcome<Summary> {
        let ctx = self.context();
        let mut summary = Summary::default();
        let mut request = PageRequest::first(PageRequest::MAX);
        loop {
            let filter = ExecutionFilter::default();
            let page = tenantry.executions().list(&ctx, &filter, &request).await?;
            for execution in &page.items {
                *summary
                    .by_status
                    .entry(execution.status.to_string())
                    .or_default() += 1;
            }
            let Some(next) = page.next else { break };
            request = PageRequest::first(PageRequest::MAX).after(next);
        }
        let whole = Period::new(
            Month::of(lines.earliest).start(),
            Month::of(lines.latest).end(),
        )?;
        for total in tenantry.metering().totals(&ctx, &whole, None).await? {
            summary.usage.insert(total.meter.to_string(), total.value);
        }
        Ok(summary)
    }
}

/// What a tenant has after the first run.
#[derive(Default)]
struct Summary {
    by_status: BTreeMap<String, usize>,
    usage: BTreeMap<String, Decimal>,
}

/// A line that was not taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Rejected {
    index: usize,
    reason: String,
}

/// What one run over all lines did.
#[derive(Debug, Default, Serialize)]
struct Run {
    reports: usize,
    stored: usize,
    known: usize,
    rejected: Vec<Rejected>,
}

async fn sync(tenantry: &Tenantry, tenants: &[Tenant; 2], lines: &Lines) -> Outcome<Run> {
    let mut run = Run {
        rejected: lines.unreadable.clone(),
        ..Run::default()
    };
    let bar = progress(lines.of_tenant.iter().map(Vec::len).sum());
    for (tenant, reports) in tenants.iter().zip(&lines.of_tenant) {
        for batch in reports.chunks(BATCH) {
            let (places, reports): (Vec<usize>, Vec<ExecutionReport>) =
                batch.iter().cloned().unzip();
            let done = tenantry
                .executions()
                .sync(&tenant.context(), tenant.source, &reports)
                .await?;
            let SyncCounts { stored, known, .. } = done.counts();
            run.stored += stored;
            run.known += known;
            for (place, reason) in done.rejected() {
                let index = places.get(place).copied().unwrap_or(place);
                run.rejected.push(Rejected {
                    index,
                    reason: reason.to_string(),
                });
            }
            bar.inc(u64::try_from(reports.len())?);
        }
    }
    bar.finish_and_clear();
    run.rejected.sort_by_key(|rejected| rejected.index);
    run.reports = run.stored + run.known + run.rejected.len();
    Ok(run)
}

fn progress(reports: usize) -> ProgressBar {
    if reports <= BATCH || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} reports, {per_sec}, {eta} left");
    ProgressBar::new(reports as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Stands for the host's way to its users: a web socket, a queue.
#[derive(Debug, Default)]
struct Updates(Mutex<Vec<Delivery>>);

impl Updates {
    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn last(&self) -> Option<Delivery> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
    }
}

#[async_trait]
impl Publisher for Updates {
    async fn publish(&self, delivery: &Delivery) -> Result<(), PublishError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delivery.clone());
        Ok(())
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Totals<'r> {
    #[serde(flatten)]
    first: &'r Run,
    by_status: BTreeMap<String, usize>,
    usage: BTreeMap<String, serde_json::Number>,
    published: usize,
    second_run: &'r Run,
}

impl<'r> Totals<'r> {
    fn of(first: &'r Run, second_run: &'r Run, summaries: &[Summary], published: usize) -> Self {
        let (mut by_status, mut sums) = (BTreeMap::new(), BTreeMap::<String, Decimal>::new());
        for summary in summaries {
            for (status, count) in &summary.by_status {
                *by_status.entry(status.clone()).or_default() += count;
            }
            for (meter, quantity) in &summary.usage {
                *sums.entry(meter.clone()).or_default() += quantity;
            }
        }
        let usage = sums
            .into_iter()
            .filter_map(|(meter, sum)| Some((meter, sum.normalize().to_string().parse().ok()?)))
            .collect();
        Self {
            first,
            by_status,
            usage,
            published,
            second_run,
        }
    }
}

fn show(tenants: &[Tenant], summaries: &[Summary], first: &Run, second: &Run, updates: &Updates) {
    println!(
        "{} reports: {} stored, {} known, {} rejected",
        first.reports,
        first.stored,
        first.known,
        first.rejected.len()
    );
    for Rejected { index, reason } in &first.rejected {
        println!("  line {index}: {reason}");
    }
    for (tenant, summary) in tenants.iter().zip(summaries) {
        println!("\ntenant {}", tenant.name);
        println!("  executions");
        for (status, count) in &summary.by_status {
            println!("    {status:<14}{count:>12}");
        }
        println!("  usage");
        for (meter, quantity) in &summary.usage {
            println!("    {meter:<14}{:>12}", quantity.normalize());
        }
    }
    println!("\n{} updates published", updates.count());
    if let Some(last) = updates.last() {
        println!(
            "  the last, of {} as number {}:\n  {}",
            last.key,
            last.sequence,
            last.payload.as_str()
        );
    }
    println!(
        "\nthe same files again: {} stored, {} known, {} rejected",
        second.stored,
        second.known,
        second.rejected.len()
    );
}

async fn show_isolation(tenantry: &Tenantry, tenants: &[Tenant; 2]) -> Outcome<()> {
    let [acme, globex] = tenants;
    let filter = ExecutionFilter::default();
    let of_acme = tenantry
        .executions()
        .list(&acme.context(), &filter, &PageRequest::first(1))
        .await?;
    if let Some(execution) = of_acme.items.first() {
        let seen = tenantry
            .executions()
            .get(&globex.context(), execution.id)
            .await;
        println!(
            "an execution of {}, asked for by {}: {}",
            acme.name,
            globex.name,
            match seen {
                Ok(_) => "found".to_owned(),
                Err(error) => error.to_string(),
            }
        );
    }
    Ok(())
}
