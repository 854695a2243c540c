//! What a payload accepts, keeps and masks.

use proptest::prelude::*;

use super::*;

fn nothing_masked() -> PayloadPolicy {
    PayloadPolicy {
        redaction: Redaction::of::<&str>([]).unwrap(),
        ..PayloadPolicy::default()
    }
}

fn redacted(text: &str) -> String {
    let payload = Payload::new(text, &PayloadPolicy::default()).unwrap();
    payload.as_str().to_owned()
}

/// Each was put to PostgreSQL 15.18 too, as `text::json`, with the same answer. So were 86,201
/// texts made of JSON's words and of mutated payloads: no difference.
#[test]
fn accepts_what_postgres_accepts() {
    for text in [
        "1",
        "-0",
        "-0.0e0",
        "1E-07",
        "1e400",
        "123456789012345678901234567890123456789",
        " \t\r\n[ ] \n",
        "{}",
        r#"{"":{"a":[],"a":null}}"#,
        r#""\u0000""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\"\\\/\b\f\n\r\t\u00Ff""#,
        "\"\u{7f}\u{80}é😀\u{2028}\"",
        r#"{"\ud800":1}"#,
        "[true,false,null]",
    ] {
        let payload = Payload::new(text, &PayloadPolicy::default()).unwrap();
        assert_eq!(payload.as_str(), text);
        assert_eq!((payload.bytes(), payload.masked()), (text.len(), 0));
    }
}

