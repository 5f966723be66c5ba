//! The main job on real Postgres against the simulator over real HTTP: what the provider says becomes the state that the
//! contract names, and money that is owed goes back once.

mod contract;
mod refusals;

use rekon::sim::{Answer, RefundBehaviour, Service, SimPayment};

use crate::support::shop::{SHORT_TIMES, Shop};

pub(crate) fn payment(reference: &str, rupiah: i64) -> SimPayment {
    SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, rupiah * 100) }
}

pub(crate) const SAFE: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"1s\", \"1s\", \"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_payment_is_found_paid() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let id = shop.expect(payment("INV-1", 150_000), &[]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
    assert_eq!(shop.db.text(&format!("select paid_amount from rekon.transactions where id = {id}")).await, "150000.00");
    let postings =
        "select string_agg(account || ' ' || debit || ' ' || credit, '; ' order by line) from rekon.postings";
    assert_eq!(shop.db.text(postings).await, "provider_clearing 150000.00 0.00; merchant_payable 0.00 150000.00");
    assert_eq!(shop.db.text("select count(*) from rekon.transactions where lease_until is not null").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excess_goes_back_and_the_order_stays_paid() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let mut more = payment("INV-1", 150_000);
    more.script = vec![Answer::paid_amount(17_000_000)];
    more.taken_sen = Some(17_000_000);
    let id = shop.expect(more, &[]).await;
    let work = shop.work().await;
    shop.until("select state || ' ' || proof from rekon.refunds", "confirmed answer").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    work.stop().await;
    assert_eq!(
        shop.db.text(&format!("select refunded_amount from rekon.transactions where id = {id}")).await,
        "20000.00"
    );
    let book = shop.sim.world().book();
    assert_eq!((book.taken_sen, book.returned_sen), (17_000_000, 2_000_000));
    let balances = "select string_agg(account || ' ' || sen, '; ' order by account) from
        (select account, sum(debit - credit) as sen from rekon.postings group by account having sum(debit - credit) <> 0) b";
    assert_eq!(shop.db.text(balances).await, "merchant_payable -150000.00; provider_clearing 150000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_after_the_cancel_goes_back_in_full_even_when_the_answer_is_lost() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let lost = payment("INV-1", 150_000).refunding(vec![
        RefundBehaviour::AfterEffect { fault: rekon::sim::Fault::Reset { at: rekon::sim::ResetAt::BeforeHeaders } },
        RefundBehaviour::Ok,
    ]);
    let id = shop.expect(SimPayment { shows_reversal: false, ..lost }, &[("order_status", "'cancelled'")]).await;
    let work = shop.work().await;
    shop.until("select state || ' ' || proof from rekon.refunds", "confirmed repeat").await;
    shop.until(&Shop::end_of(id), "refunded{paid_after_cancel}").await;

    work.stop().await;
    assert_eq!(shop.sim.world().book().returned_sen, 15_000_000);
    assert_eq!(shop.sim.world().book().refunded_more_than_once().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_asks_by_status_finds_its_payments_paid_and_returns_an_excess() {
    let shop = Shop::open(&format!("inquiry = \"status\"\n{SAFE}"), SHORT_TIMES).await;
    let exact = shop.expect(payment("INV-1", 150_000), &[]).await;
    let more = payment("INV-2", 150_000).answering([Answer::status("01"), Answer::paid_amount(17_000_000)]);
    let more = shop.expect(more, &[]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(exact), "paid{}").await;
    shop.until("select state || ' ' || proof from rekon.refunds", "confirmed answer").await;
    shop.until(&Shop::end_of(more), "paid{overpaid}").await;
    work.stop().await;
    let (world, book) = (shop.sim.world(), shop.sim.world().book());
    assert_eq!((book.returned_sen, book.refunded_more_than_once().len()), (2_000_000, 0));
    let asked = "select sum(checks) from rekon.transactions";
    let by_status = world.arrivals().iter().filter(|arrival| arrival.service == Service::Status).count();
    assert_eq!(shop.db.text(asked).await, by_status.to_string(), "every check was a status inquiry");
    assert!(by_status >= 4, "one answer for the exact payment, OPEN and two that stand for the other: {by_status}");
    assert_eq!(world.arrivals().iter().filter(|arrival| arrival.service == Service::Query).count(), 0);
    assert_eq!(world.count_of(Service::Status, "2005300"), u64::try_from(by_status).unwrap(), "each was answered");
}
