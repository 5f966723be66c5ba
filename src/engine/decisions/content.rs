//! What a journal entry says: all that a decision stood on and all that it led to, as canonical JSON. Written here, and read
//! here by a replay, which decides the same again.

use std::{borrow::Cow, collections::BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        case::{Case, Prior},
        chain,
        decide::{Action, Decision},
        explain::Reason,
        fact::Fact,
        money::Sen,
        order::OrderStatus,
        posting::LedgerAccount,
        refund::{Candidate, Channel, Proof, Refund, RefundState, Transfer},
        state::{Flag, Flags, State},
        switch::Level,
    },
    engine::{
        decisions::{Act, Occasion, words},
        rulebook::Rulebook,
    },
    store::cases::Loaded,
};

/// What a journal entry says, its keys in the alphabet's order: canonical, because it is hashed as it stands. Written
/// straight into its text; a tree of values in between costs more than the rule that decided.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Act>,
    amount: String,
    at: DateTime<Utc>,
    because: &'a [Reason],
    ceiling: Level,
    closed_seq: Option<i32>,
    duplicate_reference: bool,
    evidence: String,
    flags: Vec<&'static str>,
    flags_resolved: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<Vec<ContentRefund<'a>>>,
    kind: &'a str,
    order_status: &'static str,
    paid_amount: Option<String>,
    paid_at: Option<DateTime<Utc>>,
    partner_reference_no: &'a str,
    policy: &'a str,
    postings: Vec<ContentLine>,
    profile: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    qr_cancel_asked: bool,
    refunded_outside: String,
    refunds: Vec<ContentRefund<'a>>,
    sightings: Vec<ContentSighting>,
    state: &'static str,
    upto_seq: i32,
}

#[derive(Serialize)]
struct ContentLine {
    account: LedgerAccount,
    amount: String,
}

impl<'a> Content<'a> {
    /// `given`: the refunds as the decision found them, where it left others.
    pub(super) fn of(
        loaded: &'a Loaded,
        rulebook: &'a Rulebook,
        decision: &'a Decision,
        now: DateTime<Utc>,
        occasion: &'a Occasion,
        given: Option<&'a [Refund]>,
    ) -> Self {
        let case = &loaded.case;
        let seen = case.facts.iter().filter(|f| f.sightings > 1);
        let lines = decision.postings.iter();
        let all = |refunds: &'a [Refund]| refunds.iter().map(ContentRefund::from).collect();
        Self {
            account: &case.order.account,
            act: occasion.act.as_ref(),
            amount: case.order.amount.to_string(),
            at: now,
            because: &decision.because,
            ceiling: case.ceiling,
            closed_seq: decision.closed_seq,
            duplicate_reference: case.duplicate_reference,
            evidence: chain::evidence(&case.facts, &case.changes, &case.resolutions),
            flags: words(&decision.flags.open),
            flags_resolved: words(&decision.flags.resolved),
            given: given.map(all),
            kind: &occasion.kind,
            order_status: case.order.order_status.as_str(),
            paid_amount: decision.paid_amount.map(|a| a.to_string()),
            paid_at: decision.paid_at,
            partner_reference_no: &case.order.partner_reference_no,
            policy: &rulebook.policy_hash,
            postings: lines.map(|p| ContentLine { account: p.account, amount: Sen::new(p.sen).to_string() }).collect(),
            profile: rulebook.profile_hash(&case.order.account),
            qr_cancel_asked: case.qr_cancel_asked && !decision.actions.contains(&Action::CancelQr),
            refunded_outside: case.refunded_outside.to_string(),
            refunds: all(&case.refunds),
            sightings: seen.map(ContentSighting::from).collect(),
            state: decision.state.as_str(),
            upto_seq: loaded.seq,
        }
    }
}

/// A refund as a decision found or left it: everything but when it is looked at next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContentRefund<'a> {
    amount: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    api_closed: bool,
    approved_at: Option<DateTime<Utc>>,
    approved_by: Option<Cow<'a, str>>,
    attempts: i32,
    blocked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<Candidate>,
    cause: Flag,
    channel: Channel,
    content_hash: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denied_by: Option<Cow<'a, str>>,
    last_ended_at: Option<DateTime<Utc>>,
    last_sent_at: Option<DateTime<Utc>>,
    needs_person: Option<Flag>,
    partner_refund_no: Option<Cow<'a, str>>,
    proof: Option<Proof>,
    proposed_by: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    put_off_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    put_off_until: Option<DateTime<Utc>>,
    reason: Option<Cow<'a, str>>,
    refund_no: Option<Cow<'a, str>>,
    /// Fingerprint of the bytes that are sent.
    request: Option<Cow<'a, str>>,
    resends: i32,
    sequence: i32,
    state: RefundState,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<Transfer>,
    unanswered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_ends_at: Option<DateTime<Utc>>,
}

impl<'a> From<&'a Refund> for ContentRefund<'a> {
    fn from(refund: &'a Refund) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        Self {
            amount: refund.amount.to_string(),
            api_closed: refund.api_closed,
            approved_at: refund.approved_at,
            approved_by: text(&refund.approved_by),
            attempts: refund.attempts,
            blocked: refund.blocked,
            candidate: refund.candidate.clone(),
            cause: refund.cause,
            channel: refund.channel,
            content_hash: Cow::Borrowed(&refund.content_hash),
            denied_by: text(&refund.denied_by),
            last_ended_at: refund.last_ended_at,
            last_sent_at: refund.last_sent_at,
            needs_person: refund.needs_person,
            partner_refund_no: text(&refund.partner_refund_no),
            proof: refund.proof,
            proposed_by: Cow::Borrowed(&refund.proposed_by),
            put_off_since: refund.put_off_since,
            put_off_until: refund.put_off_until,
            reason: text(&refund.reason),
            refund_no: text(&refund.refund_no),
            request: refund.request_body.as_deref().map(|body| Cow::Owned(chain::fingerprint(body))),
            resends: refund.resends,
            sequence: refund.sequence,
            state: refund.state,
            transfer: refund.transfer.clone(),
            unanswered: refund.unanswered,
            why: text(&refund.why),
            window_ends_at: refund.window_ends_at,
        }
    }
}

