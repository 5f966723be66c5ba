//! The catalogue of what really happens to QRIS payments, each drawn with a seeded generator. What rekon should make of each
//! stands in the rules of money; here is only what the provider says and does.

use serde::{Deserialize, Serialize};

use super::rng::Rng;
use super::script::{AmountStyle, Answer, Echo, Fault, PaidTime, RefundBehaviour, ResetAt, SimPayment};

/// A kind of payment. Names are the same in scripts, in the demo and in tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Paid exactly.
    #[default]
    Exact,
    /// Paid more than asked for.
    Overpaid,
    /// Paid less than asked for.
    Underpaid,
    /// Reported a hundred times too large; the right amount was taken.
    ScaleX100,
    /// Reported in another currency.
    OtherCurrency,
    /// Open first, then paid: for orders that the merchant cancels meanwhile.
    CancelledThenPaid,
    /// Paid after the code's validity (15 minutes), and `paidTime` says so.
    PaidLate,
    /// `04` from the first answer on: the money went back outside.
    ReversedFirst,
    /// Paid, then failed for ever.
    Regression,
    /// Paid, pending, paid.
    FlipFlop,
    /// Failed, then paid.
    FailedThenPaid,
    /// Not found (HTTP 404 or status 07), then paid.
    NotFoundThenPaid,
    /// Initiated, pending, then paid.
    PendingThenPaid,
    /// `02` for ever.
    InFlightForever,
    /// Server errors, time-outs, torn and unknown answers for ever.
    IndeterminateForever,
    /// Never paid.
    NeverPaid,
    /// Somebody else's reference or merchant first, then the right one.
    WrongEchoThenRight,
    /// Paid exactly, with numbers where strings are documented.
    IntegersForStrings,
    /// Overpaid; the answer to the first refund call is lost after the money moved.
    RefundAnswerLost,
    /// Overpaid; the first refund call is lost before anything happened.
    RefundLostBeforeEffect,
    /// Overpaid; every refund is refused.
    RefundRefused,
}

impl Scenario {
    /// The whole catalogue.
    pub const ALL: [Self; 21] = [
        Self::Exact,
        Self::Overpaid,
        Self::Underpaid,
        Self::ScaleX100,
        Self::OtherCurrency,
        Self::CancelledThenPaid,
        Self::PaidLate,
        Self::ReversedFirst,
        Self::Regression,
        Self::FlipFlop,
        Self::FailedThenPaid,
        Self::NotFoundThenPaid,
        Self::PendingThenPaid,
        Self::InFlightForever,
        Self::IndeterminateForever,
        Self::NeverPaid,
        Self::WrongEchoThenRight,
        Self::IntegersForStrings,
        Self::RefundAnswerLost,
        Self::RefundLostBeforeEffect,
        Self::RefundRefused,
    ];

    /// The scenario of this name (`paid_late`), if there is one.
    pub fn by_name(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
    }
}

/// Validity that `paid_late` assumes, in seconds after registration.
pub const VALIDITY_SECS: i64 = 900;
/// Hold of a scripted time-out, in milliseconds: longer than callers wait.
const TIMEOUT_MS: u64 = 30_000;

/// A payment of this scenario, with drawn references, for the first client; change its fields as needed.
pub fn scripted(scenario: Scenario, expected_sen: i64, rng: &mut Rng) -> SimPayment {
    let reference = rng.reference();
    // Twenty-five characters: the shortest limit any provider documents.
    let partner_reference_no = reference.get(..25).unwrap_or(&reference).to_owned();
    let payment = SimPayment::exact(partner_reference_no, expected_sen);
    let taken_sen = matches!(
        scenario,
        Scenario::ScaleX100 | Scenario::OtherCurrency | Scenario::ReversedFirst | Scenario::WrongEchoThenRight
    )
    .then_some(expected_sen);
    let returned_outside_sen = if scenario == Scenario::ReversedFirst { expected_sen } else { 0 };
    SimPayment {
        reference_no: rng.reference(),
        taken_sen,
        returned_outside_sen,
        script: answers(scenario, expected_sen, rng),
        refunds: refunds(scenario, rng),
        ..payment
    }
}

