//! Limits in memory: counters, reservations and the thresholds that were told.
//!
//! A write answers what it decided and not what the counter says, so units that use one counter at
//! once do not disturb each other: at the commit each decides again on the newest counter, and
//! conflicts only where it would decide otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use imbl::{OrdMap, OrdSet};

use super::platform::MemoryPlatform;
use super::state::Shard;
use super::unit::MemoryTx;
use crate::domain::catalogue::LimitName;
use crate::domain::ids::ReservationId;
use crate::domain::limits::{
    Bounds, CountedBy, CountedRows, Crossing, LimitSpan, LimitTerms, Reservation, ReservationState,
    Settlement, Threshold, crossed,
};
use crate::store::{
    Admission, Counter, Drift, LimitRepo, LimitUse, ReservationSweep, RowAdmission, Settled,
    StoreError, StoreErrorKind, StoreResult, Swept,
};

/// A counter: the limit, and the first instant of its window.
type CounterKey = (LimitName, DateTime<Utc>);

/// One tenant's counters and reservations.
#[derive(Debug, Clone, Default)]
pub(super) struct LimitTable {
    counters: OrdMap<CounterKey, Counter>,
    reservations: OrdMap<ReservationId, Arc<Reservation>>,
    by_end: OrdSet<(DateTime<Utc>, ReservationId)>,
    told: OrdSet<(CounterKey, Threshold, u64)>,
}

fn key(span: &LimitSpan) -> CounterKey {
    (span.limit.clone(), span.start)
}

fn key_of(reservation: &Reservation) -> CounterKey {
    (reservation.limit.clone(), reservation.window_start)
}

impl LimitTable {
    fn counter(&self, key: &CounterKey) -> Counter {
        self.counters.get(key).copied().unwrap_or_default()
    }

    fn change(&mut self, key: &CounterKey, change: impl FnOnce(&mut Counter)) {
        change(self.counters.entry(key.clone()).or_default());
    }

    fn put(&mut self, reservation: Reservation) {
        let id = reservation.id;
        self.by_end.insert((reservation.expires_at, id));
        self.reservations.insert(id, Arc::new(reservation));
    }

    /// Ends a reservation that is held, if it is, and answers it as it is then.
    fn end(&mut self, id: ReservationId, state: ReservationState) -> Option<Reservation> {
        let held = self.reservations.get(&id);
        let held = held.filter(|reservation| reservation.state == ReservationState::Held)?;
        let ended = Reservation {
            state,
            ..Reservation::clone(held)
        };
        self.change(&key_of(&ended), |counter| {
            counter.reserved = counter.reserved.saturating_sub(ended.amount);
            if state == ReservationState::Committed {
                counter.used = counter.used.saturating_add(ended.amount);
            }
        });
        self.reservations.insert(id, Arc::new(ended.clone()));
        Some(ended)
    }

    /// The reservations that ended up to an instant, the oldest first.
    fn ended(&self, until: DateTime<Utc>) -> impl Iterator<Item = &Arc<Reservation>> {
        let ended = self.by_end.iter().take_while(move |(at, _)| *at <= until);
        ended.filter_map(|(_, id)| self.reservations.get(id))
    }

    /// The thresholds between a former use and a present one that were not told yet; they are now.
    fn tell(
        &mut self,
        key: &CounterKey,
        former: u64,
        used: u64,
        base: Option<u64>,
    ) -> Vec<Crossing> {
        let Some(bound) = base else {
            return Vec::new();
        };
        let new = crossed(former, used, bound)
            .filter(|threshold| {
                let place = (key.clone(), *threshold, bound);
                self.told.insert(place).is_none()
            })
            .map(|threshold| Crossing {
                limit: key.0.clone(),
                window_start: key.1,
                threshold,
                bound,
                used,
            });
        new.collect()
    }
}

