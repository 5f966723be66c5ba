//! The grammar of faults: every kind of thing that goes wrong between a merchant and a QRIS provider, by name, and a payment
//! that plays it. Only what the provider says and does is drawn here; what must become of it stands in the rules of money.
//!
//! Absent on purpose: settlement files, which no simulated provider writes, and what happens to the merchant's own machines
//! (kills, pauses, a database that is restarted), which the soak does from outside.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rng::Rng;
use super::script::{AmountStyle, Answer, Echo, Fault, PaidTime, RefundBehaviour, RepeatPolicy, ResetAt, SimPayment};

/// A kind of fault. Names are the same in scripts, in the book and in the soak's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Nothing goes wrong.
    Ok,
    /// The answer takes a while.
    Slow,
    /// No answer; nothing happened.
    TimeoutBeforeEffect,
    /// No answer; it happened.
    TimeoutAfterEffect,
    /// The connection is reset in the middle of the body.
    ConnectionResetMidBody,
    /// Half a body that claims to be whole.
    TruncatedJson,
    /// A 5xx that the provider repeats for the same number, though the money moved.
    #[serde(rename = "sticky_5xx")]
    Sticky5xx,
    /// 429 with Retry-After.
    TooManyRequestsWithHeaders,
    /// 429 without a word about when.
    TooManyRequestsWithoutHeaders,
    /// 401 in the middle of a token's life.
    TokenExpired,
    /// 409xx00 for an X-EXTERNAL-ID that was new.
    DuplicateExternalId,
    /// 409xx01: a refund of this number was done before.
    DuplicatePartnerRefundNo,
    /// Integers for codes, decimals for amounts.
    WrongType,
    /// A `latestTransactionStatus` that no document names.
    UnknownCode,
    /// Somebody else's references.
    WrongEcho,
    /// The amount a hundred times too large.
    #[serde(rename = "scale_x100")]
    ScaleX100,
    /// UTC's hours with Jakarta's offset.
    UtcAsWib,
    /// Paid, and then a replica that has not heard of it.
    StaleRead,
    /// Paid, pending, paid.
    FlipFlop,
    /// 07 for a while, then paid.
    NotFoundThenPaid,
    /// The notification comes before the answer to the query that is under way.
    NotificationBeforeResponse,
    /// The notification never comes.
    NotificationLost,
    /// The same notification three times.
    NotificationThrice,
    /// The older notification comes last.
    NotificationReordered,
    /// A notification that the provider never signed.
    NotificationForged,
    /// Paid after the code's validity.
    PaidAfterExpiry,
    /// Paid although the merchant had cancelled.
    PaidAfterCancel,
    /// The customer pays twice.
    DoublePay,
    /// Part of the money goes back behind the merchant's back.
    PartialRefundOutside,
    /// The refund is accepted and then refused.
    RefundInProgressThenFail,
    /// Refunds are refused at this hour.
    BlackoutHours,
    /// The merchant's balance does not cover the refund yet.
    InsufficientBalance,
}

impl FaultKind {
    /// The whole grammar.
    pub const ALL: [Self; 32] = [
        Self::Ok,
        Self::Slow,
        Self::TimeoutBeforeEffect,
        Self::TimeoutAfterEffect,
        Self::ConnectionResetMidBody,
        Self::TruncatedJson,
        Self::Sticky5xx,
        Self::TooManyRequestsWithHeaders,
        Self::TooManyRequestsWithoutHeaders,
        Self::TokenExpired,
        Self::DuplicateExternalId,
        Self::DuplicatePartnerRefundNo,
        Self::WrongType,
        Self::UnknownCode,
        Self::WrongEcho,
        Self::ScaleX100,
        Self::UtcAsWib,
        Self::StaleRead,
        Self::FlipFlop,
        Self::NotFoundThenPaid,
        Self::NotificationBeforeResponse,
        Self::NotificationLost,
        Self::NotificationThrice,
        Self::NotificationReordered,
        Self::NotificationForged,
        Self::PaidAfterExpiry,
        Self::PaidAfterCancel,
        Self::DoublePay,
        Self::PartialRefundOutside,
        Self::RefundInProgressThenFail,
        Self::BlackoutHours,
        Self::InsufficientBalance,
    ];

