//! The house, held by a test: who may use whom, which external crate lives where, and what every file owes its reader.
//!
//! The tables below *are* the architecture; `ARCHITECTURE.md` explains them. To change the one is to change the other, and
//! both show in the diff. The sources are read as text: a token scan sees every written path, but not what a macro makes.

mod caught;
mod scan;

use std::{collections::BTreeSet, fs, path};

use scan::{Target, Token, module_of, paths, resolve, strip, tokens};

/// Each room and the rooms it may use. An arrow that is not here does not exist.
const EDGES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &[]),
    ("providers", &["domain", "config", "telemetry"]),
    // The line to merchants' endpoints: apart from the providers', whose connections and timeouts it must not share.
    ("hooks", &["domain", "config"]),
    ("store", &["domain", "config", "telemetry"]),
    ("report", &["domain"]),
    ("engine", &["domain", "config", "telemetry", "providers", "hooks", "store", "report"]),
    ("jobs", &["domain", "config", "telemetry", "store", "engine"]),
    ("web", &["domain", "config", "telemetry", "store", "report", "engine"]),
    ("cli", &["domain", "config", "telemetry", "providers", "store", "report", "engine", "jobs", "web", "sim"]),
    ("main", &["cli"]),
    // The garden shed. It never sees the adapters' code: a simulator that shared it would agree with every mistake.
    ("sim", &["domain"]),
];

const OUTSIDE_DOMAIN: &[&str] =
    &["config", "telemetry", "providers", "hooks", "store", "report", "engine", "jobs", "web", "cli", "main", "sim"];
const ANYWHERE: &[&str] = &[
    "domain",
    "config",
    "telemetry",
    "providers",
    "hooks",
    "store",
    "report",
    "engine",
    "jobs",
    "web",
    "cli",
    "main",
    "sim",
];

