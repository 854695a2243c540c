//! The words of JSON: where each ends, and whether it is one.
//!
//! Accepts RFC 8259, and of `\\u` escapes, as PostgreSQL's `json` does, every one with four
//! hexadecimal digits: lone surrogates and U+0000 occur in real payloads.

use super::PayloadError;

#[cold]
pub(super) fn expected(expected: &'static str, at: usize) -> PayloadError {
    PayloadError::Syntax { at, expected }
}

/// The first place from `at` on without white space.
#[inline(always)]
pub(super) fn white_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of the string whose opening quotation mark is before `at`, and whether it has escapes.
#[inline(always)]
pub(super) fn string(bytes: &[u8], at: usize) -> Result<(usize, bool), PayloadError> {
    let end = plain(bytes, at);
    if bytes.get(end) == Some(&b'"') {
        return Ok((end + 1, false));
    }
    rest_of_string(bytes, end)
}

fn rest_of_string(bytes: &[u8], mut at: usize) -> Result<(usize, bool), PayloadError> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, true)),
            Some(b'\\') => at = plain(bytes, escape(bytes, at)?),
            Some(_) => return Err(expected("no control character in a string", at)),
            None => return Err(expected("`\"`", at)),
        }
    }
}

/// The end of the escape that begins at `at`.
fn escape(bytes: &[u8], at: usize) -> Result<usize, PayloadError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(expected("four hexadecimal digits after `\\u`", at)),
        },
        _ => Err(expected("an escape that JSON knows", at)),
    }
}

/// The end of the number, `true`, `false` or `null` that begins at `at`.
pub(super) fn scalar(bytes: &[u8], at: usize) -> Result<usize, PayloadError> {
    match bytes.get(at) {
        Some(b'-' | b'0'..=b'9') => number(bytes, at),
        Some(b't') => literal(bytes, at, b"true"),
        Some(b'f') => literal(bytes, at, b"false"),
        Some(b'n') => literal(bytes, at, b"null"),
        _ => Err(expected("a value", at)),
    }
}

fn number(bytes: &[u8], mut at: usize) -> Result<usize, PayloadError> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

fn digits(bytes: &[u8], start: usize) -> Result<usize, PayloadError> {
    let mut at = start;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    if at == start {
        return Err(expected("a digit", at));
    }
    Ok(at)
}

fn literal(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, PayloadError> {
    let end = at + word.len();
    if bytes.get(at..end) == Some(word) {
        return Ok(end);
    }
    Err(expected("a value", at))
}

/// The first place from `at` on with a quotation mark, a backslash or a control character, or the
/// end.
#[inline(always)]
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
