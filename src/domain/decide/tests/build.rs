//! Cases, answers and terms, told in few words. Times are seconds after the order was made.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeZone as _, Utc};

use crate::domain::{
    case::{Case, Prior, Terms},
    decide::{Decision, decide},
    explain::Rule,
    fact::{Answer, Echo, Fact, Source},
    money::Sen,
    observation::{Observation, StatusMap, StatusMeaning},
    order::{Direction, Order, OrderChange, OrderStatus},
    policy::{Policy, RefundMode},
    posting::LedgerAccount,
    profile::{Ladder, Profile, RefundAbility, RefundRepeat, RequiredReferences},
    refund::{Channel, POLICY_ACTOR, Refund, RefundState},
    refund_codes::RefundCodes,
    state::Flag,
    switch::Level,
    window::RefundWindow,
};

/// Validity of every test order, seconds.
pub(crate) const VALID_SECS: i64 = 900;
pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// `secs` after the order was made.
pub(crate) fn t(secs: i64) -> DateTime<Utc> {
    let start = Utc.with_ymd_and_hms(2026, 11, 19, 3, 0, 0).single().expect("a date");
    crate::domain::order::later(start, secs)
}

pub(crate) fn profile() -> Profile {
    use Observation::{Absent, Cancelled, Failed, InFlight, Open, Paid, Reversed};
    let meanings = [Paid, Open, InFlight, Open, Reversed, Cancelled, Failed, Absent];
    let table = (0..).zip(meanings).map(|(n, means): (i32, _)| {
        let meaning = StatusMeaning { means, is_final: false, note: String::new() };
        (format!("{n:02}"), meaning)
    });
    Profile {
        provider: "doku".into(),
        status: StatusMap::try_new(table.collect()).expect("a whole table"),
        required: RequiredReferences::default(),
        required_out: Some(RequiredReferences::default()),
        default_validity_secs: 30 * DAY,
        paid_time_trusted: true,
        payment_id_is_unique: true,
        cancel_qr: false,
        refund: Some(RefundAbility {
            partial: true,
            repeat: RefundRepeat::Safe,
            ladder_secs: vec![30, 120, 600, 3600],
            window: RefundWindow::default(),
            min_amount: Sen::rupiah(1),
            later_for_secs: 3 * DAY,
            codes: RefundCodes::default(),
        }),
        ladder: Ladder { default: vec![5, 15, 60, 300, 1800, 7200], by_observation: BTreeMap::new() },
    }
}

/// The policy of the contract, in mode `auto`.
pub(crate) fn auto() -> Policy {
    let mut policy = Policy::default();
    policy.refunds.mode = RefundMode::Auto;
    policy
}

/// An order over Rp 100 000, valid for a quarter of an hour, of which nothing is known.
pub(crate) fn case() -> Case {
    Case {
        order: Order {
            id: 7,
            account: "doku-main".into(),
            partner_reference_no: "INV-1".into(),
            reference_no: None,
            external_id: None,
            direction: Direction::In,
            amount: Sen::rupiah(100_000),
            currency: "IDR".into(),
            tip: None,
            order_status: OrderStatus::Open,
            created_at: t(0),
            expires_at: Some(t(VALID_SECS)),
        },
        changes: Vec::new(),
        facts: Vec::new(),
        refunds: Vec::new(),
        prior: Prior::default(),
        duplicate_reference: false,
        qr_cancel_asked: false,
        outages: Vec::new(),
        refunded_outside: Sen::ZERO,
        resolutions: Vec::new(),
        ceiling: Level::Auto,
        balances: BTreeMap::new(),
    }
}

/// An answer about our payment that says this.
pub(crate) fn says(observation: Observation) -> Answer {
    let mut answer = Answer::indeterminate("");
    answer.observation = observation;
    answer.echo = Echo::Right;
    answer.doubt = None;
    answer
}

/// PAID, so many rupiah.
pub(crate) fn paid(rupiah: i64) -> Answer {
    let mut answer = says(Observation::Paid);
    answer.amount = Some(Sen::rupiah(rupiah));
    answer.currency = Some("IDR".into());
    answer.payment_id = Some("RRN-1".into());
    answer
}

/// No answer.
pub(crate) fn silence() -> Answer {
    Answer::indeterminate("timeout")
}

/// An answer about somebody else's payment.
pub(crate) fn wrong() -> Answer {
    let mut answer = silence();
    answer.echo = Echo::Wrong;
    answer.doubt = Some("identity".into());
    answer
}

/// A policy's refund in this state, approved by the policy where it got so far; id 1, sequence 1.
pub(crate) fn refund(cause: Flag, rupiah: i64, state: RefundState) -> Refund {
    Refund {
        id: 1,
        cause,
        channel: Channel::Api,
        sequence: 1,
        amount: Sen::rupiah(rupiah),
        state,
        proposed_by: POLICY_ACTOR.into(),
        approved_by: (state != RefundState::Proposed).then(|| POLICY_ACTOR.into()),
        why: None,
        approved_at: None,
        denied_by: None,
        content_hash: String::new(),
        partner_refund_no: None,
        request_body: None,
        attempts: 0,
        unanswered: false,
        last_sent_at: None,
        last_ended_at: None,
        refund_no: None,
        proof: None,
        reason: None,
        blocked: false,
        resends: 0,
        window_ends_at: None,
        transfer: None,
        put_off_since: None,
        put_off_until: None,
        api_closed: false,
        candidate: None,
        needs_person: None,
    }
}

pub(crate) fn decided_by(case: &Case, policy: &Policy, secs: i64) -> Decision {
    let profile = profile();
    let terms = Terms { profile: Some(&profile), policy };
    decide(case, &terms, t(secs))
}

pub(crate) fn decided(case: &Case, secs: i64) -> Decision {
    decided_by(case, &auto(), secs)
}

pub(crate) fn row(decision: &Decision) -> String {
    format!("{}{{{}}}", decision.state.as_str(), decision.flags.listed().join(","))
}

pub(crate) fn rules(decision: &Decision) -> Vec<Rule> {
    decision.because.iter().map(|r| r.rule).collect()
}

pub(crate) fn balances(decision: &Decision) -> Vec<(LedgerAccount, i64)> {
    decision.postings.iter().map(|p| (p.account, p.sen / 100)).collect()
}

impl Case {
    /// Adds the answer of a query that left at `secs` and was recorded a second later, as a fact of its own.
    pub(crate) fn hear(mut self, secs: i64, answer: Answer) -> Self {
        let seq = self.last_seq() + 1;
        self.facts.push(Fact {
            seq,
            source: Source::Query,
            answer: std::sync::Arc::new(answer),
            sent_at: t(secs),
            answered_at: t(secs + 1),
            last_at: t(secs + 1),
            last_sent_at: t(secs),
            sightings: 1,
            bad_weather: false,
        });
        self
    }

    /// Adds a provider's notification that claims this.
    pub(crate) fn told(mut self, secs: i64, claim: Answer) -> Self {
        self = self.hear(secs, claim);
        if let Some(fact) = self.facts.last_mut() {
            fact.source = Source::Notification;
        }
        self
    }

    /// The merchant changes the order's status.
    pub(crate) fn becomes(mut self, secs: i64, to: OrderStatus) -> Self {
        let seq = self.last_seq() + 1;
        self.changes.push(OrderChange { seq, at: t(secs), from: self.order.order_status, to });
        self.order.order_status = to;
        self
    }
}
