//! The merchant's choices about money, as plain data: how long to wait, what each flag may do, how much may leave.
//! No rule lives here and nothing is checked here: `decide` applies a policy, `config` refuses the ones that must not be.
//!
//! Every decision stores the hash of the policy it was made under. The canonical form is this struct serialised as JSON;
//! fields are declared in alphabetical order so that the text does not depend on who wrote it.

use serde::{Deserialize, Serialize};

const MINUTE_SECS: i64 = 60;
const HOUR_SECS: i64 = 60 * MINUTE_SECS;
const SEN_PER_RUPIAH: i64 = 100;

/// What a flag lets happen to the money that stands under it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagAction {
    /// The merchant keeps it and may fulfil; the flag is listed as resolved.
    Accept,
    /// It stands in suspense until a person acts.
    Hold,
    /// What was paid above the expected amount goes back.
    RefundDifference,
    /// All that was paid goes back.
    RefundFull,
}

impl FlagAction {
    /// Every action, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::Hold, Self::RefundFull, Self::RefundDifference, Self::Accept];

    /// The word used in `jobs.toml`, in the journal and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Hold => "hold",
            Self::RefundDifference => "refund_difference",
            Self::RefundFull => "refund_full",
        }
    }
}

/// Whether refunds leave by themselves.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundMode {
    /// Within the limits, a refund leaves without a person.
    Auto,
    /// No refund leaves, also none that a person approved.
    Off,
    /// Refunds are proposed and wait for an approver.
    Propose,
}

impl RefundMode {
    /// Every mode, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Propose, Self::Auto];

    /// The one of both that lets less leave.
    #[must_use]
    pub const fn lower(self, other: Self) -> Self {
        match (self, other) {
            (Self::Off, _) | (_, Self::Off) => Self::Off,
            (Self::Propose, _) | (_, Self::Propose) => Self::Propose,
            (Self::Auto, Self::Auto) => Self::Auto,
        }
    }

    /// The word used in `jobs.toml`, in the journal and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Propose => "propose",
        }
    }
}

/// The action of each flag that leaves a choice. All other flags hold, whatever a configuration says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct FlagActions {
    /// Two payments with different identity came for one order.
    pub duplicate_payment: FlagAction,
    /// More than expected came.
    pub overpaid: FlagAction,
    /// The order was cancelled, and never fulfilled, when the first payment was settled.
    pub paid_after_cancel: FlagAction,
    /// The row was closed as unpaid when the first payment was seen.
    pub paid_after_close: FlagAction,
    /// The payment is proven to have come after the order expired.
    pub paid_late: FlagAction,
    /// Less than expected came.
    pub underpaid: FlagAction,
}

impl FlagActions {
    /// The flags that leave a choice, sorted.
    pub const CONFIGURABLE: [&'static str; 6] =
        ["duplicate_payment", "overpaid", "paid_after_cancel", "paid_after_close", "paid_late", "underpaid"];

    /// The flags that always hold: the blockers, and a cancellation that came after the payment. Sorted.
    pub const ALWAYS_HOLD: [&'static str; 10] = [
        "amount_changed",
        "cancelled_after_paid",
        "currency",
        "duplicate_reference",
        "identity",
        "refund_amount_differs",
        "refund_unknown",
        "refunded_outside",
        "regression",
        "scale",
    ];

    /// The action of the flag of that name; a flag without a choice holds.
    pub fn action(&self, flag_name: &str) -> FlagAction {
        match flag_name {
            "duplicate_payment" => self.duplicate_payment,
            "overpaid" => self.overpaid,
            "paid_after_cancel" => self.paid_after_cancel,
            "paid_after_close" => self.paid_after_close,
            "paid_late" => self.paid_late,
            "underpaid" => self.underpaid,
            _ => FlagAction::Hold,
        }
    }
}

impl Default for FlagActions {
    fn default() -> Self {
        Self {
            duplicate_payment: FlagAction::Hold,
            overpaid: FlagAction::RefundDifference,
            paid_after_cancel: FlagAction::RefundFull,
            paid_after_close: FlagAction::Hold,
            paid_late: FlagAction::Hold,
            underpaid: FlagAction::Hold,
        }
    }
}

/// How many refunds, how much money and which share may leave in a while before refunds stop by themselves.
/// `None` sets no limit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct RefundBreaker {
    /// Refunds sent per account in any 24 hours.
    pub count_per_day: Option<u32>,
    /// Refunds sent per account in any hour.
    pub count_per_hour: Option<u32>,
    /// Percent of the account's paid amount of the last 24 hours.
    pub ratio_per_day_percent: Option<u32>,
    /// Percent of the account's paid amount of the last hour.
    pub ratio_per_hour_percent: Option<u32>,
    /// Money sent back per account in any 24 hours, in sen.
    pub sen_per_day: Option<i64>,
    /// Money sent back per account in any hour, in sen.
    pub sen_per_hour: Option<i64>,
}

