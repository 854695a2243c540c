//! Who acts, for whom, and from where.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ids::{TenantId, UserId};
use super::text::{TextError, line};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// A person of the tenant; what they may do is checked against their roles.
    User(UserId),
    /// A part of the host that acts on its own behalf, by name: trusted, and named in the audit
    /// trail.
    Service(ServiceName),
    /// The library itself, or somebody at the database's own prompt.
    System,
}

impl Actor {
    /// The stored name of the kind of actor.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Service(_) => "service",
            Self::System => "system",
        }
    }

    /// The user, if a person acts.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(*user),
            Self::Service(_) | Self::System => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Service(name) => write!(f, "service {}", name.as_str()),
            Self::System => f.write_str("system"),
        }
    }
}

/// The name of a part of the host, such as `billing-worker`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// Checks the name.
    ///
    /// # Errors
    /// When it is empty, longer than 100 characters or has a control character.
    pub fn new(text: &str) -> Result<Self, TextError> {
        line("service name", text, 100).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(&text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

/// Where a call came from, as far as the host knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The caller's address.
    pub ip: Option<IpAddr>,
    /// The caller's user agent; cut at [`Origin::MAX_TEXT`] characters.
    pub user_agent: Option<String>,
    /// The host's id of the session; cut like the user agent.
    pub session: Option<String>,
    /// The host's id of the request; cut like the user agent.
    pub request: Option<String>,
}

impl Origin {
    /// The most characters of each text that are kept.
    pub const MAX_TEXT: usize = 512;

    /// The origin as it is stored: texts without control characters, cut at the bound.
    ///
    /// A user agent is whatever the caller sent, so nothing in it may refuse a call.
    #[must_use]
    pub fn cleaned(&self) -> Self {
        let clean = |text: &Option<String>| {
            text.as_ref().map(|text| {
                text.chars()
                    .filter(|c| !c.is_control())
                    .take(Self::MAX_TEXT)
                    .collect()
            })
        };
        Self {
            ip: self.ip,
            user_agent: clean(&self.user_agent),
            session: clean(&self.session),
            request: clean(&self.request),
        }
    }
}

/// Who acts for which tenant. A unit of work begun with it never sees another tenant's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    tenant: TenantId,
    platform: PlatformContext,
}

impl Context {
    /// Somebody acts for a tenant.
    #[must_use]
    pub fn new(tenant: TenantId, actor: Actor) -> Self {
        Self {
            tenant,
            platform: PlatformContext::new(actor),
        }
    }

    /// The library or the host acts for a tenant; everything is permitted.
    #[must_use]
    pub fn system(tenant: TenantId) -> Self {
        Self::new(tenant, Actor::System)
    }

    /// A person of the tenant acts; what is permitted follows from their roles.
    #[must_use]
    pub fn user(tenant: TenantId, user: UserId) -> Self {
        Self::new(tenant, Actor::User(user))
    }

    /// Adds where the call came from.
    #[must_use]
    pub fn with_origin(mut self, origin: &Origin) -> Self {
        self.platform = self.platform.with_origin(origin);
        self
    }

    /// Adds why, for the audit trail; cut at [`Origin::MAX_TEXT`] characters.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.platform = self.platform.because(reason);
        self
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Who acts.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        self.platform.actor()
    }

    /// The context without its tenant: who, from where and why.
    #[must_use]
    pub fn platform(&self) -> &PlatformContext {
        &self.platform
    }
}

/// Who acts across tenants: archival, rollups, the relay, the operator's own tools.
///
/// Another type than [`Context`], so that every such place can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformContext {
    actor: Actor,
    origin: Origin,
    reason: Option<String>,
}

impl PlatformContext {
    /// Somebody acts across tenants.
    #[must_use]
    pub fn new(actor: Actor) -> Self {
        Self {
            actor,
            origin: Origin::default(),
            reason: None,
        }
    }

    /// The library or the host acts across tenants.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Actor::System)
    }

    /// Adds where the call came from.
    #[must_use]
    pub fn with_origin(mut self, origin: &Origin) -> Self {
        self.origin = origin.cleaned();
        self
    }

    /// Adds why, for the audit trail; cut at [`Origin::MAX_TEXT`] characters.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(
            reason
                .chars()
                .filter(|c| !c.is_control())
                .take(Origin::MAX_TEXT)
                .collect(),
        );
        self
    }

    /// Who acts.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Where the call came from, cleaned.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Why, if it was said.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}
