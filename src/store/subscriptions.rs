//! Subscriptions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::StoreResult;
use crate::domain::ids::{SubscriptionId, TenantId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::subscription::{
    PendingLine, StripeCustomerId, StripeSubscriptionId, Subscription, SubscriptionChange,
    SubscriptionPeriod, SubscriptionStatus,
};

/// The unit's own tenant's subscriptions.
///
/// Stripe's ids are not written here: see [`SubscriptionDirectory::link`].
#[async_trait]
pub trait SubscriptionRepo: Send {
    /// Writes a new subscription with its first period.
    ///
    /// # Errors
    /// `AlreadyExists` for an id that is taken; `NotFound` if the tenant or the version of the plan
    /// does not exist; `Invalid` for dates that do not fit the state.
    async fn insert(&mut self, new: &SubscriptionChange) -> StoreResult<()>;

    /// A subscription by its id.
    async fn get(&mut self, id: SubscriptionId) -> StoreResult<Option<Subscription>>;

    /// A subscription, locked until the unit ends: whoever else locks it waits, or gets `Conflict`,
    /// at this call or at the commit.
    async fn lock(&mut self, id: SubscriptionId) -> StoreResult<Option<Subscription>>;

    /// The subscriptions, newest first by their ids, all or those in one state.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn page(
        &mut self,
        status: Option<SubscriptionStatus>,
        page: &PageRequest,
    ) -> StoreResult<Page<Subscription>>;

    /// The subscriptions that are not over, newest first by their ids.
    async fn live(&mut self) -> StoreResult<Vec<Subscription>>;

    /// Writes what a change makes of a subscription, the period that began with it and the lines
    /// that wait for the next invoice, and answers the subscription with its next revision. A
    /// period with the same start is written anew. Currency, time zone, start and Stripe's ids stay
    /// as they are.
    ///
    /// # Errors
    /// `Conflict` unless the stored revision is the given one; `AlreadyExists` for a line of the
    /// same change, charge and kind; `NotFound` for a version or a charge that does not exist;
    /// `Invalid` for dates that do not fit the state.
    async fn update(&mut self, change: &SubscriptionChange) -> StoreResult<Subscription>;

    /// The periods that began, the latest first.
    ///
    /// # Errors
    /// `Invalid` for a cursor of another list.
    async fn periods(
        &mut self,
        id: SubscriptionId,
        page: &PageRequest,
    ) -> StoreResult<Page<SubscriptionPeriod>>;

    /// The lines that wait for the next invoice, by change, charge and kind.
    async fn lines(&mut self, id: SubscriptionId) -> StoreResult<Vec<PendingLine>>;
}

/// A subscription to which something happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueSubscription {
    /// When.
    pub due_at: DateTime<Utc>,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which one.
    pub id: SubscriptionId,
}

/// All tenants' subscriptions, for the operator.
#[async_trait]
pub trait SubscriptionDirectory: Send {
    /// The subscriptions to which something happens by itself at an instant or before it, the
    /// longest due first, at most so many of those that come after a given one.
    async fn due(
        &mut self,
        until: DateTime<Utc>,
        after: Option<DueSubscription>,
        limit: usize,
    ) -> StoreResult<Vec<DueSubscription>>;

    /// Whose subscription has this id at Stripe.
    async fn find_by_stripe(
        &mut self,
        id: &StripeSubscriptionId,
    ) -> StoreResult<Option<(TenantId, SubscriptionId)>>;

    /// Who has this id as a customer at Stripe.
    async fn find_customer(&mut self, id: &StripeCustomerId) -> StoreResult<Option<TenantId>>;

    /// Writes Stripe's ids of a subscription, and answers it with its next revision. A tenant can be
    /// several customers; a customer stays with its tenant for good.
    ///
    /// # Errors
    /// `NotFound` for a subscription that the tenant does not have; `AlreadyExists` for an id that
    /// another subscription or another tenant has.
    async fn link(
        &mut self,
        tenant: TenantId,
        id: SubscriptionId,
        stripe: Option<&StripeSubscriptionId>,
        customer: Option<&StripeCustomerId>,
    ) -> StoreResult<Subscription>;
}