/// Each dependency of `Cargo.toml` and where it may be named: a room, or one file or folder of a room.
const HOMES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", "main"]),
    ("apalis", &["jobs"]),
    ("apalis_cron", &["jobs"]),
    ("apalis_postgres", &["jobs"]),
    ("askama", &["web", "report"]),
    ("axum", &["web", "sim"]),
    ("base64", OUTSIDE_DOMAIN),
    ("chrono", ANYWHERE),
    ("chrono_tz", &["config", "jobs"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("comfy_table", &["cli"]),
    // `config` reads a cron line only to refuse a wrong one; `jobs` alone computes slots.
    ("cron", &["config", "jobs"]),
    ("csv", &["engine", "report"]),
    ("futures", &["providers", "store", "engine", "jobs", "web", "cli", "sim"]),
    ("hex", ANYWHERE),
    ("hmac", &["providers", "hooks", "sim"]),
    // What axum's own `serve` has no settings for: the bounds of a connection.
    ("hyper_util", &["web/connections"]),
    ("indicatif", &["cli"]),
    ("metrics", &["telemetry", "providers", "store", "engine", "jobs", "web"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("mimalloc", &["main"]),
    // The bench measures a bare loop of the same client beside the whole one; a simulated provider knocks by itself;
    // merchants' endpoints have a client of their own (ADR 0026).
    ("reqwest", &["providers/transport", "hooks/post", "cli/bench", "sim/notifier"]),
    ("ring", &["config", "providers", "engine", "sim"]),
    ("rust_xlsxwriter", &["report"]),
    ("rustls", &["providers", "hooks", "cli"]),
    ("secrecy", &["config", "providers", "hooks", "store", "engine", "web", "cli"]),
    ("serde", ANYWHERE),
    ("serde_json", ANYWHERE),
    // `domain` hashes the journal's chain; nothing else there computes a digest.
    ("sha2", &["domain", "engine", "providers", "hooks", "sim"]),
    ("sqlx", &["store"]),
    ("strsim", &["config"]),
    ("thiserror", ANYWHERE),
    ("tokio", &["providers", "hooks", "store", "engine", "jobs", "web", "cli", "sim"]),
    ("tokio_util", &["providers", "store", "engine", "jobs", "web", "cli", "sim"]),
    ("toml", &["config", "providers"]),
    ("tower_http", &["web", "sim"]),
    ("tracing", &["config", "telemetry", "providers", "store", "engine", "jobs", "web", "cli", "sim"]),
    ("tracing_subscriber", &["telemetry"]),
    ("uuid", &["telemetry", "store", "engine", "jobs", "web", "sim"]),
];

/// Words that may not appear in the code of a room, and why.
const BANNED_WORDS: &[(&[&str], &[&str], &str)] = &[
    (&["f32", "f64"], &["domain", "providers", "engine", "store"], "money and time are integers on this path"),
    (&["async", "await"], &["domain"], "the domain is pure: it does not wait"),
];

/// Calls that may not appear in the code of a room, as endings of a path, and why.
const BANNED_CALLS: &[(&[&str], &[&str], &str)] = &[(
    &["Utc::now", "Local::now", "SystemTime::*", "Instant::now", "Uuid::*", "rand::*"],
    &["domain"],
    "the domain has no clock and no dice: time and identifiers come in as parameters",
)];

/// Names that say nothing about what is inside.
const BANNED_MODULES: &[&str] = &["utils", "util", "helpers", "helper", "misc", "common"];

const MAX_LINES: usize = 600;

/// What a visitor must find in the repository's root, folders with a slash.
const TOP_LEVEL: &[&str] = &[
    ".ci/run",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "clippy.toml",
    "deny.toml",
    "docs/",
    "rustfmt.toml",
    "src/",
    "tests/",
];

/// A source file: its path below `src` and its text.
struct Source {
    file: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.file.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn lives_in(&self, home: &str) -> bool {
        let stem = self.file.strip_suffix(".rs").unwrap_or(&self.file);
        stem == home || stem.strip_prefix(home).is_some_and(|below| below.starts_with('/'))
    }

    /// Everything this file does that the tables do not allow.
    fn violations(&self) -> Vec<String> {
        let code = strip(&self.text);
        let tokens = tokens(&code);
        [self.arrows(&tokens), self.homes(&tokens), self.words(&tokens), self.calls(&tokens), self.manners(&tokens)]
            .concat()
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("src/{}:{line}: {what}", self.file)
    }

    /// The rooms this file names.
    fn arrows(&self, tokens: &[Token]) -> Vec<String> {
        let module = module_of(&self.file);
        let room = self.room();
        let allowed = EDGES.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, allowed)| allowed);
        let mut found = Vec::new();
        for path in paths(tokens) {
            match resolve(&path, &module) {
                Target::Inside(None) => found.push(self.at(path.line, "names the crate's root; name the room")),
                Target::Inside(Some(to)) if to != room && !allowed.contains(&to.as_str()) => {
                    found.push(self.at(path.line, &format!("{room} may not use {to}")));
                }
                // The binary sees the library under its own name.
                Target::Outside(name)
                    if name == "rekon" && path.segments.get(1).is_none_or(|to| !allowed.contains(&to.as_str())) =>
                {
                    found.push(self.at(path.line, &format!("{room} may not use {}", path.segments.join("::"))));
                }
                Target::Inside(_) | Target::Outside(_) => {}
            }
        }
        found
    }

    /// The external crates this file names away from their homes.
    fn homes(&self, tokens: &[Token]) -> Vec<String> {
        let module = module_of(&self.file);
        let mut found = Vec::new();
        for path in paths(tokens) {
            let Target::Outside(name) = resolve(&path, &module) else { continue };
            let Some((_, homes)) = HOMES.iter().find(|(krate, _)| *krate == name) else { continue };
            if !homes.iter().any(|home| self.lives_in(home)) {
                found.push(self.at(path.line, &format!("{name} lives in {}, not here", homes.join(", "))));
            }
        }
        found
    }

    fn words(&self, tokens: &[Token]) -> Vec<String> {
        let mut found = Vec::new();
        for (words, rooms, why) in BANNED_WORDS {
            let banned = |t: &&Token| words.iter().any(|word| t.text == *word || is_literal_of(t.text, word));
            for token in tokens.iter().filter(banned).filter(|_| rooms.contains(&self.room())) {
                found.push(self.at(token.line, &format!("`{}`: {why}", token.text)));
            }
        }
        found
    }

    fn calls(&self, tokens: &[Token]) -> Vec<String> {
        let mut found = Vec::new();
        for (calls, rooms, why) in BANNED_CALLS {
            for path in paths(tokens).iter().filter(|_| rooms.contains(&self.room())) {
                if calls.iter().any(|call| mentions(&path.segments, call)) {
                    found.push(self.at(path.line, &format!("`{}`: {why}", path.segments.join("::"))));
                }
            }
        }
        found
    }

    fn manners(&self, tokens: &[Token]) -> Vec<String> {
        let mut found = Vec::new();
        let lines = self.text.lines().count();
        if lines > MAX_LINES {
            found.push(self.at(MAX_LINES, &format!("{lines} lines; {MAX_LINES} is the limit: split it by noun")));
        }
        if !self.text.starts_with("//!") {
            found.push(self.at(1, "a file opens with `//!`: its charter and what is deliberately absent"));
        }
        let stem = self.file.strip_suffix(".rs").unwrap_or(&self.file);
        if stem.split('/').any(|part| BANNED_MODULES.contains(&part)) {
            found.push(self.at(1, "this name says nothing about what is inside"));
        }
        for pair in tokens.windows(2) {
            if let [keyword, name] = pair
                && keyword.text == "mod"
                && BANNED_MODULES.contains(&name.text)
            {
                found.push(self.at(name.line, "this name says nothing about what is inside"));
            }
        }
        found
    }
}

/// `1_f64` and `2f32`.
fn is_literal_of(token: &str, word: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_digit()) && token.ends_with(word)
}