fn answers(scenario: Scenario, expected_sen: i64, rng: &mut Rng) -> Vec<Answer> {
    let status = |code: &str| Answer::status(code);
    match scenario {
        Scenario::Exact => Vec::new(),
        Scenario::Overpaid
        | Scenario::RefundAnswerLost
        | Scenario::RefundLostBeforeEffect
        | Scenario::RefundRefused => vec![Answer::paid_amount(expected_sen + 100 * rng.between(1, 50_000))],
        Scenario::Underpaid => {
            let missing_sen = rng.between(1, (expected_sen - 1).max(1));
            vec![Answer::paid_amount((expected_sen - missing_sen).max(1))]
        }
        Scenario::ScaleX100 => vec![Answer::paid_amount(expected_sen.saturating_mul(100))],
        Scenario::OtherCurrency => vec![Answer { currency: "USD".to_owned(), ..Answer::paid() }],
        Scenario::CancelledThenPaid => in_turn(times(rng, 1, 3, &status("01")), [Answer::paid()]),
        Scenario::PaidLate => {
            let paid_after_secs = VALIDITY_SECS + rng.between(60, 600);
            let late = Answer { paid_time: PaidTime::AfterSecs(paid_after_secs), ..Answer::paid() };
            vec![status("01"), Answer { not_before_secs: Some(paid_after_secs), ..late }]
        }
        Scenario::ReversedFirst => vec![status("04")],
        Scenario::Regression => in_turn(times(rng, 2, 3, &Answer::paid()), [status("06")]),
        Scenario::FlipFlop => vec![Answer::paid(), status("03"), Answer::paid()],
        Scenario::FailedThenPaid => in_turn(times(rng, 1, 2, &status("06")), [Answer::paid()]),
        Scenario::NotFoundThenPaid => {
            let absent = if rng.between(0, 1) == 0 { Answer::not_found() } else { status("07") };
            in_turn(times(rng, 1, 3, &absent), [Answer::paid()])
        }
        Scenario::PendingThenPaid => in_turn(times(rng, 1, 3, &status("01")), [status("03"), Answer::paid()]),
        Scenario::InFlightForever => vec![status("02")],
        Scenario::IndeterminateForever => indeterminate(rng),
        Scenario::NeverPaid => vec![status("01")],
        Scenario::WrongEchoThenRight => {
            let echo = *rng.pick(&[Echo::WrongReference, Echo::WrongMerchant, Echo::None]).unwrap_or(&Echo::None);
            in_turn(times(rng, 1, 2, &Answer { echo, ..Answer::paid() }), [Answer::paid()])
        }
        Scenario::IntegersForStrings => {
            let amount_style = *rng.pick(&[AmountStyle::Number, AmountStyle::Decimal]).unwrap_or(&AmountStyle::Number);
            vec![Answer { integer_codes: true, amount_style, ..Answer::paid() }]
        }
    }
}

/// Some unknowns in a drawn order; the last one repeats.
fn indeterminate(rng: &mut Rng) -> Vec<Answer> {
    let unknowns = [
        Answer::fault(Fault::http(500, "00")),
        Answer::fault(Fault::http(504, "00")),
        Answer::fault(Fault::Html { http_status: 502 }),
        Answer::fault(Fault::Html { http_status: 200 }),
        Answer::fault(Fault::TimeoutBefore { ms: TIMEOUT_MS }),
        Answer::fault(Fault::Reset { at: ResetAt::BeforeHeaders }),
        Answer::status("14"),
        Answer::status("08"),
    ];
    (0..rng.between(3, 6)).filter_map(|_| rng.pick(&unknowns).cloned()).collect()
}

fn refunds(scenario: Scenario, rng: &mut Rng) -> Vec<RefundBehaviour> {
    let losses = [
        Fault::Reset { at: ResetAt::BeforeHeaders },
        Fault::Reset { at: ResetAt::MidBody },
        Fault::http(500, "01"),
        Fault::http(504, "00"),
        Fault::TimeoutAfter { ms: TIMEOUT_MS },
    ];
    let fault = rng.pick(&losses).cloned().unwrap_or(Fault::TruncatedJson);
    match scenario {
        Scenario::RefundAnswerLost => vec![RefundBehaviour::AfterEffect { fault }, RefundBehaviour::Ok],
        Scenario::RefundLostBeforeEffect => vec![RefundBehaviour::BeforeEffect { fault }, RefundBehaviour::Ok],
        Scenario::RefundRefused => {
            // Codes that say no for good; 4047800 (wrong status) may yet become a yes.
            let codes = ["4037800", "4037815", "4047804", "4047813"];
            let response_code = (*rng.pick(&codes).unwrap_or(&"4037800")).to_owned();
            vec![RefundBehaviour::Refuse { response_code }]
        }
        _ => Vec::new(),
    }
}

fn times(rng: &mut Rng, low: i64, high: i64, answer: &Answer) -> Vec<Answer> {
    (0..rng.between(low, high)).map(|_| answer.clone()).collect()
}

fn in_turn(mut first: Vec<Answer>, then: impl IntoIterator<Item = Answer>) -> Vec<Answer> {
    first.extend(then);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_payments_and_another_seed_does_not() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            Scenario::ALL.map(|scenario| scripted(scenario, 1_200_000, &mut rng))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_scenario_is_found_by_its_name_and_no_other_is() {
        for scenario in Scenario::ALL {
            let name = serde_json::to_value(scenario).unwrap();
            assert_eq!(Scenario::by_name(name.as_str().unwrap()), Some(scenario));
        }
        assert_eq!(Scenario::by_name("paid"), None);
    }

    #[test]
    fn an_underpaid_amount_is_positive_and_less_than_asked_for() {
        let mut rng = Rng::new(3);
        for expected_sen in [2, 100, 1_000_000] {
            let payment = scripted(Scenario::Underpaid, expected_sen, &mut rng);
            let paid_sen = payment.script[0].amount_sen.unwrap();
            assert!(paid_sen > 0 && paid_sen < expected_sen, "{paid_sen} of {expected_sen}");
        }
    }
}
