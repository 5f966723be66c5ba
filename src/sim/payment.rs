//! One payment in the simulated world: which answer comes next, what a refund call does to the money. Pure; it knows
//! neither wire nor clock.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};

use super::book::{BookEntry, Returned};
use super::grammar::FaultKind;
use super::script::{Answer, Fault, RefundBehaviour, RepeatPolicy, SimPayment};
use super::snap::Refusal;

static PAID: LazyLock<Answer> = LazyLock::new(Answer::paid);
static INITIATED: LazyLock<Answer> = LazyLock::new(|| Answer::status("01"));

/// A refund number that the provider knows.
#[derive(Debug)]
struct KnownRefund {
    partner_refund_no: String,
    refund_no: String,
    amount_sen: i64,
    body: Box<[u8]>,
    has_moved: bool,
    /// Repeats that still hear the first 500.
    sticky: u32,
}

/// What a query gets.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) payment: &'a SimPayment,
    pub(super) answer: &'a Answer,
    /// The answer's status, or `04` after everything went back.
    pub(super) status: &'a str,
    pub(super) registered_at: DateTime<Utc>,
}

impl Given<'_> {
    /// What tells this payment of the order apart from another one.
    pub(super) fn approval_code(&self) -> &str {
        self.answer.approval_code.as_deref().unwrap_or(&self.payment.approval_code)
    }
}

/// A refund call that passed the door.
#[derive(Debug)]
pub(super) struct RefundAsked<'a> {
    pub(super) partner_refund_no: &'a str,
    /// Absent = everything that is left.
    pub(super) amount_sen: Option<i64>,
    pub(super) body: &'a [u8],
    /// The number to give if the provider needs a new one.
    pub(super) fresh_refund_no: String,
    pub(super) at: DateTime<Utc>,
    pub(super) repeat: RepeatPolicy,
}

/// What a refund call gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefundGiven {
    /// Success (200) or accepted (202).
    Answer {
        http_status: u16,
        refund_no: String,
        echoed_sen: Option<i64>,
        /// How the answer is lost, if it is.
        fault: Option<Fault>,
    },
    /// A refusal by the provider's rules.
    Refused(Refusal),
    /// A refusal by the script, with its whole response code.
    RefusedAs(String),
    /// Lost before anything happened.
    Lost(Fault),
}

/// A payment and what became of it.
#[derive(Debug)]
pub(super) struct PaymentState {
    payment: SimPayment,
    registered_at: DateTime<Utc>,
    cursor: usize,
    taken_sen: Option<i64>,
    returned_outside_sen: i64,
    known_refunds: Vec<KnownRefund>,
    returned: Vec<Returned>,
    /// The money of a second payment of the same order is in `taken_sen`.
    is_doubled: bool,
    queries: u64,
    refund_calls: u64,
    played: BTreeMap<FaultKind, u64>,
}

impl PaymentState {
    /// A payment that counts its offsets from its own registration, or from `now`.
    pub(super) fn new(payment: SimPayment, now: DateTime<Utc>) -> Self {
        Self {
            registered_at: payment.registered_at.unwrap_or(now),
            taken_sen: payment.taken_sen,
            returned_outside_sen: payment.returned_outside_sen,
            payment,
            cursor: 0,
            known_refunds: Vec::new(),
            returned: Vec::new(),
            is_doubled: false,
            queries: 0,
            refund_calls: 0,
            played: BTreeMap::new(),
        }
    }

    /// Replaces the answers still to come; the money stays as it is.
    pub(super) fn set_script(&mut self, script: Vec<Answer>) {
        self.payment.script = script;
        self.cursor = 0;
    }

    /// The provider's reference.
    pub(super) fn reference_no(&self) -> &str {
        &self.payment.reference_no
    }

    /// Nothing was taken, and nobody cancelled it.
    pub(super) fn is_open(&self) -> bool {
        let is_waiting = |answer: &Answer| matches!(answer.status.as_str(), "01" | "03");
        self.taken_sen.is_none() && self.payment.script.iter().all(is_waiting) && !self.payment.script.is_empty()
    }

