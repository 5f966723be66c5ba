//! The message word for word, who hears it, and what follows from an answer.

use super::*;
use crate::domain::order::{Direction, OrderStatus};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn order() -> Order {
    Order {
        id: 7,
        account: "doku-main".into(),
        partner_reference_no: "INV-1".into(),
        reference_no: None,
        external_id: Some("never shown".into()),
        direction: Direction::In,
        amount: Sen::parse("15000.00").unwrap(),
        currency: "IDR".into(),
        tip: None,
        order_status: OrderStatus::Open,
        created_at: at("2026-11-19T01:02:03Z"),
        expires_at: None,
    }
}

fn change<'a>(order: &'a Order, hash: &'a Link) -> Change<'a> {
    Change {
        order,
        from: State::Pending,
        to: State::Paid,
        flags: vec!["overpaid"],
        paid_amount: Some(Sen::parse("15000.50").unwrap()),
        fee_amount: None,
        refunded_amount: Sen::ZERO,
        refunded_outside: Sen::ZERO,
        paid_at: Some(at("2026-11-19T01:05:00Z")),
        entry_no: 3,
        entry_hash: hash,
        at: at("2026-11-19T01:05:07.123456Z"),
    }
}

fn everything(endpoint: &str) -> Subscription {
    Subscription { endpoint: endpoint.into(), types: BTreeSet::new(), accounts: BTreeSet::new() }
}

#[test]
fn a_message_is_exactly_this_text() {
    let order = order();
    let told = messages(&[everything("shop")], &change(&order, &[1; 32]));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].kind, "transaction.paid");
    assert_eq!(
        told[0].body,
        r#"{"type":"transaction.paid","timestamp":"2026-11-19T01:05:07.123Z","version":1,"data":{"account":"doku-main","partner_reference_no":"INV-1","reference_no":null,"direction":"in","sequence":3,"state":"paid","previous_state":"pending","flags":["overpaid"],"order_status":"open","currency":"IDR","amount":"15000.00","paid_amount":"15000.50","fee_amount":null,"refunded_amount":"0.00","refunded_outside":"0.00","created_at":"2026-11-19T01:02:03.000Z","paid_at":"2026-11-19T01:05:00.000Z"}}"#
    );
}

#[test]
fn the_id_is_the_entrys_the_same_for_every_endpoint_and_another_for_every_other_entry() {
    let (order, hash) = (order(), [1; 32]);
    let told = messages(&[everything("a"), everything("b")], &change(&order, &hash));
    assert_eq!(told[0].event_id, told[1].event_id);
    assert!(told[0].event_id.starts_with("msg_") && told[0].event_id.len() == 36, "{}", told[0].event_id);
    let next = Change { entry_no: 4, ..change(&order, &hash) };
    let elsewhere = [2; 32];
    let elsewhere = change(&order, &elsewhere);
    for other in [next, elsewhere] {
        assert_ne!(messages(&[everything("a")], &other)[0].event_id, told[0].event_id);
    }
}

#[test]
fn an_endpoint_hears_what_it_asked_for_and_nothing_else() {
    let (order, hash) = (order(), [1; 32]);
    let named = |types: &[&str], accounts: &[&str]| Subscription {
        types: types.iter().map(|t| (*t).to_owned()).collect(),
        accounts: accounts.iter().map(|t| (*t).to_owned()).collect(),
        ..everything("shop")
    };
    let hears = |subscription: Subscription, change: &Change<'_>| messages(&[subscription], change).len() == 1;
    let paid = change(&order, &hash);
    assert!(hears(named(&["transaction.paid"], &["doku-main"]), &paid));
    assert!(!hears(named(&["transaction.held"], &[]), &paid));
    assert!(!hears(named(&[], &["another"]), &paid));
    let moved = Change { from: State::Paid, ..change(&order, &hash) };
    assert!(hears(named(&[FLAGS_CHANGED], &[]), &moved) && !hears(named(&["transaction.paid"], &[]), &moved));
}

#[test]
fn the_types_are_these() {
    assert_eq!(types().len(), State::ALL.len() + 1);
    assert!(types().contains(&"transaction.partly_refunded".to_owned()));
}

#[test]
fn an_answer_says_what_comes_next() {
    let ladder = [Duration::from_secs(5), Duration::from_mins(5)];
    let status = |status| Reply::Status { status, retry_after: None };
    let again = |secs| Next::Again { wait: Duration::from_secs(secs), pause: None };
    for ok in [200, 202, 204, 299] {
        assert_eq!(judge(status(ok), 9, &ladder), Next::Delivered);
    }
    // A redirect is followed by nobody, and a 4xx may be a receiver in the middle of its release.
    for failed in [status(302), status(400), status(404), status(500), Reply::Silence("timeout")] {
        assert_eq!(judge(failed, 0, &ladder), again(5));
        assert_eq!(judge(failed, 1, &ladder), again(300));
        assert_eq!(judge(failed, 2, &ladder), Next::Dead);
    }
    assert_eq!(judge(status(410), 2, &ladder), Next::Gone);
    let pause = Some(Duration::from_secs(90));
    for busy in [429, 503] {
        let next = judge(Reply::Status { status: busy, retry_after: pause }, 0, &ladder);
        assert_eq!(next, Next::Again { wait: Duration::from_secs(5), pause });
    }
    let ignored = judge(Reply::Status { status: 500, retry_after: pause }, 0, &ladder);
    assert_eq!(ignored, again(5));
}
