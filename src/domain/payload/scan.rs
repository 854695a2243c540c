//! One pass over JSON text: checks it, finds the values a caller asks for, notes what to mask.
//!
//! Bytes are looked at once, nesting is kept in bits rather than on the call stack, and nothing is
//! copied. Accepts RFC 8259, and of `\u` escapes, as PostgreSQL's `json` does, every one with four
//! hexadecimal digits: lone surrogates and U+0000 occur in real payloads.

use std::ops::Range;

use super::{MAX_DEPTH, PayloadError};
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
    pub(crate) raw: &'t str,
    pub(crate) escaped: bool,
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
            _ => Err(self.unexpected("a value")),
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
            Some(_) => Err(self.unexpected("the end")),
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
            let key = self.key()?;
            if self.masked(key) {
                let range = self.apart_masked()?;
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
            return Err(self.unexpected(expected));
        }
        self.deeper(1)?;
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
            _ => Err(self.unexpected(expected)),
        }
    }

    /// Passes over a value that is masked as a whole: nothing inside needs to be noted.
    fn apart_masked(&mut self) -> Result<Range<usize>, PayloadError> {
        let redaction = self.redaction.take();
        let range = self.skip();
        self.redaction = redaction;
        range
    }

    fn masked(&self, key: Key<'_>) -> bool {
        self.redaction
            .is_some_and(|redaction| redaction.masks_raw(key.raw, key.escaped))
    }

    /// A key and the colon after it.
    fn key(&mut self) -> Result<Key<'t>, PayloadError> {
        self.white_space();
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in quotation marks"));
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let raw = self.slice(start..self.at - 1);
        self.white_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok(Key { raw, escaped })
    }

    fn skip_value(&mut self) -> Result<(), PayloadError> {
        let mut open = Nesting::default();
        // Where the masked value being passed over begins, and how many containers were open.
        let mut mask: Option<(usize, usize)> = None;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'{') => {
                    self.deeper(open.depth + 1)?;
                    self.at += 1;
                    self.white_space();
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                    } else {
                        open.push(true);
                        self.masking_key(&open, &mut mask)?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.deeper(open.depth + 1)?;
                    self.at += 1;
                    self.white_space();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                    } else {
                        open.push(false);
                        continue;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal("true")?,
                Some(b'f') => self.literal("false")?,
                Some(b'n') => self.literal("null")?,
                _ => return Err(self.unexpected("a value")),
            }
            // A value is complete; close what it closes.
            loop {
                if let Some((start, depth)) = mask
                    && depth == open.depth
                {
                    self.masks.push(start..self.at);
                    mask = None;
                }
                if open.depth == 0 {
                    return Ok(());
                }
                self.white_space();
                match (self.peek(), open.in_object()) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.masking_key(&open, &mut mask)?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        self.white_space();
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return Err(self.unexpected("`,` or `}`")),
                    (_, false) => return Err(self.unexpected("`,` or `]`")),
                }
            }
        }
    }

    fn masking_key(
        &mut self,
        open: &Nesting,
        mask: &mut Option<(usize, usize)>,
    ) -> Result<(), PayloadError> {
        let key = self.key()?;
        self.white_space();
        if mask.is_none() && self.masked(key) {
            *mask = Some((self.at, open.depth));
        }
        Ok(())
    }

    fn deeper(&self, levels: usize) -> Result<(), PayloadError> {
        if self.depth + levels > MAX_DEPTH {
            return Err(PayloadError::TooDeep { at: self.at });
        }
        Ok(())
    }

    /// Passes over a string; whether it has escapes.
    fn string(&mut self) -> Result<bool, PayloadError> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            at = plain(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    at = match bytes.get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                        Some(b'u')
                            if bytes
                                .get(at + 2..at + 6)
                                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
                        {
                            at + 6
                        }
                        _ => {
                            self.at = at;
                            return Err(self.unexpected("an escape that JSON knows"));
                        }
                    };
                }
                Some(_) => {
                    self.at = at;
                    return Err(self.unexpected("no control character in a string"));
                }
                None => {
                    self.at = at;
                    return Err(self.unexpected("`\"`"));
                }
            }
        }
    }

    fn number(&mut self) -> Result<(), PayloadError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), PayloadError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a digit"));
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Result<(), PayloadError> {
        let end = self.at + word.len();
        if self.text.as_bytes().get(self.at..end) != Some(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at = end;
        Ok(())
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self, expected: &'static str) -> PayloadError {
        PayloadError::Syntax {
            at: self.at,
            expected,
        }
    }
}

/// The first place from `at` on with a quotation mark, a backslash or a control character, or the
/// end.
fn plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // Eight bytes at a time: the sign bit of each byte of the sum below tells whether it is one of
    // the three. The lowest such bit is exact; see Mycroft's zero-byte test.
    while let Some(Ok(eight)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(eight);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * u64::from(b'"'));
        let quote = quote.wrapping_sub(ONES) & !quote;
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let backslash = backslash.wrapping_sub(ONES) & !backslash;
        let found = (control | quote | backslash) & HIGHS;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at)
        && !matches!(byte, b'"' | b'\\' | 0..0x20)
    {
        at += 1;
    }
    at
}