impl RefundBreaker {
    /// Is anything held against what came in?
    #[must_use]
    pub fn has_ratio(&self) -> bool {
        self.ratio_per_day_percent.is_some() || self.ratio_per_hour_percent.is_some()
    }
}

/// What is searched for before money leaves: another order that it may belong to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct CounterEvidence {
    /// Orders that wait for the same amount, or had it paid, within `within_secs`.
    pub same_amount: bool,
    /// Orders that carry a payment of the same id and amount, paid within `within_secs`: where its id alone proves nothing.
    /// Left out where it is off, as policies have it that are older than this search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_id_and_amount: bool,
    /// Orders that carry the same payment, where its id is unique at the provider.
    pub same_payment: bool,
    /// How near in time an order counts that is found by its amount, in seconds.
    pub within_secs: i64,
}

impl Default for CounterEvidence {
    fn default() -> Self {
        Self { same_amount: false, same_id_and_amount: false, same_payment: true, within_secs: 15 * MINUTE_SECS }
    }
}

/// What a cause's refunds are held to beside what all refunds are.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct CauseTerms {
    /// Limits of this cause alone.
    pub breaker: RefundBreaker,
    /// Lower than `[refunds] mode`, where it is.
    pub mode: Option<RefundMode>,
}

/// The terms of each flag for which a rule may return money.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the flag of its name")]
pub struct ByCause {
    pub duplicate_payment: CauseTerms,
    pub overpaid: CauseTerms,
    pub paid_after_cancel: CauseTerms,
    pub paid_after_close: CauseTerms,
    pub paid_late: CauseTerms,
    pub underpaid: CauseTerms,
}

impl ByCause {
    /// The terms of the flag of that name; no other flag has any.
    pub fn terms(&self, flag_name: &str) -> Option<&CauseTerms> {
        match flag_name {
            "duplicate_payment" => Some(&self.duplicate_payment),
            "overpaid" => Some(&self.overpaid),
            "paid_after_cancel" => Some(&self.paid_after_cancel),
            "paid_after_close" => Some(&self.paid_after_close),
            "paid_late" => Some(&self.paid_late),
            "underpaid" => Some(&self.underpaid),
            _ => None,
        }
    }
}

/// The limits of money that leaves.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct RefundPolicy {
    /// Time after which a person's approval of an unsent refund is void, in seconds.
    pub approval_ttl_secs: i64,
    /// Largest refund that mode `auto` sends without an approver, in sen.
    pub auto_limit_sen: i64,
    /// Limits that stop an account's refunds when passed.
    pub breaker: RefundBreaker,
    /// Terms of single causes.
    pub by_cause: ByCause,
    /// What is searched for before money leaves.
    pub counter_evidence: CounterEvidence,
    /// Largest sum reserved per account and WIB day, in sen.
    pub daily_budget_sen: i64,
    /// Smallest refund worth sending, in sen.
    pub min_refund_sen: i64,
    /// Whether refunds leave by themselves.
    pub mode: RefundMode,
    /// Byte-identical resends of one refund number before a person must look.
    pub resends: u32,
}

impl RefundPolicy {
    /// The configured mode of a cause's refunds.
    pub fn mode_of(&self, flag_name: &str) -> RefundMode {
        let own = self.by_cause.terms(flag_name).and_then(|terms| terms.mode);
        own.map_or(self.mode, |own| self.mode.lower(own))
    }
}

impl Default for RefundPolicy {
    fn default() -> Self {
        Self {
            approval_ttl_secs: 24 * HOUR_SECS,
            auto_limit_sen: 1_000_000 * SEN_PER_RUPIAH,
            breaker: RefundBreaker::default(),
            by_cause: ByCause::default(),
            counter_evidence: CounterEvidence::default(),
            daily_budget_sen: 20_000_000 * SEN_PER_RUPIAH,
            min_refund_sen: SEN_PER_RUPIAH,
            mode: RefundMode::Propose,
            resends: 5,
        }
    }
}

