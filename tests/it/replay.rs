//! A day decided again from what is stored is the same, byte for byte; what was changed behind rekon's back comes out
//! otherwise; another policy says what it would have done, in rupiah, and nothing is written.

use rekon::{
    domain::{day::BusinessDay, money::Sen, policy::FlagAction},
    engine::{
        replay::{self, Replay},
        rulebook::Rulebook,
    },
    sim::{Answer, Echo, SimPayment},
};

use crate::{
    engine::{SAFE, payment},
    support::shop::{SHORT_TIMES, Shop},
};

/// A shop on whose day the rules had something to say: an excess that went back, a short payment, a cancelled order, one
/// cancelled too late, a wrong echo that healed, a longer validity, a row that is still open.
async fn a_day() -> (Shop, Rulebook) {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let taken = |reference: &str, sen| SimPayment {
        script: vec![Answer::paid_amount(sen)],
        taken_sen: Some(sen),
        ..payment(reference, 150_000)
    };
    let wrong = Answer { echo: Echo::WrongReference, ..Answer::paid() };
    let more = shop.expect(taken("MORE", 17_000_000), &[]).await;
    let less = shop.expect(taken("LESS", 10_000_000), &[]).await;
    let gone = shop.expect(payment("GONE", 150_000), &[("order_status", "'cancelled'")]).await;
    let late = shop.expect(payment("LATE", 150_000), &[]).await;
    let slip = shop.expect(SimPayment { script: vec![wrong, Answer::paid()], ..payment("SLIP", 1_000) }, &[]).await;
    let open = shop.expect(SimPayment { script: vec![Answer::status("01")], ..payment("OPEN", 1_000) }, &[]).await;
    let work = shop.work().await;
    let book = (*work.ctx.rulebook).clone();
    shop.until(&Shop::end_of(late), "paid{}").await;
    shop.db.run(&format!("update rekon.transactions set order_status = 'fulfilled' where id = {more}")).await;
    shop.db.run(&format!("update rekon.transactions set order_status = 'cancelled' where id = {late}")).await;
    shop.db
        .run(&format!("update rekon.transactions set expires_at = now() + interval '1 day' where id = {open}"))
        .await;
    let ends = [(late, "held{cancelled_after_paid}"), (less, "held{underpaid}"), (slip, "paid{}")];
    for (id, end) in ends.into_iter().chain([(more, "paid{overpaid}"), (gone, "refunded{paid_after_cancel}")]) {
        shop.until(&Shop::end_of(id), end).await;
    }
    shop.until("select count(*) from rekon.refund_saga where state = 'confirmed'", "2").await;
    shop.until(&format!("select (checks > 2)::text from rekon.transactions where id = {open}"), "true").await;
    work.stop().await;
    (shop, book)
}

async fn again(shop: &Shop, other: Option<&Rulebook>) -> Replay {
    let day = shop.db.text("select (min(at) at time zone 'Asia/Jakarta')::date from rekon.journal").await;
    let day: BusinessDay = day.parse().expect("a day");
    replay::replay(&shop.db.store, day, other, |_| {}).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_decided_again_is_the_same_byte_for_byte() {
    let (shop, _) = a_day().await;
    let replay = again(&shop, None).await;
    assert_eq!(replay.differences, []);
    // The open row was asked and decided, and no decision changed it.
    assert!(replay.rows == 5 && replay.entries > 9, "{replay:?}");
    shop.db.run("set session_replication_role = replica; update rekon.facts set amount = amount - 1 where observation = 'PAID' and seq = 1; set session_replication_role = default").await;
    let replay = again(&shop, None).await;
    assert!(replay.different > 3, "{replay:?}");
    let named: Vec<&str> = replay.differences[0].what.iter().map(|(field, ..)| field.as_str()).collect();
    assert!(named.contains(&"evidence") && named.contains(&"paid_amount"), "{named:?}");
    shop.db
        .run("set session_replication_role = replica; delete from rekon.terms; set session_replication_role = default")
        .await;
    let replay = again(&shop, None).await;
    assert_eq!(replay.different, replay.entries, "what was decided under unknown terms cannot be decided again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_writes_nothing_and_says_what_another_policy_would_have_done() {
    let (shop, book) = a_day().await;
    let everything = "select md5(concat((select string_agg(j::text, '' order by transaction_id, entry_no) from rekon.journal j),
        (select string_agg(t::text, '' order by id) from rekon.transactions t), (select string_agg(r::text, '' order by id) from rekon.refund_saga r)))";
    let before = shop.db.text(everything).await;
    let same = again(&shop, Some(&book)).await.what_if.expect("it was asked");
    assert_eq!((same.different, same.rows), (0, Vec::new()), "{:?} {:?}", same.refunds, same.balances);
    assert_eq!((same.refunds["overpaid"].stored, same.refunds["overpaid"].other), (1, 1));

    let mut other = book.clone();
    other.policy.flags.overpaid = FlagAction::Hold;
    other.policy.flags.underpaid = FlagAction::RefundFull;
    let what_if = again(&shop, Some(&other)).await.what_if.expect("it was asked");
    assert_eq!(what_if.different, 2);
    let overpaid = &what_if.refunds["overpaid"];
    assert_eq!((overpaid.stored_amount, overpaid.other_amount), (Sen::rupiah(20_000), Sen::ZERO));
    let underpaid = &what_if.refunds["underpaid"];
    assert_eq!(
        (underpaid.stored, underpaid.other_amount, underpaid.other_alone),
        (0, Sen::rupiah(100_000), Sen::rupiah(100_000))
    );
    let suspense = &what_if.balances["suspense:overpaid"];
    assert_eq!((suspense.stored, suspense.other), (Sen::ZERO, Sen::rupiah(-170_000)), "the whole row is held");
    assert!(
        what_if.rows.iter().any(|row| row.stored == "paid{overpaid}" && row.other == "held{overpaid}"),
        "{what_if:?}"
    );
    assert_eq!(shop.db.text(everything).await, before, "nothing was written");
}
