//! The `data` of an execution: what each node was given, produced and failed with.

use std::borrow::Cow;
use std::ops::Range;

use chrono::{DateTime, Utc};

use super::N8nError;
use super::value::{Cursor, ignore, is_object, millis, missing, null, string, type_error};
use crate::domain::execution::ErrorEntry;
use crate::domain::payload::Excerpt;
use crate::domain::payload::scan::{Key, Kind};

/// The most entries taken into the error log of one execution. A loop can fail more often than
/// anybody reads; the payload has them all.
const MAX_ERRORS: usize = 1_000;

/// What was found in `data`, by place in the text. Nothing is copied.
#[derive(Debug, Default)]
pub(super) struct RunData<'t> {
    /// The nodes that ran, and how often.
    runs: Vec<(Key<'t>, u32)>,
    /// The items that the start node put out.
    pub(super) input: Option<Range<usize>>,
    /// The error that ended the execution.
    pub(super) error: Option<Range<usize>>,
    failure: Option<Failure<'t>>,
    failures: Vec<Failure<'t>>,
}

/// An error in run data. Texts are as JSON has them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Failure<'t> {
    node: Option<&'t str>,
    kind: Option<&'t str>,
    message: Option<&'t str>,
    description: Option<&'t str>,
    stack: Option<&'t str>,
    at: Option<DateTime<Utc>>,
}

impl<'t> RunData<'t> {
    /// Reads `data`, which the cursor stands before.
    pub(super) fn read(cursor: &mut Cursor<'t, '_>) -> Result<Self, N8nError> {
        let mut found = Self::default();
        let mut there = false;
        if cursor.kind()? == Kind::String {
            return Err(N8nError::Flatted);
        }
        is_object(cursor, "data")?;
        cursor.object(|cursor, key| match &*key.name() {
            "resultData" => {
                there = true;
                found.result_data(cursor)
            }
            _ => ignore(cursor),
        })?;
        if there {
            Ok(found)
        } else {
            Err(missing("data.resultData"))
        }
    }

    /// How often the nodes of these names ran.
    pub(super) fn runs_of(&self, names: &[Cow<'_, str>]) -> u32 {
        if names.is_empty() {
            return 0;
        }
        self.runs
            .iter()
            .filter(|(node, _)| names.contains(&node.name()))
            .map(|(_, runs)| runs)
            .fold(0, |sum, runs| sum.saturating_add(*runs))
    }

    /// The entries of the error log in order of time; `otherwise` is when those happened that do
    /// not say.
    pub(super) fn errors(&self, otherwise: DateTime<Utc>) -> Vec<ErrorEntry> {
        let last = self
            .failure
            .as_ref()
            .filter(|last| !self.failures.iter().any(|failure| failure.same(last)));
        let mut entries: Vec<_> = self
            .failures
            .iter()
            .chain(last)
            .map(|failure| failure.entry(otherwise))
            .collect();
        entries.sort_by_key(|entry| entry.occurred_at);
        entries
    }

    fn result_data(&mut self, cursor: &mut Cursor<'t, '_>) -> Result<(), N8nError> {
        let mut there = false;
        is_object(cursor, "data.resultData")?;
        cursor.object(|cursor, key| match &*key.name() {
            "runData" => {
                there = true;
                is_object(cursor, "data.resultData.runData")?;
                cursor.object(|cursor, node| self.node(cursor, node))
            }
            "error" if !null(cursor)? => {
                let (failure, range) = Failure::read(cursor)?;
                self.error = Some(range);
                self.failure = Some(failure);
                Ok(())
            }
            "error" => Ok(()),
            _ => ignore(cursor),
        })?;
        if there {
            Ok(())
        } else {
            Err(missing("data.resultData.runData"))
        }
    }

    fn node(&mut self, cursor: &mut Cursor<'t, '_>, node: Key<'t>) -> Result<(), N8nError> {
        let path = || format!("data.resultData.runData[{:?}]", shown(node));
        let mut runs = 0;
        if cursor.kind()? != Kind::Array {
            return Err(type_error(path(), "an array"));
        }
        cursor.array(|cursor, index| {
            if cursor.kind()? != Kind::Object {
                return Err(type_error(format!("{}[{index}]", path()), "an object"));
            }
            runs += 1;
            self.run(cursor, node, index == 0)
        })?;
        self.runs.push((node, runs));
        Ok(())
    }

    fn run(
        &mut self,
        cursor: &mut Cursor<'t, '_>,
        node: Key<'t>,
        first: bool,
    ) -> Result<(), N8nError> {
        let look_for_input = first && self.input.is_none();
        let (mut output, mut start, mut failure, mut began) = (None, false, None, None);
        cursor.object(|cursor, key| match &*key.name() {
            "startTime" => {
                began = millis(cursor)?;
                Ok(())
            }
            "source" if look_for_input => {
                start = is_empty(cursor)?;
                Ok(())
            }
            "data" if look_for_input => {
                output = items(cursor)?;
                Ok(())
            }
            "error" if !null(cursor)? => {
                failure = Some(Failure::read(cursor)?.0);
                Ok(())
            }
            "error" => Ok(()),
            _ => ignore(cursor),
        })?;
        // The node that nothing came before is the one the execution started with. Its place among
        // the others says nothing: JavaScript sorts names that look like numbers to the front.
        if start {
            self.input = output;
        }
        if let Some(mut failure) = failure.filter(|_| self.failures.len() < MAX_ERRORS) {
            failure.node = Some(node.raw());
            failure.at = failure.at.or(began);
            self.failures.push(failure);
        }
        Ok(())
    }
}

impl<'t> Failure<'t> {
    /// Reads an error, and where it stands.
    fn read(cursor: &mut Cursor<'t, '_>) -> Result<(Self, Range<usize>), N8nError> {
        let mut failure = Self::default();
        match cursor.kind()? {
            Kind::Object => {}
            kind => {
                let range = cursor.skip()?;
                if kind == Kind::String {
                    failure.message = cursor.slice(range.start + 1..range.end - 1).into();
                }
                return Ok((failure, range));
            }
        }
        let start = cursor.start();
        cursor.object(|cursor, key| {
            match &*key.name() {
                "name" => failure.kind = string(cursor)?,
                "message" => failure.message = string(cursor)?,
                "description" => failure.description = string(cursor)?,
                "stack" => failure.stack = string(cursor)?,
                "timestamp" => failure.at = millis(cursor)?,
                "node" => failure.node = node_name(cursor)?,
                _ => ignore(cursor)?,
            }
            Ok::<_, N8nError>(())
        })?;
        Ok((failure, start..cursor.at()))
    }

