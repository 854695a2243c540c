//! Tenants: who they are, what they may change themselves, and the states they go through.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use icu_locale_core::LanguageIdentifier;
use serde::{Deserialize, Serialize};

use super::access::Permission;
use super::ids::TenantId;
use super::json::{Document, DocumentError};
use super::money::Currency;
use super::text::{Name, PlanCode, TextError};

/// A broken rule about tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenancyError {
    /// A text that does not fit its field.
    #[error("tenant: {0}")]
    Text(#[from] TextError),
    /// A document that does not fit its field.
    #[error("tenant: {0}")]
    Document(#[from] DocumentError),
    /// A change of state that the present state does not allow.
    #[error("tenant is {from}; it cannot become {to}")]
    Transition {
        /// The state it is in.
        from: TenantStatus,
        /// The state that was asked for.
        to: TenantStatus,
    },
    /// A write for a tenant that takes none.
    #[error("tenant is {status}; only an active tenant can be changed")]
    NotActive {
        /// The state it is in.
        status: TenantStatus,
    },
    /// A read of a closed tenant by one of its users.
    #[error("tenant is closed; only the operator can read it")]
    Closed,
}

/// The states of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TenantStatus {
    /// In use.
    Active,
    /// Stopped for a while: it can be read, its users can change nothing.
    Suspended,
    /// Ended for good: it can only be read by the operator.
    Closed,
}

impl TenantStatus {
    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }

    /// Checks that the tenant's users may use the permission in this state: all of them while it
    /// is active, those that read while it is suspended, none when it is closed.
    ///
    /// # Errors
    /// [`TenancyError::NotActive`] for a write, [`TenancyError::Closed`] for a read.
    pub fn must_admit(self, permission: Permission) -> Result<(), TenancyError> {
        match self {
            Self::Active => Ok(()),
            Self::Suspended if permission.is_read() => Ok(()),
            Self::Closed if permission.is_read() => Err(TenancyError::Closed),
            status => Err(TenancyError::NotActive { status }),
        }
    }
}

impl fmt::Display for TenantStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TenantStatus {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        [Self::Active, Self::Suspended, Self::Closed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| TextError::form("status", text, "active, suspended or closed"))
    }
}

/// A tenant's domain name in its normal form: lower case, punycode, without the final dot.
///
/// Normalised by UTS 46 with the rules for host names (STD 3), so `Café.Example.` and
/// `xn--caf-dma.example` are the same domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// Normalises a domain name.
    ///
    /// # Errors
    /// When it is not a host name: a scheme, a port, a space, a label over 63 bytes.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let refuse = || {
            TextError::form(
                "domain",
                text,
                "a host name such as acme.example, without scheme or port",
            )
        };
        let trimmed = text.trim().trim_end_matches('.');
        let ascii = idna::domain_to_ascii_strict(trimmed).map_err(|_| refuse())?;
        if ascii.is_empty() || ascii.len() > 253 || ascii.split('.').any(str::is_empty) {
            return Err(refuse());
        }
        Ok(Self(ascii))
    }

    /// The name in its normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DomainName {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        Self::new(&text)
    }
}

