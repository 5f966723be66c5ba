//! What a simulated provider will say about one payment: a list of answers and a list of refund behaviours, readable from
//! JSON and TOML. Only data: giving the answers is `world`'s work, spelling them is each provider's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::grammar::FaultKind;

/// Whose documents a client's provider keeps to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SimProvider {
    /// DOKU.
    #[default]
    Doku,
    /// Paydia.
    Paydia,
    /// Brick.
    Brick,
    /// Winpay.
    Winpay,
}

/// One payment as the provider knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimPayment {
    /// The client it belongs to; empty = the simulator's first client.
    #[serde(default)]
    pub client_id: String,
    /// The merchant's reference.
    pub partner_reference_no: String,
    /// The provider's reference; empty = made from the seed.
    #[serde(default)]
    pub reference_no: String,
    /// What the merchant asked for, in sen.
    pub expected_sen: i64,
    /// The tip or fee the provider reports, in sen.
    #[serde(default)]
    pub fee_sen: Option<i64>,
    /// Sent in `additionalInfo.approvalCode` of a paid answer; empty = six digits, another number for each of a million payments.
    #[serde(default)]
    pub approval_code: String,
    /// The instant all offsets of the script count from (UTC); absent = when the payment is added.
    #[serde(default)]
    pub registered_at: Option<DateTime<Utc>>,
    /// Money that was truly taken, in sen, from the beginning; absent = nothing until the first `00` is answered.
    #[serde(default)]
    pub taken_sen: Option<i64>,
    /// Money that went back behind the merchant's back (dashboard, support ticket), in sen.
    #[serde(default)]
    pub returned_outside_sen: i64,
    /// Whether `00` becomes `04` once everything taken went back.
    #[serde(default = "yes")]
    pub shows_reversal: bool,
    /// The n-th query gets the n-th answer, the last one repeats; empty = paid exactly.
    #[serde(default)]
    pub script: Vec<Answer>,
    /// The n-th refund call meets the n-th behaviour, the last one repeats; empty = every refund succeeds.
    #[serde(default)]
    pub refunds: Vec<RefundBehaviour>,
    /// What a refund call plays that does not simply succeed; the book counts it.
    #[serde(default)]
    pub refund_kind: Option<FaultKind>,
    /// What happens to a `partnerRefundNo` that is already known; absent = what the simulator was started with.
    #[serde(default)]
    pub repeat: Option<RepeatPolicy>,
}

impl SimPayment {
    /// A payment of the first client that every query answers as paid exactly.
    pub fn exact(partner_reference_no: impl Into<String>, expected_sen: i64) -> Self {
        Self {
            client_id: String::new(),
            partner_reference_no: partner_reference_no.into(),
            reference_no: String::new(),
            expected_sen,
            fee_sen: None,
            approval_code: String::new(),
            registered_at: None,
            taken_sen: None,
            returned_outside_sen: 0,
            shows_reversal: true,
            script: Vec::new(),
            refunds: Vec::new(),
            refund_kind: None,
            repeat: None,
        }
    }

    /// The same payment with another list of answers.
    #[must_use]
    pub fn answering(self, script: impl Into<Vec<Answer>>) -> Self {
        Self { script: script.into(), ..self }
    }

    /// The same payment with another list of refund behaviours.
    #[must_use]
    pub fn refunding(self, refunds: impl Into<Vec<RefundBehaviour>>) -> Self {
        Self { refunds: refunds.into(), ..self }
    }
}

const fn yes() -> bool {
    true
}

/// One answer to a query. The default says: paid, the expected amount, in rupiah, at registration, as DOKU spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// `latestTransactionStatus`: `00`…`07`, or anything a provider might invent (`14`).
    pub status: String,
    /// The amount to report, in sen; absent = the expected one.
    pub amount_sen: Option<i64>,
    /// The currency to report.
    pub currency: String,
    /// `paidTime` of a paid or reversed answer.
    pub paid_time: PaidTime,
    /// How amounts are spelt.
    pub amount_style: AmountStyle,
    /// Codes (`responseCode`, `serviceCode`, `latestTransactionStatus`) as JSON numbers instead of strings.
    pub integer_codes: bool,
    /// Which references come back.
    pub echo: Echo,
    /// What goes wrong below or instead of the answer.
    pub fault: Option<Fault>,
    /// Milliseconds to wait before answering.
    pub slow_ms: u64,
    /// Not given before so many seconds after registration: until then the answer before it repeats (`01` if there is none).
    pub not_before_secs: Option<i64>,
    /// Repeats until so many seconds after registration, and is never given afterwards.
    pub until_secs: Option<i64>,
    /// Names another payment of the same order: `additionalInfo.approvalCode`. The first time its money is taken, too.
    pub approval_code: Option<String>,
    /// So many sen go back behind the merchant's back when this is first said.
    pub returns_outside_sen: Option<i64>,
    /// What it plays; the book counts it, and a notification of that kind leaves with it.
    pub plays: Option<FaultKind>,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            status: "00".to_owned(),
            amount_sen: None,
            currency: "IDR".to_owned(),
            paid_time: PaidTime::default(),
            amount_style: AmountStyle::default(),
            integer_codes: false,
            echo: Echo::default(),
            fault: None,
            slow_ms: 0,
            not_before_secs: None,
            until_secs: None,
            approval_code: None,
            returns_outside_sen: None,
            plays: None,
        }
    }
}

impl Answer {
    /// An answer with this `latestTransactionStatus`.
    pub fn status(code: impl Into<String>) -> Self {
        Self { status: code.into(), ..Self::default() }
    }