/// What is recorded of the usage that a counter follows.
fn recorded(shard: &Shard, span: &LimitSpan) -> Option<u64> {
    match CountedBy::of(&span.limit) {
        CountedBy::Usage(meter) => Some(shard.usage.sum(&meter, span.start, span.end)),
        CountedBy::Rows(_) | CountedBy::Host => None,
    }
}

fn open(shard: &mut Shard, span: &LimitSpan) {
    if !shard.limits.counters.contains_key(&key(span)) {
        let used = recorded(shard, span).unwrap_or(0);
        let counter = Counter { used, reserved: 0 };
        shard.limits.counters.insert(key(span), counter);
    }
}

fn rows(shard: &Shard, rows: CountedRows) -> u64 {
    match rows {
        CountedRows::Workflows => shard.workflows.kept(),
        CountedRows::Users => shard.users.active(),
    }
}

/// How much fits under a bound on top of what is taken.
fn room(hard: Option<u64>, taken: u64) -> u64 {
    hard.map_or(u64::MAX, |hard| hard.saturating_sub(taken))
}

#[async_trait]
impl LimitRepo for MemoryTx {
    async fn terms(&mut self) -> StoreResult<Option<LimitTerms>> {
        const OPERATION: &str = "limits.terms";
        let catalogue = self.catalogue(OPERATION)?;
        let shard = self.read(OPERATION)?;
        let Some(tenant) = &shard.tenant else {
            return Ok(None);
        };
        let subscription = shard.subscriptions.granting();
        let version = match subscription {
            Some(subscription) => catalogue.version(subscription.plan_version),
            None => catalogue.newest(&tenant.plan),
        };
        let definition = version.map(|version| version.definition.clone());
        let (plan, entitlements) = definition
            .map(|definition| (definition.limits, definition.entitlements))
            .unwrap_or_default();
        Ok(Some(LimitTerms {
            plan,
            entitlements,
            overrides: tenant.limits.clone(),
            time_zone: tenant.profile.time_zone,
            billing_period: subscription.map(|subscription| subscription.current_period),
        }))
    }

    async fn count_rows(&mut self, counted: CountedRows) -> StoreResult<u64> {
        Ok(rows(self.read("limits.count_rows")?, counted))
    }

    async fn admit_rows(
        &mut self,
        counted: CountedRows,
        asked: u64,
        bounds: &Bounds,
    ) -> StoreResult<RowAdmission> {
        const OPERATION: &str = "limits.admit_rows";
        let present = rows(self.read(OPERATION)?, counted);
        let bounds = bounds.clone();
        let (granted, crossings) = self.write(OPERATION, move |shard| {
            let present = rows(shard, counted);
            let granted = asked.min(room(bounds.hard, present));
            let counter = (bounds.limit.clone(), DateTime::UNIX_EPOCH);
            let next = present.saturating_add(granted);
            let told = shard.limits.tell(&counter, present, next, bounds.base());
            Ok((granted, told))
        })?;
        Ok(RowAdmission {
            granted,
            present,
            crossings,
        })
    }

    async fn open(&mut self, spans: &[LimitSpan]) -> StoreResult<()> {
        const OPERATION: &str = "limits.open";
        let table = &self.read(OPERATION)?.limits;
        if spans
            .iter()
            .all(|span| table.counters.contains_key(&key(span)))
        {
            return Ok(());
        }
        let spans = spans.to_vec();
        self.write(OPERATION, move |shard| {
            for span in &spans {
                open(shard, span);
            }
            Ok(())
        })
    }

