//! Facts, the journal and its postings: written once, complete, balanced, and never touched again.

use crate::support::TestDb;

/// A statement that inserts one fact of row 1; `observation` and what the answer named.
fn fact(seq: i32, call_id: &str, observation: &str, amount: &str) -> String {
    format!(
        "insert into rekon.facts (transaction_id, seq, source, call_id, observation, echo, amount, sent_at, answered_at, profile_hash)
         values (1, {seq}, 'query', '{call_id}', '{observation}', 'right', {amount}, now(), now(), 'p')"
    )
}

/// A statement that inserts one journal entry of row 1.
fn entry(entry_no: i32, prev_hash: &str) -> String {
    format!(
        "insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         values (1, {entry_no}, now(), 1, 'decision', 'paid', '{{}}', {prev_hash}, sha256('{entry_no}'))"
    )
}

const GENESIS: &str = "sha256('')";

/// A statement that posts these `(line, account, debit, credit)` lines to entry 1 of row 1.
fn post(lines: &str) -> String {
    let of_entry = lines.replace('(', "(1, 1, ");
    format!("insert into rekon.postings (transaction_id, entry_no, line, account, debit, credit) values {of_entry}")
}

async fn with_payment() -> TestDb {
    let db = TestDb::new().await;
    assert_eq!(db.insert_payment("shop", "INV-1", "150000").await, 1);
    db
}

#[tokio::test]
async fn a_fact_is_kept_as_it_came() {
    let db = with_payment().await;
    db.run(&fact(1, "c1", "PAID", "150000")).await;
    for change in ["observation = 'OPEN'", "amount = 1", "warnings = '{}'", "raw_hash = null"] {
        db.expect_refused(&format!("update rekon.facts set {change}"), "facts_stay").await;
    }
    db.expect_refused("delete from rekon.facts", "facts_stay").await;
    db.expect_refused("truncate rekon.facts cascade", "facts_stay_all").await;
}

#[tokio::test]
async fn a_redelivered_call_is_a_no_op_and_a_second_call_is_not() {
    let db = with_payment().await;
    db.run(&fact(1, "c1", "PAID", "150000")).await;
    db.expect_refused(&fact(2, "c1", "PAID", "150000"), "facts_once_per_call").await;
    db.run(&format!("{} on conflict (transaction_id, call_id) do nothing", fact(2, "c1", "FAILED", "null"))).await;
    db.expect_refused(&fact(1, "c2", "PAID", "150000"), "facts_pkey").await;
    db.run(&fact(2, "c2", "PAID", "150000")).await;
    assert_eq!(
        db.text("select array_agg(call_id || observation order by seq) from rekon.facts").await,
        "{c1PAID,c2PAID}"
    );
}

#[tokio::test]
async fn a_fact_without_sense_is_refused() {
    let db = with_payment().await;
    db.expect_refused(&fact(1, "c1", "PAID", "null"), "facts_paid_names_an_amount").await;
    db.expect_refused(&fact(1, "c1", "PAID", "'NaN'"), "facts_amount_is_a_number").await;
    let with_fee =
        fact(1, "c1", "OPEN", "null").replace("amount, sent_at", "fee_amount, sent_at").replace("null,", "'NaN',");
    db.expect_refused(&with_fee, "facts_fee_is_a_number").await;
    let other_payment = fact(1, "c1", "OPEN", "null")
        .replace("amount, sent_at", "unique_payment_id, sent_at")
        .replace("null,", "'RRN-2',");
    db.expect_refused(&other_payment, "facts_unique_payment_id_is_the_payment_id").await;
    db.expect_refused(&fact(1, "c1", "SUCCESS", "150000"), "facts_observation_is_known").await;
    db.expect_refused(&fact(1, "c1", "OPEN", "null").replace("'right'", "'maybe'"), "facts_echo_is_known").await;
    db.expect_refused(&fact(1, "c1", "OPEN", "null").replace("'query'", "'gossip'"), "facts_source_is_known").await;
    db.expect_refused(&fact(1, "c1", "OPEN", "null").replace("(1, 1", "(2, 1"), "facts_belong").await;
    let mut seq = 0;
    for observation in ["OPEN", "IN_FLIGHT", "REVERSED", "CANCELLED", "EXPIRED", "FAILED", "ABSENT", "INDETERMINATE"] {
        seq += 1;
        db.run(&fact(seq, &format!("c{seq}"), observation, "null")).await;
    }
}

