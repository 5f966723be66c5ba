//! Every statement of `store`, prepared against the migrated schema: a wrong table, column, type or parameter fails here
//! and not in front of a customer. Found by reading the sources: a string that begins with `-- store::`.
//!
//! That a statement *runs* and does what its name says is shown elsewhere: a prepared one may still be wrong.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use crate::support::TestDb;

const MARK: &str = "-- store::";

/// A statement and where it stands.
struct Found {
    file: String,
    name: String,
    sql: String,
}

/// The string literals of a source that begin with the mark, with their escapes resolved.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices(MARK) {
        let (before, rest) = source.split_at(at);
        let hashes = before.len() - before.trim_end_matches('"').trim_end_matches('#').len();
        if before.trim_end_matches('"').trim_end_matches('#').ends_with('r') && before.ends_with('"') {
            let end = format!("\"{}", "#".repeat(hashes - 1));
            found.push(rest.split_once(&end).expect("the raw literal ends").0.to_owned());
        } else if before.ends_with('"') {
            found.push(unescaped(rest));
        }
    }
    found
}

/// A plain literal from behind its opening quote on.
fn unescaped(rest: &str) -> String {
    let mut text = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return text,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                // A line that goes on without its break and indent.
                Some('\n') => {
                    let indent = chars.as_str().len() - chars.as_str().trim_start().len();
                    chars = chars.as_str()[indent..].chars();
                }
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    panic!("a literal without end: {text}");
}

/// What a statement of this file is called: `store`, its path without `mod`, and one word.
fn prefix_of(file: &Path) -> String {
    let words = file.with_extension("");
    let words = words.iter().map(|word| word.to_string_lossy()).filter(|word| word != "mod");
    words.fold("store::".to_owned(), |name, word| name + &word + "::")
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src/store can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

fn statements() -> Vec<Found> {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = Vec::new();
    sources(&store, &mut files);
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(&store).expect("it was found below").to_owned();
        for sql in literals(&fs::read_to_string(&path).expect("a source can be read")) {
            let name = sql.lines().next().unwrap_or_default().trim_start_matches("-- ").to_owned();
            let word = name.strip_prefix(&prefix_of(&file)).unwrap_or_default();
            assert!(
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "src/store/{}: a statement is called {name}, not {}<word>",
                file.display(),
                prefix_of(&file)
            );
            found.push(Found { file: file.display().to_string(), name, sql });
        }
    }
    found
}

/// The statement of that name.
pub(crate) fn statement(name: &str) -> String {
    statements().into_iter().find(|found| found.name == name).unwrap_or_else(|| panic!("no statement {name}")).sql
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let db = TestDb::new().await;
    let found = statements();
    assert!(found.len() > 3, "the scanner found almost nothing");
    let mut connection = db.connect().await;
    let mut wrong = Vec::new();
    // A temporary table stands for as long as this session; `on commit drop` would take it away at once.
    for table in found.iter().filter(|statement| statement.sql.contains("\ncreate temporary table")) {
        let kept = table.sql.replace(") on commit drop", ")");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(kept))).await.expect("a temporary table can be made");
    }
    for statement in found {
        if let Err(error) = connection.prepare(AssertSqlSafe(statement.sql.clone()).into_sql_str()).await {
            wrong.push(format!("src/store/{}: {}: {error}", statement.file, statement.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_statement_has_a_name_of_its_own() {
    let mut times = BTreeMap::<String, u32>::new();
    for statement in statements() {
        *times.entry(statement.name).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "two statements under one name: {twice:?}");
}

#[test]
fn every_statement_that_prunes_takes_a_bounded_piece() {
    let pruning: Vec<_> = statements().into_iter().filter(|found| found.name.contains("prune")).collect();
    assert!(pruning.len() > 7, "{}", pruning.len());
    for statement in pruning {
        assert!(statement.sql.contains("limit $"), "{} deletes without a limit", statement.name);
    }
}

#[test]
fn every_statement_begins_with_its_name() {
    // A statement without a name would be one that no test prepares.
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut files = Vec::new();
    sources(&store, &mut files);
    for path in files {
        let source = fs::read_to_string(&path).expect("a source can be read");
        for verb in ["select ", "insert into ", "update ", "delete from ", "with "] {
            assert!(
                !source.contains(&format!("\"{verb}")) && !source.contains(&format!("\"\\n{verb}")),
                "{}: a statement that begins with `{verb}`: begin it with `{MARK}<file>::<name>`",
                path.display()
            );
        }
    }
}

#[test]
fn the_scanner_reads_plain_and_raw_literals() {
    let source = r##"
        const A: &str = "-- store::a::plain
select 'it''s' || \"x\", \
       1";
        const B: &str = r"-- store::a::raw
select '\d'";
        const C: &str = r#"-- store::a::hashes
select "y" as z"#;
        // `-- store::<file>::<name>` in a comment is none.
    "##;
    let found = literals(source);
    assert_eq!(
        found,
        [
            "-- store::a::plain\nselect 'it''s' || \"x\", 1",
            "-- store::a::raw\nselect '\\d'",
            "-- store::a::hashes\nselect \"y\" as z"
        ]
    );
    assert_eq!(prefix_of(Path::new("mod.rs")), "store::");
    assert_eq!(prefix_of(Path::new("cases.rs")), "store::cases::");
    assert_eq!(prefix_of(Path::new("embedded/mod.rs")), "store::embedded::");
}
