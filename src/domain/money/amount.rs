//! An amount of money.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Currency, MoneyError, Rounding, mul_div, power, shift};

/// An amount of money: a whole number of a currency's minor unit.
///
/// ```
/// use tenantry::domain::money::{Currency, Money};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let price = Money::from_major("12.30".parse()?, Currency::EUR)?;
/// assert_eq!((price.minor(), price.to_string()), (1230, "EUR 12.30".to_owned()));
/// assert!(price.checked_add(Money::new(1, Currency::USD)?).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "MoneyFields")]
pub struct Money {
    minor: i64,
    currency: Currency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneyFields {
    minor: i64,
    currency: Currency,
}

impl TryFrom<MoneyFields> for Money {
    type Error = MoneyError;

    fn try_from(fields: MoneyFields) -> Result<Self, MoneyError> {
        Self::new(fields.minor, fields.currency)
    }
}

/// The decimal places of a currency's minor unit.
fn places(currency: Currency) -> Result<u32, MoneyError> {
    currency
        .exponent()
        .ok_or(MoneyError::NoMinorUnit { currency })
}

impl Money {
    /// So many minor units of a currency: 1230 of EUR is EUR 12.30.
    ///
    /// # Errors
    /// `NoMinorUnit` for a currency in which nothing can be paid, such as gold.
    pub fn new(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        places(currency)?;
        Ok(Self { minor, currency })
    }

    /// Nothing, in a currency.
    ///
    /// # Errors
    /// `NoMinorUnit`, as [`Self::new`].
    pub fn zero(currency: Currency) -> Result<Self, MoneyError> {
        Self::new(0, currency)
    }

    /// An amount of this one's currency.
    pub(crate) fn with_minor(self, minor: i64) -> Self {
        Self { minor, ..self }
    }

    /// An amount of this one's currency, if it fits.
    pub(crate) fn with_wide(self, minor: i128) -> Result<Self, MoneyError> {
        let currency = self.currency;
        let minor = i64::try_from(minor).map_err(|_| MoneyError::Overflow { currency })?;
        Ok(self.with_minor(minor))
    }

    /// The amount of so many major units: 12.30 of EUR is 1230 minor units.
    ///
    /// # Errors
    /// `Places` for an amount finer than the currency, `Overflow`, `NoMinorUnit`.
    pub fn from_major(major: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        let amount = Self::from_major_rounded(major, currency, Rounding::Down)?;
        if amount.to_major() == major {
            return Ok(amount);
        }
        Err(MoneyError::Places {
            value: major,
            currency,
            places: places(currency)?,
        })
    }

    /// The amount of so many major units, rounded to the minor unit.
    ///
    /// # Errors
    /// `Overflow`, `NoMinorUnit`.
    pub fn from_major_rounded(
        major: Decimal,
        currency: Currency,
        rounding: Rounding,
    ) -> Result<Self, MoneyError> {
        let zero = Self::zero(currency)?;
        let (mantissa, scale, places) = (major.mantissa(), major.scale(), places(currency)?);
        let minor = if scale <= places {
            shift(mantissa, places - scale)
        } else {
            power(scale - places).map(|divisor| rounding.div(mantissa, divisor))
        };
        zero.with_wide(minor.ok_or(MoneyError::Overflow { currency })?)
    }

    /// The minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount in major units, with all decimal places of the currency: 12.30.
    #[must_use]
    pub fn to_major(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent().unwrap_or_default())
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// Fails unless the other amount is in this one's currency.
    pub(crate) fn alike(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::Mixed {
            left: self.currency,
            right: other.currency,
        })
    }

