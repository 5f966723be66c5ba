//! From a loaded case to what is written: runs `decide`, carries its actions into the refunds, and collects rows,
//! journal entries and postings for one write. The only place where a decision becomes database rows.

pub(crate) mod content;

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        case::Prior,
        chain::{self, Link},
        decide::{self, Action, Decision, TwoObservations},
        money::Sen,
        order::later,
        refund::{Channel, POLICY_ACTOR, Refund, RefundState},
        saga,
        state::{Flag, State},
        webhook::{self, Change, Message},
    },
    engine::{decisions::content::Content, rulebook::Rulebook},
    store::{
        StoreError, Tx,
        cases::Loaded,
        qr_cancels, refunds,
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
    qr_cancels: Vec<i64>,
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
        self.settle_sums(loaded);
        if before.state != decision.state || before.flags != decision.flags {
            self.batch.notices.push(notice(loaded, &decision));
            self.batch.messages.extend(messages(loaded, &decision, before.state, rulebook, now));
        }
        let lives = |r: &Refund| r.state.occupies_cause() && r.state != RefundState::Confirmed;
        if occasion.answered && loaded.case.refunds.iter().any(lives) {
            self.wake.push(loaded.case.order.id);
        }
        self.batch.rows.push(row(loaded, &decision, now, occasion));
    }

    /// Decides once and gives the entry that would be written, whether anything changed or not. Writes nothing.
    pub(crate) fn again(
        loaded: &mut Loaded,
        rulebook: &Rulebook,
        now: DateTime<Utc>,
        occasion: &Occasion,
    ) -> Option<Entry> {
        let mut written = Self::default();
        drop(written.decide_once(loaded, rulebook, now, occasion));
        written.batch.entries.pop()
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
        let given = (!decision.actions.is_empty()).then(|| loaded.case.refunds.clone());
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
            let entry = entry(loaded, rulebook, &decision, now, occasion, given.as_deref());
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
        let profile = rulebook.terms(&loaded.case.order.account).profile;
        for action in &decision.actions {
            match action {
                Action::Propose { cause, amount, approve, content_hash, by_hand } => {
                    let ends = saga::window_ends_at(&loaded.case, profile).filter(|_| by_hand.is_none());
                    let refund = Refund {
                        channel: if by_hand.is_some() { Channel::Manual } else { Channel::Api },
                        approved_at: approve.then_some(now),
                        reason: by_hand.clone(),
                        window_ends_at: ends,
                        sequence: next_sequence(&loaded.case.refunds, *cause),
                        ..proposal(*cause, *amount, *approve, content_hash.clone())
                    };
                    // An unapproved one is looked at again when the provider's window has closed on it.
                    let next_at = if *approve { due } else { ends.map(|at| later(at, 1)) };
                    self.proposals.push((loaded.case.order.id, refund.clone(), next_at));
                    loaded.case.refunds.push(refund);
                }
                Action::CancelQr => {
                    self.qr_cancels.push(loaded.case.order.id);
                    loaded.case.qr_cancel_asked = true;
                }
                Action::Approve { refund_id, content_hash } => {
                    for refund in loaded.case.refunds.iter_mut().filter(|r| r.id == *refund_id) {
                        refund.state = RefundState::Approved;
                        refund.approved_by = Some(POLICY_ACTOR.into());
                        refund.approved_at = Some(now);
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
        qr_cancels::make(tx, &self.qr_cancels).await?;
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
        channel: Channel::Api,
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
        window_ends_at: None,
        transfer: None,
        put_off_since: None,
        put_off_until: None,
        api_closed: false,
        candidate: None,
        needs_person: None,
    }
}

/// The number of the next refund for a cause: a new one only where the old one's number was minted.
fn next_sequence(refunds: &[Refund], cause: Flag) -> i32 {
    let minted = refunds.iter().filter(|r| r.cause == cause && r.partner_refund_no.is_some());
    minted.map(|r| r.sequence).max().unwrap_or(0).saturating_add(1)
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

/// The journal entry of a decision. Its content names everything that the decision stood on.
fn entry(
    loaded: &Loaded,
    rulebook: &Rulebook,
    decision: &Decision,
    now: DateTime<Utc>,
    occasion: &Occasion,
    given: Option<&[Refund]>,
) -> Entry {
    let case = &loaded.case;
    let content = json_text(&Content::of(loaded, rulebook, decision, now, occasion, given));
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

/// What the merchant's endpoints are told of a change.
fn messages(
    loaded: &Loaded,
    decision: &Decision,
    from: State,
    rulebook: &Rulebook,
    now: DateTime<Utc>,
) -> Vec<Message> {
    if rulebook.subscriptions.is_empty() {
        return Vec::new();
    }
    let entry_hash: Link = loaded.journal_hash.as_deref().and_then(|h| h.try_into().ok()).unwrap_or(chain::GENESIS);
    let change = Change {
        order: &loaded.case.order,
        from,
        to: decision.state,
        flags: decision.flags.listed(),
        paid_amount: decision.paid_amount,
        fee_amount: decision.fee_amount,
        refunded_amount: loaded.refunded_amount,
        refunded_outside: loaded.case.refunded_outside,
        paid_at: decision.paid_at,
        entry_no: loaded.journal_no,
        entry_hash: &entry_hash,
        at: now,
    };
    webhook::messages(&rulebook.subscriptions, &change)
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
