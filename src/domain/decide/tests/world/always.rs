//! What must hold after every decision and after every step of the small world.

use std::collections::BTreeSet;

use super::World;
use crate::domain::{
    case::Terms,
    decide::{Decision, decide, paid_at},
    money::Sen,
    refund::RefundState,
    state::{Flag, State},
    window::Door,
};

impl World {
    pub(super) fn check_decision(&self, decision: &Decision) {
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

    pub(super) fn check_fixpoint(&self) {
        let terms = Terms { profile: self.profile.as_ref(), policy: &self.policy };
        let again = decide(&self.case, &terms, self.now);
        assert!(again.actions.is_empty() && again.postings.is_empty(), "{again:?}");
        assert_eq!(again.state, self.case.prior.state);
        assert_eq!(again.flags, self.case.prior.flags);
        assert_eq!(again.closed_seq, self.case.prior.closed_seq);
        assert_eq!(again.next_check_at, self.next_check_at);
    }

    /// Right before a call: the provider's window is open.
    pub(super) fn check_hours(&self) {
        let ability = self.profile.as_ref().and_then(|p| p.refund.as_ref()).expect("a refund was sent");
        let paid_at = paid_at(&self.case).expect("a refund of something paid");
        assert_eq!(ability.window.door(paid_at, self.now), Door::Open, "sent out of the provider's hours");
    }

    pub(super) fn check(&self) {
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
        let manual = refunds.iter().filter(|r| r.is_manual());
        for refund in manual {
            assert!(refund.attempts == 0 && refund.state != RefundState::Unknown, "a transfer was called: {refund:?}");
            let agreed =
                refund.state.is_unsent() && refund.state == RefundState::Proposed || refund.is_approved_by_person();
            assert!(agreed || !refund.state.occupies_cause(), "a rule approved a transfer: {refund:?}");
        }
        assert!(
            self.provider.total_returned().plus(self.transferred) <= self.provider.took,
            "the provider returned more than it took: {:?}",
            self.provider.returned
        );
    }
}
