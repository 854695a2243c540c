//! The direction of every import, and what a layer never holds.
//!
//! Reads the sources as text: `crate::`, `self::` and `super::` paths wherever they stand in code,
//! `use` lines or not. Comments and texts don't count, test modules do.

use std::fs;
use std::path::{Path, PathBuf};

/// One top-level module of the crate.
struct Layer {
    name: &'static str,
    /// The other layers that it may name.
    names: &'static [&'static str],
    /// The crates that it must not name.
    never: &'static [&'static str],
    /// Whether it must do without anything that waits, a clock and a random source.
    pure: bool,
}

/// `lib.rs` stands above them and may name them all.
const LAYERS: [Layer; 9] = [
    Layer {
        name: "docs",
        names: &[],
        never: &["sqlx", "tokio", "imbl", "async_trait", "getrandom"],
        pure: true,
    },
    Layer {
        name: "domain",
        names: &[],
        never: &["sqlx", "tokio", "imbl", "async_trait", "getrandom"],
        pure: true,
    },
    Layer {
        name: "adapter",
        names: &["domain"],
        never: &["sqlx", "tokio", "imbl", "async_trait", "getrandom"],
        pure: true,
    },
    Layer {
        name: "error",
        names: &["domain", "store"],
        never: &["sqlx", "tokio", "imbl"],
        pure: true,
    },
    Layer {
        name: "store",
        names: &["domain", "error"],
        never: &["sqlx", "tokio", "imbl"],
        pure: false,
    },
    Layer {
        name: "memory",
        names: &["domain", "store", "error"],
        never: &["sqlx", "tokio"],
        pure: false,
    },
    Layer {
        name: "postgres",
        names: &["domain", "store", "error"],
        never: &["imbl"],
        pure: false,
    },
    Layer {
        name: "service",
        names: &["domain", "store", "error"],
        never: &["sqlx", "tokio", "imbl"],
        pure: false,
    },
    Layer {
        name: "fixtures",
        names: &["domain", "store", "memory", "service", "error"],
        never: &["sqlx", "tokio", "imbl"],
        pure: false,
    },
];

const IMPURE: [&[&str]; 8] = [
    &["async"],
    &["await"],
    &["Utc", "::", "now"],
    &["Local", "::", "now"],
    &["SystemTime", "::", "now"],
    &["Instant", "::", "now"],
    &["Uuid", "::", "now_v7"],
    &["Uuid", "::", "new_v4"],
];

/// The most lines of a source file: with more it tells two stories.
const MOST_LINES: usize = 650;

/// What is wrong with a source file, given its path below `src/`.
fn check(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        wrong.push(format!(
            "{file} has {lines} lines; split it at {MOST_LINES}"
        ));
    }
    let module = module_of(file);
    let Some(top) = module.first() else {
        return wrong;
    };
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == top) else {
        wrong.push(format!(
            "{file}: {top} is no layer; give it a place in LAYERS"
        ));
        return wrong;
    };
    let tokens = tokens(text);
    for (line, path) in paths(&module, &tokens) {
        let named = path.first().map_or("", String::as_str);
        if named == layer.name || layer.names.contains(&named) {
            continue;
        }
        wrong.push(if LAYERS.iter().any(|layer| layer.name == named) {
            format!("{file}:{line}: {top} must not name {named}")
        } else {
            format!("{file}:{line}: `crate::{named}` hides a layer; name it through its layer")
        });
    }
    for (index, token) in tokens.iter().enumerate() {
        let (line, word) = (token.line, token.text);
        if layer.never.contains(&word) && begins_a_path(&tokens, index) {
            wrong.push(format!(
                "{file}:{line}: {top} must not name the crate {word}"
            ));
        }
        let found = |words: &[&str]| {
            let next = tokens[index..].iter().map(|token| token.text);
            next.take(words.len()).eq(words.iter().copied())
        };
        if let Some(words) = IMPURE.iter().find(|words| layer.pure && found(words)) {
            let words = words.concat();
            wrong.push(format!(
                "{file}:{line}: {top} is pure and must not hold `{words}`"
            ));
        }
    }
    wrong
}

/// `domain/text.rs` is `crate::domain::text`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let modules = path.split('/').filter(|part| *part != "lib");
    modules.map(str::to_owned).collect()
}

