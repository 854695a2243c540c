//! What is sold: plans published in versions, prices that supersede each other.
//!
//! The operator writes, every tenant reads. Each write locks the plan first, so two operators who
//! change one plan at the same instant come one after the other.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::authorize;
use crate::domain::access::Permission;
use crate::domain::audit::AuditEntry;
use crate::domain::catalogue::{
    CatalogueDocument, DocumentPrice, Plan, PlanDefinition, PlanDocument, PlanVersion, Price,
    PriceBook, PriceChange, PriceOverride, PriceTerms,
};
use crate::domain::context::{Context, PlatformContext};
use crate::domain::ids::{PlanVersionId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::text::PlanCode;
use crate::error::{Error, Result};
use crate::store::{AuditFilter, PlatformUnit, Store, StoreErrorKind, Tx, on_conflict};

/// The newest version of a plan, after it was to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The version.
    pub version: PlanVersion,
    /// Whether it is new; otherwise the newest version said the same already.
    pub new: bool,
}

/// A price that is valid from an instant on.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceSet {
    /// The price.
    pub price: Price,
    /// Whether it is new; otherwise it was the price already.
    pub new: bool,
}

/// A tenant's own price that is valid from an instant on.
#[derive(Debug, Clone, PartialEq)]
pub struct OverrideSet {
    /// The price.
    pub price: PriceOverride,
    /// Whether it is new; otherwise it was the tenant's price already.
    pub new: bool,
}

/// What an import did for one plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedPlan {
    /// The newest version of the plan.
    pub version: PlanVersion,
    /// Whether it is new.
    pub new_version: bool,
    /// How many prices are new.
    pub prices_set: usize,
    /// How many prices were so already.
    pub prices_kept: usize,
}

/// Publishes and finds plans and prices.
#[derive(Debug, Clone)]
pub struct Catalogue {
    store: Arc<dyn Store>,
}

