//! What the answer to a refund call means for the refund. Only a refusal that the profile's table calls definite,
//! while no earlier attempt is open, says that no money left; everything else is unknown or later.

use crate::domain::{money::Sen, refund::Proof, state::Flag};

/// What kind of code the provider answered a refund with (`domain::snap_code` and the profile's table decide).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyClass {
    /// 200: done.
    Success,
    /// 409xx01: a refund under this number was done before.
    AlreadyDone,
    /// 404xx18: a refund under this number exists with other content.
    Inconsistent,
    /// A refusal that says no for good.
    Refusal,
    /// The same, and that the API is the wrong way: the window is over, the issuer cannot. A bank transfer is left.
    Closed,
    /// Not now: 429, 401, 409xx00, cut-off hours, limits, lack of balance.
    Later,
    /// 400 or a code nobody documented: our own mistake, or news.
    Stop,
    /// 202, 5xx, no answer, an unreadable one.
    Unknown,
}

/// The readable parts of an answer to a refund call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundReply {
    /// The class of its code.
    pub class: ReplyClass,
    /// The seven digits, where there were any.
    pub response_code: Option<String>,
    /// The echoed `partnerRefundNo`.
    pub partner_refund_no: Option<String>,
    /// The echoed amount.
    pub amount: Option<Sen>,
    /// The provider's number.
    pub refund_no: Option<String>,
    /// Seconds to wait, from Retry-After.
    pub retry_after_secs: Option<i64>,
    /// Why it could not be read, where it could not.
    pub doubt: Option<String>,
}

impl RefundReply {
    /// No readable answer.
    pub fn unknown(doubt: &str) -> Self {
        Self {
            class: ReplyClass::Unknown,
            response_code: None,
            partner_refund_no: None,
            amount: None,
            refund_no: None,
            retry_after_secs: None,
            doubt: Some(doubt.to_owned()),
        }
    }
}

/// What we sent, as far as the answer must echo it.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// The number.
    pub partner_refund_no: &'a str,
    /// The amount.
    pub amount: Sen,
    /// Is this a repeat of an earlier attempt?
    pub repeat: bool,
    /// Did an earlier attempt of this number go without a readable answer?
    pub earlier_unanswered: bool,
    /// The provider's number that an earlier answer named.
    pub refund_no: Option<&'a str>,
}

/// What follows for the refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The refund's fate.
    pub fate: Fate,
    /// Stop every refund of the account until a person has looked: the answer contradicts how refunds work.
    pub opens_breaker: Option<&'static str>,
}

/// A refund's fate after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It went back.
    Confirmed(Proof),
    /// It did not, for good.
    Refused,
    /// It did not, and will not by API.
    Closed,
    /// It did not; the same number again later.
    Later,
    /// Nobody knows.
    Unknown,
    /// Nobody knows, and only a person can find out.
    NeedsPerson(Flag),
}

/// Reads a reply to what was sent.
pub fn judge(sent: &Sent<'_>, reply: &RefundReply) -> Outcome {
    let plain = |fate| Outcome { fate, opens_breaker: None };
    match reply.class {
        ReplyClass::Success => success(sent, reply),
        ReplyClass::AlreadyDone if sent.repeat => plain(Fate::Confirmed(Proof::Repeat)),
        ReplyClass::AlreadyDone | ReplyClass::Unknown => plain(Fate::Unknown),
        ReplyClass::Inconsistent => plain(Fate::NeedsPerson(Flag::RefundAmountDiffers)),
        // A no to this attempt says nothing about an earlier one that nobody answered.
        ReplyClass::Refusal | ReplyClass::Closed | ReplyClass::Later if sent.earlier_unanswered => plain(Fate::Unknown),
        ReplyClass::Refusal => plain(Fate::Refused),
        ReplyClass::Closed => plain(Fate::Closed),
        ReplyClass::Later => plain(Fate::Later),
        ReplyClass::Stop => plain(Fate::NeedsPerson(Flag::RefundUnknown)),
    }
}

fn success(sent: &Sent<'_>, reply: &RefundReply) -> Outcome {
    if reply.partner_refund_no.as_deref() != Some(sent.partner_refund_no) {
        return Outcome { fate: Fate::Unknown, opens_breaker: Some("a success did not echo our partner_refund_no") };
    }
    if let (Some(before), Some(now)) = (sent.refund_no, reply.refund_no.as_deref())
        && before != now
    {
        return Outcome {
            fate: Fate::NeedsPerson(Flag::RefundUnknown),
            opens_breaker: Some("one partner_refund_no has two refundNo"),
        };
    }
    match reply.amount {
        None => Outcome { fate: Fate::Unknown, opens_breaker: Some("a success named no amount") },
        Some(amount) if amount != sent.amount => Outcome {
            fate: Fate::NeedsPerson(Flag::RefundAmountDiffers),
            opens_breaker: Some("a success named another amount"),
        },
        Some(_) => Outcome {
            fate: Fate::Confirmed(if sent.repeat { Proof::Repeat } else { Proof::Answer }),
            opens_breaker: None,
        },
    }
}
