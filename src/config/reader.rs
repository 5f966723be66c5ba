//! Takes values out of the merged tree, key by key, and collects everything that is wrong instead of stopping at the first.
//! A key exists because somebody reads it: what is left over is unknown, and the list of keys writes itself.
//!
//! Every reader returns `None` after it has recorded an error, so a section is read whole before it is put together.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::error::{ConfigError, Source};
use super::layer::{Entry, Node, Tree};

/// One value in force: its full key, how it would be written, and where it came from.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Setting {
    /// The tables and the key, outermost first.
    pub path: Vec<String>,
    /// The value as TOML. A secret is shown as its reference, never as its value.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// What is collected while a configuration is read.
pub(crate) struct Book<'a> {
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Folder against which relative paths of secret files are resolved.
    pub(crate) base_dir: PathBuf,
    pub(crate) errors: RefCell<Vec<ConfigError>>,
    pub(crate) settings: RefCell<Vec<Setting>>,
    pub(crate) known_keys: RefCell<BTreeSet<String>>,
}

/// One table while it is read.
pub(crate) struct Section<'a> {
    pub(super) book: &'a Book<'a>,
    path: Vec<String>,
    source: Source,
    pub(super) entries: Tree,
    asked: BTreeSet<String>,
    /// Something other than a table stands here: that is said once, not again for each key.
    is_broken: bool,
}

impl<'a> Section<'a> {
    pub(crate) fn root(book: &'a Book<'a>, entries: Tree) -> Self {
        Self { book, path: Vec::new(), source: Source::Default, entries, asked: BTreeSet::new(), is_broken: false }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The last part of the table's name.
    pub(crate) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    pub(crate) fn env(&self) -> &'a BTreeMap<String, String> {
        self.book.env
    }

    /// Where the key stands, or the table where the key is missing.
    pub(crate) fn source_of(&self, key: &str) -> Source {
        self.entries.get(key).map_or_else(|| self.source.clone(), |entry| entry.source.clone())
    }

    /// Gives a key its built-in value where no layer has one.
    pub(crate) fn default(&mut self, key: &str, value: Node) {
        self.entries.entry(key.to_owned()).or_insert(Entry { node: value, source: Source::Default });
    }

