//! Reads Rust source as tokens: enough to see which paths it names, on which line, and no more. No types, no macros expanded.

use std::iter::once;

/// A word or a mark of the source, with its line (from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

/// A path as written, groups spread out: `use a::{b, c::*}` is `a::b` and `a::c::*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// How many `mod x { … }` of the same file surround it: each one costs a `super`.
    pub(super) inline_modules: usize,
}

/// Source with comments and the insides of strings and characters turned into blanks; lines stay where they are.
pub(super) fn strip(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut previous = ' ';
    while let Some(next) = rest.chars().next() {
        let length = skipped(rest, previous);
        let (taken, after) = rest.split_at(length.unwrap_or(next.len_utf8()));
        if length.is_some() {
            out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(taken);
        }
        previous = taken.chars().next_back().unwrap_or(' ');
        rest = after;
    }
    out
}

/// How many bytes of a comment, string or character begin here, if any does.
fn skipped(rest: &str, previous: char) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let mid_word = previous.is_alphanumeric() || previous == '_';
    let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
    let (marks, body) = rest.split_at(if mid_word || prefix > 2 { 0 } else { prefix });
    let hashes = body.len() - body.trim_start_matches('#').len();
    if marks.ends_with('r') && body.trim_start_matches('#').starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = body.get(hashes + 1..).unwrap_or_default();
        let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(marks.len() + hashes + 1 + length);
    }
    match body.chars().next() {
        Some('"') => Some(marks.len() + quoted(body, '"')),
        Some('\'') if is_character(body) => Some(marks.len() + quoted(body, '\'')),
        _ => None,
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..).filter(|t| !t.is_empty()) {
        let step = match tail {
            t if t.starts_with("/*") => {
                depth += 1;
                2
            }
            t if t.starts_with("*/") => {
                depth -= 1;
                2
            }
            t => t.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a quoted literal, both quotes included; a backslash shields the next character.
fn quoted(body: &str, quote: char) -> usize {
    let mut shielded = false;
    for (at, c) in body.char_indices().skip(1) {
        match c {
            _ if shielded => shielded = false,
            '\\' => shielded = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    body.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(body: &str) -> bool {
    let mut chars = body.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(_), second) => second == Some('\''),
        (None, _) => false,
    }
}

/// The tokens of stripped source.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (line, mut rest) in (1..).zip(code.lines()) {
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            if !first.is_whitespace() {
                found.push(Token { text, line });
            }
            rest = after;
        }
    }
    found
}

/// Every path of two or more segments, and every `use` of a bare name.
pub(super) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut walk = Walk { tokens, at: 0, inline_modules: 0, found: Vec::new() };
    let mut braces: Vec<bool> = Vec::new();
    while let Some(token) = walk.peek(0) {
        let is_use = token == "use";
        let opens_module = token == "{" && walk.before(2) == Some("mod");
        match token {
            "{" => braces.push(opens_module),
            "}" => drop(braces.pop()),
            _ => {}
        }
        walk.inline_modules = braces.iter().filter(|is_module| **is_module).count();
        if is_use {
            walk.at += 1;
            if walk.peek(0) == Some("::") {
                walk.at += 1;
            }
            walk.tree(&[]);
        } else if is_name(token) && walk.peek(1) == Some("::") && !walk.continues_a_path() {
            walk.tree(&[]);
        } else {
            walk.at += 1;
        }
    }
    walk.found
}

struct Walk<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    inline_modules: usize,
    found: Vec<Path>,
}

