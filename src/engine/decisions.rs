//! From a loaded case to what is written: runs `decide`, carries its actions into the refunds, and collects rows,
//! journal entries and postings for one write. The only place where a decision becomes database rows.

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        case::Prior,
        chain::{self, Link},
        decide::{self, Action, Decision, TwoObservations},
        explain::Reason,
        money::Sen,
        posting::LedgerAccount,
        refund::{POLICY_ACTOR, Proof, Refund, RefundState},
        state::Flag,
        switch::Level,
    },
    engine::rulebook::Rulebook,
    store::{
        StoreError, Tx,
        cases::Loaded,
        refunds,
        settle::{self, Batch, Entry, RowUpdate},
    },
    telemetry::metrics,
};

/// How often a decision whose refunds expired is taken anew at most.
const AGAIN_MAX: usize = 3;

/// What one settle transaction writes.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows, facts, journal.
    pub batch: Batch,
    proposals: Vec<(i64, Refund, Option<DateTime<Utc>>)>,
    saves: Vec<(Refund, Option<DateTime<Utc>>)>,
    give_back: Vec<(String, Refund)>,
    reservations: Vec<(i64, Sen, Sen)>,
    wake: Vec<i64>,
}

/// What came with the decision.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// `decision`, or the refund transition that is decided with it.
    pub kind: String,
    /// Queries sent.
    pub checks: i32,
    /// Was an answer recorded now?
    pub answered: bool,
    /// Gives the row's lease back.
    pub release_lease: bool,
    /// A saga step saved these refunds itself; they still belong into the journal.
    pub refund_moved: bool,
    /// Who decided, where a person did.
    pub act: Option<Act>,
}

/// What a person did, for the journal.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Act {
    /// Who.
    pub by: String,
    /// Who asked for it before, where it took two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// What he said.
    pub why: String,
}

impl Occasion {
    /// One answer to one query.
    pub fn answer(release_lease: bool) -> Self {
        Self { kind: "decision".into(), checks: 1, answered: true, release_lease, refund_moved: false, act: None }
    }

    /// A step of the saga.
    pub fn refund(kind: &str) -> Self {
        Self { kind: kind.into(), checks: 0, answered: false, release_lease: false, refund_moved: true, act: None }
    }

    /// Nothing new was said; time or the configuration moved.
    pub fn look() -> Self {
        Self {
            kind: "decision".into(),
            checks: 0,
            answered: false,
            release_lease: true,
            refund_moved: false,
            act: None,
        }
    }

    /// A person decided; written down even where nothing else changes.
    pub fn person(kind: &str, act: Act) -> Self {
        Self { act: Some(act), ..Self::refund(kind) }
    }
}

impl Written {
    /// Decides a case as it stands in memory and adds all that follows. The case is left as decided.
    pub fn decide(&mut self, loaded: &mut Loaded, rulebook: &Rulebook, now: DateTime<Utc>, occasion: &Occasion) {
        let before = loaded.case.prior.clone();
        let mut decision = self.decide_once(loaded, rulebook, now, occasion);
        let again = Occasion { refund_moved: false, act: None, ..occasion.clone() };
        for _ in 0..AGAIN_MAX {
            // What expired made room: the same facts may ask for another refund.
            if !decision.actions.iter().any(|a| matches!(a, Action::Expire { .. })) {
                break;
            }
            decision = self.decide_once(loaded, rulebook, now, &again);
        }
        if before.state != decision.state || before.flags != decision.flags {
            self.batch.notices.push(notice(loaded, &decision));
        }
        self.settle_sums(loaded);
        let lives = |r: &Refund| r.state.occupies_cause() && r.state != RefundState::Confirmed;
        if occasion.answered && loaded.case.refunds.iter().any(lives) {
            self.wake.push(loaded.case.order.id);
        }
        self.batch.rows.push(row(loaded, &decision, now, occasion));
    }

    fn decide_once(
        &mut self,
        loaded: &mut Loaded,
        rulebook: &Rulebook,
        now: DateTime<Utc>,
        occasion: &Occasion,
    ) -> Decision {
        let decision = decide::decide(&loaded.case, &rulebook.terms(&loaded.case.order.account), now);
        let prior = &loaded.case.prior;
        let changed = occasion.refund_moved
            || prior.state != decision.state
            || prior.flags != decision.flags
            || prior.closed_seq != decision.closed_seq
            || loaded.paid_amount != decision.paid_amount
            || !decision.postings.is_empty()
            || !decision.actions.is_empty();
        self.carry_out(loaded, rulebook, &decision, now);
        loaded.case.prior =
            Prior { state: decision.state, flags: decision.flags.clone(), closed_seq: decision.closed_seq };
        loaded.paid_amount = decision.paid_amount;
        loaded.next_check_at = decision.next_check_at;
        for posting in &decision.postings {
            let balance = loaded.case.balances.entry(posting.account).or_insert(0);
            *balance = balance.saturating_add(posting.sen);
        }
        loaded.case.balances.retain(|_, sen| *sen != 0);
        if changed {
            let entry = entry(loaded, rulebook, &decision, now, occasion);
            loaded.journal_no = entry.entry_no;
            loaded.journal_hash = Some(entry.hash.to_vec());
            self.batch.entries.push(entry);
            for reason in &decision.because {
                metrics::decision(reason.rule.id());
            }
        }
        decision
    }