    /// Reads a key that may be absent: `Some(None)` when it is.
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether it could be read, the inner one whether it is there"
    )]
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        self.ask(key);
        if self.has(key) { read(self, key).map(Some) } else { Some(None) }
    }

    /// Records that the value of a key is not allowed.
    pub(crate) fn refuse<T>(&self, key: &str, problem: impl Into<String>) -> Option<T> {
        let found = self.entries.get(key).map(Entry::rendered);
        self.record(self.source_of(key), &self.key_path(key), found, problem.into())
    }

    /// The same where the value may be a secret: it is not shown.
    pub(crate) fn refuse_unshown<T>(&self, key: &str, problem: impl Into<String>) -> Option<T> {
        self.record(self.source_of(key), &self.key_path(key), None, problem.into())
    }

    pub(super) fn missing<T>(&self, key: &str, form: &str) -> Option<T> {
        if self.is_broken { None } else { self.refuse(key, format!("missing; {form}")) }
    }

    /// Records that the table itself, such as its name, is not allowed.
    pub(crate) fn refuse_table<T>(&self, problem: impl Into<String>) -> Option<T> {
        self.record(self.source.clone(), &self.path, None, problem.into())
    }

    fn record<T>(&self, source: Source, path: &[String], found: Option<String>, problem: String) -> Option<T> {
        self.book.errors.borrow_mut().push(ConfigError { source, key: path.join("."), found, problem });
        None
    }

    pub(super) fn key_path(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    pub(super) fn ask(&mut self, key: &str) {
        if self.asked.insert(key.to_owned()) {
            let mut path = self.key_path(key);
            if let [section, name, _, ..] = path.as_mut_slice()
                && (section == "accounts" || section == "webhooks")
            {
                "NAME".clone_into(name);
            }
            if let [section, table, flag, _] = path.as_mut_slice()
                && section == "refunds"
                && table == "flags"
            {
                "FLAG".clone_into(flag);
            }
            self.book.known_keys.borrow_mut().insert(path.join("."));
        }
    }

    fn keep(&self, key: &str, value: String) {
        let setting = Setting { path: self.key_path(key), value, source: self.source_of(key) };
        self.book.settings.borrow_mut().push(setting);
    }

    /// The entry of a key that must be there; it is in force from here on.
    fn entry(&mut self, key: &str, form: &str) -> Option<Entry> {
        self.ask(key);
        let Some(entry) = self.entries.get(key).cloned() else {
            return self.missing(key, &format!("it must be {form}"));
        };
        self.keep(key, entry.rendered());
        Some(entry)
    }

    /// A text that is not empty. `form` says what the text is, for messages.
    pub(crate) fn text(&mut self, key: &str, form: &str) -> Option<String> {
        match self.entry(key, form)?.node {
            Node::Text(text) | Node::Raw(text) if !text.trim().is_empty() => Some(text),
            _ => self.refuse(key, format!("must be {form}")),
        }
    }

    /// A text read by `parse`.
    pub(crate) fn parsed<T>(&mut self, key: &str, form: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key, form)?;
        parse(&text).or_else(|| self.refuse(key, format!("must be {form}")))
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let listed: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let form = format!("one of {}", listed.join(", "));
        self.parsed(key, &form, |text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value))
    }

    /// A whole number within limits.
    pub(crate) fn number(&mut self, key: &str, min: u32, max: u32) -> Option<u32> {
        let form = format!("a whole number from {min} to {max}");
        let number = match self.entry(key, &form)?.node {
            Node::Integer(number) => u32::try_from(number).ok(),
            Node::Raw(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|number| (min..=max).contains(number)).or_else(|| self.refuse(key, format!("must be {form}")))
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.entry(key, "true or false")?.node {
            Node::Boolean(flag) => Some(flag),
            Node::Raw(text) if text == "true" => Some(true),
            Node::Raw(text) if text == "false" => Some(false),
            _ => self.refuse(key, "must be true or false"),
        }
    }

    /// A list of texts, each read by `parse`. `form` says what one of them is.
    pub(crate) fn list<T>(&mut self, key: &str, form: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let entry = self.entry(key, &format!("a list; each item is {form}"))?;
        let entry = match &entry.node {
            Node::Raw(text) => entry.parsed_raw(text).unwrap_or(entry),
            _ => entry,
        };
        let read = match &entry.node {
            Node::List(items) => {
                items.iter().map(|item| if let Node::Text(text) = &item.node { parse(text) } else { None }).collect()
            }
            _ => None,
        };
        read.filter(|items: &Vec<T>| !items.is_empty())
            .or_else(|| self.refuse(key, format!("must be a list with at least one item; each item is {form}")))
    }

    /// A table below this one; an absent one is empty.
    pub(crate) fn section(&mut self, key: &str) -> Section<'a> {
        self.asked.insert(key.to_owned());
        let found = self.entries.get(key).cloned().map(table_of);
        let is_broken = self.is_broken || matches!(found, Some(None));
        if matches!(found, Some(None)) {
            self.refuse_unshown::<()>(key, "must be a table");
        }
        let (entries, source) = found.flatten().unwrap_or_else(|| (Tree::new(), self.source_of(key)));
        Section { book: self.book, path: self.key_path(key), source, entries, asked: BTreeSet::new(), is_broken }
    }

    /// The same where an absent table means nothing was said: `Some(None)`.
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether it could be read, the inner one whether it is there"
    )]
    pub(crate) fn optional_section<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        self.asked.insert(key.to_owned());
        if self.has(key) { read(&mut self.section(key)).map(Some) } else { Some(None) }
    }

    /// Every table below this one, whatever its name.
    pub(crate) fn sections(&mut self) -> Vec<Section<'a>> {
        let names: Vec<_> = self.entries.keys().cloned().collect();
        names.iter().map(|name| self.section(name)).collect()
    }

    /// Everything below a key as it stands, for a reader of another room.
    pub(crate) fn open_table(&mut self, key: &str) -> Option<toml::Table> {
        self.ask(key);
        let Some(entry) = self.entries.get(key).cloned() else { return Some(toml::Table::new()) };
        let Some((entries, _)) = table_of(entry) else { return self.refuse(key, "must be a table") };
        self.keep(key, Entry { node: Node::Table(entries.clone()), source: Source::Default }.rendered());
        Some(super::layer::to_toml_table(&entries))
    }

    /// Refuses every key that nobody asked for, with the nearest name.
    pub(crate) fn finish(&self) {
        for (key, entry) in self.entries.iter().filter(|(key, _)| !self.asked.contains(*key)) {
            let known: Vec<_> = self.asked.iter().map(String::as_str).collect();
            let meant =
                nearest_name(key, &known).map_or_else(|| ".".to_owned(), |name| format!("; did you mean `{name}`?"));
            let problem = format!("unknown key{meant} Allowed here: {}", known.join(", "));
            self.record::<()>(entry.source.clone(), &self.key_path(key), None, problem);
        }
    }
}

/// A table and where it stands; an environment variable may hold one as TOML.
pub(super) fn table_of(entry: Entry) -> Option<(Tree, Source)> {
    let entry = match &entry.node {
        Node::Raw(text) => entry.parsed_raw(text)?,
        _ => entry,
    };
    match entry.node {
        Node::Table(tree) => Some((tree, entry.source)),
        _ => None,
    }
}

/// The known name that was probably meant: at most a third of its letters, and never more than three, differ.
pub(crate) fn nearest_name<'n>(typed: &str, known: &[&'n str]) -> Option<&'n str> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), *name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, name)| name)
}