    async fn reserve(
        &mut self,
        span: &LimitSpan,
        hard: Option<u64>,
        asked: &[Reservation],
    ) -> StoreResult<Admission> {
        const OPERATION: &str = "limits.reserve";
        let (counter, span, asked) = (key(span), span.clone(), asked.to_vec());
        let granted = self.write(OPERATION, move |shard| {
            open(shard, &span);
            let table = &mut shard.limits;
            let counter = key(&span);
            for (place, reservation) in asked.iter().enumerate() {
                if reservation.amount > room(hard, table.counter(&counter).taken()) {
                    return Ok(place);
                }
                if table.reservations.contains_key(&reservation.id) {
                    return Err(StoreError::new(StoreErrorKind::AlreadyExists, OPERATION)
                        .with_detail("limit_reservations_pkey"));
                }
                table.change(&counter, |counter| counter.reserved += reservation.amount);
                table.put(reservation.clone());
            }
            Ok(asked.len())
        })?;
        Ok(Admission {
            granted,
            counter: self.read(OPERATION)?.limits.counter(&counter),
        })
    }

    async fn reservation(&mut self, id: ReservationId) -> StoreResult<Option<Reservation>> {
        let table = &self.read("limits.reservation")?.limits;
        Ok(table
            .reservations
            .get(&id)
            .map(|found| Reservation::clone(found)))
    }

    async fn settle(
        &mut self,
        ids: &[ReservationId],
        into: Settlement,
        bounds: &[Bounds],
    ) -> StoreResult<Settled> {
        const OPERATION: &str = "limits.settle";
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return self.read(OPERATION).map(|_| Settled::default());
        }
        let bases: BTreeMap<LimitName, Option<u64>> = bounds
            .iter()
            .map(|bounds| (bounds.limit.clone(), bounds.base()))
            .collect();
        let (reservations, crossings) = self.write(OPERATION, move |shard| {
            let table = &mut shard.limits;
            let former = table.counters.clone();
            let ended: Vec<Reservation> = ids
                .iter()
                .filter_map(|id| table.end(*id, into.state()))
                .collect();
            let mut touched: Vec<CounterKey> = ended.iter().map(key_of).collect();
            touched.sort_unstable();
            touched.dedup();
            let mut told = Vec::new();
            for counter in touched {
                let before = former.get(&counter).map_or(0, |counter| counter.used);
                let base = bases.get(&counter.0).copied().flatten();
                told.extend(table.tell(&counter, before, table.counter(&counter).used, base));
            }
            Ok((ended, told))
        })?;
        Ok(Settled {
            reservations,
            crossings,
        })
    }

    async fn record(&mut self, uses: &[LimitUse]) -> StoreResult<Vec<Crossing>> {
        const OPERATION: &str = "limits.record";
        if uses.is_empty() {
            return self.read(OPERATION).map(|_| Vec::new());
        }
        let mut sums: BTreeMap<CounterKey, (i64, Option<u64>)> = BTreeMap::new();
        for used in uses {
            let sum = sums.entry(key(&used.span)).or_default();
            *sum = (sum.0.saturating_add(used.amount), sum.1.max(used.base));
        }
        self.write(OPERATION, move |shard| {
            let mut told = Vec::new();
            for (counter, (amount, base)) in &sums {
                let table = &mut shard.limits;
                let Some(former) = table.counters.get(counter).copied() else {
                    return Err(StoreError::new(StoreErrorKind::NotFound, OPERATION)
                        .with_detail("limit_counters"));
                };
                let used = former.used.saturating_add_signed(*amount);
                table.change(counter, |counter| counter.used = used);
                told.extend(table.tell(counter, former.used, used, *base));
            }
            Ok(told)
        })
    }

    async fn set_level(
        &mut self,
        span: &LimitSpan,
        level: u64,
        bounds: &Bounds,
    ) -> StoreResult<Option<Vec<Crossing>>> {
        let (span, bounds) = (span.clone(), bounds.clone());
        self.write("limits.set_level", move |shard| {
            open(shard, &span);
            let (table, counter) = (&mut shard.limits, key(&span));
            let former = table.counter(&counter).used;
            if level > former && bounds.hard.is_some_and(|hard| level > hard) {
                return Ok(None);
            }
            table.change(&counter, |counter| counter.used = level);
            Ok(Some(table.tell(&counter, former, level, bounds.base())))
        })
    }

    async fn counters(&mut self, spans: &[LimitSpan]) -> StoreResult<Vec<Counter>> {
        let table = &self.read("limits.counters")?.limits;
        Ok(spans.iter().map(|span| table.counter(&key(span))).collect())
    }

    async fn expire(&mut self, span: &LimitSpan) -> StoreResult<u64> {
        const OPERATION: &str = "limits.expire";
        let (now, counter) = (self.now, key(span));
        let due = move |shard: &Shard| -> Vec<ReservationId> {
            let ended = shard.limits.ended(now);
            let due = ended.filter(|reservation| {
                reservation.state == ReservationState::Held && key_of(reservation) == counter
            });
            due.map(|reservation| reservation.id).collect()
        };
        if due(self.read(OPERATION)?).is_empty() {
            return Ok(0);
        }
        self.write(OPERATION, move |shard| {
            let ended = due(shard).into_iter();
            let ended = ended.filter_map(|id| shard.limits.end(id, ReservationState::Expired));
            Ok(ended.map(|reservation| reservation.amount).sum())
        })
    }

    async fn reconcile(&mut self, spans: &[LimitSpan]) -> StoreResult<Vec<Drift>> {
        let mut spans = spans.to_vec();
        spans.sort_unstable();
        spans.dedup();
        self.write("limits.reconcile", move |shard| {
            let mut drifts = Vec::new();
            for span in &spans {
                let counter = key(span);
                let Some(before) = shard.limits.counters.get(&counter).copied() else {
                    continue;
                };
                let held = shard.limits.reservations.values().filter(|reservation| {
                    reservation.state == ReservationState::Held && key_of(reservation) == counter
                });
                let after = Counter {
                    used: recorded(shard, span).unwrap_or(before.used),
                    reserved: held.map(|reservation| reservation.amount).sum(),
                };
                if after != before {
                    shard.limits.counters.insert(counter, after);
                    drifts.push(Drift {
                        span: span.clone(),
                        before,
                        after,
                    });
                }
            }
            Ok(drifts)
        })
    }
}

