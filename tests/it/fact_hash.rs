//! The hash that a fact brings along, against the one that the database makes.

use std::sync::Arc;

use rekon::{
    domain::{
        fact::{Answer, Fact, Source, Warning},
        money::Sen,
        observation::Observation,
    },
    store::settle::{self, Batch, NewFact},
};

use crate::support::TestDb;

/// Whatever stands in the texts.
#[tokio::test]
async fn the_hash_that_a_fact_brings_is_the_one_that_the_database_would_make() {
    let db = TestDb::new().await;
    let id = db.insert_payment("shop", "INV-1", "150000").await;
    let at = "2026-11-19T10:20:30.123456Z".parse().expect("a time");
    let odd = "\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}\u{e9}\u{1f4b3}\u{2028}";
    let said = |payment_id: Option<&str>, amount| Answer {
        observation: Observation::Paid,
        amount: Some(Sen::new(amount)),
        fee_amount: payment_id.map(|_| Sen::new(5)),
        payment_id: payment_id.map(str::to_owned),
        paid_time: payment_id.map(|_| at),
        paid_time_raw: payment_id.map(str::to_owned),
        warnings: payment_id.map_or_else(Vec::new, |_| vec![Warning::Amount, Warning::Status]),
        ..Answer::indeterminate(odd)
    };
    let fact = |seq, answer: Answer| NewFact {
        transaction_id: id,
        fact: Fact {
            seq,
            source: Source::Query,
            answer: Arc::new(answer),
            sent_at: at,
            answered_at: at,
            last_at: at,
            last_sent_at: at,
            sightings: 1,
            bad_weather: seq == 2,
        },
        call_id: format!("c{seq}").into(),
        payment_id_is_unique: true,
        raw_hash: (seq == 1).then_some([0xab; 32]),
        profile_hash: "p".into(),
    };
    let facts = vec![fact(1, said(Some(odd), 15_000_000)), fact(2, said(None, 1))];
    let mut tx = db.store.begin().await.expect("a transaction");
    settle::write(&mut tx, &Batch { facts, ..Batch::default() }).await.expect("written");
    tx.commit().await.expect("committed");
    let same =
        "select string_agg((hash = sha256(convert_to(rekon.fact_text(f), 'UTF8')))::text, ',') from rekon.facts f";
    assert_eq!(db.text(same).await, "true,true");
    assert_eq!(db.text("select count(unique_payment_id) from rekon.facts").await, "1");
}