#[tokio::test]
async fn sightings_count_but_do_not_vanish() {
    let db = with_payment().await;
    let seen = "insert into rekon.sightings values (1, 1, 2, now(), now(), now())";
    db.expect_refused(seen, "sightings_transaction_id_seq_fkey").await;
    db.run(&fact(1, "c1", "OPEN", "null")).await;
    db.expect_refused(&seen.replace("1, 2,", "1, 1,"), "sightings_are_more_than_one").await;
    db.run(seen).await;
    db.run("update rekon.sightings set n = n + 1, last_at = now()").await;
    db.expect_refused("delete from rekon.sightings", "sightings_stay").await;
    db.expect_refused("truncate rekon.sightings", "sightings_stay_all").await;
}

#[tokio::test]
async fn raw_bodies_alone_may_be_pruned() {
    let db = with_payment().await;
    db.run("insert into rekon.raw_answers (hash, body) values (sha256('{}'), '{}')").await;
    db.run(
        &fact(1, "c1", "OPEN", "null")
            .replace("profile_hash)", "profile_hash, raw_hash)")
            .replace("'p')", "'p', sha256('{}'))"),
    )
    .await;
    db.run("update rekon.raw_answers set body = ''; delete from rekon.raw_answers").await;
    assert_eq!(db.text("select raw_hash = sha256('{}') from rekon.facts").await, "true", "the fact keeps the hash");
}

#[tokio::test]
async fn the_journal_is_append_only_and_hashed() {
    let db = with_payment().await;
    db.expect_refused(&entry(1, GENESIS).replace("(1, 1,", "(2, 1,"), "journal_belongs").await;
    db.run(&entry(1, GENESIS)).await;
    db.expect_refused(&entry(1, GENESIS), "journal_pkey").await;
    db.expect_refused(&entry(0, GENESIS), "journal_counts_from_one").await;
    db.expect_refused(&entry(2, "'\\x00'"), "journal_prev_hash_is_sha256").await;
    db.expect_refused(&entry(2, GENESIS).replace("sha256('2')", "'\\x00'"), "journal_hash_is_sha256").await;
    db.expect_refused("update rekon.journal set content = '{}'", "journal_stays").await;
    db.expect_refused("delete from rekon.journal", "journal_stays").await;
    db.expect_refused("truncate rekon.journal cascade", "journal_stays_all").await;
    db.run(&entry(2, "sha256('1')")).await;
}

#[tokio::test]
async fn a_statement_posts_balanced_lines_or_none() {
    let db = with_payment().await;
    let honest = post(
        "(1, 'provider_clearing', 150000, 0), (2, 'merchant_payable', 0, 100000), (3, 'suspense:overpaid', 0, 50000)",
    );
    db.expect_refused(&honest, "postings_belong").await;
    db.run(&entry(1, GENESIS)).await;
    db.expect_refused(&post("(1, 'provider_clearing', 150000, 0)"), "postings_balance").await;
    db.expect_refused(
        &post("(1, 'provider_clearing', 150000, 0), (2, 'merchant_payable', 0, 149999.99)"),
        "postings_balance",
    )
    .await;
    // Two entries that balance only together.
    db.run(&entry(2, "sha256('1')")).await;
    let across =
        post("(1, 'provider_clearing', 1, 0), (2, 'merchant_payable', 0, 1)").replace("(1, 1, 2,", "(1, 2, 2,");
    db.expect_refused(&across, "postings_balance").await;
    db.run(&honest).await;
    assert_eq!(
        db.text("select (account, suspense, rupiah, rows) from rekon.suspense").await,
        "(shop,suspense:overpaid,50000.00,1)"
    );
}

#[tokio::test]
async fn a_posting_has_one_side_on_a_known_account() {
    let db = with_payment().await;
    db.run(&entry(1, GENESIS)).await;
    for line in ["1, 1", "0, 0", "-1, 0", "'NaN', 0", "0, 'NaN'"] {
        db.expect_refused(&post(&format!("(1, 'bank', {line}), (2, 'bank', 1, 0)")), "postings_have_one_side").await;
    }
    for account in ["petty_cash", "suspense:", "suspense:Overpaid", ""] {
        db.expect_refused(&post(&format!("(1, '{account}', 1, 0), (2, 'bank', 0, 1)")), "postings_account_is_known")
            .await;
    }
    db.run(&post("(1, 'refund_in_flight', 1, 0), (2, 'bank', 0, 1)")).await;
    db.expect_refused("update rekon.postings set debit = debit", "postings_stay").await;
    db.expect_refused("delete from rekon.postings", "postings_stay").await;
    db.expect_refused("truncate rekon.postings", "postings_stay_all").await;
}

