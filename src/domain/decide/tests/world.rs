//! A small world around the pure core: a virtual clock, a provider that follows a script and really pays refunds out,
//! a sweeper that asks when `next_check_at` is due, a settle step and a refund worker that may lose answers and crash.
//! The world checks what must hold after every single step; what a test expects at the end it says itself.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

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
    refund::{POLICY_ACTOR, Proof, Refund, RefundState},
    reply::{Fate, RefundReply, ReplyClass, Sent, judge},
    saga::{self, Step},
    state::{Flag, State},
};

/// What happens to one refund call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Done and answered.
    None,
    /// Done; the answer is lost.
    LostAfter,
    /// Not done; nobody answers.
    LostBefore,
    /// Done; the worker dies before it can write the answer down.
    CrashAfter,
    /// The worker dies before it sends.
    CrashBefore,
    /// Not now.
    Later,
    /// A definite no.
    Refuse,
    /// Done, and the answer names no amount.
    NoAmount,
}

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
}

/// The provider's side: what it says, and the money it really moves.
pub(crate) struct Provider {
    /// From which second on it says what; ignored once it has returned everything.
    pub(crate) script: Vec<(i64, Answer)>,
    /// Instead of the script: one answer per call; the last repeats.
    pub(crate) by_call: Vec<Answer>,
    /// What it took from the customer.
    pub(crate) took: Sen,
    /// What it really returned, per executed call: number and amount.
    pub(crate) returned: Vec<(String, Sen)>,
    /// One per refund call; then none.
    pub(crate) faults: Vec<Fault>,
    /// A full return shows as 04.
    pub(crate) shows_reversed: bool,
    asked: usize,
    called: usize,
}

impl Provider {
    pub(crate) fn total_returned(&self) -> Sen {
        self.returned.iter().fold(Sen::ZERO, |sum, (_, amount)| sum.plus(*amount))
    }

    fn answer(&mut self, now: DateTime<Utc>) -> Answer {
        let nth = self.asked;
        self.asked += 1;
        let gone = self.total_returned();
        if self.shows_reversed && gone.is_positive() && gone >= self.took {
            return build::says(Observation::Reversed);
        }
        if let Some(last) = self.by_call.last() {
            return self.by_call.get(nth).unwrap_or(last).clone();
        }
        let said = self.script.iter().rev().find(|(from, _)| build::t(*from) <= now);
        said.map_or_else(build::silence, |(_, answer)| answer.clone())
    }

