//! A small world around the pure core: a virtual clock, a provider that follows a script and really pays refunds out,
//! a sweeper that asks when `next_check_at` is due, a settle step and a refund worker that may lose answers and crash.
//! The world checks what must hold after every single step; what a test expects at the end it says itself.

mod always;
mod provider;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub(crate) use provider::{Fault, Provider};

use super::build;
use crate::domain::{
    case::{Case, Terms},
    decide::{Action, Decision, decide},
    fact::{Answer, Fact, Source},
    money::Sen,
    observation::Observation,
    order::{OrderChange, OrderStatus, later},
    policy::Policy,
    profile::{Profile, RefundRepeat},
    refund::{Candidate, CandidateWhy, Channel, POLICY_ACTOR, Proof, Refund, RefundState},
    reply::{Fate, RefundReply, ReplyClass, Sent, judge},
    saga::{self, Step},
    state::State,
};

/// What happens beside the polling, at its time.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A notification or a cashier pulls the next look forward.
    Nudge,
    /// The merchant changes the order.
    Becomes(OrderStatus),
    /// The merchant gives the QR a longer validity, seconds after the order was made.
    ValidUntil(i64),
    /// The configuration changes.
    Policy(Box<Policy>),
    /// A person approves what is proposed.
    Approve,
    /// A person denies what is proposed.
    Deny,
    /// A person makes the transfers that were handed over, and says so.
    Transfer,
    /// The bank sends such a transfer back, and a person says so.
    SentBack,
    /// A search finds another order that the money may belong to.
    Candidate,
}

/// One row and everything around it.
pub(crate) struct World {
    pub(crate) case: Case,
    pub(crate) profile: Option<Profile>,
    pub(crate) policy: Policy,
    pub(crate) provider: Provider,
    pub(crate) events: Vec<(i64, Event)>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) next_check_at: Option<DateTime<Utc>>,
    pub(crate) checks: u32,
    pub(crate) saga_steps: u64,
    pub(crate) decisions: Vec<Decision>,
    /// What left by bank.
    pub(crate) transferred: Sen,
    wakes: BTreeMap<i64, DateTime<Utc>>,
    numbers: BTreeMap<String, i64>,
}

