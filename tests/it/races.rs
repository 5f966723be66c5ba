//! Who comes at the same time on one row: two workers, a notification, the poll, a cashier and the merchant, on real Postgres.
//! Whatever their order, it ends as if they had come one after another, and money moves once. And what a row needs to be
//! found at all: no bound on how long ago it fell due, and no worker whose death takes it along.

mod people;

use std::{sync::Arc, time::Duration};

use rekon::{
    domain::fact::Answer as Said,
    engine::{
        check,
        settle::{self, Answered},
    },
    sim::{Answer, Fault, GatePoint, GateSpec, RefundBehaviour, ResetAt, Rng, Service, SimPayment},
    store::limits::CallClass,
};

use crate::{
    engine::{SAFE, payment},
    notify::door::{Doorway, Knock},
    support::shop::{ACCOUNT, SHORT_TIMES, Shop},
};

const NOTIFIED: &str = "[accounts.doku-main.notify]\nshared_key = { env = \"SHARED_KEY\" }\n";
const SEED: u64 = 20_261_120;
/// Rows on which everybody races.
const ROWS: usize = 16;

fn overpaid(reference: &str) -> SimPayment {
    let fault = Fault::Reset { at: ResetAt::BeforeHeaders };
    let lost = vec![RefundBehaviour::AfterEffect { fault }, RefundBehaviour::Ok];
    let paid = Answer::paid_amount(17_000_000);
    // A replica of the provider's that lags makes the answers race, too.
    payment(reference, 150_000).answering([paid.clone(), Answer::status("01"), paid]).refunding(lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_a_notification_the_poll_a_cashier_and_the_merchant_race_and_money_moves_once() {
    let shop = Shop::open(&format!("{SAFE}{NOTIFIED}"), SHORT_TIMES).await;
    let first = shop.expect(payment("FIRST", 150_000).answering([Answer::paid_amount(17_000_000)]), &[]).await;
    let (one, other) = (shop.work().await, shop.work().await);
    shop.until("select partial_proven from rekon.account_controls", "true").await;
    let door = Doorway::open(&shop).await;
    let mut rng = Rng::new(SEED);
    let mut ids = Vec::new();
    for n in 0..ROWS {
        ids.push(shop.expect(overpaid(&format!("R{n:02}")), &[]).await);
    }
    for round in 0..6 {
        let at = |n: usize| (&ids[n], format!("R{n:02}"));
        let races = (0..ROWS).map(|n| {
            let ((id, reference), who) = (at(n), rng.between(0, 3));
            let (ctx, door, shop) = (if who % 2 == 0 { &one.ctx } else { &other.ctx }, &door, &shop);
            async move {
                let knock = Knock::paid(&reference, &format!("{}.00", 150_000 + round)).signed();
                let account = ctx.account(ACCOUNT).expect("it is configured");
                let asked = check::one(ctx, account, *id, CallClass::Cashier, Duration::from_secs(5));
                let turns = format!(
                    "update rekon.transactions set order_status = 'cancelled' where id = {id} and order_status = 'open'"
                );
                let merchant = async {
                    if who == 3 && round == 2 {
                        shop.db.run(&turns).await;
                    }
                };
                // The cashier may hear that somebody else is at it; that is no failure.
                drop(futures::join!(door.knock(&knock), asked, merchant));
            }
        });
        futures::future::join_all(races).await;
    }
    let moving = "select (select count(*) from rekon.transactions where state in ('pending', 'refunding'))
        + (select count(*) from rekon.refund_saga where state in ('proposed', 'approved', 'reserved', 'sending', 'unknown'))";
    shop.until(moving, "0").await;
    one.stop().await;
    other.stop().await;

    let ends = "select string_agg(distinct state || array_to_string(flags, ',') || refunded_amount, ' ') from rekon.transactions
        where state || array_to_string(flags, ',') || refunded_amount not in
          ('paidoverpaid20000.00', 'heldcancelled_after_paid,overpaid0.00', 'heldcancelled_after_paid,overpaid20000.00', 'refundedpaid_after_cancel170000.00')";
    assert_eq!(shop.db.text(ends).await, "-", "SEED={SEED}: a row ended as no order of events would have it");
    let book = shop.sim.world().book();
    assert_eq!(book.refunded_more_than_once(), Vec::<&rekon::sim::BookEntry>::new(), "SEED={SEED}");
    let refunded = "select (sum(refunded_amount) * 100)::bigint from rekon.transactions";
    assert_eq!(shop.db.value::<i64>(refunded).await, book.returned_sen, "SEED={SEED}: our book is not the provider's");
    let numbers = "select count(*) from (select 1 from rekon.refund_saga where state = 'confirmed' group by transaction_id having count(*) > 1) x";
    assert_eq!(shop.db.text(numbers).await, "0");
    assert_eq!(shop.db.text(&Shop::end_of(first)).await, "paid{overpaid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_fell_due_while_nobody_was_there_is_asked_however_long_ago() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let id = shop.expect(payment("INV-1", 150_000), &[("created_at", "now() - interval '9 days'")]).await;
    shop.db
        .run(&format!("update rekon.transactions set next_check_at = now() - interval '8 days' where id = {id}"))
        .await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_held_when_it_died_is_asked_by_the_next_one() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let id = shop.expect(payment("INV-1", 150_000), &[]).await;
    let leased = shop.db.store.claim_due(ACCOUNT, 10, "somebody who died", Duration::from_secs(1)).await;
    assert_eq!(leased.expect("the database answers").rows.len(), 1);
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_thinks_about_a_query_the_row_is_everybodys() {
    let shop = Shop::open(&format!("{SAFE}{NOTIFIED}"), SHORT_TIMES).await;
    held(&shop, Service::Query, payment("INV-1", 150_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_thinks_about_a_refund_the_row_is_everybodys() {
    let shop = Shop::open(&format!("{SAFE}{NOTIFIED}"), SHORT_TIMES).await;
    held(&shop, Service::Refund, payment("INV-1", 150_000).answering([Answer::paid_amount(17_000_000)])).await;
}

/// A call is held at the provider; meanwhile the merchant changes the order and a notification is taken in.
async fn held(shop: &Shop, service: Service, payment: SimPayment) {
    let spec = GateSpec { point: GatePoint::BeforeEffect, service, partner_reference_no: Some("INV-1".to_owned()) };
    let gate = shop.sim.world().arm_gate(spec);
    let id = shop.expect(payment, &[]).await;
    let work = shop.work().await;
    gate.hit().await;
    let fulfil = format!(
        "set lock_timeout = '1s'; update rekon.transactions set order_status = 'fulfilled' where id = {id}; reset lock_timeout"
    );
    drop(shop.db.try_run(&fulfil).await);
    let status = shop.db.text(&format!("select order_status from rekon.transactions where id = {id}")).await;
    assert_eq!(status, "fulfilled", "the order's state could not be changed while a {service:?} was under way");
    let door = Doorway::open(shop).await;
    assert_eq!(door.knock(&Knock::paid("INV-1", "150000.00").signed()).await.status, 200);
    gate.release();
    let end = if service == Service::Query { "paid{}" } else { "paid{overpaid}" };
    shop.until("select count(*) from rekon.refund_saga where state <> 'confirmed'", "0").await;
    shop.until(&Shop::end_of(id), end).await;
    work.stop().await;
    assert_eq!(shop.sim.world().book().refunded_more_than_once().len(), 0);
}

/// A worker was stopped in the middle of a call; when it goes on, its lease is over, others have asked, and the row rests.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_its_lease_decides_nothing_and_has_the_row_asked_again() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let id = shop.expect(payment("INV-1", 150_000).answering([Answer::paid_amount(17_000_000)]), &[]).await;
    let work = shop.work().await;
    shop.until("select state from rekon.refund_saga", "confirmed").await;
    shop.until(
        &format!("select next_check_at > now() + interval '1 hour' from rekon.transactions where id = {id}"),
        "true",
    )
    .await;
    let rest = "select state || ' ' || journal_no || ' ' || refunded_amount from rekon.transactions";
    let (ctx, before) = (Arc::clone(&work.ctx), shop.db.text(rest).await);
    work.stop().await;
    let late = Answered {
        id,
        epoch: Some(0),
        call_id: "2026112000000000000000000001".into(),
        answer: Arc::new(Said::indeterminate("timeout")),
        sent_at: ctx.clock.now() - chrono::TimeDelta::seconds(30),
        raw: None,
        bad_weather: false,
        was_sent: true,
    };
    let report = settle::settle(&shop.db.store, &ctx.rulebook, &[late]).await.expect("the database answers");
    assert_eq!((report.settled, report.stale), (0, 1));
    assert_eq!(shop.db.text(rest).await, before, "it decided something");
    assert_eq!(shop.db.text("select next_check_at <= now() from rekon.transactions").await, "true");
}