impl ContentRefund<'_> {
    /// The refund as it was. Its id and the bytes that are sent are those of the same refund today.
    fn as_it_was(&self, same: Option<&Refund>) -> Option<Refund> {
        let text = |text: &Option<Cow<'_, str>>| text.as_ref().map(|t| t.clone().into_owned());
        let amount = Sen::parse(&self.amount).ok()?;
        let body = same.and_then(|r| r.request_body.clone());
        Some(Refund {
            id: same.map_or(0, |r| r.id),
            cause: self.cause,
            channel: self.channel,
            sequence: self.sequence,
            amount,
            state: self.state,
            proposed_by: self.proposed_by.clone().into_owned(),
            why: text(&self.why),
            approved_by: text(&self.approved_by),
            approved_at: self.approved_at,
            denied_by: text(&self.denied_by),
            content_hash: self.content_hash.clone().into_owned(),
            partner_refund_no: text(&self.partner_refund_no),
            request_body: body.filter(|body| self.request.as_deref() == Some(&chain::fingerprint(body))),
            attempts: self.attempts,
            unanswered: self.unanswered,
            last_sent_at: self.last_sent_at,
            last_ended_at: self.last_ended_at,
            refund_no: text(&self.refund_no),
            proof: self.proof,
            reason: text(&self.reason),
            blocked: self.blocked,
            resends: self.resends,
            window_ends_at: self.window_ends_at,
            transfer: self.transfer.clone(),
            put_off_since: self.put_off_since,
            put_off_until: self.put_off_until,
            api_closed: self.api_closed,
            candidate: self.candidate.clone(),
            needs_person: self.needs_person,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ContentSighting {
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    last_sent_at: DateTime<Utc>,
    n: i32,
    seq: i32,
}

impl From<&Fact> for ContentSighting {
    fn from(fact: &Fact) -> Self {
        Self {
            first_at: fact.answered_at,
            last_at: fact.last_at,
            last_sent_at: fact.last_sent_at,
            n: fact.sightings,
            seq: fact.seq,
        }
    }
}

/// What a replay reads of an entry: what the decision had before it that facts and changes do not tell.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Remembered {
    act: Option<Act>,
    /// When it was decided.
    pub(crate) at: DateTime<Utc>,
    ceiling: Level,
    closed_seq: Option<i32>,
    duplicate_reference: bool,
    flags: BTreeSet<Flag>,
    flags_resolved: BTreeSet<Flag>,
    given: Option<Vec<ContentRefund<'static>>>,
    /// What it was decided upon: `decision`, or the refund transition.
    kind: String,
    order_status: OrderStatus,
    paid_amount: Option<String>,
    /// The policy's fingerprint.
    pub(crate) policy: String,
    /// The profile's fingerprint.
    pub(crate) profile: String,
    #[serde(default)]
    qr_cancel_asked: bool,
    refunded_outside: String,
    refunds: Vec<ContentRefund<'static>>,
    sightings: Vec<ContentSighting>,
    state: State,
    /// What it had seen.
    pub(crate) upto_seq: i32,
}

impl Remembered {
    /// What it was decided upon; an entry is made of it whatever it changes.
    pub(crate) fn occasion(&self) -> Occasion {
        Occasion { act: self.act.clone(), ..Occasion::refund(&self.kind) }
    }

    /// What this decision left for the next one.
    pub(crate) fn prior(&self) -> Prior {
        // The table keeps what is open and what is listed, so that is what the next decision gets.
        let flags = Flags { open: self.flags.clone(), resolved: self.flags_resolved.clone() };
        Prior { state: self.state, flags, closed_seq: self.closed_seq }
    }

    /// Paid, as this decision left it.
    pub(crate) fn paid_amount(&self) -> Option<Sen> {
        self.paid_amount.as_deref().and_then(|amount| Sen::parse(amount).ok())
    }

    /// Turns a case as it stands today into the one that this decision had before it, but for what the decision before it
    /// left: prior and balances are the caller's.
    pub(crate) fn restore(&self, case: &mut Case) {
        for fact in &mut case.facts {
            let seen = self.sightings.iter().find(|s| s.seq == fact.seq);
            fact.sightings = seen.map_or(1, |s| s.n);
            fact.last_at = seen.map_or(fact.answered_at, |s| s.last_at);
            fact.last_sent_at = seen.map_or(fact.sent_at, |s| s.last_sent_at);
        }
        case.order.order_status = self.order_status;
        case.ceiling = self.ceiling;
        case.duplicate_reference = self.duplicate_reference;
        case.qr_cancel_asked = self.qr_cancel_asked;
        case.refunded_outside = Sen::parse(&self.refunded_outside).unwrap_or(Sen::ZERO);
        let given = self.given.as_ref().unwrap_or(&self.refunds);
        // Refunds come and stay, in the order of their ids.
        let was = given.iter().enumerate().filter_map(|(nth, refund)| refund.as_it_was(case.refunds.get(nth)));
        case.refunds = was.collect();
    }

    /// The refunds as the decision left them.
    pub(crate) fn refunds_left(&self) -> Vec<Refund> {
        self.refunds.iter().filter_map(|refund| refund.as_it_was(None)).collect()
    }
}
