//! What people's resolutions and wishes make of the flags that the answers raised. A flag stays a blocker unless people settled
//! exactly that flag.

use crate::domain::{
    case::Case,
    decide::verdict::Verdict,
    explain::{Reason, Rule},
    refund::POLICY_ACTOR,
    resolution::{self, Resolution},
    state::{Flag, State},
};

/// A person's refund for which no other cause stands is a cause of its own while it lives, and listed once it is done.
pub(super) fn requested(case: &Case, v: &mut Verdict) {
    let refund = case.refunds.iter().find(|r| r.cause == Flag::Requested && r.state.occupies_cause());
    if let Some(refund) = refund {
        let by = if refund.proposed_by == POLICY_ACTOR { "-" } else { refund.proposed_by.as_str() };
        v.raise(Flag::Requested, Reason::new(Rule::RefundRequested).with("by", by).with("amount", refund.amount));
    }
}

/// Takes the flags that people settled out of the open ones; they stay listed.
pub(super) fn settle(case: &Case, v: &mut Verdict) {
    let settled: Vec<(Flag, &Resolution)> =
        v.open.iter().filter_map(|flag| Some((*flag, standing(case, v, *flag)?))).collect();
    for (flag, resolution) in settled {
        v.open.remove(&flag);
        if !flag.leaves_when_healed() {
            v.resolved.insert(flag);
        }
        v.because.push(told(Rule::SettledByPerson, resolution).with("flag", flag.as_str()));
    }
    for flag in v.open.clone() {
        if case.is_kept(flag) {
            v.because.push(Reason::new(Rule::KeptByPerson).with("flag", flag.as_str()));
        }
    }
}

/// The same on a row that was never seen paid: with nothing left that calls for a person, it is closed as unpaid. A later PAID
/// reopens it.
pub(super) fn close(case: &Case, v: &mut Verdict) {
    if v.state != State::Review {
        return;
    }
    let closing = v.open.iter().filter_map(|flag| standing(case, v, *flag)).max_by_key(|r| r.seq);
    let Some(resolution) = closing else { return };
    settle(case, v);
    if v.open.is_empty() {
        v.state = State::Unpaid;
        v.closed_seq = Some(resolution.seq);
        v.because.push(told(Rule::ClosedByPerson, resolution));
    }
}

fn standing<'c>(case: &'c Case, v: &Verdict, flag: Flag) -> Option<&'c Resolution> {
    resolution::standing(case, flag, v.raised_on.get(&flag).map_or(&[], Vec::as_slice))
}

fn told(rule: Rule, resolution: &Resolution) -> Reason {
    Reason::new(rule)
        .with("resolution", resolution.kind.as_str())
        .with("seq", resolution.seq)
        .with("by", &resolution.made_by)
        .with("confirmed_by", resolution.confirmed_by.as_deref().unwrap_or("-"))
}
