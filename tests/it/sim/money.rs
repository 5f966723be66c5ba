//! Refunds, the book of money and the gates.

use std::time::Duration;

use rekon::sim::{
    Answer, Fault, GatePoint, GateSpec, RefundBehaviour, RepeatPolicy, ResetAt, Service, SimOptions, SimPayment,
};
use serde_json::json;

use super::merchant::{CLIENT_ID, Merchant, code, options, payment, stage};

fn overpaid(refunds: impl Into<Vec<RefundBehaviour>>) -> SimPayment {
    payment("A1", 100_000).answering([Answer::paid_amount(120_000)]).refunding(refunds)
}

#[tokio::test]
async fn a_partial_refund_moves_its_amount_and_leaves_the_payment_paid() {
    let (sim, merchant) = stage(options(), [overpaid([])]).await;
    assert_eq!(code(&merchant.refund("A1", "R1", "200.00").await), (404, "4047800"), "nothing was taken yet");
    assert_eq!(merchant.status("A1").await, "00");
    let (status, body) = merchant.refund("A1", "R1", "200.00").await;
    assert_eq!((status, &body["responseCode"], &body["partnerRefundNo"]), (200, &json!("2007800"), &json!("R1")));
    assert_eq!(body["refundAmount"], json!({ "value": 200, "currency": "IDR" }));
    assert_eq!(merchant.status("A1").await, "00");
    let book = sim.world().book();
    assert_eq!((book.taken_sen, book.returned_sen), (120_000, 20_000));
    assert_eq!(book.entries[0].returned[0].partner_refund_no, "R1");
    assert!(book.refunded_more_than_once().is_empty() && book.returned_beyond_taken().is_empty());
}

#[tokio::test]
async fn a_full_refund_shows_as_04_unless_the_provider_keeps_00() {
    for (shows_reversal, expected) in [(true, "04"), (false, "00")] {
        let full = SimPayment { shows_reversal, ..overpaid([]) };
        let (_sim, merchant) = stage(options(), [full]).await;
        merchant.query("A1").await;
        assert_eq!(code(&merchant.refund("A1", "R1", "1200.00").await), (200, "2007800"));
        assert_eq!(merchant.status("A1").await, expected);
        assert_eq!(code(&merchant.refund("A1", "R2", "0.01").await), (404, "4047813"), "nothing is left");
    }
}

