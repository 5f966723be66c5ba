//! What the database refuses, proved by direct SQL: nobody who can write to it may break a rule of money by accident, and
//! neither may we. Every test shows the refusal, by the constraint that stands for the rule, and the honest way that passes.

mod control;
mod evidence;
mod integration;
mod merchant;
mod money_out;
mod notifications;
mod order_changes;
mod pauses;
mod people;
mod refunds;
mod reservation;
mod saga;
mod shared;
mod webhooks;

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::TestDb;

/// What a refusal is known by: constraints and unique indexes by their names, triggers by what they raise.
const RULES: &str = "
    select array_agg(name order by name) from (
      select conname::text as name from pg_constraint where connamespace = 'rekon'::regnamespace and contype in ('c', 'u')
      union select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
             where i.indisunique and not i.indisprimary and c.relnamespace = 'rekon'::regnamespace
      union select m[1] from pg_proc p, regexp_matches(p.prosrc, 'constraint = ''([a-z_]+)''', 'g') m where p.pronamespace = 'rekon'::regnamespace
      union select t.tgname from pg_trigger t join pg_proc p on p.oid = t.tgfoid where not t.tgisinternal and p.prosrc like '%constraint = tg_name%'
    ) as rules where name !~ '^_migrations'";

#[tokio::test]
async fn every_rule_of_the_database_has_a_test() {
    let db = TestDb::new().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let proofs: Vec<_> = fs::read_dir(folder.join("constraints"))
        .expect("these tests")
        .flatten()
        .map(|file| file.path())
        .chain([folder.join("budget_sql.rs")])
        .map(|file| fs::read_to_string(file).expect("a source can be read"))
        .collect();
    let rules: BTreeSet<String> = db.value::<Vec<String>>(RULES).await.into_iter().collect();
    assert!(rules.len() > 50, "the query finds the rules: {rules:?}");
    let unproved: Vec<_> =
        rules.iter().filter(|rule| !proofs.iter().any(|text| text.contains(&format!("\"{rule}\"")))).collect();
    assert!(unproved.is_empty(), "no test shows that these refuse anything: {unproved:?}");
}

#[tokio::test]
async fn every_table_says_what_it_is_for() {
    let db = TestDb::new().await;
    let silent = db
        .text(
            "select array_agg(relname order by relname) from pg_class
              where relnamespace = 'rekon'::regnamespace and relkind in ('r', 'v') and relname !~ '^_' and obj_description(oid) is null",
        )
        .await;
    assert_eq!(silent, "-", "tables without a comment");
}

#[tokio::test]
async fn what_is_never_deleted_is_never_truncated_either() {
    let db = TestDb::new().await;
    // Bits of pg_trigger.tgtype: 8 delete, 32 truncate.
    let guarded = |bit: u32| {
        format!(
            "select array_agg(distinct tgrelid::regclass::text order by tgrelid::regclass::text) from pg_trigger t join pg_proc p on p.oid = t.tgfoid
              where p.proname = 'refuse' and tgtype & {bit} <> 0"
        )
    };
    let (deletes, truncates) = (db.text(&guarded(8)).await, db.text(&guarded(32)).await);
    assert_eq!(deletes, truncates);
    assert!(deletes.contains("rekon.transactions}") && deletes.contains("rekon.facts,"), "{deletes}");
}
