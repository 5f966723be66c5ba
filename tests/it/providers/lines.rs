//! The other adapters against their simulators, over real HTTP: Paydia, Brick and Winpay as their documents have them.

use std::sync::Mutex;

use rekon::{
    domain::{money::Sen, observation::Observation},
    providers::{Asked, BuildError, CallError, CallKind, Denied, Failure, Permit, Service},
    sim::{self, Answer, Echo, Fault, SimClient, SimPayment, SimProvider},
};

use super::line::{EXPECTED_SEN, Line, Unlimited, merchant};

/// Every provider but DOKU, with its simulator.
const OTHERS: [(&str, SimProvider); 3] =
    [("paydia", SimProvider::Paydia), ("brick", SimProvider::Brick), ("winpay", SimProvider::Winpay)];

/// Grants every call and remembers what for.
#[derive(Default)]
struct Counting(Mutex<Vec<CallKind>>);

impl Permit for Counting {
    async fn call(&self, kind: CallKind) -> Result<(), Denied> {
        self.0.lock().unwrap().push(kind);
        Ok(())
    }

    fn ended(&self, _kind: CallKind, _failure: Option<Failure>) {}
}

#[tokio::test]
async fn each_is_let_in_and_its_answer_is_a_payment_of_the_exact_amount() {
    for (name, provider) in OTHERS {
        let line = Line::to(name, merchant(provider), "").await;
        line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
        for _ in 0..3 {
            let answer = line.query("INV1").await.answer;
            assert_eq!(answer.observation, Observation::Paid, "{name}: {answer:?}");
            assert_eq!(answer.amount, Some(Sen::new(EXPECTED_SEN)), "{name}");
            assert!(answer.warnings.is_empty(), "{name}: {answer:?}");
        }
        assert_eq!(line.world().external_id_reuses(""), 0, "{name}");
        let bare = line.client.query(&line.client.asked("INV1", None, None), &Unlimited).await.unwrap();
        assert_eq!(bare.answer.observation, Observation::Paid, "{name}: our own reference is enough");
    }
}

#[tokio::test]
async fn a_cached_token_serves_many_calls_a_one_time_token_one_and_none_are_asked_for_where_there_are_none() {
    for ((name, provider), calls) in OTHERS.into_iter().zip([
        vec![CallKind::Token, CallKind::Query, CallKind::Query],
        vec![CallKind::Token, CallKind::Query, CallKind::Token, CallKind::Query],
        vec![CallKind::Query, CallKind::Query],
    ]) {
        let line = Line::to(name, merchant(provider), "").await;
        line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
        let permit = Counting::default();
        for _ in 0..2 {
            let asked = line.client.asked("INV1", Some("DKINV1"), None);
            assert_eq!(line.client.query(&asked, &permit).await.unwrap().answer.observation, Observation::Paid);
        }
        assert_eq!(*permit.0.lock().unwrap(), calls, "{name}");
    }
}

