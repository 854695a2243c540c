//! From JSON text to text for people: escapes decoded, what no column takes left out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Text for a column or a log line, with a note whether it says less than its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The text: no U+0000, and U+FFFD in place of each lone surrogate.
    pub text: String,
    /// Whether something was left out, replaced or cut off.
    pub cleaned: bool,
}

impl Excerpt {
    /// At most `max` characters of a text, without U+0000.
    #[must_use]
    pub fn of_text(text: &str, max: usize) -> Self {
        Self::of_pieces(std::iter::once(Piece::Plain(text)), max)
    }

    /// At most `max` characters of what a JSON string means; `raw` is what stands between its
    /// quotation marks.
    #[cfg(any(test, feature = "n8n"))]
    pub(crate) fn of_string(raw: &str, max: usize) -> Self {
        Self::of_pieces(pieces(raw), max)
    }

    /// At most `max` characters of JSON text. `\u` escapes become the characters they mean, so
    /// that a search finds them; the short escapes stay.
    pub(crate) fn of_json(json: &str, max: usize) -> Self {
        let pieces = pieces(json).map(|piece| match piece {
            Piece::Short(text, _) => Piece::Plain(text),
            other => other,
        });
        Self::of_pieces(pieces, max)
    }

    fn of_pieces<'t>(pieces: impl Iterator<Item = Piece<'t>>, max: usize) -> Self {
        let mut excerpt = Self::default();
        let mut room = max;
        for piece in pieces {
            let mut one = [0; 4];
            let text = match piece {
                Piece::Plain(text) => text,
                Piece::Short(_, meaning) | Piece::Code(meaning) => meaning.encode_utf8(&mut one),
                Piece::Lone => {
                    excerpt.cleaned = true;
                    char::REPLACEMENT_CHARACTER.encode_utf8(&mut one)
                }
            };
            for c in text.chars() {
                if c == '\0' {
                    excerpt.cleaned = true;
                } else if room == 0 {
                    excerpt.cleaned = true;
                    return excerpt;
                } else {
                    excerpt.text.push(c);
                    room -= 1;
                }
            }
        }
        excerpt
    }
}

/// What a JSON string means; `raw` is what stands between its quotation marks.
///
/// Exact, but for lone surrogates, which become U+FFFD.
pub(crate) fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    for piece in pieces(raw) {
        match piece {
            Piece::Plain(plain) => text.push_str(plain),
            Piece::Short(_, meaning) | Piece::Code(meaning) => text.push(meaning),
            Piece::Lone => text.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(text)
}

enum Piece<'t> {
    /// Text without escapes.
    Plain(&'t str),
    /// An escape of two characters, and what it means.
    Short(&'t str, char),
    /// What a `\u` escape, or a pair of them, means.
    Code(char),
    /// Half of a surrogate pair.
    Lone,
}

/// The pieces of JSON text that a scanner has passed over.
fn pieces(mut rest: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let (piece, length) = next(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        Some(piece)
    })
}

fn next(rest: &str) -> Option<(Piece<'_>, usize)> {
    match rest.find('\\') {
        None if rest.is_empty() => None,
        None => Some((Piece::Plain(rest), rest.len())),
        Some(0) => Some(escape(rest)),
        Some(at) => Some((Piece::Plain(rest.get(..at)?), at)),
    }
}

fn escape(rest: &str) -> (Piece<'_>, usize) {
    let short = |meaning| (Piece::Short(rest.get(..2).unwrap_or_default(), meaning), 2);
    match rest.as_bytes().get(1) {
        Some(b'b') => short('\u{8}'),
        Some(b'f') => short('\u{c}'),
        Some(b'n') => short('\n'),
        Some(b'r') => short('\r'),
        Some(b't') => short('\t'),
        Some(b'"') => short('"'),
        Some(b'/') => short('/'),
        Some(b'\\') => short('\\'),
        _ => match code_unit(rest) {
            Some(unit) => code_point(unit, rest),
            // Not an escape: cannot be in text that was checked.
            None => (Piece::Plain("\\"), 1),
        },
    }
}

fn code_point(unit: u16, rest: &str) -> (Piece<'_>, usize) {
    let low = rest.get(6..).and_then(code_unit);
    let pair = low.map(|low| [unit, low]);
    let decoded = pair.and_then(|pair| char::decode_utf16(pair).next()?.ok());
    match (char::from_u32(u32::from(unit)), decoded) {
        (Some(meaning), _) => (Piece::Code(meaning), 6),
        (None, Some(meaning)) => (Piece::Code(meaning), 12),
        (None, None) => (Piece::Lone, 6),
    }
}

/// The code unit of the `\u` escape that the text begins with.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_what_they_mean_in_json() {
        for raw in [
            r"plain",
            r#"\"\\\/\b\f\n\r\t"#,
            r"\u00d1and\u00fa",
            r"\ud83d\ude00 tail",
            r"a\u0000b",
            r"\u0041\ud83d\ude00\u0042",
        ] {
            let expected: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap();
            assert_eq!(decode(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(decode(r"a\ud800b"), "a\u{FFFD}b");
        assert_eq!(decode(r"\ud800\ud800\udc00"), "\u{FFFD}\u{10000}");
        assert_eq!(decode(r"\udc00\ud800"), "\u{FFFD}\u{FFFD}");
        assert_eq!(decode(r"\ud800A"), "\u{FFFD}A");
    }

    #[test]
    fn an_excerpt_says_when_it_says_less() {
        let same = |text: &str| Excerpt {
            text: text.to_owned(),
            cleaned: false,
        };
        let less = |text: &str| Excerpt {
            text: text.to_owned(),
            cleaned: true,
        };
        assert_eq!(Excerpt::of_text("abc", 3), same("abc"));
        assert_eq!(Excerpt::of_text("abcd", 3), less("abc"));
        assert_eq!(Excerpt::of_text("a\0b", 3), less("ab"));
        assert_eq!(Excerpt::of_string(r"a\n\u00fa", 9), same("a\nú"));
        assert_eq!(Excerpt::of_string(r"a\u0000b\ud800", 9), less("ab\u{FFFD}"));
        assert_eq!(
            Excerpt::of_json(r#"{"a\n": "\u00d1\u0000"}"#, 99),
            less(r#"{"a\n": "Ñ"}"#)
        );
        assert_eq!(Excerpt::of_json("[1]", 0), less(""));
    }
}
