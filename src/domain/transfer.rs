//! What people do with a refund that goes by hand, or that its provider keeps putting off: each deed as a pure step, or the
//! objection to it. Who may act at all is asked before; that the approver is not the one who transfers is asked here and
//! again by the database.

use crate::domain::refund::{Channel, Proof, Refund, RefundState, Transfer};
use crate::domain::state::Flag;

/// Why a deed is not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Not a transfer, or not handed over yet.
    #[error("the refund is {state} by {channel}: only a transfer that was handed over (`sending`) can be recorded")]
    NotHandedOver {
        /// Its state.
        state: &'static str,
        /// Its way.
        channel: &'static str,
    },
    /// The approver says that he paid, too.
    #[error("{0} approved this transfer: another person makes it and records it")]
    SamePerson(String),
    /// Nothing to find the transfer by.
    #[error("the bank's reference has 1 to 64 characters, as it stands on the statement")]
    BankReference,
    /// It can still go by itself.
    #[error("the refund is {0}: only one that was never sent, or that its provider puts off, is taken from the API")]
    NotByHand(&'static str),
    /// It is one already.
    #[error("it is a transfer by hand already")]
    IsByHand,
    /// Nobody waits for this word.
    #[error("the refund is {0} and waits for no person: there is nothing to send again")]
    NotWaiting(&'static str),
}

/// The money went, says who made the transfer.
pub fn transferred(refund: &Refund, by: &str, bank_reference: &str) -> Result<Refund, TransferError> {
    handed_over(refund)?;
    if refund.approved_by.as_deref() == Some(by) {
        return Err(TransferError::SamePerson(by.to_owned()));
    }
    let bank_reference = bank_reference.trim();
    if !(1..=64).contains(&bank_reference.chars().count()) || bank_reference.chars().any(char::is_control) {
        return Err(TransferError::BankReference);
    }
    let transfer = Transfer { by: by.to_owned(), bank_reference: bank_reference.to_owned() };
    Ok(Refund {
        state: RefundState::Confirmed,
        proof: Some(Proof::Person),
        transfer: Some(transfer),
        reason: None,
        ..refund.clone()
    })
}

/// The money did not go, or the bank sent it back: a new transfer is proposed, under another number.
pub fn not_transferred(refund: &Refund, by: &str, why: &str) -> Result<Refund, TransferError> {
    handed_over(refund)?;
    Ok(Refund {
        state: RefundState::Refused,
        api_closed: true,
        reason: Some(format!("not transferred, says {by}: {why}")),
        ..refund.clone()
    })
}

fn handed_over(refund: &Refund) -> Result<(), TransferError> {
    if refund.is_manual() && refund.state == RefundState::Sending {
        return Ok(());
    }
    Err(TransferError::NotHandedOver { state: refund.state.as_str(), channel: refund.channel.as_str() })
}

/// Takes a refund from the API: one that never left becomes the proposal of a transfer; one that its provider answered "not
/// now", and nothing else, is taken for a no, so that a transfer is proposed in its place.
pub fn by_hand(refund: &Refund, by: &str, why: &str) -> Result<Refund, TransferError> {
    if refund.is_manual() {
        return Err(TransferError::IsByHand);
    }
    let reason = Some(format!("by hand, says {by}: {why}"));
    if refund.state.is_unsent() && refund.attempts == 0 {
        return Ok(Refund {
            state: RefundState::Proposed,
            channel: Channel::Manual,
            approved_by: None,
            partner_refund_no: None,
            request_body: None,
            window_ends_at: None,
            blocked: false,
            reason,
            ..refund.clone()
        });
    }
    // `reserved`: every answer so far said that nothing was done.
    if refund.state == RefundState::Reserved && !refund.unanswered {
        return Ok(Refund {
            state: RefundState::Refused,
            api_closed: true,
            needs_person: None,
            blocked: false,
            reason,
            ..refund.clone()
        });
    }
    Err(TransferError::NotByHand(refund.state.as_str()))
}

/// The same number once more, from now on for as long as the profile puts up with "not now".
pub fn again(refund: &Refund, by: &str) -> Result<Refund, TransferError> {
    if refund.needs_person != Some(Flag::RefundBlocked) || refund.state != RefundState::Reserved {
        return Err(TransferError::NotWaiting(refund.state.as_str()));
    }
    Ok(Refund {
        needs_person: None,
        put_off_since: None,
        put_off_until: None,
        reason: Some(format!("sent again, says {by}")),
        ..refund.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::decide::tests::build;

    fn task(state: RefundState) -> Refund {
        let mut refund = build::refund(Flag::Overpaid, 50_000, state);
        refund.channel = Channel::Manual;
        refund.approved_by = Some("rina".into());
        refund
    }

    #[test]
    fn a_transfer_is_recorded_once_it_was_handed_over_and_not_by_its_approver() {
        for state in RefundState::ALL.into_iter().filter(|s| *s != RefundState::Sending) {
            assert!(
                matches!(transferred(&task(state), "sari", "B-1"), Err(TransferError::NotHandedOver { .. })),
                "{state:?}"
            );
            assert!(
                matches!(not_transferred(&task(state), "sari", "x"), Err(TransferError::NotHandedOver { .. })),
                "{state:?}"
            );
        }
        let mut by_api = task(RefundState::Sending);
        by_api.channel = Channel::Api;
        assert!(
            matches!(transferred(&by_api, "sari", "B-1"), Err(TransferError::NotHandedOver { .. })),
            "a call under way"
        );
        let sending = task(RefundState::Sending);
        assert_eq!(transferred(&sending, "rina", "B-1"), Err(TransferError::SamePerson("rina".into())));
        for text in ["", "  ", &"1".repeat(65), "B\n1"] {
            assert_eq!(transferred(&sending, "sari", text), Err(TransferError::BankReference), "{text:?}");
        }
        let done = transferred(&sending, "sari", " B-1 ").unwrap();
        assert_eq!((done.state, done.proof), (RefundState::Confirmed, Some(Proof::Person)));
        assert_eq!(done.transfer, Some(Transfer { by: "sari".into(), bank_reference: "B-1".into() }));
        let back = not_transferred(&sending, "rina", "the account is closed").unwrap();
        assert_eq!((back.state, back.api_closed), (RefundState::Refused, true));
    }

    #[test]
    fn only_what_is_known_not_to_have_moved_is_taken_from_the_api() {
        let refund = |state, attempts, unanswered| {
            let mut refund = build::refund(Flag::Overpaid, 50_000, state);
            refund.attempts = attempts;
            refund.unanswered = unanswered;
            by_hand(&refund, "sari", "so").map(|r| (r.state, r.channel))
        };
        for state in [RefundState::Proposed, RefundState::Approved, RefundState::Reserved] {
            assert_eq!(refund(state, 0, false), Ok((RefundState::Proposed, Channel::Manual)), "{state:?}");
        }
        assert_eq!(refund(RefundState::Reserved, 3, false), Ok((RefundState::Refused, Channel::Api)));
        for (state, attempts, unanswered) in [
            (RefundState::Reserved, 3, true),
            (RefundState::Approved, 1, false),
            (RefundState::Sending, 1, false),
            (RefundState::Unknown, 1, true),
            (RefundState::Confirmed, 1, false),
        ] {
            assert!(matches!(refund(state, attempts, unanswered), Err(TransferError::NotByHand(_))), "{state:?}");
        }
        assert_eq!(by_hand(&task(RefundState::Proposed), "sari", "so"), Err(TransferError::IsByHand));
    }

    #[test]
    fn a_number_goes_again_only_where_a_person_was_called() {
        let mut refund = build::refund(Flag::Overpaid, 50_000, RefundState::Reserved);
        assert_eq!(again(&refund, "sari"), Err(TransferError::NotWaiting("reserved")));
        refund.needs_person = Some(Flag::RefundBlocked);
        refund.put_off_since = Some(build::t(1));
        refund.put_off_until = Some(build::t(2));
        refund.partner_refund_no = Some("RK1".into());
        let once_more = again(&refund, "sari").unwrap();
        assert_eq!((once_more.needs_person, once_more.put_off_since), (None, None));
        assert_eq!(once_more.partner_refund_no, refund.partner_refund_no, "never another number");
        refund.state = RefundState::Unknown;
        refund.needs_person = Some(Flag::RefundUnknown);
        assert_eq!(again(&refund, "sari"), Err(TransferError::NotWaiting("unknown")));
    }
}