/// Whether a path holds `call` as neighbouring segments; `X::*` is any path that goes on behind `X`, or imports it.
fn mentions(segments: &[String], call: &str) -> bool {
    match call.strip_suffix("::*") {
        Some(owner) => segments.iter().any(|s| s == owner),
        None => segments.windows(2).any(|pair| pair.join("::") == call),
    }
}

fn root() -> &'static path::Path {
    path::Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `src`, in order.
fn sources() -> Vec<Source> {
    fn walk(folder: &path::Path, found: &mut Vec<path::PathBuf>) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.map(|e| e.path()) {
            if entry.is_dir() {
                walk(&entry, found);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                found.push(entry);
            }
        }
    }
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    files.sort();
    let read = |path: path::PathBuf| {
        let file = path.strip_prefix(&src).ok()?.to_string_lossy().replace('\\', "/");
        Some(Source { file, text: fs::read_to_string(&path).ok()? })
    };
    files.into_iter().filter_map(read).collect()
}

#[test]
fn every_file_keeps_to_its_room() {
    let sources = sources();
    assert!(sources.len() > EDGES.len(), "the sources were not found");
    let found: Vec<String> = sources.iter().flat_map(Source::violations).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_house_has_exactly_the_rooms_of_the_table_and_the_map_names_each() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rooms: BTreeSet<String> = sources().iter().map(|s| s.room().to_owned()).filter(|room| room != "lib").collect();
    let table: BTreeSet<String> = EDGES.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, table);
    for room in rooms.iter().filter(|room| *room != "main") {
        assert!(map.contains(&format!("### `src/{room}/`")), "ARCHITECTURE.md has no heading for src/{room}/");
    }
}

#[test]
fn the_arrows_never_run_in_a_circle() {
    // Taking away rooms that use nothing that is left must empty the house.
    let mut left: Vec<&(&str, &[&str])> = EDGES.iter().collect();
    while !left.is_empty() {
        let names: BTreeSet<&str> = left.iter().map(|(room, _)| *room).collect();
        let before = left.len();
        left.retain(|(_, uses)| uses.iter().any(|to| names.contains(to)));
        assert!(left.len() < before, "a circle among {names:?}");
    }
}

#[test]
fn every_dependency_has_a_home_and_every_home_is_a_dependency() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, after) = manifest.split_once("\n[dependencies]\n").unwrap();
    let section = after.split_once("\n[").map_or(after, |(section, _)| section);
    let named = section.lines().filter_map(|line| line.split_once(" =")).map(|(name, _)| name.replace('-', "_"));
    let homes: BTreeSet<String> = HOMES.iter().map(|(krate, _)| (*krate).to_owned()).collect();
    assert_eq!(named.collect::<BTreeSet<String>>(), homes);
}

#[test]
fn the_top_level_holds_what_a_visitor_looks_for() {
    for name in TOP_LEVEL {
        let path = root().join(name);
        assert!(if name.ends_with('/') { path.is_dir() } else { path.is_file() }, "{name} is missing");
    }
}
