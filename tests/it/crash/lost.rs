//! A refund whose answer is lost after the provider did it: where a repeat is proved to be safe it is repeated, where it is
//! not, the provider's own word proves it or a person must, and nothing is ever sent twice.

use rekon::sim::{Answer, Fault, RefundBehaviour, RepeatPolicy, ResetAt, SimClient, SimOptions, SimPayment};

use crate::support::{
    process::Daemon,
    shop::{CLIENT, MERCHANT, SHORT_TIMES, Shop},
};

const UNPROVEN: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n";
const SAFE: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

/// Every way in which the answer to a refund can be lost after the money moved.
fn losses() -> [Fault; 5] {
    [
        Fault::Reset { at: ResetAt::BeforeHeaders },
        Fault::Reset { at: ResetAt::MidBody },
        Fault::http(500, "01"),
        Fault::Html { http_status: 502 },
        Fault::TruncatedJson,
    ]
}

/// A shop at a provider that pays again for every repeat of a number: whoever resends is found out.
async fn at_a_provider_that_pays_twice(account_lines: &str) -> Shop {
    let mut options = SimOptions::loopback(vec![SimClient::demo(CLIENT, "SK-simulated-secret", MERCHANT)]);
    options.repeat_policy = RepeatPolicy::Double;
    Shop::open_with(options, account_lines, SHORT_TIMES).await
}

fn lost(reference: &str, payment: SimPayment, fault: Fault) -> SimPayment {
    let payment = payment.refunding(vec![RefundBehaviour::AfterEffect { fault }, RefundBehaviour::Ok]);
    SimPayment { reference_no: format!("R-{reference}"), ..payment }
}

fn overpaid(reference: &str, fault: Fault) -> SimPayment {
    let payment = SimPayment::exact(reference, 5_000_000).answering(vec![Answer::paid_amount(5_700_000)]);
    lost(reference, payment, fault)
}

const CANCELLED: &[(&str, &str)] = &[("order_status", "'cancelled'")];

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_where_repeats_are_safe_is_confirmed_with_one_refund_at_the_provider() {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let mut ids = Vec::new();
    for (n, fault) in losses().into_iter().enumerate() {
        let full = lost(&format!("FULL{n}"), SimPayment::exact(format!("FULL{n}"), 5_000_000), fault.clone());
        let full = SimPayment { shows_reversal: false, ..full };
        ids.push((shop.expect(full, CANCELLED).await, "refunded{paid_after_cancel}"));
        ids.push((shop.expect(overpaid(&format!("PART{n}"), fault), &[]).await, "paid{overpaid}"));
    }
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    shop.until(
        "select count(*) from rekon.refunds where state = 'confirmed' and proof = 'repeat' and attempts = 2",
        "10",
    )
    .await;
    for (id, end) in ids {
        shop.until(&Shop::end_of(id), end).await;
    }
    assert_eq!(daemon.terminate().await.code, Some(0));
    let book = shop.sim.world().book();
    assert_eq!(book.entries.iter().map(|e| e.returned.len()).collect::<Vec<_>>(), [1; 10]);
    let refunded = "select (sum(refunded_amount) * 100)::bigint from rekon.transactions";
    assert_eq!(shop.db.value::<i64>(refunded).await, book.returned_sen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_where_repeats_are_unproven_is_never_sent_again() {
    let shop = at_a_provider_that_pays_twice(UNPROVEN).await;
    let mut full = Vec::new();
    for (n, fault) in losses().into_iter().enumerate() {
        let payment = lost(&format!("FULL{n}"), SimPayment::exact(format!("FULL{n}"), 5_000_000), fault);
        full.push(shop.expect(payment, CANCELLED).await);
    }
    let part = shop.expect(overpaid("PART", Fault::Reset { at: ResetAt::BeforeHeaders }), &[]).await;
    let behind = shop.expect(overpaid("BEHIND", Fault::TruncatedJson), &[]).await;
    let daemon = Daemon::spawn(&shop.config_text, &shop.env());
    for id in full {
        shop.until(&Shop::end_of(id), "refunded{paid_after_cancel}").await;
    }
    let one_of = |id| {
        format!("select concat_ws(' ', state, proof, needs_person) from rekon.refund_saga where transaction_id = {id}")
    };
    let reviewed =
        "select count(*) from rekon.transactions where state = 'review' and flags = '{overpaid,refund_unknown}'";
    shop.until(reviewed, "1").await;
    // Long enough for a resend, were one to come: the ladder's step is a second.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(daemon.terminate().await.code, Some(0));

    let proofs = "select string_agg(distinct concat_ws(' ', state, proof, attempts), ',') from rekon.refunds where cause = 'paid_after_cancel'";
    assert_eq!(shop.db.text(proofs).await, "confirmed query 1");
    // The first difference of an account goes alone; while its fate is open, the second one waits.
    let (first, second) = (shop.db.text(&one_of(part)).await, shop.db.text(&one_of(behind)).await);
    let mut both = [first.as_str(), second.as_str()];
    both.sort_unstable();
    assert_eq!(both, ["reserved", "unknown refund_unknown"]);
    let kept = "select string_agg(concat_ws(' ', state, refund_reserved, refunded_amount), ',' order by state)
        from rekon.transactions where 'overpaid' = any(flags)";
    assert_eq!(shop.db.text(kept).await, "paid 7000.00 0.00,review 7000.00 0.00");

    let book = shop.sim.world().book();
    assert_eq!(book.refunded_more_than_once().len(), 0);
    assert!(book.entries.iter().all(|e| e.refund_calls <= 1), "something was sent again");
}
