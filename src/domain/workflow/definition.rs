//! Definitions: n8n's nodes and connections, checked and kept as the text they came in.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::domain::payload::scan::{Key, Kind, Scanner};
use crate::domain::payload::{PayloadError, decode};

/// Why a text was refused as a definition. Paths are JavaScript's: `nodes[3].name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// Larger than [`WorkflowDefinition::MAX_BYTES`].
    #[error(
        "definition has {actual} bytes; at most {max} are allowed",
        max = WorkflowDefinition::MAX_BYTES
    )]
    TooLarge {
        /// The bytes given.
        actual: usize,
    },
    /// Not JSON, or nested too deep.
    #[error("definition: {0}")]
    Json(#[from] PayloadError),
    /// A field that must be there is not.
    #[error("definition: `{path}` is missing")]
    Missing {
        /// The path of the field.
        path: String,
    },
    /// A value of the wrong type.
    #[error("definition: `{path}` must be {expected}")]
    Type {
        /// The path of the value.
        path: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Two nodes of one name, by which connections tell nodes apart.
    #[error("definition: `{path}` is `{name}`, which is also the name of `nodes[{first}]`")]
    Duplicate {
        /// The path of the second name.
        path: String,
        /// The name, cut at 64 characters.
        name: String,
        /// The index of the first node of that name.
        first: usize,
    },
    /// A connection from or to a node that does not exist.
    #[error("definition: `{path}` names the node `{name}`, which does not exist")]
    UnknownNode {
        /// The path of the connection.
        path: String,
        /// The name, cut at 64 characters.
        name: String,
    },
}

/// A node of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its name, unique in the workflow.
    pub name: String,
    /// Its type, as `n8n-nodes-base.webhook`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Node {
    /// Whether it is a language model. See [`is_language_model`].
    #[must_use]
    pub fn is_language_model(&self) -> bool {
        is_language_model(&self.kind)
    }
}

/// Whether a node of this type is a language model, so that each of its runs is one call to it.
///
/// n8n names the types of its language-model nodes `lm` + provider (`lmOllama`) or `lmChat` +
/// provider (`lmChatOpenAi`): all of `packages/@n8n/nodes-langchain/nodes/llms` in n8n's
/// repository, where each declares the output `ai_languageModel`. Nodes of other packages keep to
/// it (`n8n-nodes-x.lmChatX`). So the rule is: after the last dot of the type stands `lm` and a
/// capital letter. Agents and chains are not language models: they use one, whose runs are
/// counted.
#[must_use]
pub fn is_language_model(kind: &str) -> bool {
    let name = kind.rsplit('.').next().unwrap_or(kind);
    name.strip_prefix("lm")
        .is_some_and(|provider| provider.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// The definition of a workflow: JSON text whose nodes and connections were checked.
///
/// The text is kept as it came, so that order, format and `\u0000` survive. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkflowDefinition {
    text: Arc<str>,
    nodes: Arc<[Node]>,
    sha256: Arc<str>,
}

impl WorkflowDefinition {
    /// The most bytes a definition may have.
    pub const MAX_BYTES: usize = 16 * 1024 * 1024;

    /// Checks a definition: an object with `nodes` and `connections`. Other fields are kept, and
    /// not looked at.
    ///
    /// # Errors
    /// When it is not JSON, is too large or too deep; when a node has no unique name, no type, no
    /// numeric `typeVersion`, no `position` of two numbers or no `parameters`; when a connection
    /// is from or to a node that does not exist.
    pub fn new(text: &str) -> Result<Self, DefinitionError> {
        Self::checked(text)
    }

    /// Takes `nodes` and `connections`, byte for byte, out of a larger object, such as a workflow
    /// that n8n exported, and checks them as [`new`](Self::new) does.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_workflow(text: &str) -> Result<Self, DefinitionError> {
        size(text)?;
        let (mut nodes, mut connections) = (None, None);
        let mut scanner = Scanner::new(text);
        fields(&mut scanner, "", "an object", |scanner, key| {
            match &*key.name() {
                "nodes" => nodes = Some(scanner.raw()?),
                "connections" => connections = Some(scanner.raw()?),
                _ => {
                    scanner.skip()?;
                }
            }
            Ok(())
        })?;
        scanner.end()?;
        let nodes = nodes.ok_or_else(|| missing("nodes"))?;
        let connections = connections.ok_or_else(|| missing("connections"))?;
        Self::checked(&format!(
            r#"{{"nodes":{nodes},"connections":{connections}}}"#
        ))
    }

    fn checked(text: &str) -> Result<Self, DefinitionError> {
        size(text)?;
        let mut nodes = None;
        let mut connections = None;
        let mut scanner = Scanner::new(text);
        fields(&mut scanner, "", "an object", |scanner, key| {
            match &*key.name() {
                "nodes" => nodes = Some(read_nodes(scanner)?),
                "connections" => connections = Some(scanner.skip()?),
                _ => {
                    scanner.skip()?;
                }
            }
            Ok(())
        })?;
        scanner.end()?;
        let nodes = nodes.ok_or_else(|| missing("nodes"))?;
        let connections: Range<usize> = connections.ok_or_else(|| missing("connections"))?;
        check_connections(scanner.slice(connections), &nodes)?;
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(text.as_bytes()) {
            let _ = write!(sha256, "{byte:02x}");
        }
        Ok(Self {
            text: text.into(),
            nodes: nodes.into(),
            sha256: sha256.into(),
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes that are language models. See [`is_language_model`].
    pub fn language_models(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_language_model())
    }

    /// The SHA-256 of the text, in lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl PartialEq for WorkflowDefinition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for WorkflowDefinition {}

/// Written as the JSON it is, not as a string. Needs serde_json's serializer.
impl Serialize for WorkflowDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.text)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

fn size(text: &str) -> Result<(), DefinitionError> {
    if text.len() > WorkflowDefinition::MAX_BYTES {
        return Err(DefinitionError::TooLarge { actual: text.len() });
    }
    Ok(())
}

fn missing(path: impl Into<String>) -> DefinitionError {
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

fn fields<'t>(
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

fn read_nodes(scanner: &mut Scanner<'_, '_>) -> Result<Vec<Node>, DefinitionError> {
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
    Ok(nodes)
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
fn check_connections(text: &str, nodes: &[Node]) -> Result<(), DefinitionError> {
    let known = |path: &str, name: &str| {
        if nodes.iter().any(|node| node.name == name) {
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
