//! A case whose reads are counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::Value;
use tenantry::domain::money::{Currency, Money};

/// Nothing, or what differs.
pub(super) type Outcome = Result<(), String>;
/// A value, or why it could not be read or computed.
pub(super) type Got<T> = Result<T, String>;

/// What a function of the domain says when it refuses.
pub(super) fn say(error: impl Display) -> String {
    format!("refused: {error}")
}

pub(super) struct Case<'v> {
    value: &'v Value,
    read: RefCell<BTreeSet<String>>,
    compared: Cell<usize>,
}

impl<'v> Case<'v> {
    pub(super) fn new(value: &'v Value) -> Self {
        Self {
            value,
            read: RefCell::default(),
            compared: Cell::new(0),
        }
    }

    /// Fails unless something was compared and every field was read, those inside of objects and
    /// lists of objects too.
    pub(super) fn all_read(&self) -> Outcome {
        let read = self.read.borrow();
        let mut unread = Vec::new();
        for part in ["inputs", "expected", "recommended"] {
            leaves(part, &self.value[part], &mut |path| {
                if !read.contains(path) {
                    unread.push(path.to_owned());
                }
            });
        }
        if !unread.is_empty() {
            return Err(format!("never read: {}", unread.join(", ")));
        }
        if self.compared.get() == 0 {
            return Err("nothing was compared".to_owned());
        }
        Ok(())
    }

    fn root(&self, part: &str) -> Node<'_> {
        Node {
            value: &self.value[part],
            path: part.to_owned(),
            case: self,
        }
    }

    /// A field of the inputs. One that is recommended wins, and both count as read.
    pub(super) fn input(&self, name: &str) -> Node<'_> {
        let given = self.root("inputs").field(name);
        let better = self.root("recommended").field(name);
        if better.value.is_null() {
            given
        } else {
            given.mark();
            better
        }
    }

    /// Compares a field that must be there.
    pub(super) fn expect(&self, name: &str, computed: impl Into<Is>) -> Outcome {
        if self.compare(name, computed)? {
            return Ok(());
        }
        Err(format!("expected.{name} is missing"))
    }

    /// Compares a field where it is there, and says whether it was.
    pub(super) fn compare(&self, name: &str, computed: impl Into<Is>) -> Got<bool> {
        let given = self.root("expected").field(name);
        let better = self.root("recommended").field(name);
        let wanted = if better.value.is_null() {
            given
        } else {
            given.mark();
            better
        };
        if wanted.value.is_null() {
            return Ok(false);
        }
        self.compared.set(self.compared.get() + 1);
        wanted.is(&computed.into())?;
        Ok(true)
    }

    /// A field of what is expected, for a shape of its own.
    pub(super) fn expected(&self, name: &str) -> Node<'_> {
        self.compared.set(self.compared.get() + 1);
        self.root("expected").field(name)
    }

    /// The currency of the inputs; euros where there is none.
    pub(super) fn currency(&self) -> Got<Currency> {
        let node = self.input("currency");
        let currency = match node.opt() {
            Some(node) => Currency::new(&node.text()?).map_err(say)?,
            None => Currency::EUR,
        };
        if let Some(exponent) = self.input("exponent").opt() {
            let exponent: u32 = exponent.parse()?;
            if currency.exponent() != Some(exponent) {
                return Err(format!("{currency} has not the exponent {exponent}"));
            }
        }
        Ok(currency)
    }
}

/// Calls back with the path of each value that is neither an object nor a list of objects.
fn leaves(path: &str, value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(&format!("{path}.{name}"), value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                leaves(&format!("{path}.{index}"), item, found);
            }
        }
        Value::Null if !path.contains('.') => {}
        _ => found(path),
    }
}

/// A value of a case, with its path.
#[derive(Clone)]
pub(super) struct Node<'c> {
    value: &'c Value,
    path: String,
    case: &'c Case<'c>,
}