#[async_trait]
impl ReservationSweep for MemoryPlatform {
    async fn sweep(&mut self, limit: usize) -> StoreResult<Swept> {
        const OPERATION: &str = "reservations.sweep";
        let now = self.now;
        let old = now - TimeDelta::hours(Reservation::KEPT_HOURS);
        let state = self.read(OPERATION)?;
        let of_all = |until: DateTime<Utc>, held: bool| {
            let mut found: Vec<_> = state
                .shards
                .iter()
                .flat_map(|(tenant, shard)| {
                    let ended = shard.limits.ended(until).filter(move |reservation| {
                        !held || reservation.state == ReservationState::Held
                    });
                    ended.map(|reservation| (reservation.expires_at, *tenant, reservation.id))
                })
                .collect();
            found.sort_unstable();
            found.truncate(limit);
            found
        };
        let (due, gone) = (of_all(now, true), of_all(old, false));
        let swept = Swept {
            expired: due.len() as u64,
            forgotten: gone.len() as u64,
        };
        if due.is_empty() && gone.is_empty() {
            return Ok(swept);
        }
        self.write(OPERATION, move |state| {
            for (_, tenant, id) in &due {
                let mut shard = Shard::clone(&state.shard(*tenant));
                if shard.limits.end(*id, ReservationState::Expired).is_none() {
                    return Err(StoreError::new(StoreErrorKind::Conflict, OPERATION));
                }
                state.put(*tenant, shard);
            }
            for (at, tenant, id) in &gone {
                let mut shard = Shard::clone(&state.shard(*tenant));
                shard.limits.by_end.remove(&(*at, *id));
                shard.limits.reservations.remove(id);
                state.put(*tenant, shard);
            }
            Ok(())
        })?;
        Ok(swept)
    }
}
