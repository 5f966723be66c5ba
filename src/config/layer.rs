//! The layers under a configuration — built-in defaults, file, environment — merged into one tree in which every value
//! still knows where it came from. Meaning (which keys exist, what they may hold) is not known here.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Source};

/// Prefix of the environment variables that override keys.
pub(crate) const ENV_PREFIX: &str = "REKON__";

/// A table of values with their sources.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// A value and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    pub(crate) source: Source,
}

/// A TOML value, or the raw text of an environment variable whose type only the reader knows.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Raw(String),
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// A float, date or oversized integer: no key takes one, so its text is enough.
    Other(String),
    List(Vec<Entry>),
    Table(Tree),
}

impl Entry {
    /// A text that is built in.
    pub(crate) fn default_text(text: &str) -> Self {
        Self { node: Node::Text(text.to_owned()), source: Source::Default }
    }

    /// The value as TOML, for messages and `config show`.
    pub(crate) fn rendered(&self) -> String {
        match &self.node {
            Node::Raw(text) | Node::Text(text) => quoted(text),
            Node::Integer(number) => number.to_string(),
            Node::Boolean(flag) => flag.to_string(),
            Node::Other(text) => text.clone(),
            Node::List(items) => format!("[{}]", items.iter().map(Self::rendered).collect::<Vec<_>>().join(", ")),
            Node::Table(tree) => {
                let pairs: Vec<_> =
                    tree.iter().map(|(key, entry)| format!("{} = {}", bare_or_quoted(key), entry.rendered())).collect();
                format!("{{ {} }}", pairs.join(", "))
            }
        }
    }

    /// The value as a library's TOML value, for tables that somebody else reads (a provider's profile).
    pub(crate) fn to_toml(&self) -> toml::Value {
        match &self.node {
            Node::Raw(text) => {
                self.parsed_raw(text).map_or_else(|| toml::Value::String(text.clone()), |entry| entry.to_toml())
            }
            Node::Text(text) | Node::Other(text) => toml::Value::String(text.clone()),
            Node::Integer(number) => toml::Value::Integer(*number),
            Node::Boolean(flag) => toml::Value::Boolean(*flag),
            Node::List(items) => toml::Value::Array(items.iter().map(Self::to_toml).collect()),
            Node::Table(tree) => toml::Value::Table(to_toml_table(tree)),
        }
    }

    /// The text of an environment variable read as a TOML value (`5`, `true`, `["5s"]`, `{ file = "x" }`), where it is one.
    pub(crate) fn parsed_raw(&self, text: &str) -> Option<Self> {
        let value = DeValue::parse(text).ok()?;
        Some(Self { node: node_from(value.get_ref(), &|_| self.source.clone()), source: self.source.clone() })
    }
}

pub(crate) fn to_toml_table(tree: &Tree) -> toml::Table {
    tree.iter().map(|(key, entry)| (key.clone(), entry.to_toml())).collect()
}

pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(crate) fn bare_or_quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { key.to_owned() } else { quoted(key) }
}

/// Reads a document as far as it can be read; `source_at` turns a line, counted from 1, into a source.
pub(crate) fn parse(text: &str, source_at: &dyn Fn(usize) -> Source) -> (Tree, Vec<ConfigError>) {
    let (document, broken) = DeTable::parse_recoverable(text);
    let line_at = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1);
    let at_offset = |offset: usize| source_at(line_at(offset));
    let errors = broken
        .iter()
        .map(|error| ConfigError {
            source: at_offset(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            found: None,
            problem: format!("this is not TOML: {}", error.message().trim()),
        })
        .collect();
    (tree_from(document.get_ref(), &at_offset), errors)
}

fn tree_from(table: &DeTable<'_>, at_offset: &dyn Fn(usize) -> Source) -> Tree {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry { node: node_from(value.get_ref(), at_offset), source: at_offset(key.span().start) };
            (key.get_ref().to_string(), entry)
        })
        .collect()
}

fn node_from(value: &DeValue<'_>, at_offset: &dyn Fn(usize) -> Source) -> Node {
    match value {
        DeValue::String(text) => Node::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Node::Other(number.to_string()), Node::Integer),
        DeValue::Float(number) => Node::Other(number.to_string()),
        DeValue::Boolean(flag) => Node::Boolean(*flag),
        DeValue::Datetime(time) => Node::Other(time.to_string()),
        DeValue::Array(items) => Node::List(
            items
                .iter()
                .map(|item| Entry { node: node_from(item.get_ref(), at_offset), source: at_offset(item.span().start) })
                .collect(),
        ),
        DeValue::Table(table) => Node::Table(tree_from(table, at_offset)),
    }
}

/// Lays one layer over another: tables are merged key by key, everything else is replaced.
pub(crate) fn lay_over(base: &mut Tree, over: Tree) {
    for (key, entry) in over {
        match (base.get_mut(&key), entry) {
            (
                Some(Entry { node: Node::Table(below), source }),
                Entry { node: Node::Table(above), source: new_source },
            ) => {
                *source = new_source;
                lay_over(below, above);
            }
            (_, entry) => {
                base.insert(key, entry);
            }
        }
    }
}

/// Lays `REKON__SECTION__KEY` variables over the tree.
pub(crate) fn lay_environment_over(base: &mut Tree, env: &BTreeMap<String, String>) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (variable, value) in env {
        let Some(path) = variable.strip_prefix(ENV_PREFIX) else { continue };
        let source = Source::Environment { variable: variable.clone() };
        let mut segments: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let refused = if segments.iter().any(String::is_empty) {
            Some(format!(
                "not a key; variables are written {ENV_PREFIX}SECTION__KEY, such as REKON__JOBS__SWEEP__EVERY=5s"
            ))
        } else {
            name_account(base, &mut segments);
            set(base, &segments, Entry { node: Node::Raw(value.clone()), source: source.clone() })
        };
        if let Some(problem) = refused {
            errors.push(ConfigError { source, key: segments.join("."), found: None, problem });
        }
    }
    errors
}

/// Variables cannot hold a dash: an account or endpoint `doku-main` is written `DOKU_MAIN`, unless there is one named `doku_main`.
fn name_account(base: &Tree, segments: &mut [String]) {
    let [section, name, ..] = segments else { return };
    if section != "accounts" && section != "webhooks" {
        return;
    }
    let exists =
        matches!(base.get(section), Some(Entry { node: Node::Table(named), .. }) if named.contains_key(name.as_str()));
    if !exists {
        *name = name.replace('_', "-");
    }
}

/// Sets one leaf, making the tables on its way; says why where something other than a table is in the way.
fn set(tree: &mut Tree, path: &[String], leaf: Entry) -> Option<String> {
    let (key, rest) = path.split_first()?;
    if rest.is_empty() {
        tree.insert(key.clone(), leaf);
        return None;
    }
    let entry = tree
        .entry(key.clone())
        .or_insert_with(|| Entry { node: Node::Table(Tree::new()), source: leaf.source.clone() });
    if let Node::Raw(text) = &entry.node
        && let Some(parsed) = entry.parsed_raw(text)
    {
        *entry = parsed;
    }
    match &mut entry.node {
        Node::Table(below) => set(below, rest, leaf),
        _ => Some(format!("`{key}` holds a single value, so nothing can be set below it")),
    }
}