impl<'c> Node<'c> {
    fn mark(&self) {
        leaves(&self.path, self.value, &mut |path| {
            self.case.read.borrow_mut().insert(path.to_owned());
        });
    }

    /// A field; reading it is what counts.
    pub(super) fn field(&self, name: &str) -> Self {
        Self {
            value: &self.value[name],
            path: format!("{}.{name}", self.path),
            case: self.case,
        }
    }

    /// The value, where it is there and not null.
    pub(super) fn opt(&self) -> Option<Self> {
        if self.value.is_null() {
            self.case.read.borrow_mut().insert(self.path.clone());
            return None;
        }
        Some(self.clone())
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Got<Vec<Self>> {
        let items = self.value.as_array();
        let items = items.ok_or_else(|| format!("{} is no list", self.path))?;
        self.case.read.borrow_mut().insert(self.path.clone());
        let item = |(index, value)| Self {
            value,
            path: format!("{}.{index}", self.path),
            case: self.case,
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The text of a string or a number.
    pub(super) fn text(&self) -> Got<String> {
        self.case.read.borrow_mut().insert(self.path.clone());
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            other => Err(format!("{} is {other}", self.path)),
        }
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&self) -> Got<T> {
        let text = self.text()?;
        let parsed = text.parse();
        parsed.map_err(|error| format!("{} `{text}`: {error}", self.path))
    }

    pub(super) fn decimal(&self) -> Got<Decimal> {
        self.parse()
    }

    /// An amount in major units.
    pub(super) fn major(&self, currency: Currency) -> Got<Money> {
        Money::from_major(self.decimal()?, currency).map_err(say)
    }

    /// An amount in minor units.
    pub(super) fn minor(&self, currency: Currency) -> Got<Money> {
        Money::new(self.parse()?, currency).map_err(say)
    }

    /// An instant, or the first one of a day in UTC.
    pub(super) fn instant(&self) -> Got<DateTime<Utc>> {
        let text = self.text()?;
        match text.parse::<NaiveDate>() {
            Ok(day) => Ok(day.and_time(chrono::NaiveTime::MIN).and_utc()),
            Err(_) => self.parse(),
        }
    }

    /// Compares the value: numbers as numbers, lists item by item.
    fn is(&self, computed: &Is) -> Outcome {
        if let Is::List(computed) = computed {
            let wanted = self.items()?;
            if wanted.len() != computed.len() {
                let (wanted, computed) = (wanted.len(), computed.len());
                return Err(format!(
                    "{} has {wanted} items and {computed} were computed",
                    self.path
                ));
            }
            return wanted.iter().zip(computed).try_for_each(|(w, c)| w.is(c));
        }
        let wanted = self.text()?;
        let (same, computed) = match computed {
            Is::Number(number) => (
                wanted.parse() == Ok(*number),
                number.normalize().to_string(),
            ),
            Is::Text(text) => (wanted == *text, text.clone()),
            Is::List(_) => (false, String::new()),
        };
        if same {
            return Ok(());
        }
        Err(format!(
            "{} is {wanted} and was computed as {computed}",
            self.path
        ))
    }
}

/// What was computed.
#[derive(Debug, Clone)]
pub(super) enum Is {
    Number(Decimal),
    Text(String),
    List(Vec<Is>),
}

/// In major units.
impl From<Money> for Is {
    fn from(money: Money) -> Self {
        Self::Number(money.to_major())
    }
}

impl From<Decimal> for Is {
    fn from(number: Decimal) -> Self {
        Self::Number(number)
    }
}

impl From<i64> for Is {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<String> for Is {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Is>> From<Vec<T>> for Is {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// Amounts in minor units.
pub(super) fn minors(amounts: &[Money]) -> Is {
    Is::List(amounts.iter().map(|amount| amount.minor().into()).collect())
}

/// The instants as days.
pub(super) fn days(instants: &[DateTime<Utc>]) -> Is {
    let day = |instant: &DateTime<Utc>| Is::Text(instant.date_naive().to_string());
    Is::List(instants.iter().map(day).collect())
}