#[tokio::test]
async fn money_moves_exactly_as_each_behaviour_says() {
    let reset = Fault::Reset { at: ResetAt::BeforeHeaders };
    let refuse = RefundBehaviour::Refuse { response_code: "4037800".to_owned() };
    for (behaviour, http_status, returned_sen) in [
        (RefundBehaviour::Ok, Some(200), 20_000),
        (RefundBehaviour::AfterEffect { fault: reset.clone() }, None, 20_000),
        (RefundBehaviour::AfterEffect { fault: Fault::TimeoutAfter { ms: 1 } }, None, 20_000),
        (RefundBehaviour::AfterEffect { fault: Fault::http(500, "01") }, Some(500), 20_000),
        (RefundBehaviour::BeforeEffect { fault: reset }, None, 0),
        (RefundBehaviour::BeforeEffect { fault: Fault::http(504, "00") }, Some(504), 0),
        (RefundBehaviour::Accepted { moves: true }, Some(202), 20_000),
        (RefundBehaviour::Accepted { moves: false }, Some(202), 0),
        (refuse, Some(403), 0),
        (RefundBehaviour::WrongAmount { amount_sen: 1 }, Some(200), 20_000),
        (RefundBehaviour::MissingAmount, Some(200), 20_000),
    ] {
        let (sim, merchant) = stage(options(), [overpaid([behaviour.clone()])]).await;
        merchant.query("A1").await;
        let answered = merchant.send(merchant.refund_letter("A1", "R1", "200.00")).await.ok();
        assert_eq!(answered.as_ref().map(|answered| answered.0), http_status, "{behaviour:?}");
        assert_eq!(sim.world().book().returned_sen, returned_sen, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_refund_answer_can_report_a_wrong_amount_none_or_another_number() {
    let behaviours = [
        RefundBehaviour::WrongAmount { amount_sen: 100 },
        RefundBehaviour::MissingAmount,
        RefundBehaviour::OtherRefundNo,
    ];
    let (_sim, merchant) = stage(options(), [overpaid(behaviours)]).await;
    merchant.query("A1").await;
    let first = merchant.refund("A1", "R1", "200.00").await.1;
    let second = merchant.refund("A1", "R1", "200.00").await.1;
    let third = merchant.refund("A1", "R1", "200.00").await.1;
    assert_eq!(first["refundAmount"]["value"], json!(1));
    assert!(second["refundAmount"].is_null());
    assert_eq!(first["refundNo"], second["refundNo"]);
    assert_ne!(second["refundNo"], third["refundNo"]);
}

/// Refunds once, repeats identically, repeats with another amount.
async fn repeat(repeat_policy: RepeatPolicy) -> ([String; 2], i64, usize) {
    let (sim, merchant) = stage(SimOptions { repeat_policy, ..options() }, [overpaid([])]).await;
    merchant.query("A1").await;
    assert_eq!(code(&merchant.refund("A1", "R1", "200.00").await), (200, "2007800"));
    let mut codes = Vec::new();
    for amount in ["200.00", "300.00"] {
        codes.push(code(&merchant.refund("A1", "R1", amount).await).1.to_owned());
    }
    let book = sim.world().book();
    (codes.try_into().unwrap(), book.returned_sen, book.refunded_more_than_once().len())
}

#[tokio::test]
async fn a_known_refund_number_is_treated_by_the_policy_of_the_provider() {
    let codes = |codes: [&str; 2]| codes.map(str::to_owned);
    assert_eq!(repeat(RepeatPolicy::SameAnswer).await, (codes(["2007800", "2007800"]), 20_000, 0));
    assert_eq!(repeat(RepeatPolicy::Conflict).await, (codes(["4097801", "4097801"]), 20_000, 0));
    assert_eq!(repeat(RepeatPolicy::InconsistentWhenDifferent).await, (codes(["2007800", "4047818"]), 20_000, 0));
    assert_eq!(repeat(RepeatPolicy::Double).await, (codes(["2007800", "2007800"]), 70_000, 1));
}

#[tokio::test]
async fn a_naive_provider_pays_beyond_what_it_took_and_the_book_says_so() {
    let (sim, merchant) = stage(SimOptions { repeat_policy: RepeatPolicy::Double, ..options() }, [overpaid([])]).await;
    merchant.query("A1").await;
    for _ in 0..2 {
        assert_eq!(code(&merchant.refund("A1", "R1", "1200.00").await), (200, "2007800"));
    }
    let book = sim.world().book();
    assert_eq!((book.returned_beyond_taken().len(), book.returned_sen), (1, 240_000));
}

#[tokio::test]
async fn an_accepted_refund_moves_its_money_when_a_repeat_finishes_it() {
    let behaviours = [RefundBehaviour::Accepted { moves: false }, RefundBehaviour::Ok];
    for repeat_policy in [RepeatPolicy::SameAnswer, RepeatPolicy::Double, RepeatPolicy::Conflict] {
        let (sim, merchant) = stage(SimOptions { repeat_policy, ..options() }, [overpaid(behaviours.clone())]).await;
        merchant.query("A1").await;
        assert_eq!(code(&merchant.refund("A1", "R1", "200.00").await), (202, "2027800"));
        assert_eq!(code(&merchant.refund("A1", "R1", "200.00").await), (200, "2007800"));
        assert_eq!(sim.world().book().returned_sen, 20_000);
    }
}

#[tokio::test]
async fn one_refund_number_never_serves_two_payments() {
    let (sim, merchant) = stage(options(), [overpaid([]), payment("B1", 100_000)]).await;
    for reference in ["A1", "B1"] {
        merchant.query(reference).await;
    }
    assert_eq!(code(&merchant.refund("A1", "R1", "200.00").await), (200, "2007800"));
    assert_eq!(code(&merchant.refund("B1", "R1", "200.00").await), (404, "4047818"));
    assert_eq!(sim.world().book().returned_sen, 20_000);
}

fn gate(point: GatePoint, service: Service, reference: Option<&str>) -> GateSpec {
    GateSpec { point, service, partner_reference_no: reference.map(str::to_owned) }
}

/// Sends a refund that a gate will hold.
fn send_refund(merchant: &Merchant) -> tokio::task::JoinHandle<Option<u16>> {
    let merchant = merchant.clone();
    tokio::spawn(async move {
        let letter = merchant.refund_letter("A1", "R1", "200.00");
        merchant.send(letter).await.ok().map(|answered| answered.0)
    })
}

#[tokio::test]
async fn a_gate_before_the_effect_holds_the_money_until_it_is_released() {
    let (sim, merchant) = stage(options(), [overpaid([])]).await;
    merchant.query("A1").await;
    let world = sim.world();
    let gate = world.arm_gate(gate(GatePoint::BeforeEffect, Service::Refund, Some("A1")));
    let call = send_refund(&merchant);
    assert_eq!(gate.hit().await, 1);
    assert_eq!(world.book().returned_sen, 0);
    gate.release();
    assert_eq!(call.await.unwrap(), Some(200));
    assert_eq!(world.book().returned_sen, 20_000);
}

#[tokio::test]
async fn a_caller_that_dies_at_a_gate_before_the_effect_moved_nothing_and_after_it_everything() {
    for (point, returned_sen) in [(GatePoint::BeforeEffect, 0), (GatePoint::AfterEffect, 20_000)] {
        let (sim, merchant) = stage(options(), [overpaid([])]).await;
        merchant.query("A1").await;
        let world = sim.world();
        let gate = world.arm_gate(gate(point, Service::Refund, None));
        let call = send_refund(&merchant);
        gate.hit().await;
        call.abort();
        assert!(call.await.is_err());
        gate.departed().await;
        gate.release();
        assert_eq!(world.book().returned_sen, returned_sen, "{point:?}");
        assert_eq!(code(&merchant.query("A1").await), (200, "2005100"));
        assert_eq!(world.book().returned_sen, returned_sen, "{point:?}");
    }
}

#[tokio::test]
async fn a_gate_for_one_reference_or_service_lets_the_others_pass() {
    let (sim, mut merchant) = stage(options(), [payment("A1", 100), payment("B1", 100)]).await;
    let world = sim.world();
    let gate_a1 = world.arm_gate(gate(GatePoint::AfterEffect, Service::Query, Some("A1")));
    let held = {
        let merchant = merchant.clone();
        tokio::spawn(async move { merchant.status("A1").await })
    };
    gate_a1.hit().await;
    // The guard turns a gate that holds too much into a failure instead of a hang.
    let passed = tokio::time::timeout(Duration::from_secs(30), merchant.status("B1")).await;
    assert_eq!(passed.unwrap(), "00");
    merchant.fetch_token().await;
    assert_eq!(world.book_entry(CLIENT_ID, "A1").unwrap().taken_sen, 100);
    drop(gate_a1);
    assert_eq!(held.await.unwrap(), "00");

    let gate_token = world.arm_gate(gate(GatePoint::BeforeEffect, Service::Token, None));
    let waiting = tokio::spawn(async move { merchant.fetch_token().await });
    assert_eq!(gate_token.hit().await, 1);
    assert!(!waiting.is_finished());
    gate_token.release();
    assert_eq!(waiting.await.unwrap()["responseCode"], "2007300");
}