impl<'a> Walk<'a> {
    fn peek(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).map(|t| t.text)
    }

    fn before(&self, back: usize) -> Option<&'a str> {
        self.tokens.get(self.at.checked_sub(back)?).map(|t| t.text)
    }

    /// `b` in `a::b` and in `<T as X>::b`, but not in a leading `::b`.
    fn continues_a_path(&self) -> bool {
        self.before(1) == Some("::") && self.before(2).is_some_and(|t| is_name(t) || t == ">")
    }

    fn tree(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |t| t.line);
        while let Some(token) = self.peek(0) {
            if token == "{" {
                self.at += 1;
                return self.group(&segments);
            }
            if token != "*" && !is_name(token) {
                break;
            }
            segments.push(token.to_owned());
            self.at += 1;
            if self.peek(0) != Some("::") {
                break;
            }
            self.at += 1;
        }
        if self.peek(0) == Some("as") {
            self.at += 2;
        }
        self.found.push(Path { segments, line, inline_modules: self.inline_modules });
    }

    fn group(&mut self, prefix: &[String]) {
        while let Some(token) = self.peek(0) {
            match token {
                "}" => {
                    self.at += 1;
                    return;
                }
                t if t == "{" || t == "*" || is_name(t) => self.tree(prefix),
                _ => self.at += 1,
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// The module path of a file under `src`: `engine/check.rs` is `engine::check`, `engine/mod.rs` is `engine`, `lib.rs` is empty.
pub(super) fn module_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" || stem == "main" {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To `crate::<this>::…`; `None` where it names the crate root itself or all of it.
    Inside(Option<String>),
    /// To something that begins with this name: an external crate, or a local name.
    Outside(String),
}

/// Resolves `crate`, `self` and `super` seen from `module`.
pub(super) fn resolve(path: &Path, module: &[String]) -> Target {
    let mut segments = path.segments.iter().map(String::as_str).skip_while(|s| *s == "self").peekable();
    let at_root = |name: Option<&str>| Target::Inside(name.filter(|n| *n != "*" && *n != "self").map(str::to_owned));
    match segments.peek().copied() {
        Some("crate") => at_root(segments.nth(1)),
        Some("super") => {
            let supers = path.segments.iter().filter(|s| *s == "super").count();
            let depth = module.len() + path.inline_modules;
            if supers < depth {
                return Target::Inside(module.first().cloned());
            }
            at_root(segments.find(|s| *s != "super"))
        }
        // A path made of `self` alone stays where it is.
        None => Target::Inside(module.first().cloned()),
        Some(name) => Target::Outside(once(name).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(source: &str) -> Vec<String> {
        paths(&tokens(&strip(source))).iter().map(|p| p.segments.join("::")).collect()
    }

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let source =
            "// a::b\n/* c::d /* e::f */ g::h */ let s = \"i::j \\\" k::l\"; r#\"m::\"n\"#; b'\\''; 'x'; '\"'; o::p";
        assert_eq!(written(source), ["o::p"]);
        assert_eq!(strip(source).lines().count(), source.lines().count());
    }

    #[test]
    fn a_lifetime_does_not_open_a_character() {
        assert_eq!(written("fn f<'a>(x: &'a str) -> y::Z<'a> { sqlx::q(x) }"), ["y::Z", "sqlx::q"]);
    }

    #[test]
    fn groups_globs_aliases_and_macros_are_spread_out() {
        assert_eq!(
            written("use crate::{a::B, c::{self, d as e}, f::*};"),
            ["crate::a::B", "crate::c::self", "crate::c::d", "crate::f::*"]
        );
        assert_eq!(written("use {sqlx, ::axum::Router};"), ["sqlx", "axum::Router"]);
        assert_eq!(written("use ::sqlx as db; pub(crate) fn f() {}"), ["sqlx"]);
        assert_eq!(
            written("#[tokio::test] fn f() { sqlx::query!(x); <T as a::B>::c() }"),
            ["tokio::test", "sqlx::query", "a::B"]
        );
    }

    #[test]
    fn lines_are_counted_from_one() {
        let source = "//! x\n\nuse a::b;\n";
        assert_eq!(paths(&tokens(&strip(source))).first().map(|p| p.line), Some(3));
    }

    fn target(file: &str, source: &str) -> Target {
        let found = paths(&tokens(&strip(source)));
        resolve(found.first().unwrap(), &module_of(file))
    }

    fn inside(name: &str) -> Target {
        Target::Inside(Some(name.to_owned()))
    }

    #[test]
    fn super_is_followed_to_the_room_it_reaches() {
        assert_eq!(target("engine/check.rs", "use super::settle;"), inside("engine"));
        assert_eq!(target("engine/check.rs", "use super::super::store::Pool;"), inside("store"));
        assert_eq!(target("engine/mod.rs", "use super::store;"), inside("store"));
        assert_eq!(target("engine/mod.rs", "mod tests { use super::*; }"), inside("engine"));
        assert_eq!(target("engine/mod.rs", "mod tests { use super::super::web::x; }"), inside("web"));
        assert_eq!(target("engine/mod.rs", "use super::*;"), Target::Inside(None));
        assert_eq!(target("domain/qris/amount.rs", "use super::super::super::sim;"), inside("sim"));
    }

    #[test]
    fn the_crate_root_itself_is_told_apart_from_its_rooms() {
        assert_eq!(target("engine/mod.rs", "use crate::*;"), Target::Inside(None));
        assert_eq!(target("engine/mod.rs", "use crate as c;"), Target::Inside(None));
        assert_eq!(target("engine/mod.rs", "use crate::store;"), inside("store"));
        assert_eq!(target("engine/mod.rs", "use sqlx::Row;"), Target::Outside("sqlx".to_owned()));
        assert_eq!(target("engine/mod.rs", "use self::check::x;"), Target::Outside("check".to_owned()));
    }
}
