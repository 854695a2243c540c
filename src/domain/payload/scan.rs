//! One pass over JSON text: checks it, finds the values a caller asks for, notes what to mask.
//!
//! Bytes are looked at once, nesting is kept in bits rather than on the call stack, and nothing is
//! copied.

use std::borrow::Cow;
use std::ops::Range;

use super::{MAX_DEPTH, PayloadError, decode, lex};
use crate::domain::redaction::Redaction;

/// What kind of value begins at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// A key of an object, as the text has it, without its quotation marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'t> {
    raw: &'t str,
    escaped: bool,
}

impl<'t> Key<'t> {
    /// What it means.
    pub(crate) fn name(&self) -> Cow<'t, str> {
        if self.escaped {
            decode(self.raw)
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// What it is in the text, without its quotation marks.
    #[cfg(feature = "n8n")]
    pub(crate) fn raw(&self) -> &'t str {
        self.raw
    }
}

/// Which containers are open around the place being read: one bit each, set for an object.
#[derive(Debug, Default)]
struct Nesting {
    innermost: u64,
    outer: Vec<u64>,
    depth: usize,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.outer.push(self.innermost);
        }
        self.innermost = self.innermost << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.innermost >>= 1;
        if self.depth.is_multiple_of(64)
            && let Some(word) = self.outer.pop()
        {
            self.innermost = word;
        }
    }

    fn in_object(&self) -> bool {
        self.innermost & 1 == 1
    }
}

/// A cursor over JSON text.
///
/// [`skip`](Self::skip) passes over one whole value; [`object`](Self::object) and
/// [`array`](Self::array) step into one. Whatever is passed over has been checked.
#[derive(Debug)]
pub(crate) struct Scanner<'t, 'p> {
    text: &'t str,
    at: usize,
    depth: usize,
    max_depth: usize,
    redaction: Option<&'p Redaction>,
    masks: Vec<Range<usize>>,
}