    /// What a call meets that plays this kind on the way, whatever the call is for; `None` where the kind is something else.
    fn on_the_way(self) -> Option<Fault> {
        Some(match self {
            Self::TimeoutBeforeEffect => Fault::TimeoutBefore { ms: SILENT_MS },
            Self::TimeoutAfterEffect => Fault::TimeoutAfter { ms: SILENT_MS },
            Self::ConnectionResetMidBody => Fault::Reset { at: ResetAt::MidBody },
            Self::TruncatedJson => Fault::TruncatedJson,
            Self::TooManyRequestsWithHeaders => Fault::Http {
                http_status: 429,
                case_code: "00".to_owned(),
                response_code: None,
                retry_after_secs: Some(1),
            },
            Self::TooManyRequestsWithoutHeaders => Fault::http(429, "00"),
            Self::TokenExpired => Fault::http(401, "01"),
            Self::DuplicateExternalId => Fault::http(409, "00"),
            _ => return None,
        })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Hold of a call that is never answered, milliseconds: longer than a soak's caller waits, short enough for thousands.
const SILENT_MS: u64 = 2_500;
/// An answer that takes a while, milliseconds.
const SLOW_MS: u64 = 150;
/// Validity of a code that is paid too late, seconds.
const SHORT_VALIDITY_SECS: i64 = 1;
/// The approval code of a second payment.
const SECOND_APPROVAL_CODE: &str = "770002";
/// Sen a rupiah.
const RUPIAH: i64 = 100;

/// What is true of a payment, whatever is said about it on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// The customer pays what was asked for.
    Exact,
    /// He pays so many sen more.
    Overpaid(i64),
    /// He pays although the order is cancelled.
    Cancelled,
}

/// A payment that plays a kind, and what the merchant must know to expect it.
#[derive(Debug, Clone)]
pub struct Play {
    /// What it plays.
    pub kind: FaultKind,
    /// What is true.
    pub truth: Truth,
    /// The provider's side.
    pub payment: SimPayment,
    /// Seconds from registration to the end of the code's validity, where it has one.
    pub valid_secs: Option<i64>,
}

/// Draws a payment of `expected_sen` that plays `kind`. References are drawn; change them as needed.
pub fn play(kind: FaultKind, expected_sen: i64, rng: &mut Rng) -> Play {
    let reference = rng.reference();
    let partner_reference_no = reference.get(..25).unwrap_or(&reference).to_owned();
    let truth = truth(kind, rng);
    let paid_sen = match truth {
        Truth::Overpaid(excess_sen) => expected_sen.saturating_add(excess_sen),
        Truth::Exact | Truth::Cancelled => expected_sen,
    };
    let paid = Answer { amount_sen: Some(paid_sen), ..Answer::paid() };
    // Where money goes back, half of the accidents of the way happen to the refund.
    let at_refund = truth != Truth::Exact && rng.between(0, 1) == 1;
    let script = if at_refund && kind.on_the_way().is_some() { vec![paid.clone()] } else { said(kind, &paid, rng) };
    let payment = SimPayment {
        reference_no: rng.reference(),
        script,
        refunds: refunds(kind, at_refund),
        refund_kind: Some(kind),
        repeat: (kind == FaultKind::DuplicatePartnerRefundNo).then_some(RepeatPolicy::Conflict),
        taken_sen: (kind == FaultKind::ScaleX100).then_some(expected_sen),
        ..SimPayment::exact(partner_reference_no, expected_sen)
    };
    let valid_secs = (kind == FaultKind::PaidAfterExpiry).then_some(SHORT_VALIDITY_SECS);
    Play { kind, truth, payment, valid_secs }
}

fn truth(kind: FaultKind, rng: &mut Rng) -> Truth {
    use FaultKind as K;
    let excess = Truth::Overpaid(rng.between(1, 9_000).saturating_mul(RUPIAH));
    match kind {
        K::ScaleX100 | K::PaidAfterExpiry | K::WrongType => Truth::Exact,
        K::PaidAfterCancel => Truth::Cancelled,
        // These show only where a paid row is asked again, or where money goes back.
        K::StaleRead
        | K::FlipFlop
        | K::DoublePay
        | K::PartialRefundOutside
        | K::Sticky5xx
        | K::DuplicatePartnerRefundNo
        | K::RefundInProgressThenFail
        | K::BlackoutHours
        | K::InsufficientBalance => excess,
        K::Ok
        | K::Slow
        | K::TimeoutBeforeEffect
        | K::TimeoutAfterEffect
        | K::ConnectionResetMidBody
        | K::TruncatedJson
        | K::TooManyRequestsWithHeaders
        | K::TooManyRequestsWithoutHeaders
        | K::TokenExpired
        | K::DuplicateExternalId
        | K::UnknownCode
        | K::WrongEcho
        | K::UtcAsWib
        | K::NotFoundThenPaid
        | K::NotificationBeforeResponse
        | K::NotificationLost
        | K::NotificationThrice
        | K::NotificationReordered
        | K::NotificationForged => match rng.between(0, 7) {
            0..=4 => Truth::Exact,
            5 | 6 => excess,
            _ => Truth::Cancelled,
        },
    }
}

/// The answers to the queries, in turn; the last one repeats.
fn said(kind: FaultKind, paid: &Answer, rng: &mut Rng) -> Vec<Answer> {
    use FaultKind as K;
    let playing = |answer: Answer| Answer { plays: Some(kind), ..answer };
    let status = |code: &str| playing(Answer::status(code));
    let then_paid = |first: Answer| vec![first, paid.clone()];
    match kind {
        K::Ok => vec![playing(paid.clone()), paid.clone()],
        K::Slow => then_paid(playing(Answer { slow_ms: SLOW_MS, ..paid.clone() })),
        K::WrongType => {
            let spelt = Answer { integer_codes: true, amount_style: AmountStyle::Decimal, ..paid.clone() };
            vec![playing(spelt.clone()), spelt]
        }
        K::UnknownCode => then_paid(status("14")),
        K::WrongEcho => {
            let echo = *rng.pick(&[Echo::WrongReference, Echo::WrongMerchant]).unwrap_or(&Echo::None);
            then_paid(playing(Answer { echo, ..paid.clone() }))
        }
        K::ScaleX100 => vec![playing(Answer { amount_sen: paid.amount_sen.map(|sen| sen * 100), ..paid.clone() })],
        K::UtcAsWib => {
            let shifted = Answer { paid_time: PaidTime::AfterSecs(-7 * 3600), ..paid.clone() };
            vec![playing(shifted.clone()), shifted]
        }
        K::StaleRead => vec![paid.clone(), status("01"), paid.clone()],
        K::FlipFlop => vec![paid.clone(), status("03"), paid.clone()],
        K::NotFoundThenPaid => {
            let absent = if rng.between(0, 1) == 0 { Answer::not_found() } else { Answer::status("07") };
            // Once however late it is asked, and then for some seconds.
            let for_a_while = Answer { until_secs: Some(rng.between(2, 4)), ..absent.clone() };
            vec![playing(absent), playing(for_a_while), paid.clone()]
        }
        K::NotificationBeforeResponse
        | K::NotificationLost
        | K::NotificationThrice
        | K::NotificationReordered
        | K::NotificationForged
        | K::PaidAfterCancel => then_paid(status("01")),
        K::PaidAfterExpiry => {
            let late_secs = SHORT_VALIDITY_SECS.saturating_add(1);
            let late = Answer { paid_time: PaidTime::AfterSecs(late_secs), ..paid.clone() };
            let late = Answer { not_before_secs: Some(late_secs), ..late };
            vec![Answer::status("01"), playing(late.clone()), late]
        }
        K::DoublePay => {
            let second = Answer { approval_code: Some(SECOND_APPROVAL_CODE.to_owned()), ..paid.clone() };
            vec![paid.clone(), playing(second.clone()), paid.clone(), second]
        }
        K::PartialRefundOutside => {
            let back_sen = paid.amount_sen.map(|sen| rng.between(RUPIAH, (sen - RUPIAH).max(RUPIAH)));
            let outside = Answer { returns_outside_sen: back_sen, ..Answer::status("04") };
            vec![paid.clone(), playing(Answer { amount_sen: paid.amount_sen, ..outside })]
        }
        K::Sticky5xx
        | K::DuplicatePartnerRefundNo
        | K::RefundInProgressThenFail
        | K::BlackoutHours
        | K::InsufficientBalance => vec![paid.clone()],
        K::TimeoutBeforeEffect
        | K::TimeoutAfterEffect
        | K::ConnectionResetMidBody
        | K::TruncatedJson
        | K::TooManyRequestsWithHeaders
        | K::TooManyRequestsWithoutHeaders
        | K::TokenExpired
        | K::DuplicateExternalId => then_paid(playing(Answer { fault: kind.on_the_way(), ..paid.clone() })),
    }
}

/// What the refund calls meet, in turn; the last one repeats.
fn refunds(kind: FaultKind, at_refund: bool) -> Vec<RefundBehaviour> {
    let refuse = |response_code: &str| RefundBehaviour::Refuse { response_code: response_code.to_owned() };
    match kind {
        FaultKind::Sticky5xx => vec![RefundBehaviour::Sticky { replays: 2 }],
        FaultKind::DuplicatePartnerRefundNo => {
            let fault = Fault::Reset { at: ResetAt::BeforeHeaders };
            vec![RefundBehaviour::AfterEffect { fault }, RefundBehaviour::Ok]
        }
        FaultKind::RefundInProgressThenFail => vec![RefundBehaviour::Accepted { moves: false }, refuse("4037815")],
        FaultKind::BlackoutHours => vec![refuse("4057801"), RefundBehaviour::Ok],
        FaultKind::InsufficientBalance => vec![refuse("4037814"), RefundBehaviour::Ok],
        _ => match kind.on_the_way().filter(|_| at_refund) {
            Some(fault) if fault.strikes_after_effect() => {
                vec![RefundBehaviour::AfterEffect { fault }, RefundBehaviour::Ok]
            }
            Some(fault) => vec![RefundBehaviour::BeforeEffect { fault }, RefundBehaviour::Ok],
            None => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_plays_the_same_and_another_seed_does_not() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            FaultKind::ALL.map(|kind| play(kind, 1_200_000, &mut rng).payment)
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_that_is_read_back() {
        let names: BTreeSet<String> = FaultKind::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
        for kind in FaultKind::ALL {
            assert_eq!(serde_json::from_str::<FaultKind>(&format!("\"{kind}\"")).unwrap(), kind);
        }
    }

    #[test]
    fn every_kind_is_played_by_an_answer_or_by_a_refund() {
        let mut rng = Rng::new(3);
        for kind in FaultKind::ALL {
            let payment = play(kind, 1_200_000, &mut rng).payment;
            let by_answer = payment.script.iter().any(|answer| answer.plays == Some(kind));
            let by_refund = payment.refunds.first().is_some_and(|first| *first != RefundBehaviour::Ok);
            assert!(by_answer || by_refund, "{kind}");
        }
    }
}