impl Catalogue {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Publishes a plan: as a new plan, or as its next version unless the newest says the same.
    /// Whoever has subscribed keeps their version. A new version has no prices yet.
    ///
    /// # Errors
    /// `Invalid` for a definition that breaks a rule.
    pub async fn publish(
        &self,
        ctx: &PlatformContext,
        code: &PlanCode,
        definition: &PlanDefinition,
    ) -> Result<Published> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let published = self.publish_in(&mut *unit, code, definition).await?;
            unit.commit().await?;
            Ok(published)
        })
        .await
    }

    /// Publishes a plan in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Catalogue::publish`].
    pub async fn publish_in(
        &self,
        unit: &mut dyn PlatformUnit,
        code: &PlanCode,
        definition: &PlanDefinition,
    ) -> Result<Published> {
        definition.check()?;
        let now = unit.now();
        let Some(plan) = unit.catalogue().lock(code).await? else {
            let (plan, version) = (unit.ids().fresh(), unit.ids().fresh());
            let (plan, version) =
                Plan::create(plan, version, code.clone(), definition.clone(), now)?;
            let inserted = unit.catalogue().insert(&plan, &version).await;
            // It was not there when it was looked for.
            inserted.map_err(|error| error.as_lost_race(StoreErrorKind::AlreadyExists))?;
            return Ok(Published { version, new: true });
        };
        let newest = newest(unit, &plan).await?;
        if newest.definition == *definition {
            return Ok(Published {
                version: newest,
                new: false,
            });
        }
        let (plan, version) = plan.publish(unit.ids().fresh(), definition.clone(), now)?;
        unit.catalogue().publish(&plan, &version).await?;
        Ok(Published { version, new: true })
    }

    /// Says whether a plan can be subscribed to. Who has it keeps it.
    ///
    /// # Errors
    /// `NotFound` for a plan that is not there.
    pub async fn set_active(
        &self,
        ctx: &PlatformContext,
        code: &PlanCode,
        active: bool,
    ) -> Result<Plan> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let plan = locked(&mut *unit, code).await?;
            let plan = match plan.with_active(active, unit.now()) {
                Some(changed) => unit.catalogue().update(&changed).await?,
                None => plan,
            };
            unit.commit().await?;
            Ok(plan)
        })
        .await
    }

    /// Sets what a charge of the plan's newest version costs in a currency from an instant on, now
    /// if none is given. The price before it ends there, and stays in the book.
    ///
    /// # Errors
    /// `NotFound` for a plan that is not there; `Invalid` for a charge that it has not, terms that
    /// do not fit the charge, an instant in the past, and one at which another price begins;
    /// `AlreadyExists` for a Stripe id that another price of the version has.
    pub async fn set_price(
        &self,
        ctx: &PlatformContext,
        code: &PlanCode,
        price: &DocumentPrice,
        from: Option<DateTime<Utc>>,
    ) -> Result<PriceSet> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let plan = locked(&mut *unit, code).await?;
            let version = newest(&mut *unit, &plan).await?;
            let mut there_are = unit.catalogue().prices(version.id).await?;
            let set = set_price(&mut *unit, &version, &mut there_are, price, from).await?;
            unit.commit().await?;
            Ok(set)
        })
        .await
    }

    /// Sets what a charge of a plan costs one tenant, whatever the book says, in all versions of
    /// the plan, from an instant on, now if none is given.
    ///
    /// # Errors
    /// As [`Catalogue::set_price`]; `NotFound` for a tenant that is not there.
    pub async fn set_override(
        &self,
        ctx: &PlatformContext,
        tenant: TenantId,
        code: &PlanCode,
        terms: &PriceTerms,
        from: Option<DateTime<Utc>>,
    ) -> Result<OverrideSet> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let plan = locked(&mut *unit, code).await?;
            if unit.tenants().get(tenant).await?.is_none() {
                return Err(Error::not_found("tenant", tenant));
            }
            let version = newest(&mut *unit, &plan).await?;
            terms.check(version.must_have(&terms.charge)?)?;
            let now = unit.now();
            let (id, from) = (unit.ids().fresh(), from.unwrap_or(now));
            let new = PriceOverride::new(id, code.clone(), terms.clone(), from, now);
            let there_are = unit.catalogue().overrides(tenant).await?;
            let set = match new.supersede(&there_are, now)? {
                PriceChange::Nothing(price) => OverrideSet { price, new: false },
                PriceChange::Supersede { ended, begun } => {
                    if let Some(ended) = ended {
                        unit.catalogue().update_override(tenant, &ended).await?;
                    }
                    unit.catalogue().insert_override(tenant, &begun).await?;
                    OverrideSet {
                        price: begun,
                        new: true,
                    }
                }
            };
            unit.commit().await?;
            Ok(set)
        })
        .await
    }

    /// Brings the catalogue to what a document says: plans that are new or differ are published,
    /// prices that are new or differ are set from now on. All of it in one unit, or nothing; a
    /// second import of the same document changes nothing and says so. What the document does not
    /// name stays as it is.
    ///
    /// # Errors
    /// As [`Catalogue::publish`] and [`Catalogue::set_price`].
    pub async fn import(
        &self,
        ctx: &PlatformContext,
        document: &CatalogueDocument,
    ) -> Result<Vec<ImportedPlan>> {
        on_conflict(&*self.store, || async {
            let mut unit = self.store.begin_platform(ctx).await?;
            let imported = self.import_in(&mut *unit, document).await?;
            unit.commit().await?;
            Ok(imported)
        })
        .await
    }

    /// Imports a document in a unit that the caller commits.
    ///
    /// # Errors
    /// As [`Catalogue::import`].
    pub async fn import_in(
        &self,
        unit: &mut dyn PlatformUnit,
        document: &CatalogueDocument,
    ) -> Result<Vec<ImportedPlan>> {
        // In the order of their names: two imports at once wait for each other, and never in a
        // circle.
        let mut plans: Vec<&PlanDocument> = document.plans.iter().collect();
        plans.sort_by(|one, other| one.code.cmp(&other.code));
        let mut imported = Vec::new();
        for plan in plans {
            let published = self.publish_in(unit, &plan.code, &plan.definition).await?;
            let mut done = ImportedPlan {
                version: published.version,
                new_version: published.new,
                prices_set: 0,
                prices_kept: 0,
            };
            let mut there_are = unit.catalogue().prices(done.version.id).await?;
            for price in &plan.prices {
                let set = set_price(unit, &done.version, &mut there_are, price, None).await?;
                if set.new {
                    done.prices_set += 1;
                } else {
                    done.prices_kept += 1;
                }
            }
            imported.push(done);
        }
        Ok(imported)
    }

    /// The plans in the order of their names.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn plans(&self, ctx: &PlatformContext, page: &PageRequest) -> Result<Page<Plan>> {
        page.key::<PlanCode>()?;
        let mut unit = self.store.begin_platform(ctx).await?;
        Ok(unit.catalogue().page(page).await?)
    }

    /// The newest version of a plan, with all of its prices there ever were.
    ///
    /// # Errors
    /// `NotFound` for a plan that is not there.
    pub async fn plan(&self, ctx: &PlatformContext, code: &PlanCode) -> Result<PriceBook> {
        let mut unit = self.store.begin_platform(ctx).await?;
        let plan = unit.catalogue().find(code).await?;
        let plan = plan.ok_or_else(|| Error::not_found("plan", code))?;
        let version = newest(&mut *unit, &plan).await?;
        let prices = unit.catalogue().prices(version.id).await?;
        Ok(PriceBook::new(version, prices, Vec::new()))
    }

    /// The trail of what belongs to no tenant, the latest entry first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn trail(
        &self,
        ctx: &PlatformContext,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>> {
        page.key::<crate::domain::ids::AuditId>()?;
        let mut unit = self.store.begin_platform(ctx).await?;
        Ok(unit.audit().page(filter, page).await?)
    }

    /// The plans that a tenant can choose from: those that can be subscribed to, in the order of
    /// their names. A page can have fewer than it was asked for.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    pub async fn offers(&self, ctx: &Context, page: &PageRequest) -> Result<Page<Plan>> {
        page.key::<PlanCode>()?;
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::TenantRead).await?;
        let mut page = unit.plans().page(page).await?;
        page.items.retain(|plan| plan.active);
        Ok(page)
    }

    /// What the newest version of a plan costs the tenant.
    ///
    /// # Errors
    /// `NotFound` for a plan that is not there.
    pub async fn book(&self, ctx: &Context, code: &PlanCode) -> Result<PriceBook> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::TenantRead).await?;
        let plan = unit.plans().find(code).await?;
        let plan = plan.ok_or_else(|| Error::not_found("plan", code))?;
        let version = unit.plans().numbered(code, plan.version).await?;
        let version = version.ok_or_else(|| Error::not_found("plan", code))?;
        book(&mut *unit, version).await
    }

    /// What a version of a plan costs the tenant.
    ///
    /// # Errors
    /// `NotFound` for a version that is not there.
    pub async fn book_of(&self, ctx: &Context, version: PlanVersionId) -> Result<PriceBook> {
        let mut unit = self.store.begin(ctx).await?;
        authorize(&mut *unit, Permission::TenantRead).await?;
        let found = unit.plans().version(version).await?;
        let found = found.ok_or_else(|| Error::not_found("plan version", version))?;
        book(&mut *unit, found).await
    }
}

