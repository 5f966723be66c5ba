//! A ledger that was changed behind rekon's back is found out, and the entry is named. The changes are made the way a
//! person with all rights on the database makes them: triggers off.

use rekon::{
    engine::verify::{self, Proof},
    sim::{Answer, SimPayment},
};

use crate::{
    engine::{SAFE, payment},
    support::shop::{SHORT_TIMES, Shop},
};

/// A shop with one overpaid payment whose excess has gone back.
async fn settled() -> Shop {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let more = SimPayment {
        script: vec![Answer::paid_amount(17_000_000)],
        taken_sen: Some(17_000_000),
        ..payment("INV-1", 150_000)
    };
    let id = shop.expect(more, &[]).await;
    let work = shop.work().await;
    shop.until("select state from rekon.refunds", "confirmed").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    work.stop().await;
    shop
}

async fn proof(shop: &Shop) -> Proof {
    verify::verify(&shop.db.store, |_| {}).await.expect("the database answers")
}

/// Changes something with the triggers off, and gives the sentences that the proof says of it.
async fn after(sql: &str) -> Vec<String> {
    let shop = settled().await;
    assert_eq!(proof(&shop).await.broken, 0, "an honest ledger proves itself");
    shop.db
        .run(&format!("set session_replication_role = replica; {sql}; set session_replication_role = default"))
        .await;
    let found = proof(&shop).await;
    found
        .breaks
        .into_iter()
        .map(|b| format!("{} {}", b.entry_no.map_or("row".to_owned(), |n| n.to_string()), b.what))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_journal_entry_is_named_and_so_is_every_link_after_it() {
    let found =
        after("update rekon.journal set content = replace(content, '170000.00', '170000.01') where entry_no = 1").await;
    assert!(found.contains(&"1 its content does not give its hash: it was changed".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_entry_with_a_new_hash_breaks_the_next_link() {
    let found = after("update rekon.journal set hash = sha256(content::bytea) where entry_no = 1").await;
    assert!(found.contains(&"2 it does not link to the entry before it".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_posting_is_named() {
    let found = after("update rekon.postings set debit = debit + 1 where debit > 0 and entry_no = 1").await;
    assert_eq!(found, ["1 its postings differ from its content"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_fact_breaks_every_entry_that_had_seen_it() {
    let found = after("update rekon.facts set amount = amount - 1 where seq = 1").await;
    assert!(
        !found.is_empty()
            && found
                .iter()
                .all(|f| f.ends_with("a fact, an order change or a resolution that it had seen was changed")),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_refund_is_named() {
    let found = after("update rekon.refund_saga set amount = amount - 1").await;
    assert_eq!(found, ["row a refund is not what the row's last entry says"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_tail_of_the_journal_is_found() {
    let found =
        after("delete from rekon.postings where entry_no > 1; delete from rekon.journal where entry_no > 1").await;
    assert!(found.contains(&"row the row's journal head is not its last entry".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_body_is_found() {
    let found = after("update rekon.raw_answers set body = body || '\\x20'::bytea where hash = (select hash from rekon.raw_answers order by hash limit 1)").await;
    assert_eq!(found, ["row 1 stored bodies do not match their hash"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bodies_are_counted_across_all_pages() {
    let many = "insert into rekon.raw_answers (hash, body)
        select case when n % 1000 = 0 then sha256('x' || n::text::bytea) else sha256(n::text::bytea) end, n::text::bytea from generate_series(1, 7000) n";
    assert_eq!(after(many).await, ["row 7 stored bodies do not match their hash"]);
}