impl<'t, 'p> Scanner<'t, 'p> {
    /// A cursor at the beginning of the text that masks nothing.
    pub(crate) fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            max_depth: MAX_DEPTH,
            redaction: None,
            masks: Vec::new(),
        }
    }

    /// A cursor that notes the values under the policy's keys.
    pub(crate) fn redacting(text: &'t str, redaction: &'p Redaction) -> Self {
        Self {
            redaction: Some(redaction),
            ..Self::new(text)
        }
    }

    /// The places of the masked values so far, in order.
    pub(crate) fn masks(&self) -> &[Range<usize>] {
        &self.masks
    }

    /// The kind of the next value.
    pub(crate) fn kind(&mut self) -> Result<Kind, PayloadError> {
        self.white_space();
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            _ => Err(lex::expected("a value", self.at)),
        }
    }

    /// Passes over one value; where it stands in the text.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, PayloadError> {
        self.white_space();
        let start = self.at;
        self.skip_value()?;
        Ok(start..self.at)
    }

    /// Passes over one value; its text.
    pub(crate) fn raw(&mut self) -> Result<&'t str, PayloadError> {
        let range = self.skip()?;
        Ok(self.slice(range))
    }

    /// The text of a place that this cursor gave.
    pub(crate) fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), PayloadError> {
        self.white_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(lex::expected("the end", self.at)),
        }
    }

    /// Steps through an object. `field` must read the value of each key it is given; values under
    /// masked keys are passed over without asking.
    pub(crate) fn object<E: From<PayloadError>>(
        &mut self,
        mut field: impl FnMut(&mut Self, Key<'t>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'{', "an object")?;
        if self.leaves(b'}') {
            return Ok(());
        }
        loop {
            let (key, value) = self.key(self.at)?;
            self.at = value;
            if self.masked(key) {
                let range = self.skip_masked()?;
                self.masks.push(range);
            } else {
                field(self, key)?;
            }
            if !self.goes_on(b'}', "`,` or `}`")? {
                return Ok(());
            }
        }
    }

    /// Steps through an array. `item` must read each value; it is given the index.
    pub(crate) fn array<E: From<PayloadError>>(
        &mut self,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'[', "an array")?;
        if self.leaves(b']') {
            return Ok(());
        }
        for index in 0.. {
            item(self, index)?;
            if !self.goes_on(b']', "`,` or `]`")? {
                break;
            }
        }
        Ok(())
    }

    fn enter(&mut self, opening: u8, expected: &'static str) -> Result<(), PayloadError> {
        self.white_space();
        if self.peek() != Some(opening) {
            return Err(lex::expected(expected, self.at));
        }
        self.check_depth(1, self.at)?;
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leaves(&mut self, closing: u8) -> bool {
        self.white_space();
        let empty = self.peek() == Some(closing);
        if empty {
            self.at += 1;
            self.depth -= 1;
        }
        empty
    }

    fn goes_on(&mut self, closing: u8, expected: &'static str) -> Result<bool, PayloadError> {
        self.white_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == closing => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(lex::expected(expected, self.at)),
        }
    }

    /// Passes over a value that is masked as a whole: nothing inside needs to be noted.
    fn skip_masked(&mut self) -> Result<Range<usize>, PayloadError> {
        let redaction = self.redaction.take();
        let range = self.skip();
        self.redaction = redaction;
        range
    }

    /// A key and the colon after it, from `at` on; where its value begins.
    #[inline(always)]
    fn key(&self, at: usize) -> Result<(Key<'t>, usize), PayloadError> {
        let bytes = self.text.as_bytes();
        let at = lex::white_space(bytes, at);
        if bytes.get(at) != Some(&b'"') {
            return Err(lex::expected("a key in quotation marks", at));
        }
        let (end, escaped) = lex::string(bytes, at + 1)?;
        let raw = self.slice(at + 1..end - 1);
        let colon = lex::white_space(bytes, end);
        if bytes.get(colon) != Some(&b':') {
            return Err(lex::expected("`:`", colon));
        }
        Ok((Key { raw, escaped }, lex::white_space(bytes, colon + 1)))
    }

    #[inline(always)]
    fn masked(&self, key: Key<'_>) -> bool {
        self.redaction
            .is_some_and(|redaction| redaction.masks_raw(key.raw, key.escaped))
    }

    fn check_depth(&self, levels: usize, at: usize) -> Result<(), PayloadError> {
        if self.depth + levels > self.max_depth {
            return Err(PayloadError::TooDeep { at });
        }
        Ok(())
    }

    /// Passes over one value, however deep. The loop keeps its place in a local variable: this is
    /// where nearly all time goes.
    fn skip_value(&mut self) -> Result<(), PayloadError> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        let mut open = Nesting::default();
        // Where the masked value being passed over begins, and how many containers were open.
        let mut mask: Option<(usize, usize)> = None;
        loop {
            match bytes.get(at) {
                Some(b'"') => (at, _) = lex::string(bytes, at + 1)?,
                Some(b'{') => {
                    self.check_depth(open.depth + 1, at)?;
                    at = lex::white_space(bytes, at + 1);
                    if bytes.get(at) != Some(&b'}') {
                        open.push(true);
                        at = self.next_key(at, &open, &mut mask)?;
                        continue;
                    }
                    at += 1;
                }
                Some(b'[') => {
                    self.check_depth(open.depth + 1, at)?;
                    at = lex::white_space(bytes, at + 1);
                    if bytes.get(at) != Some(&b']') {
                        open.push(false);
                        continue;
                    }
                    at += 1;
                }
                _ => at = lex::scalar(bytes, at)?,
            }
            // A value is complete; close what it closes.
            loop {
                if let Some((start, depth)) = mask
                    && depth == open.depth
                {
                    self.masks.push(start..at);
                    mask = None;
                }
                if open.depth == 0 {
                    self.at = at;
                    return Ok(());
                }
                at = lex::white_space(bytes, at);
                match (bytes.get(at), open.in_object()) {
                    (Some(b','), true) => {
                        at = self.next_key(at + 1, &open, &mut mask)?;
                        break;
                    }
                    (Some(b','), false) => {
                        at = lex::white_space(bytes, at + 1);
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(lex::expected("`,` or `}`", at)),
                    (_, false) => return Err(lex::expected("`,` or `]`", at)),
                }
            }
        }
    }

    /// A key inside the value being passed over; where its value begins.
    #[inline(always)]
    fn next_key(
        &self,
        at: usize,
        open: &Nesting,
        mask: &mut Option<(usize, usize)>,
    ) -> Result<usize, PayloadError> {
        let (key, at) = self.key(at)?;
        if mask.is_none() && self.masked(key) {
            *mask = Some((at, open.depth));
        }
        Ok(at)
    }

    fn white_space(&mut self) {
        self.at = lex::white_space(self.text.as_bytes(), self.at);
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(feature = "n8n")]
impl<'p> Scanner<'_, 'p> {
    /// Where the next value begins.
    pub(crate) fn start(&mut self) -> usize {
        self.white_space();
        self.at
    }

    /// The end of what has been read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Reads with another policy (or none) and depth counted anew, then returns to this one.
    pub(crate) fn apart<T>(
        &mut self,
        redaction: Option<&'p Redaction>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let (outer, depth) = (self.redaction, self.depth);
        (self.redaction, self.depth) = (redaction, 0);
        let result = read(self);
        (self.redaction, self.depth) = (outer, depth);
        result
    }

    /// Reads one value apart and without a policy. If `read` refuses it, it is passed over, so
    /// that what follows can be read.
    ///
    /// # Errors
    /// When the text of the value is not JSON: nothing that follows can be trusted.
    pub(crate) fn attempt<T, E>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<Result<T, E>, PayloadError> {
        let start = self.start();
        let result = self.apart(None, read);
        if result.is_err() {
            self.at = start;
            self.max_depth = usize::MAX;
            let skipped = self.skip();
            self.max_depth = MAX_DEPTH;
            skipped?;
        }
        Ok(result)
    }
}