/// What a version of a plan costs the unit's own tenant.
pub(super) async fn book(tx: &mut dyn Tx, version: PlanVersion) -> Result<PriceBook> {
    let prices = tx.plans().prices(version.id).await?;
    let own = tx.price_overrides().all().await?;
    Ok(PriceBook::new(version, prices, own))
}

async fn locked(unit: &mut dyn PlatformUnit, code: &PlanCode) -> Result<Plan> {
    let plan = unit.catalogue().lock(code).await?;
    plan.ok_or_else(|| Error::not_found("plan", code))
}

async fn newest(unit: &mut dyn PlatformUnit, plan: &Plan) -> Result<PlanVersion> {
    let version = unit.catalogue().numbered(&plan.code, plan.version).await?;
    version.ok_or_else(|| Error::not_found("plan", &plan.code))
}

/// Sets a price of a version whose plan is locked, and keeps the list of its prices up to date.
async fn set_price(
    unit: &mut dyn PlatformUnit,
    version: &PlanVersion,
    there_are: &mut Vec<Price>,
    given: &DocumentPrice,
    from: Option<DateTime<Utc>>,
) -> Result<PriceSet> {
    given.terms.check(version.must_have(&given.terms.charge)?)?;
    let now = unit.now();
    let (id, from) = (unit.ids().fresh(), from.unwrap_or(now));
    let new = Price {
        stripe_price: given.stripe_price.clone(),
        ..Price::new(id, version.id, given.terms.clone(), from, now)
    };
    match new.supersede(there_are, now)? {
        PriceChange::Nothing(mut price) => {
            if given.stripe_price.is_some() && price.stripe_price != given.stripe_price {
                price.stripe_price.clone_from(&given.stripe_price);
                unit.catalogue().update_price(&price).await?;
            }
            Ok(PriceSet { price, new: false })
        }
        PriceChange::Supersede { ended, begun } => {
            if let Some(ended) = ended {
                unit.catalogue().update_price(&ended).await?;
                there_are.retain(|price| price.id != ended.id);
                there_are.push(ended);
            }
            unit.catalogue().insert_price(&begun).await?;
            there_are.push(begun.clone());
            Ok(PriceSet {
                price: begun,
                new: true,
            })
        }
    }
}
