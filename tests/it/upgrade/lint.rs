//! What a migration of a released schema may not do without saying why. Files up to [`UNRELEASED`] were made before anybody had rows.

use std::{collections::BTreeSet, fs};

/// The last migration that no release has shipped rows for.
const UNRELEASED: u32 = 16;
/// A line that begins so, with a reason, lets a file do what the lint refuses.
const SAID_WHY: &str = "-- lint: ";

/// Words that hold a table for as long as it is large, or take away what the running release uses.
const HEAVY: &[(&str, &str)] = &[
    ("drop table", "the running release still reads it: contract in a later release"),
    ("drop column", "the running release still reads it: contract in a later release"),
    ("rename", "the running release knows the old name"),
    (" type ", "a new type rewrites the table under an exclusive lock"),
    (
        "set not null",
        "it reads the whole table under an exclusive lock: add a check as not valid, validate it in a later file",
    ),
    ("truncate", "rows are somebody's evidence"),
    ("vacuum full", "it holds the table for as long as it is large"),
    ("cluster ", "it holds the table for as long as it is large"),
    ("lock table", "it queues every payment behind it"),
    ("disable trigger", "the rules of money hold during an upgrade too"),
    ("session_replication_role", "the rules of money hold during an upgrade too"),
];
/// Defaults that differ from row to row rewrite the table.
const VOLATILE: [&str; 4] = ["clock_timestamp()", "gen_random_uuid()", "random()", "nextval("];
/// Tables that grow with payments: a change of their rows is a job in chunks.
const LARGE: [&str; 8] =
    ["transactions", "order_changes", "facts", "sightings", "raw_answers", "journal", "postings", "sealed"];

fn words(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The table that a statement names behind these words.
fn table_after<'a>(statement: &'a str, words: &str) -> Option<&'a str> {
    let rest = statement.split_once(words)?.1.trim_start_matches("if exists ").trim_start_matches("only ");
    rest.strip_prefix("rekon.")?.split([' ', '(', ';']).next()
}

/// What a migration may not do.
fn faults(sql: &str) -> Vec<String> {
    // Bodies of functions are not run by the migration.
    let outside: String = sql.split("$$").step_by(2).collect::<Vec<_>>().join(" ");
    let text = words(&outside);
    let statements: Vec<&str> = text.split(';').map(str::trim).filter(|s| !s.is_empty()).collect();
    let new: BTreeSet<&str> = statements.iter().filter_map(|s| table_after(s, "create table ")).collect();
    let mut faults = Vec::new();
    let mut waits = false;
    for statement in &statements {
        let altered = table_after(statement, "alter table ").filter(|table| !new.contains(table));
        let indexed = (statement.starts_with("create index") || statement.starts_with("create unique index"))
            .then(|| table_after(statement, " on "))
            .flatten()
            .filter(|table| !new.contains(table));
        let triggered = statement.starts_with("create trigger").then(|| table_after(statement, " on ")).flatten();
        waits |= altered.is_some() || triggered.is_some_and(|table| !new.contains(table));
        // Comments are prose.
        if statement.starts_with("comment on") {
            continue;
        }
        if altered.is_some() || !statement.starts_with("alter table") {
            let heavy =
                HEAVY.iter().filter(|(words, _)| statement.contains(words) && !statement.starts_with("create "));
            faults.extend(heavy.map(|(words, why)| format!("{}: {why}", words.trim())));
        }
        if altered.is_some() && statement.contains("add column") && VOLATILE.iter().any(|v| statement.contains(v)) {
            faults.push("add column with a default that differs from row to row: it rewrites the table".to_owned());
        }
        if altered.is_some() && statement.contains("add constraint") && !statement.contains("not valid") {
            faults.push("add constraint without not valid: it reads the whole table under a lock".to_owned());
        }
        if indexed.is_some() && !statement.contains("concurrently") {
            faults.push("create index without concurrently on a table that is there: it stops every writer".to_owned());
        }
        let changed = ["update ", "delete from "].into_iter().find_map(|verb| table_after(statement, verb));
        if changed.is_some_and(|table| LARGE.contains(&table)) {
            faults.push("it changes rows of a table that grows with payments: that is a job in chunks".to_owned());
        }
    }
    if waits && !text.contains("set local lock_timeout") {
        faults.push("no set local lock_timeout: every payment queues behind whoever it waits for".to_owned());
    }
    faults
}

#[test]
fn no_migration_stops_the_writers_of_a_large_table() {
    let folder = super::root("migrations");
    let mut files: Vec<_> = fs::read_dir(folder).expect("migrations").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "sql")) {
        let name = path.file_name().expect("a name").to_string_lossy();
        let number: u32 = name.split('_').next().and_then(|n| n.parse().ok()).expect("a number");
        let sql = fs::read_to_string(path).expect("it can be read");
        let says_why = sql.lines().any(|line| line.strip_prefix(SAID_WHY).is_some_and(|why| why.len() > 20));
        if number > UNRELEASED && !says_why {
            wrong.extend(faults(&sql).into_iter().map(|fault| format!("migrations/{name}: {fault}")));
        }
    }
    assert!(wrong.is_empty(), "{}\n(or say why it may, in a line that begins with `{SAID_WHY}`)", wrong.join("\n"));
}

#[test]
fn the_lint_sees_what_it_is_for() {
    let patient = "set local lock_timeout = '2s';";
    for (sql, words) in [
        ("alter table rekon.facts add column x int", "lock_timeout"),
        ("create trigger t before insert on rekon.facts for each row execute function rekon.f()", "lock_timeout"),
        ("create index i on rekon.transactions (state)", "concurrently"),
        ("create unique index i on rekon.transactions (state)", "concurrently"),
        ("alter table rekon.facts drop column echo", "contract"),
        ("drop table rekon.drift", "contract"),
        ("alter table rekon.facts rename column a to b", "old name"),
        ("alter table rekon.facts alter column seq type bigint", "rewrites"),
        ("alter table rekon.facts alter column echo set not null", "exclusive"),
        ("alter table rekon.facts add constraint c check (seq > 0)", "not valid"),
        ("alter table rekon.facts add column at timestamptz default clock_timestamp()", "rewrites"),
        ("update rekon.transactions set flags = '{}'", "chunks"),
        ("set session_replication_role = replica", "rules of money"),
    ] {
        let found = faults(sql);
        assert!(found.iter().any(|fault| fault.contains(words)), "{sql}: {found:?}");
    }
    for sql in [
        "create table rekon.new (id bigint); create index i on rekon.new (id); alter table rekon.new add constraint c check (id > 0)",
        "set local lock_timeout = '2s'; alter table rekon.facts add column x text",
        "set local lock_timeout = '2s'; alter table rekon.facts add constraint c check (seq > 0) not valid",
        "create index concurrently i on rekon.transactions (state)",
        "create function rekon.f() returns void language sql as $$ update rekon.transactions set flags = '{}' $$",
        "comment on table rekon.facts is 'nobody may truncate it'",
    ] {
        assert_eq!(faults(&format!("{patient} {sql}")), Vec::<String>::new(), "{sql}");
    }
}
