//! What needs no I/O, on one core: the rules over a case that was just found paid, and an answer's body into a fact.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{loops::AMOUNT_SEN, place::SimProcess};
use crate::{
    cli::exit::Failure,
    domain::{
        case::{Case, Prior, Terms},
        decide::decide,
        fact::{Answer, Fact, Source},
        money::Sen,
        order::{Direction, Order, OrderStatus},
    },
    engine::runtime,
    providers::{Account, Asked, wire::HttpResponse},
};

/// Each is measured so long, in so many parts, of which the median counts.
const PART: Duration = Duration::from_millis(300);
const PARTS: u32 = 5;
/// Turns between two looks at the clock.
const TURNS: u64 = 500;

/// Per second on one core.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Pure {
    /// `decide` on a case with one PAID answer.
    pub(super) decide_per_second: u64,
    /// JSON bytes to a normalised answer.
    pub(super) read_per_second: u64,
}

/// Measures with the body of a real answer.
pub(super) fn measure(sim: &SimProcess, body: &[u8]) -> Result<Pure, Failure> {
    let config = sim.config(1)?;
    let account = runtime::accounts(&config)?.into_iter().next();
    let account = account.ok_or_else(|| Failure::NotFound("the bench has no account".to_owned()))?;
    let response = HttpResponse { status: 200, headers: Vec::new(), body: body.to_vec() };
    let (ours, theirs) = references(body);
    let asked = Asked {
        partner_reference_no: &ours,
        reference_no: Some(&theirs),
        external_id: None,
        merchant_id: &account.merchant_id,
        is_payout: false,
    };
    let read = || account.provider.read_query(&account, &asked, &response).answer;
    let case = case(&account, &ours, &theirs, read());
    let terms = Terms { profile: Some(&account.profile.rules), policy: &config.policy };
    let now = now();
    Ok(Pure {
        decide_per_second: rate(|| drop(black_box(decide(black_box(&case), &terms, now)))),
        read_per_second: rate(|| drop(black_box(read()))),
    })
}

fn rate(mut turn: impl FnMut()) -> u64 {
    super::figures::median((0..PARTS).map(|_| {
        let begun = Instant::now();
        let mut turns = 0_u64;
        while begun.elapsed() < PART {
            (0..TURNS).for_each(|_| turn());
            turns = turns.saturating_add(TURNS);
        }
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        turns.saturating_mul(1_000_000).checked_div(micros).unwrap_or(0)
    }))
}

/// The references in the body, so that the echo is right.
fn references(body: &[u8]) -> (String, String) {
    let said: BTreeMap<String, serde_json::Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| said.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    (text("originalPartnerReferenceNo"), text("originalReferenceNo"))
}

#[expect(clippy::disallowed_methods, reason = "any time will do, and there is no database here")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn case(account: &Account, ours: &str, theirs: &str, answer: Answer) -> Case {
    let at = now();
    let fact = Fact {
        seq: 1,
        source: Source::Query,
        answer: Arc::new(answer),
        sent_at: at,
        answered_at: at,
        last_at: at,
        last_sent_at: at,
        sightings: 1,
        bad_weather: false,
    };
    let order = Order {
        id: 1,
        account: account.name.clone(),
        partner_reference_no: ours.to_owned(),
        reference_no: Some(theirs.to_owned()),
        external_id: None,
        direction: Direction::In,
        amount: Sen::new(AMOUNT_SEN),
        currency: "IDR".to_owned(),
        tip: None,
        order_status: OrderStatus::Open,
        created_at: at.checked_sub_signed(TimeDelta::minutes(5)).unwrap_or(at),
        expires_at: None,
    };
    Case {
        order,
        changes: Vec::new(),
        facts: vec![fact],
        refunds: Vec::new(),
        prior: Prior::default(),
        duplicate_reference: false,
        qr_cancel_asked: false,
        outages: Vec::new(),
        resolutions: Vec::new(),
        ceiling: crate::domain::switch::Level::Auto,
        refunded_outside: Sen::ZERO,
        balances: BTreeMap::new(),
    }
}