    fn carry_out(&mut self, loaded: &mut Loaded, rulebook: &Rulebook, decision: &Decision, now: DateTime<Utc>) {
        let stand = matches!(decide::two_observations(&loaded.case, &rulebook.policy), TwoObservations::Stand { .. });
        let due = if stand { Some(now) } else { decision.next_check_at };
        for action in &decision.actions {
            match action {
                Action::Propose { cause, amount, approve, content_hash } => {
                    let refund = proposal(*cause, *amount, *approve, content_hash.clone());
                    self.proposals.push((loaded.case.order.id, refund.clone(), if *approve { due } else { None }));
                    loaded.case.refunds.push(refund);
                }
                Action::Approve { refund_id, content_hash } => {
                    for refund in loaded.case.refunds.iter_mut().filter(|r| r.id == *refund_id) {
                        refund.state = RefundState::Approved;
                        refund.approved_by = Some(POLICY_ACTOR.into());
                        refund.content_hash.clone_from(content_hash);
                        refund.reason = None;
                        self.saves.push((refund.clone(), due));
                    }
                }
                Action::Expire { refund_id, reason } => {
                    for refund in loaded.case.refunds.iter_mut().filter(|r| r.id == *refund_id) {
                        if refund.state == RefundState::Reserved {
                            self.give_back.push((loaded.case.order.account.clone(), refund.clone()));
                        }
                        refund.state = RefundState::Expired;
                        refund.reason = Some(reason.clone());
                        self.saves.push((refund.clone(), None));
                    }
                }
            }
        }
    }

    /// The row's reservation and confirmed sum are folds of its refunds; written only when they moved.
    fn settle_sums(&mut self, loaded: &mut Loaded) {
        let sum = |keep: fn(RefundState) -> bool| {
            loaded.case.refunds.iter().filter(|r| keep(r.state)).fold(Sen::ZERO, |total, r| total.plus(r.amount))
        };
        let reserved = sum(RefundState::holds_reservation);
        let refunded = sum(|s| s == RefundState::Confirmed);
        if reserved != loaded.refund_reserved || refunded != loaded.refunded_amount {
            loaded.refund_reserved = reserved;
            loaded.refunded_amount = refunded;
            self.reservations.push((loaded.case.order.id, reserved, refunded));
        }
    }

    /// Writes everything in the transaction that holds the rows locked.
    pub async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        settle::write(tx, &self.batch).await?;
        for (refund, next_at) in &self.saves {
            refunds::save(tx, refund, *next_at, true).await?;
        }
        for (id, refund, next_at) in &mut self.proposals {
            refunds::propose(tx, *id, refund, *next_at).await?;
        }
        for (account, refund) in &self.give_back {
            refunds::give_back(tx, account, refund).await?;
        }
        for (id, reserved, refunded) in &self.reservations {
            refunds::set_reserved(tx, *id, *reserved, *refunded).await?;
        }
        refunds::wake_rows(tx, &self.wake).await
    }
}

/// A refund of the policy, not yet stored.
pub(crate) fn proposal(cause: Flag, amount: Sen, approve: bool, content_hash: String) -> Refund {
    Refund {
        id: 0,
        cause,
        sequence: 1,
        amount,
        state: if approve { RefundState::Approved } else { RefundState::Proposed },
        proposed_by: POLICY_ACTOR.into(),
        why: None,
        approved_by: approve.then(|| POLICY_ACTOR.into()),
        approved_at: None,
        denied_by: None,
        content_hash,
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
        needs_person: None,
    }
}

fn words(flags: &std::collections::BTreeSet<Flag>) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = flags.iter().map(|f| f.as_str()).collect();
    words.sort_unstable();
    words
}

fn row(loaded: &Loaded, decision: &Decision, now: DateTime<Utc>, occasion: &Occasion) -> RowUpdate {
    RowUpdate {
        id: loaded.case.order.id,
        state: decision.state,
        flags: decision.flags.listed(),
        flags_open: words(&decision.flags.open),
        paid_amount: decision.paid_amount,
        fee_amount: decision.fee_amount,
        paid_at: decision.paid_at,
        checks: occasion.checks,
        last_checked_at: occasion.answered.then_some(now),
        next_check_at: decision.next_check_at,
        seq: loaded.seq,
        closed_seq: decision.closed_seq,
        journal_no: loaded.journal_no,
        journal_hash: loaded.journal_hash.clone(),
        release_lease: occasion.release_lease,
    }
}

