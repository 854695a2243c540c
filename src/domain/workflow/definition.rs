//! Definitions: n8n's nodes and connections, checked and kept as the text they came in.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::check::{check_connections, fields, missing, read_nodes};
use crate::domain::payload::PayloadError;
use crate::domain::payload::scan::Scanner;

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
        size(text)?;
        let (mut nodes, mut names) = (Vec::new(), None);
        let mut connections = None;
        let mut scanner = Scanner::new(text);
        fields(&mut scanner, "", "an object", |scanner, key| {
            match &*key.name() {
                "nodes" => {
                    let index;
                    (nodes, index) = read_nodes(scanner)?;
                    names = Some(index);
                }
                "connections" => connections = Some(scanner.skip()?),
                _ => {
                    scanner.skip()?;
                }
            }
            Ok(())
        })?;
        scanner.end()?;
        let names = names.ok_or_else(|| missing("nodes"))?;
        let connections: Range<usize> = connections.ok_or_else(|| missing("connections"))?;
        check_connections(scanner.slice(connections), &names)?;
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
        Self::new(&format!(
            r#"{{"nodes":{nodes},"connections":{connections}}}"#
        ))
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