#[tokio::test]
async fn paying_is_paid_at_brick_and_in_flight_at_paydia_and_winpay_knows_only_paid_and_not_yet() {
    for ((name, provider), observations) in OTHERS.into_iter().zip([
        [Observation::InFlight, Observation::Cancelled, Observation::Absent],
        [Observation::Paid, Observation::Cancelled, Observation::Absent],
        [Observation::Open, Observation::Open, Observation::Open],
    ]) {
        let line = Line::to(name, merchant(provider), "").await;
        for (status, observation) in ["02", "05", "07"].into_iter().zip(observations) {
            let payment = SimPayment::exact(format!("INV{status}"), EXPECTED_SEN);
            line.add(&format!("INV{status}"), payment.answering([Answer::status(status)]));
            let answer = line.query(&format!("INV{status}")).await.answer;
            assert_eq!(answer.observation, observation, "{name}: {status}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_outage_an_unknown_row_and_a_wrong_echo_are_no_payment_at_any_of_them() {
    use Observation::{Absent, Indeterminate};
    let wrong = |echo| Answer { echo, ..Answer::paid() };
    for (name, provider) in OTHERS {
        let line = Line::to(name, merchant(provider), "").await;
        for (n, (answer, observation)) in [
            (Answer::not_found(), Absent),
            (Answer::fault(Fault::http(500, "01")), Indeterminate),
            (Answer::fault(Fault::http(400, "02")), Indeterminate),
            (Answer::fault(Fault::Html { http_status: 200 }), Indeterminate),
            (Answer::fault(Fault::TruncatedJson), Indeterminate),
            (Answer::fault(Fault::TimeoutAfter { ms: 5_000 }), Indeterminate),
            (wrong(Echo::WrongReference), Indeterminate),
            (wrong(Echo::WrongMerchant), Indeterminate),
            (wrong(Echo::None), Indeterminate),
        ]
        .into_iter()
        .enumerate()
        {
            let reference = format!("INV{n}");
            line.add(&reference, SimPayment::exact(&reference, EXPECTED_SEN).answering([answer.clone()]));
            let result = line.query(&reference).await;
            assert_eq!(result.answer.observation, observation, "{name}: {answer:?}");
        }
        assert_eq!(line.query("NOBODY").await.answer.observation, Absent, "{name}");
    }
}

#[tokio::test]
async fn paydias_paid_time_is_kept_and_dates_nothing_and_winpays_dates_the_payment() {
    for (name, provider, is_dated) in [("paydia", SimProvider::Paydia, false), ("winpay", SimProvider::Winpay, true)] {
        let line = Line::to(name, merchant(provider), "").await;
        line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
        let answer = line.query("INV1").await.answer;
        assert!(answer.paid_time_raw.is_some(), "{name}");
        assert_eq!(answer.paid_time.is_some(), is_dated, "{name}");
    }
}

#[tokio::test]
async fn paydia_refuses_another_customers_token_and_that_is_no_verdict() {
    let stranger = SimClient { customer_token: Some("another".into()), ..merchant(SimProvider::Paydia) };
    let line = Line::to("paydia", stranger, "").await;
    line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
    let result = line.query("INV1").await;
    assert_eq!((result.answer.observation, result.failure), (Observation::Indeterminate, Some(Failure::Unauthorized)));
    assert_eq!(result.answer.response_code.as_deref(), Some("4015102"));
    assert_eq!(line.world().book_entry("", "INV1").unwrap().queries, 0);
}

#[tokio::test]
async fn brick_is_asked_by_get_and_by_post_in_the_url_and_in_a_body() {
    for profile in [
        "",
        "[operations.query]\nparams_in = \"json_body\"",
        "[operations.query]\nmethod = \"POST\"\nparams_in = \"json_body\"",
        "[operations.query]\nmethod = \"POST\"",
    ] {
        let line = Line::to("brick", merchant(SimProvider::Brick), profile).await;
        line.add("INV 1+2", SimPayment::exact("INV 1+2", EXPECTED_SEN));
        let answer = line.query("INV 1+2").await.answer;
        assert_eq!(answer.observation, Observation::Paid, "{profile}: {answer:?}");
    }
}

#[tokio::test]
async fn a_fixed_external_id_goes_out_every_time_and_each_call_still_has_an_id_of_its_own() {
    let fixed = SimClient { fixed_external_id: Some("4711".into()), ..merchant(SimProvider::Brick) };
    let line = Line::to("brick", fixed, "external_id = \"4711\"").await;
    line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
    let (one, two) = (line.query("INV1").await, line.query("INV1").await);
    assert_eq!((one.answer.observation, two.answer.observation), (Observation::Paid, Observation::Paid));
    assert!(one.meta.call_id.is_some());
    assert_ne!(one.meta.call_id, two.meta.call_id, "two answers must stay two facts");

    let line = Line::to("brick", merchant(SimProvider::Brick), "external_id = \"4711\"").await;
    line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
    assert_eq!(line.query("INV1").await.answer.observation, Observation::Paid);
    assert_eq!(line.query("INV1").await.answer.response_code.as_deref(), Some("4095100"));
}

#[tokio::test]
async fn what_cannot_be_asked_costs_no_call_and_no_token() {
    for (name, provider) in OTHERS {
        let line = Line::to(name, merchant(provider), "").await;
        let permit = Counting::default();
        let payout = Asked { is_payout: true, ..line.client.asked("OUT1", None, None) };
        let error = line.client.query(&payout, &permit).await.unwrap_err();
        assert!(
            matches!(error, CallError::Build(BuildError::Unsupported { service: Service::Status, .. })),
            "{name}: {error}"
        );
        let payment = line.client.asked("INV1", None, None);
        let error = line.client.refund(&payment, "{}", &permit).await.unwrap_err();
        assert!(
            matches!(error, CallError::Build(BuildError::Unsupported { service: Service::Refund, .. })),
            "{name}: {error}"
        );
        assert!(permit.0.lock().unwrap().is_empty() && line.world().call_counts().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_merchant_of_one_provider_is_a_stranger_to_the_others() {
    for (name, _) in OTHERS {
        let line = Line::to(name, merchant(SimProvider::Doku), "").await;
        line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
        let answer = line.query("INV1").await.answer;
        assert_eq!(answer.response_code.as_deref(), Some("4015100"), "{name}");
        assert_eq!(line.world().count_of(sim::Service::Query, "2005100"), 0, "{name}");
    }
}
