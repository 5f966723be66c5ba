//! The adapter against the simulated provider, over real HTTP: two readings of one document, written apart, that must
//! agree on every signature, header and body.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::Utc;
use rekon::{
    domain::{money::Sen, observation::Observation, reply::ReplyClass},
    providers::{
        Account, AccountClient, AccountSettings, Asked, ByHand, CallKind, CustomerGrant, Denied, Ended, ExternalIds,
        Failure, Permit, QueryResult, RefundOrder, Transport, TransportError,
        by_hand::{Cancel, Decode, Generate, Payment},
        provider,
    },
    sim::{
        Answer, DEMO_PRIVATE_KEY_PEM, Echo, Fault, PaidTime, RefundBehaviour, ResetAt, Service, Sim, SimClient,
        SimHandle, SimOptions, SimPayment, SimProvider, World,
    },
};

pub(super) const EXPECTED_SEN: i64 = 120_025;

/// Grants every call.
pub(super) struct Unlimited;

impl Permit for Unlimited {
    async fn call(&self, _kind: CallKind) -> Result<(), Denied> {
        Ok(())
    }

    fn ended(&self, _kind: CallKind, _failure: Option<Failure>) {}
}

/// An account of a provider and its simulator.
pub(super) struct Line {
    pub(super) sim: SimHandle,
    pub(super) client: AccountClient,
}

/// How the merchant is known to the provider.
pub(super) fn merchant(provider: SimProvider) -> SimClient {
    let customer_token = Some("customer-token".to_owned());
    let merchant = SimClient::demo("BRN-1", "client-secret", "2997");
    SimClient { provider, customer_token, requires_channel_id: true, ..merchant }
}

/// The other side of the same contract.
pub(super) fn settings(provider: &str, base_url: String, profile: &str) -> AccountSettings {
    AccountSettings {
        name: format!("{provider}-main"),
        provider: provider.into(),
        base_url,
        client_id: "BRN-1".into(),
        client_secret: "client-secret".into(),
        private_key: Some(DEMO_PRIVATE_KEY_PEM.into()),
        merchant_id: "2997".into(),
        terminal_id: None,
        channel_id: None,
        customer_token: Some("customer-token".into()),
        inquiry: "query".into(),
        per_second: None,
        burst: None,
        concurrency: None,
        timeout: Some(Duration::from_millis(500)),
        ladder: BTreeMap::new(),
        profile: profile.parse().unwrap(),
    }
}

impl Line {
    async fn to_doku(profile: &str) -> Self {
        Self::to("doku", merchant(SimProvider::Doku), profile).await
    }

    pub(super) async fn to(provider: &str, merchant: SimClient, profile: &str) -> Self {
        let sim = Sim::start(SimOptions::loopback(vec![merchant])).await.unwrap();
        let account = Account::try_new(settings(provider, sim.base_url(), profile)).unwrap();
        let transport = Arc::new(Transport::try_new().unwrap());
        let client = AccountClient::new(Arc::new(account), transport, Arc::new(ExternalIds::new(1)), Arc::new(now));
        Self { sim, client }
    }

    pub(super) fn world(&self) -> Arc<World> {
        self.sim.world()
    }

    pub(super) fn add(&self, name: &str, payment: SimPayment) {
        let payment = SimPayment { reference_no: format!("DK{name}"), approval_code: "004217".into(), ..payment };
        self.world().add_payment(payment).unwrap();
    }

    pub(super) async fn query(&self, name: &str) -> QueryResult {
        let reference_no = format!("DK{name}");
        self.client.query(&self.client.asked(name, Some(&reference_no), None), &Unlimited).await.unwrap()
    }
}

/// The simulator judges X-TIMESTAMP by the real clock.
#[expect(clippy::disallowed_methods, reason = "both ends of a real call need the real time")]
pub(super) fn now() -> chrono::DateTime<Utc> {
    Utc::now()
}

#[tokio::test]
async fn a_signed_query_is_let_in_and_its_answer_is_a_payment() {
    for profile in ["", "ids_as = \"number\"\namount_as = \"string\""] {
        let line = Line::to_doku(profile).await;
        line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
        for _ in 0..3 {
            let answer = line.query("INV1").await.answer;
            assert_eq!(answer.observation, Observation::Paid, "{answer:?}");
            assert_eq!(answer.amount, Some(Sen::new(EXPECTED_SEN)));
            assert_eq!(answer.approval_code.as_deref(), Some("004217"));
            assert!(answer.paid_time.is_some() && answer.warnings.is_empty());
        }
        assert_eq!(line.world().external_id_reuses(""), 0);
        assert_eq!(line.world().count_of(Service::Token, "2007300"), 1, "one token for three queries");
    }
}