/// Everything the money rules may be told.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Negative answers after validity and watch that close a row.
    pub close_answers: u32,
    /// Time over which those answers must be spread, in seconds.
    pub close_spread_secs: i64,
    /// Time between an answer and the query that confirms it, in seconds.
    pub confirm_after_secs: i64,
    /// What each flag may do.
    pub flags: FlagActions,
    /// The limits of money that leaves.
    pub refunds: RefundPolicy,
    /// Time after validity and watch until an unanswered row becomes a person's, in seconds.
    pub stuck_after_secs: i64,
    /// Time after validity for which a row is still watched, in seconds.
    pub watch_secs: i64,
}

impl Policy {
    /// The action of the flag of that name; a flag without a choice holds.
    pub fn action(&self, flag_name: &str) -> FlagAction {
        self.flags.action(flag_name)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            close_answers: 3,
            close_spread_secs: 2 * HOUR_SECS,
            confirm_after_secs: MINUTE_SECS,
            flags: FlagActions::default(),
            refunds: RefundPolicy::default(),
            stuck_after_secs: 24 * HOUR_SECS,
            watch_secs: 48 * HOUR_SECS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_has_its_keys_in_alphabetical_order() {
        let written = serde_json::to_string(&Policy::default()).unwrap();
        let breaker = "\"breaker\":{\"count_per_day\":null,\"count_per_hour\":null,\"ratio_per_day_percent\":null,\
             \"ratio_per_hour_percent\":null,\"sen_per_day\":null,\"sen_per_hour\":null}";
        let causes = FlagActions::CONFIGURABLE.map(|flag| format!("\"{flag}\":{{{breaker},\"mode\":null}}")).join(",");
        assert_eq!(
            written,
            format!(
                "{{\"close_answers\":3,\"close_spread_secs\":7200,\"confirm_after_secs\":60,\"flags\":{{\"duplicate_payment\":\"hold\",\
                 \"overpaid\":\"refund_difference\",\"paid_after_cancel\":\"refund_full\",\"paid_after_close\":\"hold\",\"paid_late\":\"hold\",\
                 \"underpaid\":\"hold\"}},\"refunds\":{{\"approval_ttl_secs\":86400,\"auto_limit_sen\":100000000,{breaker},\"by_cause\":{{{causes}}},\
                 \"counter_evidence\":{{\"same_amount\":false,\"same_payment\":true,\"within_secs\":900}},\
                 \"daily_budget_sen\":2000000000,\"min_refund_sen\":100,\"mode\":\"propose\",\"resends\":5}},\"stuck_after_secs\":86400,\
                 \"watch_secs\":172800}}"
            )
        );
        assert_eq!(serde_json::from_str::<Policy>(&written).unwrap(), Policy::default());
    }

    #[test]
    fn a_policy_older_than_a_search_did_not_make_it_and_keeps_its_text() {
        let older = r#"{"same_amount":false,"same_payment":true,"within_secs":900}"#;
        let read: CounterEvidence = serde_json::from_str(older).unwrap();
        assert!(!read.same_id_and_amount);
        assert_eq!(serde_json::to_string(&read).unwrap(), older);
    }

    #[test]
    fn a_causes_own_mode_only_ever_lowers() {
        use RefundMode::{Auto, Off, Propose};
        let mut policy = RefundPolicy { mode: Auto, ..RefundPolicy::default() };
        policy.by_cause.overpaid.mode = Some(Propose);
        assert_eq!(
            [policy.mode_of("overpaid"), policy.mode_of("paid_late"), policy.mode_of("requested")],
            [Propose, Auto, Auto]
        );
        policy.by_cause.overpaid.mode = Some(Auto);
        policy.mode = Off;
        assert_eq!(policy.mode_of("overpaid"), Off);
    }

    #[test]
    fn a_blocker_holds_whatever_the_policy() {
        let policy = Policy::default();
        for flag in FlagActions::ALWAYS_HOLD {
            assert_eq!(policy.action(flag), FlagAction::Hold, "{flag}");
        }
        assert_eq!(policy.action("overpaid"), FlagAction::RefundDifference);
        assert_eq!(policy.action("paid_after_cancel"), FlagAction::RefundFull);
    }
}