/// What a journal entry says, its keys in the alphabet's order: canonical, because it is hashed as it stands. Written
/// straight into its text; a tree of values in between costs more than the rule that decided.
#[derive(serde::Serialize)]
struct Content<'a> {
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Act>,
    at: DateTime<Utc>,
    because: &'a [Reason],
    ceiling: Level,
    closed_seq: Option<i32>,
    evidence: String,
    flags: Vec<&'static str>,
    flags_resolved: Vec<&'static str>,
    kind: &'a str,
    order_status: &'static str,
    paid_amount: Option<String>,
    paid_at: Option<DateTime<Utc>>,
    partner_reference_no: &'a str,
    policy: &'a str,
    postings: Vec<ContentLine>,
    profile: &'a str,
    refunded_outside: String,
    refunds: Vec<ContentRefund<'a>>,
    sightings: Vec<ContentSighting>,
    state: &'static str,
    upto_seq: i32,
}

#[derive(serde::Serialize)]
struct ContentLine {
    account: LedgerAccount,
    amount: String,
}

#[derive(serde::Serialize)]
struct ContentRefund<'a> {
    amount: String,
    approved_by: Option<&'a str>,
    attempts: i32,
    cause: &'static str,
    content_hash: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    denied_by: Option<&'a str>,
    partner_refund_no: Option<&'a str>,
    proof: Option<&'static str>,
    proposed_by: &'a str,
    sequence: i32,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl<'a> From<&'a Refund> for ContentRefund<'a> {
    fn from(refund: &'a Refund) -> Self {
        Self {
            amount: refund.amount.to_string(),
            approved_by: refund.approved_by.as_deref(),
            attempts: refund.attempts,
            cause: refund.cause.as_str(),
            content_hash: &refund.content_hash,
            denied_by: refund.denied_by.as_deref(),
            partner_refund_no: refund.partner_refund_no.as_deref(),
            proof: refund.proof.map(Proof::as_str),
            proposed_by: &refund.proposed_by,
            sequence: refund.sequence,
            state: refund.state.as_str(),
            why: refund.why.as_deref(),
        }
    }
}

#[derive(serde::Serialize)]
struct ContentSighting {
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    n: i32,
    seq: i32,
}

/// The journal entry of a decision. Its content names everything that the decision stood on.
fn entry(loaded: &Loaded, rulebook: &Rulebook, decision: &Decision, now: DateTime<Utc>, occasion: &Occasion) -> Entry {
    let case = &loaded.case;
    let seen = case.facts.iter().filter(|f| f.sightings > 1);
    let lines = decision.postings.iter();
    let content = json_text(&Content {
        account: &case.order.account,
        act: occasion.act.as_ref(),
        at: now,
        because: &decision.because,
        ceiling: case.ceiling,
        closed_seq: decision.closed_seq,
        evidence: chain::evidence(&case.facts, &case.changes, &case.resolutions),
        flags: words(&decision.flags.open),
        flags_resolved: words(&decision.flags.resolved),
        kind: &occasion.kind,
        order_status: case.order.order_status.as_str(),
        paid_amount: decision.paid_amount.map(|a| a.to_string()),
        paid_at: decision.paid_at,
        partner_reference_no: &case.order.partner_reference_no,
        policy: &rulebook.policy_hash,
        postings: lines.map(|p| ContentLine { account: p.account, amount: Sen::new(p.sen).to_string() }).collect(),
        profile: rulebook.profile_hash(&case.order.account),
        refunded_outside: case.refunded_outside.to_string(),
        refunds: case.refunds.iter().map(ContentRefund::from).collect(),
        sightings: seen
            .map(|f| ContentSighting { first_at: f.answered_at, last_at: f.last_at, n: f.sightings, seq: f.seq })
            .collect(),
        state: decision.state.as_str(),
        upto_seq: loaded.seq,
    });
    let prev_hash: Link = loaded.journal_hash.as_deref().and_then(|h| h.try_into().ok()).unwrap_or(chain::GENESIS);
    Entry {
        transaction_id: case.order.id,
        entry_no: loaded.journal_no.saturating_add(1),
        at: now,
        upto_seq: loaded.seq,
        kind: occasion.kind.clone(),
        state: decision.state,
        hash: chain::link(&prev_hash, &content),
        content,
        prev_hash,
        postings: decision.postings.clone(),
    }
}

/// The payload of `NOTIFY rekon_state`.
fn notice(loaded: &Loaded, decision: &Decision) -> String {
    #[derive(serde::Serialize)]
    struct Notice<'a> {
        account: &'a str,
        flags: Vec<&'static str>,
        partner_reference_no: &'a str,
        state: &'static str,
    }
    json_text(&Notice {
        account: &loaded.case.order.account,
        flags: decision.flags.listed(),
        partner_reference_no: &loaded.case.order.partner_reference_no,
        state: decision.state.as_str(),
    })
}

/// Texts, numbers and lists of them always have a JSON form.
fn json_text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
