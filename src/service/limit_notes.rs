//! What the other services do about limits: rows are admitted, usage moves its counters, and
//! thresholds are told.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::domain::catalogue::LimitName;
use crate::domain::ids::ReservationId;
use crate::domain::limits::{
    Bounds, CountedBy, CountedRows, Crossing, LimitError, LimitSpan, LimitTerms, Settlement,
};
use crate::domain::metering::{Recorded, UsageRecord};
use crate::domain::outbox::OutboxMessage;
use crate::error::Result;
use crate::store::{LimitUse, Tx};

/// Checks that one more such row may be added. Before it is added, in the same unit.
///
/// # Errors
/// `LimitExceeded`.
pub(super) async fn admit_one(tx: &mut dyn Tx, rows: CountedRows) -> Result<()> {
    match admit(tx, rows, 1).await? {
        Some(refused) => Err(LimitError::from(&refused).into()),
        None => Ok(()),
    }
}

/// Rows that may not be added.
pub(super) struct Refused {
    pub(super) bounds: Bounds,
    /// How many there are already, without those that were admitted.
    pub(super) present: u64,
    /// How many were admitted.
    pub(super) granted: u64,
}

impl From<&Refused> for LimitError {
    fn from(refused: &Refused) -> Self {
        Self::Exceeded {
            limit: refused.bounds.limit.clone(),
            bound: refused.bounds.hard.unwrap_or(u64::MAX),
            used: refused.present.saturating_add(refused.granted),
            requested: 1,
            resets_at: None,
        }
    }
}

/// Admits as many of so many rows as fit, and answers what was refused, if anything was. Tenants
/// that are not limited cost one statement.
pub(super) async fn admit(
    tx: &mut dyn Tx,
    rows: CountedRows,
    asked: u64,
) -> Result<Option<Refused>> {
    admit_under(tx, rows, asked, true).await
}

/// Takes notice of rows that are added whatever the bound.
pub(super) async fn note(tx: &mut dyn Tx, rows: CountedRows, added: u64) -> Result<()> {
    admit_under(tx, rows, added, false).await.map(drop)
}

async fn admit_under(
    tx: &mut dyn Tx,
    rows: CountedRows,
    asked: u64,
    bounded: bool,
) -> Result<Option<Refused>> {
    let Some(terms) = tx.limits().terms().await? else {
        return Ok(None);
    };
    let Some(bounds) = terms.bounds(&rows.limit())? else {
        return Ok(None);
    };
    let base = bounds.base();
    let asked_of = Bounds {
        hard: bounds.hard.filter(|_| bounded),
        soft: base,
        ..bounds.clone()
    };
    let done = tx.limits().admit_rows(rows, asked, &asked_of).await?;
    tell(tx, &terms, &done.crossings).await?;
    Ok((done.granted < asked).then_some(Refused {
        bounds,
        present: done.present,
        granted: done.granted,
    }))
}

/// Writes a message for each threshold that was crossed.
pub(super) async fn tell(
    tx: &mut dyn Tx,
    terms: &LimitTerms,
    crossings: &[Crossing],
) -> Result<()> {
    if crossings.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    let messages = crossings.iter().map(|crossing| {
        let bounds = terms.bounds(&crossing.limit).ok().flatten();
        let bounds = bounds.unwrap_or_else(|| Bounds::none(crossing.limit.clone()));
        let resets_at = terms.span(&bounds, crossing.window_start).end;
        OutboxMessage::limit_threshold(crossing, resets_at, now)
    });
    let messages: Vec<OutboxMessage> = messages.collect();
    Ok(tx.outbox().enqueue(&messages).await?)
}

/// Usage that moves counters, between its two halves: before it is recorded, and after.
pub(super) struct Followed {
    terms: LimitTerms,
    bounds: BTreeMap<LimitName, Bounds>,
}

impl Followed {
    /// Opens the counters that this usage will move, before it is recorded: a counter begins with
    /// what is recorded already. Nothing where the tenant has no limit on it.
    pub(super) async fn open<'u>(
        tx: &mut dyn Tx,
        usage: impl Iterator<Item = &'u UsageRecord> + Send,
    ) -> Result<Option<Self>> {
        let mut instants: BTreeMap<LimitName, Vec<DateTime<Utc>>> = BTreeMap::new();
        for record in usage {
            if let Some(limit) = CountedBy::limit_of(&record.meter) {
                instants.entry(limit).or_default().push(record.occurred_at);
            }
        }
        if instants.is_empty() {
            return Ok(None);
        }
        let Some(terms) = tx.limits().terms().await? else {
            return Ok(None);
        };
        let (mut bounds, mut spans) = (BTreeMap::new(), Vec::new());
        for (limit, instants) in instants {
            let Some(of_limit) = terms.bounds(&limit)? else {
                continue;
            };
            spans.extend(instants.iter().map(|at| terms.span(&of_limit, *at)));
            bounds.insert(limit, of_limit);
        }
        if bounds.is_empty() {
            return Ok(None);
        }
        spans.sort_unstable();
        spans.dedup();
        tx.limits().open(&spans).await?;
        Ok(Some(Self { terms, bounds }))
    }

    /// Moves the counters, and tells the thresholds that were crossed. As the last thing in the
    /// unit.
    pub(super) async fn moved<'u>(
        self,
        tx: &mut dyn Tx,
        usage: impl Iterator<Item = &'u UsageRecord> + Send,
    ) -> Result<()> {
        let mut sums: BTreeMap<LimitSpan, (Decimal, Option<u64>)> = BTreeMap::new();
        for record in usage {
            let limit = CountedBy::limit_of(&record.meter);
            let Some(bounds) = limit.and_then(|limit| self.bounds.get(&limit)) else {
                continue;
            };
            let span = self.terms.span(bounds, record.occurred_at);
            let sum = sums.entry(span).or_insert((Decimal::ZERO, bounds.base()));
            sum.0 += record.quantity;
        }
        let uses = sums.into_iter().map(|(span, (amount, base))| LimitUse {
            span,
            amount: amount.trunc().to_i64().unwrap_or(0),
            base,
        });
        let uses: Vec<LimitUse> = uses.filter(|used| used.amount != 0).collect();
        let crossings = tx.limits().record(&uses).await?;
        tell(tx, &self.terms, &crossings).await
    }
}

/// Those of the records that are new.
pub(super) fn new_ones<'u>(
    records: &'u [UsageRecord],
    outcomes: &'u [Recorded],
) -> impl Iterator<Item = &'u UsageRecord> + Send {
    let both = records.iter().zip(outcomes);
    both.filter(|(_, outcome)| **outcome == Recorded::Now)
        .map(|(record, _)| record)
}

/// Gives back what was reserved for something that is counted otherwise.
pub(super) async fn release(tx: &mut dyn Tx, reservations: &[ReservationId]) -> Result<()> {
    let release = Settlement::Release;
    tx.limits().settle(reservations, release, &[]).await?;
    Ok(())
}