#[tokio::test]
async fn a_token_that_the_provider_forgot_costs_one_more_token_and_no_answer() {
    let line = Line::to_doku("").await;
    line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN));
    for _ in 0..2 {
        assert_eq!(line.query("INV1").await.answer.observation, Observation::Paid);
        line.world().expire_tokens();
    }
    let calls = futures::future::join_all((0..20).map(|_| line.query("INV1"))).await;
    assert!(calls.iter().all(|result| result.answer.observation == Observation::Paid));
    assert_eq!(line.world().count_of(Service::Token, "2007300"), 3, "one token for each time it was forgotten");
}

#[tokio::test]
async fn what_the_provider_says_and_how_it_fails_come_out_as_observations() {
    use Observation::{Absent, Cancelled, Failed, InFlight, Indeterminate, Open, Paid, Reversed};
    let reset = |at| Answer::fault(Fault::Reset { at });
    let cut = Some(Failure::Transport(TransportError::Reset));
    let cases = [
        (Answer::status("01"), Open, None),
        (Answer::status("02"), InFlight, None),
        (Answer::status("03"), Open, None),
        (Answer::status("04"), Reversed, None),
        (Answer::status("05"), Cancelled, None),
        (Answer::status("06"), Failed, None),
        (Answer::status("07"), Absent, None),
        (Answer::status("14"), Indeterminate, None),
        (Answer::not_found(), Absent, None),
        (Answer { integer_codes: true, ..Answer::paid() }, Paid, None),
        (Answer { paid_time: PaidTime::Text("2026-11-20 10:00:00".into()), ..Answer::paid() }, Paid, None),
        (Answer { currency: "USD".into(), ..Answer::paid() }, Paid, None),
        (Answer { echo: Echo::None, ..Answer::paid() }, Indeterminate, None),
        (Answer { echo: Echo::WrongReference, ..Answer::paid() }, Indeterminate, None),
        (Answer { echo: Echo::WrongMerchant, ..Answer::paid() }, Indeterminate, None),
        (Answer::fault(Fault::TruncatedJson), Indeterminate, None),
        (Answer::fault(Fault::Html { http_status: 200 }), Indeterminate, None),
        (Answer::fault(Fault::Html { http_status: 502 }), Indeterminate, Some(Failure::ServerError)),
        (Answer::fault(Fault::http(500, "00")), Indeterminate, Some(Failure::ServerError)),
        (Answer::fault(Fault::http(429, "00")), Indeterminate, None),
        (
            Answer::fault(Fault::TimeoutAfter { ms: 5_000 }),
            Indeterminate,
            Some(Failure::Transport(TransportError::Timeout)),
        ),
        (reset(ResetAt::BeforeHeaders), Indeterminate, cut),
        (reset(ResetAt::MidBody), Indeterminate, cut),
    ];
    let line = Line::to_doku("").await;
    for (n, (answer, observation, failure)) in cases.into_iter().enumerate() {
        let name = format!("INV{n}");
        line.add(&name, SimPayment::exact(&name, EXPECTED_SEN).answering([answer.clone()]));
        let result = line.query(&name).await;
        assert_eq!((result.answer.observation, result.failure), (observation, failure), "{answer:?}");
    }
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_unknown_and_the_same_bytes_again_return_nothing_twice() {
    let line = Line::to_doku("").await;
    let lost = RefundBehaviour::AfterEffect { fault: Fault::Reset { at: ResetAt::BeforeHeaders } };
    line.add("INV1", SimPayment::exact("INV1", EXPECTED_SEN).refunding([lost, RefundBehaviour::Ok]));
    assert_eq!(line.query("INV1").await.answer.observation, Observation::Paid);
    let asked = line.client.asked("INV1", Some("DKINV1"), None);
    let order = RefundOrder {
        asked,
        partner_refund_no: "R1",
        amount: Sen::new(EXPECTED_SEN),
        currency: "IDR",
        reason: "paid_after_cancel",
        approval_code: Some("004217"),
    };
    let body = provider("doku").unwrap().refund_body(line.client.account(), &order).unwrap();
    let first = line.client.refund(&asked, &body, &Unlimited).await.unwrap();
    assert_eq!((first.reply.class, first.is_unsent), (ReplyClass::Unknown, false), "{:?}", first.reply);
    let again = line.client.refund(&asked, &body, &Unlimited).await.unwrap();
    assert_eq!((again.reply.class, again.reply.amount), (ReplyClass::Success, Some(Sen::new(EXPECTED_SEN))));
    assert_eq!(again.reply.partner_refund_no.as_deref(), Some("R1"));
    let page = line.world().book_entry("", "INV1").unwrap();
    assert_eq!((page.returned_sen(), page.returned.len(), page.refund_calls), (EXPECTED_SEN, 1, 2));
    assert_eq!(line.query("INV1").await.answer.observation, Observation::Reversed);
}

#[tokio::test]
async fn a_payout_is_asked_about_by_its_status_and_its_answer_is_read() {
    let line = Line::to_doku("").await;
    line.add("OUT1", SimPayment::exact("OUT1", EXPECTED_SEN));
    for reference_no in [None, Some("DKOUT1"), Some("IDKOUT1")] {
        let asked = Asked { is_payout: true, ..line.client.asked("OUT1", reference_no, None) };
        let result = line.client.query(&asked, &Unlimited).await.unwrap();
        assert_eq!(result.answer.observation, Observation::Paid, "{reference_no:?}: {:?}", result.answer);
        assert_eq!((result.answer.amount, result.answer.paid_time), (Some(Sen::new(EXPECTED_SEN)), None));
        assert!(result.answer.paid_time_raw.is_some_and(|raw| raw.ends_with(". 022+07:00")));
    }
    assert_eq!(line.world().count_of(Service::Status, "2005300"), 3);
    assert_eq!(line.world().count_of(Service::Query, "2005100"), 0);
}

#[tokio::test]
async fn a_qr_is_generated_decoded_paid_and_then_found_paid() {
    let line = Line::to_doku("").await;
    let generate = Generate {
        partner_reference_no: "QR1",
        amount: Sen::new(EXPECTED_SEN),
        fee_amount: Some(Sen::rupiah(500)),
        terminal_id: Some("k45"),
        expires_at: Some(now() + chrono::TimeDelta::minutes(15)),
        postal_code: Some("13120"),
    };
    let made = line.client.by_hand(&ByHand::Generate(generate), &Unlimited).await.unwrap().reply;
    assert_eq!(made.ended, Ended::Done, "{made:?}");
    let (qr, reference_no) = (made.qr_content.unwrap(), made.reference_no.unwrap());
    let asked = line.client.asked("QR1", Some(&reference_no), None);
    assert_eq!(line.client.query(&asked, &Unlimited).await.unwrap().answer.observation, Observation::Open);

    let decode = Decode { partner_reference_no: "D1", qr_content: &qr, scanned_at: now() };
    let read = line.client.by_hand(&ByHand::Decode(decode), &Unlimited).await.unwrap().reply;
    assert_eq!((read.ended, read.merchant_name.as_deref()), (Ended::Done, Some("Green Pages")));
    assert_eq!(read.amount, Some(Sen::rupiah(1200)), "DOKU cuts off the sen");

    let token = line.client.customer_token(CustomerGrant::AuthCode("consent"), &Unlimited).await.unwrap();
    let payment = Payment {
        partner_reference_no: "P1",
        amount: Sen::new(EXPECTED_SEN),
        fee_amount: Some(Sen::rupiah(500)),
        qr_content: &qr,
        customer_token: Some(&token.token),
    };
    let paid = line.client.by_hand(&ByHand::Payment(payment), &Unlimited).await.unwrap();
    assert_eq!(paid.reply.ended, Ended::Done, "{:?}", paid.reply);
    assert_eq!(paid.reply.approval_code.as_deref(), Some("328580"));
    let twice = line.client.by_hand(&ByHand::Payment(payment), &Unlimited).await.unwrap();
    assert_eq!(twice.reply.ended, Ended::Refused);
    let answer = line.client.query(&asked, &Unlimited).await.unwrap().answer;
    assert_eq!((answer.observation, answer.amount), (Observation::Paid, Some(Sen::new(EXPECTED_SEN))));
    let cancel = ByHand::Cancel(Cancel { partner_reference_no: "QR1", reference_no: None, reason: "closed" });
    assert_eq!(line.client.by_hand(&cancel, &Unlimited).await.unwrap().reply.ended, Ended::Refused);
}

#[tokio::test]
async fn a_cancelled_qr_is_cancelled_and_cannot_be_paid() {
    let line = Line::to_doku("").await;
    line.add("QR2", SimPayment::exact("QR2", EXPECTED_SEN).answering([Answer::status("01")]));
    let cancel = ByHand::Cancel(Cancel { partner_reference_no: "QR2", reference_no: None, reason: "closed" });
    let ended = line.client.by_hand(&cancel, &Unlimited).await.unwrap().reply;
    assert!(ended.ended == Ended::Done && ended.cancel_time.is_some(), "{ended:?}");
    assert_eq!(line.query("QR2").await.answer.observation, Observation::Cancelled);
}

#[tokio::test]
async fn nobody_pays_or_cancels_by_hand_where_money_is_real() {
    let transport = Arc::new(Transport::try_new().unwrap());
    let account = Account::try_new(settings("doku", "https://api.doku.com".into(), "")).unwrap();
    let client = AccountClient::new(Arc::new(account), transport, Arc::new(ExternalIds::new(1)), Arc::new(now));
    let cancel = ByHand::Cancel(Cancel { partner_reference_no: "QR1", reference_no: None, reason: "closed" });
    let refused = client.by_hand(&cancel, &Unlimited).await.unwrap_err().to_string();
    assert!(refused.contains("sandbox"), "{refused}");
}