    /// Paid, with the expected amount.
    pub fn paid() -> Self {
        Self::default()
    }

    /// Paid, with another amount, in sen.
    pub fn paid_amount(amount_sen: i64) -> Self {
        Self { amount_sen: Some(amount_sen), ..Self::default() }
    }

    /// No answer but a fault.
    pub fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// HTTP 404 with case 01, transaction not found.
    pub fn not_found() -> Self {
        Self::fault(Fault::http(404, "01"))
    }
}

/// When the provider says that it was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaidTime {
    /// So many seconds after registration, in WIB.
    AfterSecs(i64),
    /// This very text.
    Text(String),
    /// The field is missing.
    Absent,
}

impl Default for PaidTime {
    fn default() -> Self {
        Self::AfterSecs(0)
    }
}

/// How amounts are spelt on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountStyle {
    /// The provider's usual spelling: `1200` in DOKU's samples, where an amount with sen is spelt `1200.25`; `1200.0` at
    /// Brick; a text at the others.
    #[default]
    Number,
    /// `1200.00`, still a number.
    Decimal,
    /// `"1200.00"` (the standard).
    Text,
    /// `null`.
    Null,
    /// No amount at all.
    Absent,
}

/// Which references an answer echoes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Echo {
    /// Those of the payment.
    #[default]
    Right,
    /// Those of somebody else's payment.
    WrongReference,
    /// The right references, and a `merchantId` that is not the client's.
    WrongMerchant,
    /// None.
    None,
}

/// What goes wrong on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The request is held and then dropped; it had no effect.
    TimeoutBefore {
        /// Milliseconds until the connection is closed.
        ms: u64,
    },
    /// The request had its effect; the answer never comes.
    TimeoutAfter {
        /// Milliseconds until the connection is closed.
        ms: u64,
    },
    /// The effect happens, then the connection is reset.
    Reset {
        /// Where in the answer.
        at: ResetAt,
    },
    /// An HTTP status with a SNAP body instead of the scripted answer.
    Http {
        /// HTTP status.
        http_status: u16,
        /// The last two digits of the response code.
        #[serde(default = "general_case")]
        case_code: String,
        /// The whole response code, where it should not fit the status or the service.
        #[serde(default)]
        response_code: Option<String>,
        /// `Retry-After`, in seconds.
        #[serde(default)]
        retry_after_secs: Option<u64>,
    },
    /// An HTML page, as a gateway in front of the provider would send it.
    Html {
        /// HTTP status, 200 included.
        http_status: u16,
    },
    /// HTTP 200 with the first half of the scripted body.
    TruncatedJson,
}

fn general_case() -> String {
    "00".to_owned()
}

impl Fault {
    /// An HTTP status with the SNAP body of that status and case.
    pub fn http(http_status: u16, case_code: impl Into<String>) -> Self {
        Self::Http { http_status, case_code: case_code.into(), response_code: None, retry_after_secs: None }
    }

    /// Whether the call takes effect before the fault strikes.
    pub const fn strikes_after_effect(&self) -> bool {
        match self {
            Self::TimeoutAfter { .. } | Self::Reset { .. } | Self::TruncatedJson => true,
            Self::TimeoutBefore { .. } | Self::Http { .. } | Self::Html { .. } => false,
        }
    }
}

/// Where in an answer a connection is reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetAt {
    /// Before the status line.
    #[default]
    BeforeHeaders,
    /// After the head and half of the body.
    MidBody,
}

/// What a refund call meets. A call whose `partnerRefundNo` is already known moves no money again (see `RepeatPolicy`);
/// the behaviour then only shapes how its answer is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RefundBehaviour {
    /// 2007800 with the right echo.
    Ok,
    /// The money moves, then this fault instead of the answer.
    AfterEffect {
        /// How the answer is lost.
        fault: Fault,
    },
    /// No money moves; this fault instead of an answer.
    BeforeEffect {
        /// How the call is lost.
        fault: Fault,
    },
    /// 2027800: accepted; the money moves now or never.
    Accepted {
        /// Whether it moves.
        moves: bool,
    },
    /// A definite refusal with this seven-digit response code, such as `4037800`.
    Refuse {
        /// HTTP status, service code and case code.
        response_code: String,
    },
    /// The money asked for moves; the answer reports another amount.
    WrongAmount {
        /// The amount to report, in sen.
        amount_sen: i64,
    },
    /// The money moves; the answer has no `refundAmount`.
    MissingAmount,
    /// The money moves; each answer carries a new `refundNo`.
    OtherRefundNo,
    /// The money moves and 500 is said, and said again to so many repeats of the same number; a new number pays anew.
    Sticky {
        /// Repeats that hear the same.
        replays: u32,
    },
}

/// How a provider treats a `partnerRefundNo` that it already knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepeatPolicy {
    /// The first answer again, whatever the repeat asks for.
    #[default]
    #[serde(rename = "same_answer")]
    SameAnswer,
    /// 409xx01.
    #[serde(rename = "409xx01")]
    Conflict,
    /// The first answer again for the identical body, 404xx18 for any other.
    #[serde(rename = "404xx18_when_different")]
    InconsistentWhenDifferent,
    /// A naive provider: it pays again, and beyond what was taken.
    #[serde(rename = "double")]
    Double,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_of_a_script_is_refused() {
        let misspelt = r#"{"partner_reference_no":"A1","expected_sen":1,"script":[{"statsu":"00"}]}"#;
        assert!(serde_json::from_str::<SimPayment>(misspelt).is_err());
    }
}