#[test]
fn refuses_what_postgres_refuses() {
    for (text, expected, at) in [
        ("", "a value", 0),
        (" ", "a value", 1),
        ("\u{feff}1", "a value", 0),
        ("\u{a0}1", "a value", 0),
        ("\u{b}1", "a value", 0),
        ("01", "the end", 1),
        ("+1", "a value", 0),
        (".5", "a value", 0),
        ("1.", "a digit", 2),
        ("1.e5", "a digit", 2),
        ("1e+", "a digit", 3),
        ("-", "a digit", 1),
        ("0x10", "the end", 1),
        ("NaN", "a value", 0),
        ("tru", "a value", 0),
        ("nullx", "the end", 4),
        ("truefalse", "the end", 4),
        ("1 2", "the end", 2),
        ("'a'", "a value", 0),
        ("/**/1", "a value", 0),
        ("\"a", "`\"`", 2),
        ("\"\t\"", "no control character in a string", 1),
        ("\"\u{1f}\"", "no control character in a string", 1),
        (r#""\x""#, "an escape that JSON knows", 1),
        (r#""\'""#, "an escape that JSON knows", 1),
        ("\"\\", "an escape that JSON knows", 1),
        (r#""\U0041""#, "an escape that JSON knows", 1),
        (r#""\u12g4""#, "four hexadecimal digits after `\\u`", 1),
        (r#""\u123""#, "four hexadecimal digits after `\\u`", 1),
        ("[1", "`,` or `]`", 2),
        ("[1,]", "a value", 3),
        ("[1}", "`,` or `]`", 2),
        ("{\"a\":1]", "`,` or `}`", 6),
        ("{\"a\":1,}", "a key in quotation marks", 7),
        ("{a:1}", "a key in quotation marks", 1),
        ("{\"a\" 1}", "`:`", 5),
        ("{1:1}", "a key in quotation marks", 1),
        ("]", "a value", 0),
    ] {
        assert_eq!(
            Payload::new(text, &PayloadPolicy::default()).unwrap_err(),
            PayloadError::Syntax { at, expected },
            "{text}"
        );
    }
}

#[test]
fn a_thousand_levels_are_allowed_and_one_more_is_refused() {
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for nested in [arrays, objects] {
        let text = nested(MAX_DEPTH);
        assert_eq!(redacted(&text), text);
        let error = Payload::new(&nested(MAX_DEPTH + 1), &PayloadPolicy::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("nested deeper than 1000 levels at byte ")
        );
    }
    let masked = format!(r#"{{"token":{}}}"#, arrays(MAX_DEPTH));
    assert!(Payload::new(&masked, &PayloadPolicy::default()).is_err());
}

#[test]
fn brackets_are_matched_at_every_depth() {
    let object = |level: usize| level.is_multiple_of(3);
    for depth in 1..200 {
        let mut opening = String::new();
        let mut closing = Vec::new();
        for level in 0..depth {
            opening += if object(level) { r#"{"a":"# } else { "[" };
            closing.insert(0, if object(level) { b'}' } else { b']' });
        }
        opening += "1";
        let text = |closing: &[u8]| opening.clone() + std::str::from_utf8(closing).unwrap();
        let right = text(&closing);
        assert_eq!(redacted(&right), right);
        for at in [0, depth / 2, depth - 1] {
            let mut wrong = closing.clone();
            wrong[at] = if wrong[at] == b'}' { b']' } else { b'}' };
            assert!(Payload::new(&text(&wrong), &PayloadPolicy::default()).is_err());
        }
    }
}

#[test]
fn a_payload_over_the_bound_is_refused() {
    let policy = PayloadPolicy {
        max_bytes: 4,
        ..PayloadPolicy::default()
    };
    assert!(Payload::new("1234", &policy).is_ok());
    assert_eq!(
        Payload::new("12345", &policy).unwrap_err().to_string(),
        "the payload has 5 bytes; at most 4 are allowed"
    );
}

#[test]
fn a_masked_value_is_replaced_as_a_whole() {
    for (text, expected) in [
        (r#"{"token":"s"}"#, r#"{"token":"[redacted]"}"#),
        (r#"{"token" :  1.5e3 }"#, r#"{"token" :  "[redacted]" }"#),
        (r#"{"TOKEN":null,"b":1}"#, r#"{"TOKEN":"[redacted]","b":1}"#),
        (
            r#"{"a":{"Set-Cookie":["x",{"token":[]}], "c" : 2}}"#,
            r#"{"a":{"Set-Cookie":"[redacted]", "c" : 2}}"#,
        ),
        (
            r#"[{"password":{}},[{"secret":[]}],{"tokenUsage":3}]"#,
            r#"[{"password":"[redacted]"},[{"secret":"[redacted]"}],{"tokenUsage":3}]"#,
        ),
        (r#"{"to\u006ben":true}"#, r#"{"to\u006ben":"[redacted]"}"#),
        (r#"{"token\ud800":true}"#, r#"{"token\ud800":true}"#),
        (r#"["token","secret"]"#, r#"["token","secret"]"#),
        (r#"{"a":"token","b":"x"}"#, r#"{"a":"token","b":"x"}"#),
        (
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"[redacted]","token":"[redacted]"}"#,
        ),
    ] {
        assert_eq!(redacted(text), expected);
    }
    let payload = Payload::new(r#"{"token":1,"a":{"pwd":2}}"#, &PayloadPolicy::default()).unwrap();
    assert_eq!(payload.masked(), 2);
    assert_eq!(payload.bytes(), payload.as_str().len());
}

#[test]
fn payloads_do_not_show_themselves_in_debug_output() {
    let payload = Payload::new(r#"{"a":"private"}"#, &PayloadPolicy::default()).unwrap();
    assert!(!format!("{payload:?} {:?}", payload.stored()).contains("private"));
}

#[test]
fn payloads_are_written_as_the_json_they_are() {
    let text = r#"{"n":9007199254740993, "s":"\ud800"}"#;
    let payload = Payload::new(text, &PayloadPolicy::default()).unwrap();
    assert_eq!(serde_json::to_string(&payload).unwrap(), text);
    assert_eq!(serde_json::to_string(&payload.stored()).unwrap(), text);
}

#[test]
fn an_excerpt_of_a_payload_can_be_searched() {
    let text = r#"{"who": "\u00d1and\u00fa\u0000"}"#;
    let excerpt = Payload::new(text, &PayloadPolicy::default())
        .unwrap()
        .excerpt(100);
    assert_eq!(excerpt.text, r#"{"who": "Ñandú"}"#);
    assert!(excerpt.cleaned);
}

const SECRET: &str = "s3cr3t";

/// JSON text beside what is to become of it.
#[derive(Debug, Clone)]
struct Pair {
    given: String,
    kept: String,
    masked: usize,
}

fn same(text: &str) -> Pair {
    Pair {
        given: text.to_owned(),
        kept: text.to_owned(),
        masked: 0,
    }
}

fn white_space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t \r"])
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        string_of(r#"([ -!#-\[\]-~éñ😀]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,24}"#),
    ]
}

fn string_of(pattern: &'static str) -> impl Strategy<Value = String> {
    pattern.prop_map(|inner| format!("\"{inner}\""))
}

fn harmless_key() -> impl Strategy<Value = String> {
    prop_oneof![
        string_of("k[a-z]{0,6}"),
        string_of(r"(\\ud800|\\u0000|\\n)k"),
        Just(r#""tokenUsage""#.to_owned()),
        Just(r#""""#.to_owned()),
    ]
}

/// A key of the default policy in any case, some letters as escapes.
fn secret_key() -> impl Strategy<Value = String> {
    let key = prop::sample::select(super::super::redaction::DEFAULT_KEYS);
    (key, any::<u64>(), any::<u64>()).prop_map(|(key, upper, escaped)| {
        let mut text = String::from("\"");
        for (at, c) in key.chars().enumerate() {
            let c = if upper >> at & 1 == 1 {
                c.to_ascii_uppercase()
            } else {
                c
            };
            if escaped >> at & 7 == 7 {
                text += &format!("\\u{:04x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        text + "\""
    })
}

fn document() -> impl Strategy<Value = Pair> {
    let leaf = scalar().prop_map(|text| same(&text));
    leaf.prop_recursive(6, 60, 6, |inner| {
        let item = (white_space(), inner.clone(), white_space());
        let array = prop::collection::vec(item, 0..6).prop_map(|items| {
            let mut all = same("[");
            for (at, (before, item, after)) in items.into_iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                all.given += &format!("{comma}{before}{}{after}", item.given);
                all.kept += &format!("{comma}{before}{}{after}", item.kept);
                all.masked += item.masked;
            }
            all.given += "]";
            all.kept += "]";
            all
        });
        let plain = (harmless_key(), inner.clone()).prop_map(|(key, value)| (key, value));
        let secret = (secret_key(), inner).prop_map(|(key, value)| {
            let given = format!(r#"["{SECRET}",{{"x":{}}}]"#, value.given);
            (
                key,
                Pair {
                    given,
                    kept: super::super::redaction::MASK.to_owned(),
                    masked: 1,
                },
            )
        });
        let field = prop_oneof![3 => plain, 1 => secret];
        let field = (white_space(), field, white_space(), white_space());
        let object = prop::collection::vec(field, 0..6).prop_map(|fields| {
            let mut all = same("{");
            for (at, (a, (key, value), b, c)) in fields.into_iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                all.given += &format!("{comma}{a}{key}{b}:{c}{}{a}", value.given);
                all.kept += &format!("{comma}{a}{key}{b}:{c}{}{a}", value.kept);
                all.masked += value.masked;
            }
            all.given += "}";
            all.kept += "}";
            all
        });
        prop_oneof![array, object]
    })
}

proptest! {
    #[test]
    fn masking_touches_nothing_else_and_leaks_nothing(pair in document()) {
        let payload = Payload::new(&pair.given, &PayloadPolicy::default()).unwrap();
        prop_assert_eq!(payload.as_str(), &pair.kept);
        prop_assert_eq!(payload.masked(), pair.masked);
        prop_assert!(!payload.as_str().contains(SECRET));
        let whole = Payload::new(&pair.given, &nothing_masked()).unwrap();
        prop_assert_eq!(whole.as_str(), &pair.given);
        let again = Payload::new(payload.as_str(), &PayloadPolicy::default()).unwrap();
        prop_assert_eq!(again.as_str(), payload.as_str());
    }

    /// serde_json skips a raw value by the same grammar.
    #[test]
    fn accepts_exactly_what_serde_json_skips(
        pair in document(),
        cut in any::<prop::sample::Index>(),
        put in "[\\[\\]{},:\" \\\\0-9eE+.tfnu\t-]{0,2}",
    ) {
        let chars: Vec<char> = pair.given.chars().collect();
        let at = cut.index(chars.len() + 1);
        for skipped in 0..=1 {
            let after = chars.iter().skip(at + skipped);
            let text: String = chars.iter().take(at).copied().chain(put.chars()).chain(after.copied()).collect();
            let ours = Payload::new(&text, &nothing_masked()).is_ok();
            let theirs = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }

    #[test]
    fn any_text_is_either_kept_or_refused(text in any::<String>(), max in 0..40_usize) {
        if let Ok(payload) = Payload::new(&text, &nothing_masked()) {
            prop_assert_eq!(payload.as_str(), &text);
        }
        let excerpt = Excerpt::of_json(&text, max);
        prop_assert!(excerpt.text.chars().count() <= max);
        prop_assert!(!excerpt.text.contains('\0'));
        prop_assert!(!Excerpt::of_string(&text, max).text.contains('\0'));
    }
}
