//! Providers' notifications over real HTTP: what they make rekon do (ask sooner) and all that they cannot.

mod backlog;
mod bounds;
pub(crate) mod door;
mod foreign;
mod held;
mod sealed;

use rekon::{
    engine::verify,
    sim::{Answer, GatePoint, GateSpec, Service, SimPayment},
};

use crate::support::shop::{SHORT_TIMES, Shop};
use door::{Doorway, Knock};

/// An account whose rows nobody asks about for five minutes, so that only a notification can be the reason.
const PATIENT: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.notify]\nshared_key = { env = \"SHARED_KEY\" }\n\
    [accounts.doku-main.ladder]\ndefault = [\"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

/// The sweeper looks by itself only once a minute.
fn only_when_woken() -> String {
    SHORT_TIMES.replace("every = \"50ms\"", "every = \"1m\"")
}

/// Open at first, paid from the second question on.
fn paid_when_asked_again(reference: &str) -> SimPayment {
    let payment = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 15_000_000) };
    SimPayment { script: vec![Answer::status("03"), Answer::paid()], ..payment }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_notification_has_its_row_asked_at_once_and_the_answer_decides() {
    let shop = Shop::open(PATIENT, &only_when_woken()).await;
    let id = shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let work = shop.work().await;
    shop.until("select checks from rekon.transactions", "1").await;
    let door = Doorway::open(&shop).await;
    let answer = door.knock(&Knock::paid("INV-1", "150000.00").signed()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "CONTINUE"));
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
    let waited = "select extract(epoch from q.sent_at - n.answered_at) < 1 from rekon.facts n, rekon.facts q
                   where n.source = 'notification' and q.source = 'query' and q.observation = 'PAID'";
    assert_eq!(shop.db.text(waited).await, "true", "the question left within a second");
    let story = "select string_agg(source || ' ' || observation, ', ' order by seq) from rekon.facts";
    assert_eq!(shop.db.text(story).await, "query OPEN, notification PAID, query PAID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_notification_makes_us_ask_and_changes_nothing() {
    let shop = Shop::open(PATIENT, &only_when_woken()).await;
    let payment = SimPayment { script: vec![Answer::status("03")], ..paid_when_asked_again("INV-1") };
    let id = shop.expect(payment, &[]).await;
    let work = shop.work().await;
    shop.until("select checks from rekon.transactions", "1").await;
    let door = Doorway::open(&shop).await;
    assert_eq!(door.knock(&Knock::paid("INV-1", "150000.00")).await.status, 200);
    shop.until("select checks from rekon.transactions", "2").await;
    work.stop().await;
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "pending{}");
    let kept = "select observation || ' ' || doubt || ' ' || amount from rekon.facts where source = 'notification'";
    assert_eq!(shop.db.text(kept).await, "INDETERMINATE unverified 150000.00");
    assert_eq!(shop.db.text("select count(*) from rekon.postings").await, "0");
    assert_eq!(shop.db.text("select paid_amount from rekon.transactions").await, "-");
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivered_reordered_and_contradicting_notifications_end_as_one_query_says() {
    let shop = Shop::open(PATIENT, &only_when_woken()).await;
    let id = shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let work = shop.work().await;
    shop.until("select checks from rekon.transactions", "1").await;
    let door = Doorway::open(&shop).await;
    let no = Knock::paid("INV-1", "150000.00").with("TXNSTATUS", "F").saying("Transaction is Failed").signed();
    let less = Knock::paid("INV-1", "1.00").signed();
    let refunded = Knock::paid("INV-1", "150000.00").saying("Transaction is Refunded").signed();
    for knock in [&no, &less, &refunded, &no, &less, &refunded, &no] {
        assert_eq!(door.knock(knock).await.body, "CONTINUE");
    }
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
    let facts = "select string_agg(observation || ' ' || coalesce(doubt, '-'), ', ' order by seq) from rekon.facts where source = 'notification'";
    assert_eq!(shop.db.text(facts).await, "FAILED -, PAID -, INDETERMINATE contradiction", "one fact a payload");
    let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
    assert_eq!((proof.broken, proof.rows), (0, 1), "the chain names notifications among what it had seen: {proof:?}");
    assert_eq!(shop.db.text("select paid_amount from rekon.transactions").await, "150000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_row_is_asked_again_and_late_money_is_held() {
    let shop = Shop::open(
        PATIENT,
        &only_when_woken().replace("watch = \"1h\"", "watch = \"1s\"").replace("every = \"1m\"", "every = \"50ms\""),
    )
    .await;
    let open = SimPayment { script: vec![Answer::status("01")], ..paid_when_asked_again("INV-1") };
    let old = [("expires_at", "now() - interval '2 seconds'"), ("created_at", "now() - interval '1 minute'")];
    let id = shop.expect(open, &old).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "unpaid{}").await;
    shop.sim.world().set_script("", "INV-1", vec![Answer::paid()]).expect("the customer pays after all");
    let door = Doorway::open(&shop).await;
    door.knock(&Knock::paid("INV-1", "150000.00").signed()).await;
    shop.until(&Shop::end_of(id), "held{paid_after_close}").await;
    work.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_comes_while_the_row_is_asked_has_it_asked_once_more() {
    let shop = Shop::open(PATIENT, SHORT_TIMES).await;
    let spec = GateSpec { point: GatePoint::AfterEffect, service: Service::Query, partner_reference_no: None };
    let gate = shop.sim.world().arm_gate(spec);
    let id = shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let work = shop.work().await;
    gate.hit().await;
    // "Open" is said and still under way when the provider tells us better.
    let door = Doorway::open(&shop).await;
    door.knock(&Knock::paid("INV-1", "150000.00").signed()).await;
    gate.release();
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
    let story = "select string_agg(source || ' ' || observation, ', ' order by seq) from rekon.facts";
    assert_eq!(shop.db.text(story).await, "notification PAID, query OPEN, query PAID");
}