    /// The next answer to a query at `now`, and its effect on the book: `00` takes the money.
    pub(super) fn query(&mut self, now: DateTime<Utc>) -> Given<'_> {
        self.query_where(now, &["00"])
    }

    /// The same at a provider where each of these statuses says that the money was taken.
    pub(super) fn query_where(&mut self, now: DateTime<Utc>, taking: &[&str]) -> Given<'_> {
        self.queries += 1;
        let index = self.step(now.signed_duration_since(self.registered_at).num_seconds());
        let answer = match index {
            Step::Give(index) => self.payment.script.get(index).unwrap_or(&PAID),
            Step::TooEarly => &INITIATED,
        };
        let status = if answer.status == "00" && self.payment.shows_reversal && self.is_fully_returned() {
            "04"
        } else {
            &answer.status
        };
        let takes_effect = answer.fault.as_ref().is_none_or(Fault::strikes_after_effect);
        let amount_sen = answer.amount_sen.unwrap_or(self.payment.expected_sen);
        if taking.contains(&status) && takes_effect && self.taken_sen.is_none() {
            self.taken_sen = Some(amount_sen);
        }
        if answer.approval_code.is_some() && status == "00" && !self.is_doubled {
            self.is_doubled = true;
            self.taken_sen = self.taken_sen.map(|taken| taken.saturating_add(amount_sen));
        }
        if let Some(back_sen) = answer.returns_outside_sen.filter(|_| self.returned_outside_sen == 0) {
            self.taken_sen.get_or_insert(amount_sen);
            self.returned_outside_sen = back_sen;
        }
        if let Some(kind) = answer.plays {
            *self.played.entry(kind).or_default() += 1;
        }
        Given { payment: &self.payment, answer, status, registered_at: self.registered_at }
    }

    fn step(&mut self, elapsed_secs: i64) -> Step {
        let script = &self.payment.script;
        let last = script.len().saturating_sub(1);
        let outlived = |answer: &Answer| answer.until_secs.is_some_and(|until| elapsed_secs >= until);
        let mut index = self.cursor;
        while index < last && script.get(index).is_some_and(outlived) {
            index += 1;
        }
        let Some(answer) = script.get(index) else { return Step::Give(0) };
        if answer.not_before_secs.is_some_and(|not_before| elapsed_secs < not_before) {
            self.cursor = index;
            return index.checked_sub(1).map_or(Step::TooEarly, Step::Give);
        }
        self.cursor = if answer.until_secs.is_some() { index } else { last.min(index + 1) };
        Step::Give(index)
    }

    /// What a refund call meets, and its effect on the book.
    pub(super) fn refund(&mut self, asked: RefundAsked<'_>) -> RefundGiven {
        let given = self.given(asked);
        let is_plain = match (self.payment.refund_kind, &given) {
            // The lost answer before it is another kind.
            (Some(FaultKind::DuplicatePartnerRefundNo), RefundGiven::Answer { .. }) => true,
            (_, RefundGiven::Answer { http_status, fault, .. }) => *http_status == 200 && fault.is_none(),
            (_, RefundGiven::Refused(_) | RefundGiven::RefusedAs(_) | RefundGiven::Lost(_)) => false,
        };
        if let Some(kind) = self.payment.refund_kind.filter(|_| !is_plain) {
            *self.played.entry(kind).or_default() += 1;
        }
        given
    }

    fn given(&mut self, asked: RefundAsked<'_>) -> RefundGiven {
        let call = usize::try_from(self.refund_calls).unwrap_or(usize::MAX);
        self.refund_calls += 1;
        let refunds = &self.payment.refunds;
        let behaviour = refunds.get(call).or(refunds.last()).cloned().unwrap_or(RefundBehaviour::Ok);
        let (http_status, moves) = match &behaviour {
            RefundBehaviour::BeforeEffect { fault } => return RefundGiven::Lost(fault.clone()),
            RefundBehaviour::Refuse { response_code } => return RefundGiven::RefusedAs(response_code.clone()),
            RefundBehaviour::Accepted { moves } => (202, *moves),
            RefundBehaviour::Ok
            | RefundBehaviour::AfterEffect { .. }
            | RefundBehaviour::WrongAmount { .. }
            | RefundBehaviour::MissingAmount
            | RefundBehaviour::Sticky { .. }
            | RefundBehaviour::OtherRefundNo => (200, true),
        };
        let number = asked.partner_refund_no;
        let fresh_refund_no = asked.fresh_refund_no.clone();
        let is_new = !self.known_refunds.iter().any(|known| known.partner_refund_no == number);
        let (refund_no, amount_sen) = match self.carry_out(asked, moves) {
            Ok(done) => done,
            Err(refusal) => return RefundGiven::Refused(refusal),
        };
        let (mut echoed_no, mut echoed_sen, mut lost) = (refund_no, Some(amount_sen), None);
        match behaviour {
            RefundBehaviour::WrongAmount { amount_sen } => echoed_sen = Some(amount_sen),
            RefundBehaviour::MissingAmount => echoed_sen = None,
            RefundBehaviour::OtherRefundNo => echoed_no = fresh_refund_no,
            RefundBehaviour::AfterEffect { fault } => lost = Some(fault),
            RefundBehaviour::Sticky { replays } => lost = self.sticks(number, is_new.then_some(replays)),
            RefundBehaviour::Ok
            | RefundBehaviour::Accepted { .. }
            | RefundBehaviour::BeforeEffect { .. }
            | RefundBehaviour::Refuse { .. } => {}
        }
        RefundGiven::Answer { http_status, refund_no: echoed_no, echoed_sen, fault: lost }
    }

    /// The 500 that this number hears: at first, and then to so many repeats.
    fn sticks(&mut self, number: &str, first: Option<u32>) -> Option<Fault> {
        let known = self.known_refunds.iter_mut().find(|known| known.partner_refund_no == number)?;
        match first {
            Some(replays) => known.sticky = replays,
            None => known.sticky = known.sticky.checked_sub(1)?,
        }
        Some(Fault::http(500, "00"))
    }

    /// Moves the money, unless this number already did; returns the refund's number and amount.
    fn carry_out(&mut self, asked: RefundAsked<'_>, moves: bool) -> Result<(String, i64), Refusal> {
        let left_sen = self.left_sen();
        let known = self.known_refunds.iter_mut().find(|known| known.partner_refund_no == asked.partner_refund_no);
        if let Some(known) = known {
            let pays_again = match self.payment.repeat.unwrap_or(asked.repeat) {
                RepeatPolicy::InconsistentWhenDifferent if *known.body != *asked.body => {
                    return Err(Refusal::new(404, "18"));
                }
                RepeatPolicy::Conflict if known.has_moved => return Err(Refusal::new(409, "01")),
                RepeatPolicy::Double => known.has_moved,
                RepeatPolicy::SameAnswer | RepeatPolicy::InconsistentWhenDifferent | RepeatPolicy::Conflict => false,
            };
            let moves_now = moves && (pays_again || !known.has_moved);
            known.has_moved |= moves;
            let amount_sen = if pays_again { asked.amount_sen.unwrap_or(known.amount_sen) } else { known.amount_sen };
            let refund_no = if pays_again { asked.fresh_refund_no.clone() } else { known.refund_no.clone() };
            if moves_now {
                self.move_money(&asked, refund_no.clone(), amount_sen);
            }
            return Ok((refund_no, amount_sen));
        }
        if self.taken_sen.is_none() {
            return Err(Refusal::new(404, "00"));
        }
        let amount_sen = asked.amount_sen.unwrap_or(left_sen);
        if amount_sen <= 0 || amount_sen > left_sen {
            return Err(Refusal::new(404, "13"));
        }
        if moves {
            self.move_money(&asked, asked.fresh_refund_no.clone(), amount_sen);
        }
        self.known_refunds.push(KnownRefund {
            partner_refund_no: asked.partner_refund_no.to_owned(),
            refund_no: asked.fresh_refund_no.clone(),
            amount_sen,
            body: asked.body.into(),
            has_moved: moves,
            sticky: 0,
        });
        Ok((asked.fresh_refund_no, amount_sen))
    }

    fn move_money(&mut self, asked: &RefundAsked<'_>, refund_no: String, amount_sen: i64) {
        let partner_refund_no = asked.partner_refund_no.to_owned();
        self.returned.push(Returned { partner_refund_no, refund_no, amount_sen, at: asked.at });
    }

    fn left_sen(&self) -> i64 {
        let returned_sen: i64 = self.returned.iter().map(|returned| returned.amount_sen).sum();
        self.taken_sen.unwrap_or(0) - returned_sen - self.returned_outside_sen
    }

    fn is_fully_returned(&self) -> bool {
        self.taken_sen.is_some_and(|taken| taken > 0) && !self.returned.is_empty() && self.left_sen() <= 0
    }

    /// This payment's page in the book.
    pub(super) fn entry(&self, client_id: &str) -> BookEntry {
        BookEntry {
            client_id: client_id.to_owned(),
            partner_reference_no: self.payment.partner_reference_no.clone(),
            reference_no: self.payment.reference_no.clone(),
            expected_sen: self.payment.expected_sen,
            taken_sen: self.taken_sen.unwrap_or(0),
            returned_outside_sen: self.returned_outside_sen,
            returned: self.returned.clone(),
            queries: self.queries,
            refund_calls: self.refund_calls,
            played: self.played.clone(),
        }
    }
}

enum Step {
    /// The answer at this place; beyond the script = paid exactly.
    Give(usize),
    /// The first answer's time has not come.
    TooEarly,
}