impl From<DomainName> for String {
    fn from(domain: DomainName) -> Self {
        domain.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A language tag of BCP 47 in its canonical form, such as `es-ES`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Locale(LanguageIdentifier);

impl Locale {
    /// Checks the tag and brings it to its canonical form.
    ///
    /// # Errors
    /// When it is not a language tag.
    pub fn new(tag: &str) -> Result<Self, TextError> {
        LanguageIdentifier::try_from_str(tag.trim())
            .map(Self)
            .map_err(|_| {
                TextError::form("locale", tag, "a language tag such as en, es-ES or zh-Hant")
            })
    }

    /// The language tag.
    #[must_use]
    pub fn identifier(&self) -> &LanguageIdentifier {
        &self.0
    }
}

impl TryFrom<String> for Locale {
    type Error = TextError;

    fn try_from(tag: String) -> Result<Self, TextError> {
        Self::new(&tag)
    }
}

impl From<Locale> for String {
    fn from(locale: Locale) -> Self {
        locale.0.to_string()
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Checks the name of a time zone of the IANA database, such as `Europe/Madrid`.
///
/// # Errors
/// When the database has no such zone.
pub fn time_zone(name: &str) -> Result<Tz, TextError> {
    name.trim().parse().map_err(|_| {
        TextError::form(
            "time zone",
            name,
            "a zone of the IANA database such as Europe/Madrid",
        )
    })
}

/// A tenant's own bounds in place of its plan's: limit name -> units, `None` for no bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LimitOverrides(pub BTreeMap<String, Option<u64>>);

/// What a tenant may change about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantProfile {
    /// The name that people see.
    pub name: Name,
    /// The host's settings for this tenant.
    pub settings: Document,
    /// The zone in which its days, months and billing periods begin.
    pub time_zone: Tz,
    /// The language of its documents unless a user has another.
    pub locale: Locale,
    /// The currency of its prices unless a subscription has another.
    pub currency: Currency,
}

impl TenantProfile {
    /// A profile with no settings, in UTC, English and US dollars.
    ///
    /// # Errors
    /// When the name is empty, too long or has a control character.
    pub fn new(name: &str) -> Result<Self, TenancyError> {
        Ok(Self {
            name: Name::new(name)?,
            settings: Document::empty(),
            time_zone: Tz::UTC,
            locale: Locale::new("en")?,
            currency: Currency::USD,
        })
    }
}

/// What is needed to create a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTenant {
    /// The host's own id for it; a new one is made when absent.
    pub id: Option<TenantId>,
    /// What the tenant may change itself.
    pub profile: TenantProfile,
    /// A domain that belongs to this tenant alone.
    pub domain: Option<DomainName>,
    /// The plan; `starter` unless set.
    pub plan: PlanCode,
    /// Bounds in place of the plan's.
    pub limits: LimitOverrides,
}

impl NewTenant {
    /// A tenant on the plan `starter`, without a domain.
    ///
    /// # Errors
    /// When the name is empty, too long or has a control character.
    pub fn named(name: &str) -> Result<Self, TenancyError> {
        Ok(Self {
            id: None,
            profile: TenantProfile::new(name)?,
            domain: None,
            plan: PlanCode::new("starter")?,
            limits: LimitOverrides::default(),
        })
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What it may change itself.
    #[serde(flatten)]
    pub profile: TenantProfile,
    /// A domain that belongs to this tenant alone.
    pub domain: Option<DomainName>,
    /// The plan it is on.
    pub plan: PlanCode,
    /// Its state.
    pub status: TenantStatus,
    /// Bounds in place of the plan's.
    pub limits: LimitOverrides,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1; a writer must name the one it has read.
    pub revision: i64,
}

impl Tenant {
    /// A new, active tenant.
    #[must_use]
    pub fn create(id: TenantId, new: NewTenant, now: DateTime<Utc>) -> Self {
        Self {
            id,
            profile: new.profile,
            domain: new.domain,
            plan: new.plan,
            status: TenantStatus::Active,
            limits: new.limits,
            created_at: now,
            updated_at: now,
            revision: 1,
        }
    }

    /// Stops the tenant for a while.
    ///
    /// # Errors
    /// Unless it is active.
    pub fn suspend(&mut self, now: DateTime<Utc>) -> Result<(), TenancyError> {
        self.go(TenantStatus::Suspended, &[TenantStatus::Active], now)
    }

    /// Takes a suspended tenant back into use.
    ///
    /// # Errors
    /// Unless it is suspended.
    pub fn reactivate(&mut self, now: DateTime<Utc>) -> Result<(), TenancyError> {
        self.go(TenantStatus::Active, &[TenantStatus::Suspended], now)
    }

    /// Ends the tenant for good.
    ///
    /// # Errors
    /// When it is closed already.
    pub fn close(&mut self, now: DateTime<Utc>) -> Result<(), TenancyError> {
        self.go(
            TenantStatus::Closed,
            &[TenantStatus::Active, TenantStatus::Suspended],
            now,
        )
    }

    /// Changes what the tenant may change itself.
    ///
    /// # Errors
    /// When the tenant is not active.
    pub fn change_profile(
        &mut self,
        profile: TenantProfile,
        now: DateTime<Utc>,
    ) -> Result<(), TenancyError> {
        self.must_be_active()?;
        self.profile = profile;
        self.updated_at = now;
        Ok(())
    }

    /// Checks that the tenant takes changes.
    ///
    /// # Errors
    /// When it is suspended or closed.
    pub fn must_be_active(&self) -> Result<(), TenancyError> {
        match self.status {
            TenantStatus::Active => Ok(()),
            status => Err(TenancyError::NotActive { status }),
        }
    }

    fn go(
        &mut self,
        to: TenantStatus,
        from: &[TenantStatus],
        now: DateTime<Utc>,
    ) -> Result<(), TenancyError> {
        if !from.contains(&self.status) {
            return Err(TenancyError::Transition {
                from: self.status,
                to,
            });
        }
        self.status = to;
        self.updated_at = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_one_normal_form() {
        let domain = DomainName::new("Café.Example.").unwrap();
        assert_eq!(domain.as_str(), "xn--caf-dma.example");
        assert_eq!(domain, DomainName::new("xn--caf-dma.example").unwrap());
        for bad in [
            "",
            ".",
            "https://a.example",
            "a.example:80",
            "a b",
            "a..b",
            &"a".repeat(64),
        ] {
            assert!(DomainName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn states_follow_each_other_as_allowed() {
        let now = DateTime::UNIX_EPOCH;
        let mut tenant = Tenant::create(
            uuid::Uuid::nil().into(),
            NewTenant::named("A").unwrap(),
            now,
        );
        assert!(tenant.reactivate(now).is_err());
        tenant.suspend(now).unwrap();
        assert_eq!(
            tenant
                .change_profile(TenantProfile::new("B").unwrap(), now)
                .unwrap_err()
                .to_string(),
            "tenant is suspended; only an active tenant can be changed"
        );
        tenant.reactivate(now).unwrap();
        tenant.close(now).unwrap();
        assert_eq!(
            tenant.suspend(now).unwrap_err().to_string(),
            "tenant is closed; it cannot become suspended"
        );
    }

    #[test]
    fn users_read_a_suspended_tenant_and_nothing_of_a_closed_one() {
        use TenantStatus::{Active, Closed, Suspended};
        let (read, write) = (Permission::UsersRead, Permission::UsersManage);
        assert_eq!(Active.must_admit(write), Ok(()));
        assert_eq!(Suspended.must_admit(read), Ok(()));
        let refused = TenancyError::NotActive { status: Suspended };
        assert_eq!(Suspended.must_admit(write), Err(refused));
        assert_eq!(Closed.must_admit(read), Err(TenancyError::Closed));
        assert!(Closed.must_admit(write).is_err());
    }

    #[test]
    fn locales_and_zones_are_checked() {
        assert_eq!(Locale::new("ES-es").unwrap().to_string(), "es-ES");
        assert!(Locale::new("español").is_err());
        assert!(time_zone("Europe/Madrid").is_ok());
        assert!(
            time_zone("Madrid")
                .unwrap_err()
                .to_string()
                .contains("IANA")
        );
    }
}
