//! Checks the nodes and connections of a definition, and names what is wrong by its path.

use std::collections::HashMap;

use super::definition::{DefinitionError, Node};
use crate::domain::payload::decode;
use crate::domain::payload::scan::{Key, Kind, Scanner};

pub(super) fn missing(path: impl Into<String>) -> DefinitionError {
    DefinitionError::Missing { path: path.into() }
}

/// Cut so that an error stays readable.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// A path one field further down: `a.b`, or `a["b c"]` where the name is no identifier.
fn join(path: &str, name: &str) -> String {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
    let name = shown(name);
    match (plain && !name.is_empty(), path.is_empty()) {
        (true, true) => name,
        (true, false) => format!("{path}.{name}"),
        (false, _) => format!("{path}[{name:?}]"),
    }
}

pub(super) fn fields<'t>(
    scanner: &mut Scanner<'t, '_>,
    path: &str,
    expected: &'static str,
    field: impl FnMut(&mut Scanner<'t, '_>, Key<'t>) -> Result<(), DefinitionError>,
) -> Result<(), DefinitionError> {
    of_kind(scanner, path, &[Kind::Object], expected)?;
    scanner.object(field)
}

fn of_kind(
    scanner: &mut Scanner<'_, '_>,
    path: &str,
    kinds: &[Kind],
    expected: &'static str,
) -> Result<(), DefinitionError> {
    if kinds.contains(&scanner.kind()?) {
        return Ok(());
    }
    Err(DefinitionError::Type {
        path: if path.is_empty() { "definition" } else { path }.to_owned(),
        expected,
    })
}

fn text_of(
    scanner: &mut Scanner<'_, '_>,
    path: impl FnOnce() -> String,
) -> Result<String, DefinitionError> {
    if scanner.kind()? == Kind::String {
        let raw = scanner.raw()?;
        let text = decode(raw.get(1..raw.len() - 1).unwrap_or_default());
        if !text.trim().is_empty() {
            return Ok(text.into_owned());
        }
    }
    Err(DefinitionError::Type {
        path: path(),
        expected: "a text that is not empty",
    })
}

/// The nodes, and the index of each name.
pub(super) type Nodes = (Vec<Node>, HashMap<String, usize>);

pub(super) fn read_nodes(scanner: &mut Scanner<'_, '_>) -> Result<Nodes, DefinitionError> {
    of_kind(scanner, "nodes", &[Kind::Array], "an array")?;
    let mut nodes: Vec<Node> = Vec::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    scanner.array(|scanner, index| {
        let node = read_node(scanner, index)?;
        if let Some(first) = names.insert(node.name.clone(), index) {
            return Err(DefinitionError::Duplicate {
                path: format!("nodes[{index}].name"),
                name: shown(&node.name),
                first,
            });
        }
        nodes.push(node);
        Ok(())
    })?;
    Ok((nodes, names))
}

fn read_node(scanner: &mut Scanner<'_, '_>, index: usize) -> Result<Node, DefinitionError> {
    let path = |field: &str| format!("nodes[{index}].{field}");
    let (mut name, mut kind) = (None, None);
    let (mut version, mut position, mut parameters) = (false, false, false);
    let here = format!("nodes[{index}]");
    fields(scanner, &here, "an object", |scanner, key| {
        match &*key.name() {
            "name" => name = Some(text_of(scanner, || path("name"))?),
            "type" => kind = Some(text_of(scanner, || path("type"))?),
            "typeVersion" => {
                of_kind(scanner, &path("typeVersion"), &[Kind::Number], "a number")?;
                scanner.skip()?;
                version = true;
            }
            "position" => {
                read_position(scanner, &path("position"))?;
                position = true;
            }
            "parameters" => {
                of_kind(scanner, &path("parameters"), &[Kind::Object], "an object")?;
                scanner.skip()?;
                parameters = true;
            }
            _ => {
                scanner.skip()?;
            }
        }
        Ok(())
    })?;
    for (there, field) in [
        (version, "typeVersion"),
        (position, "position"),
        (parameters, "parameters"),
    ] {
        if !there {
            return Err(missing(path(field)));
        }
    }
    Ok(Node {
        name: name.ok_or_else(|| missing(path("name")))?,
        kind: kind.ok_or_else(|| missing(path("type")))?,
    })
}

fn read_position(scanner: &mut Scanner<'_, '_>, path: &str) -> Result<(), DefinitionError> {
    const EXPECTED: &str = "an array of two numbers";
    let refuse = || DefinitionError::Type {
        path: path.to_owned(),
        expected: EXPECTED,
    };
    of_kind(scanner, path, &[Kind::Array], EXPECTED)?;
    let mut length = 0;
    scanner.array(|scanner, _| {
        of_kind(scanner, path, &[Kind::Number], EXPECTED)?;
        scanner.skip()?;
        length += 1;
        Ok::<_, DefinitionError>(())
    })?;
    if length == 2 { Ok(()) } else { Err(refuse()) }
}

/// `{source: {type: [[{node, type, index}] or null] or null}}`: n8n's `IConnections`.
pub(super) fn check_connections(
    text: &str,
    names: &HashMap<String, usize>,
) -> Result<(), DefinitionError> {
    let known = |path: &str, name: &str| {
        if names.contains_key(name) {
            return Ok(());
        }
        Err(DefinitionError::UnknownNode {
            path: path.to_owned(),
            name: shown(name),
        })
    };
    let mut scanner = Scanner::new(text);
    fields(&mut scanner, "connections", "an object", |scanner, key| {
        let source = key.name();
        let path = join("connections", &source);
        known(&path, &source)?;
        fields(scanner, &path, "an object", |scanner, key| {
            let path = join(&path, &key.name());
            optional_array(scanner, &path, |scanner, output| {
                let path = format!("{path}[{output}]");
                optional_array(scanner, &path, |scanner, index| {
                    let path = format!("{path}[{index}]");
                    known(&format!("{path}.node"), &read_target(scanner, &path)?)
                })
            })
        })
    })
}

fn optional_array<'t>(
    scanner: &mut Scanner<'t, '_>,
    path: &str,
    item: impl FnMut(&mut Scanner<'t, '_>, usize) -> Result<(), DefinitionError>,
) -> Result<(), DefinitionError> {
    of_kind(scanner, path, &[Kind::Array, Kind::Null], "an array")?;
    if scanner.kind()? == Kind::Null {
        scanner.skip()?;
        return Ok(());
    }
    scanner.array(item)
}

fn read_target(scanner: &mut Scanner<'_, '_>, path: &str) -> Result<String, DefinitionError> {
    let (mut node, mut kind, mut index) = (None, false, false);
    fields(scanner, path, "an object", |scanner, key| {
        match &*key.name() {
            "node" => node = Some(text_of(scanner, || format!("{path}.node"))?),
            "type" => {
                text_of(scanner, || format!("{path}.type"))?;
                kind = true;
            }
            "index" => {
                of_kind(
                    scanner,
                    &format!("{path}.index"),
                    &[Kind::Number],
                    "a number",
                )?;
                scanner.skip()?;
                index = true;
            }
            _ => {
                scanner.skip()?;
            }
        }
        Ok(())
    })?;
    for (there, field) in [(kind, "type"), (index, "index")] {
        if !there {
            return Err(missing(format!("{path}.{field}")));
        }
    }
    node.ok_or_else(|| missing(format!("{path}.node")))
}