    /// Executes once per number where a repeat is safe, and every time where it is not.
    fn execute(&mut self, number: &str, amount: Sen, safe: bool) -> bool {
        let before = self.returned.iter().any(|(n, _)| n == number);
        if !(safe && before) {
            self.returned.push((number.to_owned(), amount));
        }
        before
    }
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
    pub(crate) decisions: Vec<Decision>,
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
            provider: Provider {
                script,
                by_call: Vec::new(),
                took,
                returned: Vec::new(),
                faults: Vec::new(),
                shows_reversed: true,
                asked: 0,
                called: 0,
            },
            events: Vec::new(),
            now: build::t(0),
            next_check_at: Some(build::t(0)),
            checks: 0,
            decisions: Vec::new(),
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
        panic!("the row never comes to rest: {:?}", self.case);
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
                answer,
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
                Action::Propose { cause, amount, approve, content_hash } => {
                    let before = self.case.refunds.iter().filter(|r| r.cause == *cause);
                    let sequence = 1 + before.filter(|r| r.partner_refund_no.is_some()).count();
                    let id = 1 + i64::try_from(self.case.refunds.len()).expect("few");
                    let mut refund = build::refund(*cause, 0, RefundState::Proposed);
                    refund.id = id;
                    refund.amount = *amount;
                    refund.sequence = i32::try_from(sequence).expect("few");
                    refund.content_hash.clone_from(content_hash);
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
        let refund = self.refund(id).clone();
        let terms = Terms { profile: self.profile.as_ref(), policy: &self.policy };
        let step = saga::next_step(&self.case, &refund, &terms, self.now);
        let (now, reference) = (self.now, self.case.order.partner_reference_no.clone());
        match step {
            Step::Wait(None) | Step::Blocked { .. } => return,
            Step::Wait(Some(at)) => {
                assert!(at > self.now, "waiting for a time that has come");
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
        refund.last_sent_at = Some(now);
        become_(refund, RefundState::Sending);
        let (number, amount) = (refund.partner_refund_no.clone().expect("minted"), refund.amount);
        assert!(!repeat || safe || !unanswered, "an unproven repeat was sent");
        let other = self.numbers.insert(number.clone(), amount.sen());
        assert!(other.is_none_or(|sen| sen == amount.sen()), "one number, two contents");
        self.settle();
        let fault = self.provider.faults.get(self.provider.called).copied();
        self.provider.called += 1;
        let mut reply = RefundReply::unknown("timeout");
        reply.partner_refund_no = Some(number.clone());
        match fault.unwrap_or(Fault::None) {
            Fault::LostBefore | Fault::CrashBefore => {}
            Fault::Later => reply.class = ReplyClass::Later,
            Fault::Refuse => reply.class = ReplyClass::Refusal,
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
            Fate::Refused => become_(refund, RefundState::Refused),
            Fate::Later => become_(refund, RefundState::Reserved),
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

/// What must hold after every step.
impl World {
    fn check_decision(&self, decision: &Decision) {
        assert!(!decision.because.is_empty(), "a decision without a reason");
        let known: BTreeSet<i32> = self.case.facts.iter().map(|f| f.seq).collect();
        for reason in &decision.because {
            assert!(reason.facts.iter().all(|seq| known.contains(seq)), "{reason:?}");
        }
        let sum: i64 = decision.postings.iter().map(|p| p.sen).sum();
        assert_eq!(sum, 0, "an entry that does not balance: {:?}", decision.postings);
        assert!(decision.flags.open.is_disjoint(&decision.flags.resolved));
        let paid = self.case.first_paid().is_some();
        assert!(!(paid && decision.state == State::Unpaid), "money under unpaid");
        assert!(!(paid && decision.state == State::Pending), "money under pending");
        let alone = self.case.refunds.iter().any(|r| r.state.holds_reservation() || r.state.is_unsent());
        let looked_after =
            decision.state.is_terminal() || decision.state.is_exception() || decision.next_check_at.is_some() || alone;
        assert!(looked_after, "nobody looks after {decision:?}");
    }

    fn check_fixpoint(&self) {
        let terms = Terms { profile: self.profile.as_ref(), policy: &self.policy };
        let again = decide(&self.case, &terms, self.now);
        assert!(again.actions.is_empty() && again.postings.is_empty(), "{again:?}");
        assert_eq!(again.state, self.case.prior.state);
        assert_eq!(again.flags, self.case.prior.flags);
        assert_eq!(again.closed_seq, self.case.prior.closed_seq);
        assert_eq!(again.next_check_at, self.next_check_at);
    }

    fn check(&self) {
        let sum: i64 = self.case.balances.values().sum();
        assert_eq!(sum, 0, "{:?}", self.case.balances);
        let refunds = &self.case.refunds;
        let out = refunds
            .iter()
            .filter(|r| r.state == RefundState::Confirmed || r.state.holds_reservation())
            .fold(Sen::ZERO, |sum, r| sum.plus(r.amount));
        assert!(out <= self.case.paid_amount().unwrap_or(Sen::ZERO), "more out than in: {refunds:?}");
        let causes: Vec<Flag> = refunds.iter().filter(|r| r.state.occupies_cause()).map(|r| r.cause).collect();
        let distinct: BTreeSet<Flag> = causes.iter().copied().collect();
        assert_eq!(distinct.len(), causes.len(), "two refunds for one cause: {refunds:?}");
        for later in refunds.iter().filter(|r| r.sequence > 1) {
            let open = refunds.iter().any(|r| {
                r.cause == later.cause
                    && r.sequence < later.sequence
                    && r.attempts > 0
                    && r.state != RefundState::Refused
            });
            assert!(!open, "a second number beside an open one: {refunds:?}");
        }
        let under_way = refunds.iter().filter(|r| r.state.holds_reservation()).count();
        assert!(under_way <= 1, "two refunds in flight: {refunds:?}");
        assert!(
            self.provider.total_returned() <= self.provider.took,
            "the provider returned more than it took: {:?}",
            self.provider.returned
        );
    }
}