impl World {
    /// A world in which the provider says this from the beginning, in mode `auto`.
    pub(crate) fn new(script: Vec<(i64, Answer)>) -> Self {
        let took = script
            .iter()
            .filter(|(_, a)| a.observation == Observation::Paid)
            .find_map(|(_, a)| a.amount)
            .unwrap_or(Sen::ZERO);
        Self {
            case: build::case(),
            profile: Some(build::profile()),
            policy: build::auto(),
            provider: Provider::new(script, took),
            events: Vec::new(),
            now: build::t(0),
            next_check_at: Some(build::t(0)),
            checks: 0,
            saga_steps: 0,
            decisions: Vec::new(),
            transferred: Sen::ZERO,
            wakes: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// A world in which the provider's calls are answered in this order; the last answer repeats.
    pub(crate) fn by_call(answers: Vec<Answer>) -> Self {
        let mut world = Self::new(answers.iter().map(|a| (0, a.clone())).collect());
        world.provider.by_call = answers;
        world
    }

    /// Runs until nothing is due before `secs`. What must always hold is checked after every step.
    pub(crate) fn run(&mut self, secs: i64) -> &mut Self {
        let horizon = build::t(secs);
        self.events.sort_by_key(|(at, _)| *at);
        self.settle();
        for _ in 0..2_000 {
            let event = self.events.first().map(|(at, _)| build::t(*at));
            let wake = self.wakes.iter().min_by_key(|(_, at)| **at);
            let wake = wake.map(|(id, at)| (*id, *at));
            let next = [event, self.next_check_at, wake.map(|(_, at)| at)];
            let Some(due) = next.into_iter().flatten().min().filter(|at| *at <= horizon) else {
                self.now = horizon;
                return self;
            };
            self.now = self.now.max(due);
            if event == Some(due) {
                let (_, event) = self.events.remove(0);
                self.happen(event);
            } else if let Some((id, _)) = wake.filter(|(_, at)| *at == due) {
                self.wakes.remove(&id);
                self.step(id);
            } else {
                self.ask();
            }
            self.check();
        }
        panic!("{} never comes to rest: {} checks by {:?}", self.row(), self.checks, self.due_secs());
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Nudge => self.next_check_at = Some(self.now),
            Event::Becomes(to) => self.change(to),
            Event::ValidUntil(secs) => {
                self.case.order.expires_at = Some(build::t(secs));
                self.change(self.case.order.order_status);
            }
            Event::Policy(policy) => {
                self.policy = *policy;
                self.settle();
            }
            Event::Transfer => self.by_hand(true),
            Event::SentBack => self.by_hand(false),
            Event::Candidate => self.find_candidate(),
            Event::Approve | Event::Deny => {
                let approve = matches!(event, Event::Approve);
                let case = self.case.clone();
                for refund in &mut self.case.refunds {
                    if refund.state == RefundState::Proposed {
                        refund.content_hash = saga::content_hash(&case, Some(refund.id));
                        refund.approved_by = approve.then(|| "rina".to_owned());
                        let to = if approve { RefundState::Approved } else { RefundState::Denied };
                        become_(refund, to);
                    }
                }
                self.settle();
            }
        }
    }

    /// What people do with what was handed over to them.
    fn by_hand(&mut self, arrives: bool) {
        let mut out = Sen::ZERO;
        for refund in self.case.refunds.iter_mut().filter(|r| r.is_manual() && r.state == RefundState::Sending) {
            assert!(refund.is_approved_by_person(), "a rule alone let a transfer go: {refund:?}");
            refund.proof = arrives.then_some(Proof::Person);
            refund.api_closed = !arrives;
            out = if arrives { out.plus(refund.amount) } else { out };
            become_(refund, if arrives { RefundState::Confirmed } else { RefundState::Refused });
        }
        self.transferred = self.transferred.plus(out);
        self.settle();
    }

    /// What the engine does where the search finds something before it reserves.
    fn find_candidate(&mut self) {
        for refund in self.case.refunds.iter_mut().filter(|r| r.state == RefundState::Approved && r.candidate.is_none())
        {
            refund.candidate = Some(Candidate {
                transaction_id: 99,
                partner_reference_no: "INV-99".into(),
                why: CandidateWhy::OpenOrder,
            });
            refund.approved_by = None;
            become_(refund, RefundState::Proposed);
        }
        self.settle();
    }

    fn change(&mut self, to: OrderStatus) {
        let seq = self.case.last_seq() + 1;
        let from = self.case.order.order_status;
        let at = self.now;
        self.case.changes.push(OrderChange { seq, at, from, to });
        self.case.order.order_status = to;
        self.settle();
        self.next_check_at = Some(self.now);
    }

    /// One call: asked, answered a second later, recorded, settled.
    fn ask(&mut self) {
        let sent_at = self.now;
        let answer = self.provider.answer(self.now);
        self.now = later(self.now, 1);
        self.checks += 1;
        self.record(answer, sent_at);
        self.settle();
    }

    pub(crate) fn record(&mut self, answer: Answer, sent_at: DateTime<Utc>) {
        let default = self.profile.as_ref().map_or(0, |p| p.default_validity_secs);
        let valid_until = self.case.order.valid_until(default);
        let boundaries = [valid_until, later(valid_until, self.policy.watch_secs)];
        let (at, seq) = (self.now, self.case.last_seq() + 1);
        let last = self.case.facts.iter_mut().rev().find(|f| f.source == Source::Query);
        match last.filter(|f| f.absorbs(&answer, at, false, &boundaries)) {
            Some(fact) => {
                fact.last_at = at;
                fact.last_sent_at = sent_at;
                fact.sightings += 1;
            }
            None => self.case.facts.push(Fact {
                seq,
                source: Source::Query,
                answer: std::sync::Arc::new(answer),
                sent_at,
                answered_at: at,
                last_at: at,
                last_sent_at: sent_at,
                sightings: 1,
                bad_weather: false,
            }),
        }
    }

    /// Decide, apply, write: until a decision has nothing more to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..5 {
            let terms = Terms { profile: self.profile.as_ref(), policy: &self.policy };
            let decision = decide(&self.case, &terms, self.now);
            self.check_decision(&decision);
            self.apply(&decision);
            let done = decision.actions.is_empty();
            self.decisions.push(decision);
            if done {
                return self.check_fixpoint();
            }
        }
        panic!("deciding again finds ever more to do: {:?}", self.decisions.last());
    }

    fn apply(&mut self, decision: &Decision) {
        for action in &decision.actions {
            match action {
                Action::CancelQr => self.case.qr_cancel_asked = true,
                Action::Propose { cause, amount, approve, content_hash, by_hand } => {
                    let before = self.case.refunds.iter().filter(|r| r.cause == *cause);
                    let sequence = 1 + before.filter(|r| r.partner_refund_no.is_some()).count();
                    let id = 1 + i64::try_from(self.case.refunds.len()).expect("few");
                    let mut refund = build::refund(*cause, 0, RefundState::Proposed);
                    refund.id = id;
                    refund.amount = *amount;
                    refund.sequence = i32::try_from(sequence).expect("few");
                    refund.content_hash.clone_from(content_hash);
                    refund.reason.clone_from(by_hand);
                    if by_hand.is_some() {
                        refund.channel = Channel::Manual;
                    }
                    if *approve {
                        refund.approved_by = Some(POLICY_ACTOR.into());
                        become_(&mut refund, RefundState::Approved);
                    }
                    self.case.refunds.push(refund);
                }
                Action::Approve { refund_id, content_hash } => {
                    let refund = self.refund(*refund_id);
                    refund.content_hash.clone_from(content_hash);
                    refund.approved_by = Some(POLICY_ACTOR.into());
                    become_(refund, RefundState::Approved);
                }
                Action::Expire { refund_id, .. } => {
                    become_(self.refund(*refund_id), RefundState::Expired);
                }
            }
        }
        for posting in &decision.postings {
            *self.case.balances.entry(posting.account).or_default() += posting.sen;
        }
        self.case.balances.retain(|_, sen| *sen != 0);
        self.case.prior.state = decision.state;
        self.case.prior.flags = decision.flags.clone();
        self.case.prior.closed_seq = decision.closed_seq;
        self.next_check_at = decision.next_check_at;
        for refund in &self.case.refunds {
            if refund.state.is_unsent() || refund.state.holds_reservation() {
                self.wakes.insert(refund.id, self.now);
            } else {
                self.wakes.remove(&refund.id);
            }
        }
    }

    fn refund(&mut self, id: i64) -> &mut Refund {
        self.case.refunds.iter_mut().find(|r| r.id == id).expect("a known refund")
    }

    /// What the refund worker does when a refund is due.
    fn step(&mut self, id: i64) {
        self.saga_steps += 1;
        let refund = self.refund(id).clone();
        let terms = Terms { profile: self.profile.as_ref(), policy: &self.policy };
        let step = saga::next_step(&self.case, &refund, &terms, self.now);
        let (now, reference) = (self.now, self.case.order.partner_reference_no.clone());
        match step {
            Step::Wait(None) => return,
            Step::Blocked { until, reason } => {
                let refund = self.refund(id);
                refund.blocked = true;
                refund.reason = Some(reason);
                self.settle();
                match until {
                    Some(at) => {
                        assert!(at > now, "blocked until a time that has come");
                        self.wakes.insert(id, at);
                    }
                    None => drop(self.wakes.remove(&id)),
                }
                return;
            }
            Step::ByHand { reason } => {
                let refund = self.refund(id);
                assert_eq!(refund.attempts, 0, "a number that may have left changed its way");
                refund.channel = Channel::Manual;
                refund.reason = Some(reason);
                refund.approved_by = None;
                if refund.state != RefundState::Proposed {
                    become_(refund, RefundState::Proposed);
                }
            }
            Step::HandOver => {
                let refund = self.refund(id);
                refund.blocked = false;
                become_(refund, RefundState::Sending);
            }
            Step::Wait(Some(at)) => {
                assert!(at > self.now, "waiting for a time that has come");
                self.wakes.insert(id, at);
                return;
            }
            Step::BeDue(at) => {
                self.next_check_at = Some(self.next_check_at.map_or(now, |due| due.min(now)));
                self.wakes.insert(id, at);
                return;
            }
            Step::Ask => return self.ask(),
            Step::Send => return self.send(id),
            Step::Reserve => {
                let refund = self.refund(id);
                become_(refund, RefundState::Reserved);
                let number =
                    saga::partner_refund_no("doku", "client", "merchant", &reference, refund.cause, refund.sequence);
                refund.partner_refund_no.get_or_insert(number);
            }
            Step::BackToProposed { .. } => {
                let refund = self.refund(id);
                refund.approved_by = None;
                become_(refund, RefundState::Proposed);
            }
            Step::MarkUnknown => {
                let refund = self.refund(id);
                refund.unanswered = true;
                refund.last_ended_at = Some(now);
                become_(refund, RefundState::Unknown);
            }
            Step::Confirm(proof) => self.confirm(id, proof),
            Step::CallPerson(flag) => self.refund(id).needs_person = Some(flag),
        }
        self.settle();
    }

    fn confirm(&mut self, id: i64, proof: Proof) {
        let refund = self.refund(id);
        refund.proof = Some(proof);
        refund.needs_person = None;
        become_(refund, RefundState::Confirmed);
    }

    /// One attempt: written down as `sending`, sent, judged.
    fn send(&mut self, id: i64) {
        let now = self.now;
        let safe = self.is_repeat_safe();
        let refund = self.refund(id);
        let repeat = refund.attempts > 0;
        let unanswered = refund.unanswered;
        refund.attempts += 1;
        refund.resends += i32::from(refund.state == RefundState::Unknown);
        refund.last_sent_at = Some(now);
        refund.blocked = false;
        become_(refund, RefundState::Sending);
        let (number, amount) = (refund.partner_refund_no.clone().expect("minted"), refund.amount);
        assert!(!repeat || safe || !unanswered, "an unproven repeat was sent");
        let other = self.numbers.insert(number.clone(), amount.sen());
        assert!(other.is_none_or(|sen| sen == amount.sen()), "one number, two contents");
        self.check_hours();
        self.settle();
        let fault = self.provider.next_fault();
        let mut reply = RefundReply::unknown("timeout");
        reply.partner_refund_no = Some(number.clone());
        match fault.unwrap_or(Fault::None) {
            Fault::LostBefore | Fault::CrashBefore => {}
            Fault::Later => reply.class = ReplyClass::Later,
            Fault::Refuse => reply.class = ReplyClass::Refusal,
            Fault::Close => reply.class = ReplyClass::Closed,
            Fault::LostAfter | Fault::CrashAfter => {
                self.provider.execute(&number, amount, safe);
            }
            fault @ (Fault::None | Fault::NoAmount) => {
                let before = self.provider.execute(&number, amount, safe);
                reply.class = if before { ReplyClass::AlreadyDone } else { ReplyClass::Success };
                reply.amount = (fault == Fault::None).then_some(amount);
            }
        }
        self.now = later(self.now, 2);
        if matches!(fault, Some(Fault::CrashBefore | Fault::CrashAfter)) {
            self.wakes.insert(id, later(self.now, 60));
            return;
        }
        let sent = Sent { partner_refund_no: &number, amount, repeat, earlier_unanswered: unanswered, refund_no: None };
        self.judged(id, judge(&sent, &reply).fate);
    }

    fn judged(&mut self, id: i64, fate: Fate) {
        let now = self.now;
        let refund = self.refund(id);
        refund.last_ended_at = Some(now);
        match fate {
            Fate::Confirmed(proof) => self.confirm(id, proof),
            Fate::Refused | Fate::Closed => {
                refund.api_closed = fate == Fate::Closed;
                become_(refund, RefundState::Refused);
            }
            Fate::Later => {
                refund.put_off_since = refund.put_off_since.or(Some(now));
                refund.put_off_until = Some(later(now, 600));
                refund.blocked = true;
                become_(refund, RefundState::Reserved);
            }
            Fate::Unknown => {
                refund.unanswered = true;
                become_(refund, RefundState::Unknown);
            }
            Fate::NeedsPerson(flag) => {
                refund.unanswered = true;
                refund.needs_person = Some(flag);
                become_(refund, RefundState::Unknown);
            }
        }
        self.settle();
        if fate == Fate::Later {
            self.wakes.insert(id, later(now, 600));
        }
    }

    fn is_repeat_safe(&self) -> bool {
        let ability = self.profile.as_ref().and_then(|p| p.refund.as_ref());
        ability.is_some_and(|a| a.repeat == RefundRepeat::Safe)
    }

    /// The row as the merchant reads it: `state{flags}`.
    pub(crate) fn row(&self) -> String {
        let prior = &self.case.prior;
        format!("{}{{{}}}", prior.state.as_str(), prior.flags.listed().join(","))
    }

    pub(crate) fn state(&self) -> State {
        self.case.prior.state
    }

    pub(crate) fn due_secs(&self) -> Option<i64> {
        self.next_check_at.map(|at| at.signed_duration_since(build::t(0)).num_seconds())
    }
}

fn become_(refund: &mut Refund, to: RefundState) {
    assert!(refund.state.may_become(to), "{:?} → {to:?}", refund.state);
    refund.state = to;
}