    /// Whether this is the other error, told again.
    fn same(&self, other: &Self) -> bool {
        self.message == other.message
            && self.kind == other.kind
            && (other.node.is_none() || self.node == other.node)
            && (other.at.is_none() || self.at == other.at)
    }

    fn entry(&self, otherwise: DateTime<Utc>) -> ErrorEntry {
        let text = |raw| Excerpt::of_string(raw, ErrorEntry::MAX_TEXT);
        let name = |raw| Excerpt::of_string(raw, ErrorEntry::MAX_NAME);
        let message = self.message.or(self.kind).unwrap_or("unknown error");
        let mut entry = ErrorEntry::of(text(message), self.at.unwrap_or(otherwise));
        if let Some(node) = self.node {
            entry = entry.with(name(node), |entry| &mut entry.node);
        }
        if let Some(kind) = self.kind {
            entry = entry.with(name(kind), |entry| &mut entry.kind);
        }
        if let Some(description) = self.description {
            entry = entry.with(text(description), |entry| &mut entry.description);
        }
        if let Some(stack) = self.stack {
            let stack = Excerpt::of_string(stack, ErrorEntry::MAX_STACK);
            entry = entry.with(stack, |entry| &mut entry.stack);
        }
        entry
    }
}

fn shown(key: Key<'_>) -> String {
    key.name().chars().take(64).collect()
}

/// An error names its node by the node itself, or, in older versions, by its name.
fn node_name<'t>(cursor: &mut Cursor<'t, '_>) -> Result<Option<&'t str>, N8nError> {
    if cursor.kind()? != Kind::Object {
        return string(cursor);
    }
    let mut name = None;
    cursor.object(|cursor, key| match &*key.name() {
        "name" => {
            name = string(cursor)?;
            Ok(())
        }
        _ => ignore(cursor),
    })?;
    Ok(name)
}

fn is_empty(cursor: &mut Cursor<'_, '_>) -> Result<bool, N8nError> {
    let raw = cursor.raw()?;
    let inner = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']'));
    Ok(inner.is_some_and(|inner| inner.trim().is_empty()))
}

/// The first output of `{main: [[item, …] or null, …]}` that has items, or else the first.
fn items(cursor: &mut Cursor<'_, '_>) -> Result<Option<Range<usize>>, N8nError> {
    if cursor.kind()? != Kind::Object {
        ignore(cursor)?;
        return Ok(None);
    }
    let mut found: Option<(bool, Range<usize>)> = None;
    cursor.object(|cursor, key| {
        if key.name() != "main" || cursor.kind()? != Kind::Array {
            return ignore(cursor);
        }
        cursor.array(|cursor, _| {
            if cursor.kind()? != Kind::Array {
                return ignore(cursor);
            }
            let start = cursor.start();
            let filled = !is_empty(cursor)?;
            if found.as_ref().is_none_or(|(other, _)| filled && !other) {
                found = Some((filled, start..cursor.at()));
            }
            Ok(())
        })
    })?;
    Ok(found.map(|(_, range)| range))
}