    /// The sum of both.
    ///
    /// # Errors
    /// `Mixed` for two currencies, `Overflow`.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.alike(other)?;
        self.with_wide(i128::from(self.minor) + i128::from(other.minor))
    }

    /// This less the other.
    ///
    /// # Errors
    /// `Mixed` for two currencies, `Overflow`.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.alike(other)?;
        self.with_wide(i128::from(self.minor) - i128::from(other.minor))
    }

    /// The amount with the other sign.
    ///
    /// # Errors
    /// `Overflow` for the smallest amount of all.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        self.with_wide(-i128::from(self.minor))
    }

    /// The sum of amounts in one currency; nothing for none.
    ///
    /// Only the sum must fit, not what it passes through.
    ///
    /// # Errors
    /// `Mixed` for an amount in another currency, `Overflow`, `NoMinorUnit`.
    pub fn sum(
        currency: Currency,
        amounts: impl IntoIterator<Item = Self>,
    ) -> Result<Self, MoneyError> {
        let zero = Self::zero(currency)?;
        let mut sum = 0_i128;
        for amount in amounts {
            zero.alike(amount)?;
            sum = sum
                .checked_add(amount.minor.into())
                .ok_or(MoneyError::Overflow { currency })?;
        }
        zero.with_wide(sum)
    }

    /// The lesser of both.
    ///
    /// # Errors
    /// `Mixed` for two currencies.
    pub fn min(self, other: Self) -> Result<Self, MoneyError> {
        self.alike(other)?;
        Ok(self.with_minor(self.minor.min(other.minor)))
    }

    /// The greater of both.
    ///
    /// # Errors
    /// `Mixed` for two currencies.
    pub fn max(self, other: Self) -> Result<Self, MoneyError> {
        self.alike(other)?;
        Ok(self.with_minor(self.minor.max(other.minor)))
    }

    /// The amount times `numerator / denominator`, which is positive.
    pub(crate) fn scaled(
        self,
        numerator: i128,
        denominator: i128,
        rounding: Rounding,
    ) -> Result<Self, MoneyError> {
        let scaled = mul_div(self.minor.into(), numerator, denominator, rounding);
        self.with_wide(scaled.ok_or(MoneyError::Overflow {
            currency: self.currency,
        })?)
    }

    /// The amount as a multiple of so many minor units, as some payment providers ask for:
    /// Stripe takes three-decimal currencies in steps of 10.
    ///
    /// What is charged may then differ from what is owed; the ledger keeps the amount itself.
    ///
    /// # Errors
    /// `Step` for a step that is not positive, `Overflow`.
    pub fn to_step(self, step: i64, rounding: Rounding) -> Result<Self, MoneyError> {
        if step <= 0 {
            return Err(MoneyError::Step { step });
        }
        let step = i128::from(step);
        self.with_wide(rounding.div(self.minor.into(), step) * step)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.to_major())
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Money({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(minor: i64, currency: Currency) -> Money {
        Money::new(minor, currency).unwrap()
    }

    fn eur(minor: i64) -> Money {
        money(minor, Currency::EUR)
    }

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_read_and_write_as_their_currency_does() {
        for (minor, currency, text) in [
            (1230, Currency::EUR, "EUR 12.30"),
            (-5, Currency::USD, "USD -0.05"),
            (500, Currency::JPY, "JPY 500"),
            (5124, Currency::KWD, "KWD 5.124"),
            (i64::MIN, Currency::EUR, "EUR -92233720368547758.08"),
        ] {
            let amount = money(minor, currency);
            assert_eq!(amount.to_string(), text);
            assert_eq!(Money::from_major(amount.to_major(), currency), Ok(amount));
            let json = serde_json::to_value(amount).unwrap();
            assert_eq!(
                json,
                serde_json::json!({"minor": minor, "currency": currency.code()})
            );
            assert_eq!(serde_json::from_value::<Money>(json).unwrap(), amount);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        let gold = Currency::new("XAU").unwrap();
        let json = r#"{"minor": 1, "currency": "XAU"}"#;
        let error = serde_json::from_str::<Money>(json).unwrap_err().to_string();
        for (error, message) in [
            (
                Money::new(1, gold).unwrap_err(),
                "currency XAU has no minor unit; use one that has, such as USD, EUR or JPY",
            ),
            (
                eur(1).checked_add(money(1, Currency::USD)).unwrap_err(),
                "amounts in EUR and USD cannot be combined; convert one of them first",
            ),
            (
                eur(i64::MAX).checked_add(eur(1)).unwrap_err(),
                "the amount in EUR is too large; from -9223372036854775808 to \
                 9223372036854775807 minor units can be kept",
            ),
            (
                Money::from_major(d("1.234"), Currency::EUR).unwrap_err(),
                "amount 1.234 EUR must have at most 2 decimal places; round it first",
            ),
            (
                eur(1).to_step(0, Rounding::Up).unwrap_err(),
                "step 0 must be greater than 0",
            ),
        ] {
            assert_eq!(error.to_string(), message);
        }
        assert!(
            error.starts_with("currency XAU has no minor unit"),
            "{error}"
        );
    }

    #[test]
    fn sums_are_checked_at_the_end() {
        let amounts = [eur(i64::MAX), eur(i64::MAX), eur(-i64::MAX)];
        assert_eq!(Money::sum(Currency::EUR, amounts), Ok(eur(i64::MAX)));
        assert_eq!(Money::sum(Currency::JPY, []), Money::zero(Currency::JPY));
        assert!(matches!(
            Money::sum(Currency::USD, [eur(0)]),
            Err(MoneyError::Mixed { .. })
        ));
        assert!(eur(i64::MIN).checked_neg().is_err());
        assert_eq!(eur(5).checked_sub(eur(7)), Ok(eur(-2)));
    }

    #[test]
    fn major_amounts_are_rounded_once() {
        let round = |text, rounding| {
            Money::from_major_rounded(d(text), Currency::USD, rounding).map(Money::minor)
        };
        assert_eq!(round("0.024", Rounding::HalfUp), Ok(2));
        assert_eq!(round("-0.025", Rounding::HalfUp), Ok(-3));
        assert_eq!(round("0.025", Rounding::HalfEven), Ok(2));
        assert_eq!(round("12", Rounding::HalfUp), Ok(1200));
        assert!(round("92233720368547758.08", Rounding::HalfUp).is_err());
        assert_eq!(round("0.0000000000000000000000000001", Rounding::Up), Ok(1));
    }

    #[test]
    fn a_provider_gets_its_steps() {
        let dinars = money(5124, Currency::KWD);
        let step = |rounding| dinars.to_step(10, rounding).map(Money::minor);
        assert_eq!(
            (step(Rounding::Floor), step(Rounding::Ceiling)),
            (Ok(5120), Ok(5130))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn currencies_never_mix(left in any::<i64>(), right in any::<i64>(), yen in any::<bool>()) {
            let other = if yen { Currency::JPY } else { Currency::KWD };
            let (left, right) = (eur(left), money(right, other));
            let mixed = Err(MoneyError::Mixed { left: Currency::EUR, right: other });
            for result in [
                left.checked_add(right),
                left.checked_sub(right),
                left.min(right),
                left.max(right),
                Money::sum(Currency::EUR, [left, right]),
            ] {
                prop_assert_eq!(result, mixed.clone());
            }
            prop_assert_ne!(left, right);
        }

        #[test]
        fn sums_and_differences_are_exact_or_refused(left in any::<i64>(), right in any::<i64>()) {
            let minor = |result: Result<Money, MoneyError>| result.ok().map(Money::minor);
            prop_assert_eq!(minor(eur(left).checked_add(eur(right))), left.checked_add(right));
            prop_assert_eq!(minor(eur(left).checked_sub(eur(right))), left.checked_sub(right));
            prop_assert_eq!(minor(eur(left).checked_neg()), left.checked_neg());
        }
    }
}