#[tokio::test]
async fn a_day_is_sealed_once_and_for_ever() {
    let db = with_payment().await;
    let seal = "insert into rekon.seals (no, day, chains, prev_head, head) values (1, '2026-11-19', 1, sha256(''), sha256(''))";
    let prev = seal.replacen("sha256('')", "'\\x00'", 1);
    db.expect_refused(&prev, "seals_prev_head_is_sha256").await;
    db.expect_refused(&seal.replace("sha256(''))", "'\\x00')"), "seals_head_is_sha256").await;
    db.expect_refused(&seal.replace("(1, ", "(0, "), "seals_count_from_one").await;
    db.run(seal).await;
    db.expect_refused(&seal.replace("(1, ", "(2, "), "seals_pkey").await;
    db.expect_refused(&seal.replace("-19", "-20"), "seals_one_after_another").await;
    db.expect_refused("update rekon.seals set chains = 2", "seals_stay").await;
    db.expect_refused("delete from rekon.seals", "seals_stay").await;
    db.expect_refused("truncate rekon.seals", "seals_stay_all").await;
}

#[tokio::test]
async fn what_a_seal_covers_is_an_entry_and_stays() {
    let db = with_payment().await;
    let sealed = "insert into rekon.sealed (transaction_id, entry_no, seal_no, hash) values (1, 1, 1, sha256(''))";
    db.expect_refused(sealed, "sealed_transaction_id_entry_no_fkey").await;
    db.run(&entry(1, GENESIS)).await;
    db.expect_refused(&sealed.replace("sha256('')", "'\\x00'"), "sealed_hash_is_sha256").await;
    db.run(sealed).await;
    db.expect_refused("update rekon.sealed set seal_no = 2", "sealed_stays").await;
    db.expect_refused("delete from rekon.sealed", "sealed_stays").await;
    db.expect_refused("truncate rekon.sealed", "sealed_stays_all").await;
}

#[tokio::test]
async fn a_fact_and_a_change_carry_the_hash_of_their_own_text() {
    let db = with_payment().await;
    db.run(&fact(1, "c1", "PAID", "150000")).await;
    db.run("update rekon.transactions set seq = 1; update rekon.transactions set expires_at = '2026-11-20 10:00+07'")
        .await;
    let honest = "select (select bool_and(f.hash = sha256(convert_to(rekon.fact_text(f), 'UTF8'))) from rekon.facts f)
        and (select bool_and(c.hash = sha256(convert_to(rekon.order_change_text(c), 'UTF8'))) from rekon.order_changes c)";
    assert_eq!(db.text(honest).await, "true", "where nobody brings one along");
    assert_eq!(db.text("select detail -> 'was' from rekon.order_changes").await, "{\"expires_at\": null}");
    for (table, check) in [("facts", "facts_own_hash_is_sha256"), ("order_changes", "order_changes_hash_is_sha256")] {
        let forged = format!("set session_replication_role = replica; update rekon.{table} set hash = '\\x00'");
        db.expect_refused(&forged, check).await;
    }
}

#[tokio::test]
async fn terms_that_decisions_name_stay() {
    let db = TestDb::new().await;
    let terms = "insert into rekon.terms (hash, kind, body) values ('0123', 'policy', '{}')";
    db.expect_refused(&terms.replace("'policy'", "'law'"), "terms_kind_is_known").await;
    db.run(terms).await;
    db.expect_refused("update rekon.terms set body = '[]'", "terms_stay").await;
    db.expect_refused("delete from rekon.terms", "terms_stay").await;
    db.expect_refused("truncate rekon.terms", "terms_stay_all").await;
}

#[tokio::test]
async fn there_is_one_sentinel() {
    let db = TestDb::new().await;
    db.expect_refused("insert into rekon.sentinel default values", "sentinel_pkey").await;
    db.expect_refused("update rekon.sentinel set is_only = false", "sentinel_is_one").await;
}
