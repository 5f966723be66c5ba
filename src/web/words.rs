//! The domain's words as label values: the one place where the catalogue of metrics and the domain meet.

use super::server;
use crate::{
    domain::{
        explain::Rule,
        fact::Warning,
        observation::Observation,
        refund::RefundState,
        state::{Flag, State},
    },
    store::limits::CallClass,
    telemetry::catalogue::Vocabulary,
};

/// The words of every label, for these accounts and endpoints of webhooks.
pub fn vocabulary(accounts: Vec<String>, endpoints: Vec<String>) -> Vocabulary {
    Vocabulary {
        accounts,
        endpoints,
        observations: Observation::ALL.map(Observation::as_str).to_vec(),
        rules: Rule::ALL.map(Rule::id).to_vec(),
        warnings: [Warning::Amount, Warning::Currency, Warning::Reference, Warning::Status]
            .map(Warning::as_str)
            .to_vec(),
        call_classes: CallClass::ALL.map(CallClass::as_str).to_vec(),
        open_states: [State::Pending, State::Held, State::Refunding, State::Review].map(State::as_str).to_vec(),
        flags: Flag::ALL.map(Flag::as_str).to_vec(),
        refund_states: RefundState::ALL.map(RefundState::as_str).to_vec(),
        live_refund_states: RefundState::ALL
            .into_iter()
            .filter(|state| state.is_unsent() || state.holds_reservation())
            .map(RefundState::as_str)
            .collect(),
        requests: server::requests(),
    }
}