/// Whether the word is the first of `word::…`, `::word::…` or `use word`.
fn begins_a_path(tokens: &[Token<'_>], index: usize) -> bool {
    let text = |index: Option<usize>| {
        let token = index.and_then(|index| tokens.get(index));
        token.map_or("", |token| token.text)
    };
    let (before, after) = (index.checked_sub(1), Some(index + 1));
    let inside = text(before) == "::" && is_word(text(index.checked_sub(2)));
    (text(after) == "::" && !inside) || matches!(text(before), "use" | "crate")
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Cuts the text into words, `::` and single characters; leaves out comments, texts and space.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        let word = word.unwrap_or(rest.len());
        let (length, counts) = if let Some(length) = length_of_comment(rest) {
            (length, false)
        } else if let Some(length) = length_of_literal(rest) {
            (length, false)
        } else if word > 0 {
            (word, true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        let (token, after) = rest.split_at(length);
        if counts {
            tokens.push(Token { text: token, line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

fn length_of_comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.strip_prefix("/*")?;
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next()?.len_utf8();
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The length of a text, a raw text, or a character; a lifetime is not one.
fn length_of_literal(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - body.len();
    if prefix > 2 {
        return None;
    }
    if text[..prefix].ends_with('r') {
        let inner = body.trim_start_matches('#');
        let end = format!("\"{}", "#".repeat(body.len() - inner.len()));
        let start = text.len() - inner.strip_prefix('"')?.len();
        return Some(start + text[start..].find(&end)? + end.len());
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut characters = body.char_indices().skip(1);
    let is_character = {
        let mut inner = body.chars().skip(1);
        inner.next() == Some('\\') || inner.next() == Some('\'')
    };
    if quote == '\'' && !is_character {
        return None;
    }
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return Some(prefix + at + 1);
        }
    }
    None
}

/// Every path into the crate, from its root, with the line where it begins.
fn paths(module: &[String], tokens: &[Token<'_>]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    // The modules that are open here, each with the depth of braces outside of it.
    let mut inline: Vec<(usize, String)> = Vec::new();
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1).map_or("", |token| token.text);
        match token.text {
            "mod" if tokens.get(index + 2).is_some_and(|token| token.text == "{") => {
                inline.push((depth, next.to_owned()));
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(outside, _)| *outside == depth);
            }
            "crate" | "self" | "super"
                if matches!(next, "::" | "as")
                    && (index == 0 || tokens[index - 1].text != "::") =>
            {
                let here: Vec<String> = module
                    .iter()
                    .chain(inline.iter().map(|(_, name)| name))
                    .cloned()
                    .collect();
                let mut ends = Vec::new();
                follow(&here, tokens, index, &mut ends);
                found.extend(ends.into_iter().map(|path| (token.line, path)));
            }
            _ => {}
        }
    }
    found
}

/// Follows a path from the token on, into every branch of a `{…}`; returns the token after it.
fn follow(base: &[String], tokens: &[Token<'_>], at: usize, ends: &mut Vec<Vec<String>>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    if text(at) == "{" {
        let mut at = at + 1;
        while !matches!(text(at), "}" | "") {
            at = if text(at) == "," {
                at + 1
            } else {
                follow(base, tokens, at, ends)
            };
        }
        return at + 1;
    }
    let mut path = base.to_vec();
    match text(at) {
        "crate" => path.clear(),
        "self" => {}
        "super" => drop(path.pop()),
        word => path.push(word.to_owned()),
    }
    let goes_on =
        text(at + 1) == "::" && (is_word(text(at + 2)) || matches!(text(at + 2), "{" | "*"));
    if goes_on {
        return follow(&path, tokens, at + 2, ends);
    }
    ends.push(path);
    if text(at + 1) == "as" { at + 3 } else { at + 1 }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_sources_keep_to_their_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    let mut judged = 0;
    for path in &files {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        judged += paths(&module_of(file), &tokens(&text)).len();
        wrong.extend(check(file, &text));
    }
    assert!(
        files.len() > 3 && judged > 3,
        "{} files, {judged} paths",
        files.len()
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_arrow_between_two_layers_is_judged() {
    for from in &LAYERS {
        for to in &LAYERS {
            let text = format!("use crate::{}::Thing;", to.name);
            let wrong = check(&format!("{}/file.rs", from.name), &text);
            if from.name == to.name || from.names.contains(&to.name) {
                assert!(wrong.is_empty(), "{wrong:?}");
            } else {
                let expected = format!("{0}/file.rs:1: {0} must not name {1}", from.name, to.name);
                assert_eq!(wrong, [expected]);
            }
        }
    }
    let arrows = |name| {
        LAYERS
            .iter()
            .find(|layer| layer.name == name)
            .unwrap()
            .names
    };
    assert_eq!(arrows("domain"), [""; 0]);
    assert_eq!(arrows("adapter"), ["domain"]);
    for name in ["memory", "postgres", "service"] {
        assert_eq!(arrows(name), ["domain", "store", "error"]);
    }
}

#[test]
fn an_arrow_is_found_however_it_is_written() {
    for text in [
        "use crate::service::Tenantry;",
        "pub(crate) use crate::{domain::ids::TenantId, service::{Tenantry, usage}};",
        "use crate::{self as root, domain::ids};\nfn f() { root::service::run() }",
        "fn f() -> Result<(), crate::service::Problem> { Ok(()) }",
        "use super::super::service;",
        "use super::super::{service::Tenantry};",
        "mod tests { mod inner { use super::super::super::super::service::Tenantry; } }",
        "mod tests { fn f() {} }\nuse super::super::service::Tenantry;",
        "macro_rules! m { () => { $crate::service::run() } }",
        "use crate::*;",
        "use crate as all;",
        "use super::super as all;",
        "use crate::Tenantry;",
        "fn f<'a>(c: char) -> bool { c == '\"' || crate::service::is('\\'') }",
        "const A: &str = r#\"a \"quoted\" one\"#; use crate::service::B;",
    ] {
        assert_ne!(check("store/usage.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn what_is_no_arrow_is_let_pass() {
    for text in [
        "use crate::domain::{ids::{TenantId, UserId}, time};",
        "use super::{Tx, StoreError}; use self::inner::Thing; use super::super::domain::ids;",
        "//! See [`crate::service`].\n/* crate::service /* crate::memory */ crate::postgres */",
        "const A: &str = \"crate::service\\\" crate::memory\"; const B: &[u8] = br\"crate::memory::\";",
        "pub(crate) fn f(self) {} pub(super) struct A; pub(in crate::store) struct B;",
        "mod tests { use super::*; use super::super::Tx; mod inner { use super::super::Row; } }",
        "fn f<'crate_>(a: &'crate_ str) -> char { 'c' }",
        "async fn f() { other::sqlx::query().await; let tokio = 1; }",
    ] {
        assert_eq!(check("store/usage.rs", text), [""; 0], "{text}");
    }
    assert_eq!(
        check("lib.rs", "pub use crate::service::Tenantry;"),
        [""; 0]
    );
    assert_eq!(check("service/mod.rs", "use super::domain::ids;"), [""; 0]);
}

#[test]
fn crates_stay_in_their_layer() {
    let count = |file: &str, text: &str| check(file, text).len();
    for (name, crates, free) in [
        (
            "domain",
            &["sqlx", "tokio", "imbl", "async_trait", "getrandom"][..],
            "chrono",
        ),
        (
            "adapter",
            &["sqlx", "tokio", "imbl", "async_trait", "getrandom"],
            "serde_json",
        ),
        ("error", &["sqlx", "tokio", "imbl"], "thiserror"),
        ("store", &["sqlx", "tokio", "imbl"], "async_trait"),
        ("service", &["sqlx", "tokio", "imbl"], "tracing"),
        ("memory", &["sqlx", "tokio"], "imbl"),
        ("postgres", &["imbl"], "sqlx"),
    ] {
        let file = format!("{name}/file.rs");
        for foreign in crates {
            assert_eq!(
                count(&file, &format!("use {foreign}::Thing;")),
                1,
                "{name} {foreign}"
            );
            assert_eq!(
                count(&file, &format!("use {foreign} as other;")),
                1,
                "{name} {foreign}"
            );
            assert_eq!(
                count(&file, &format!("fn f() {{ ::{foreign}::g() }}")),
                1,
                "{name} {foreign}"
            );
        }
        assert_eq!(
            count(&file, &format!("use {free}::Thing;")),
            0,
            "{name} {free}"
        );
    }
}

#[test]
fn a_pure_layer_neither_waits_nor_asks_for_the_time() {
    for text in [
        "pub async fn f() {}",
        "fn f() { later.await }",
        "let now = chrono::Utc::now();",
        "let now = Local::now();",
        "let now = std::time::SystemTime::now();",
        "let now = Instant::now();",
        "let id = Uuid::now_v7();",
        "let id = Uuid::new_v4();",
    ] {
        for layer in &LAYERS {
            let wrong = check(&format!("{}/file.rs", layer.name), text);
            assert_eq!(wrong.len(), usize::from(layer.pure), "{text} {wrong:?}");
        }
    }
    let pure: Vec<_> = LAYERS
        .iter()
        .filter(|layer| layer.pure)
        .map(|layer| layer.name)
        .collect();
    assert_eq!(pure, ["docs", "domain", "adapter", "error"]);
    assert_eq!(
        check(
            "domain/file.rs",
            "fn f(now: DateTime<Utc>) { let asynchronous = now; }"
        ),
        [""; 0]
    );
}

#[test]
fn a_long_file_and_an_unknown_module_are_refused() {
    let long = "\n".repeat(651);
    assert_eq!(
        check("domain/long.rs", &long),
        ["domain/long.rs has 651 lines; split it at 650"]
    );
    assert_eq!(check("lib.rs", &long).len(), 1);
    assert_eq!(check("domain/long.rs", &long[1..]), [""; 0]);
    assert_eq!(
        check("helpers/mod.rs", "use crate::service::Tenantry;"),
        ["helpers/mod.rs: helpers is no layer; give it a place in LAYERS"]
    );
}
