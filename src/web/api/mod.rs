//! `/api/v1`: what programs of the merchant use instead of SQL and the command line. Each handler proves the token, reads
//! the request, calls one use-case and writes its answer; the documents are those of `--json`. No rule of money is here.
//!
//! Every route stands in [`table`], and a test walks it and the OpenAPI document both ways.

mod call;
mod exceptions;
mod fault;
mod page;
mod read;
mod refunds;
mod runs;
mod transactions;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::header,
    response::IntoResponse,
    routing::{MethodRouter, get, post},
};

use super::WebState;
use crate::{
    config::ApiLimits,
    engine::{bus::Bus, health::AccountTerms, import::ImportRules, rulebook::Rulebook},
};

/// What the API needs beside the database.
#[derive(Debug)]
pub struct ApiParts {
    /// What is expected of a payment.
    pub rules: ImportRules,
    /// The terms in force.
    pub rulebook: Arc<Rulebook>,
    /// Bounds of its requests.
    pub limits: ApiLimits,
    /// The accounts, for whoever asks how they stand.
    pub accounts: Vec<AccountTerms>,
    /// Where runs are asked for.
    pub bus: Bus,
    /// Age of the last answer up to which a reconciliation does not ask a settled row again.
    pub fresh: Duration,
}

/// A request under an Idempotency-Key that has no answer so much later than its longest time died with its process.
const GRACE: Duration = Duration::from_secs(5);

/// Every route: its path and who answers.
fn table() -> Vec<(&'static str, MethodRouter<WebState>)> {
    vec![
        ("/api/v1/transactions", get(transactions::list).post(transactions::create)),
        ("/api/v1/transactions/{ref}", get(transactions::by_reference)),
        ("/api/v1/transactions/{account}/{ref}", get(transactions::show)),
        ("/api/v1/transactions/{account}/{ref}/recheck", post(transactions::recheck)),
        ("/api/v1/refunds", get(refunds::list).post(refunds::propose)),
        ("/api/v1/refunds/{id}", get(refunds::show)),
        ("/api/v1/refunds/{id}/approve", post(refunds::approve)),
        ("/api/v1/refunds/{id}/deny", post(refunds::deny)),
        ("/api/v1/exceptions", get(exceptions::list)),
        ("/api/v1/exceptions/{account}/{ref}/assign", post(exceptions::assign)),
        ("/api/v1/exceptions/{account}/{ref}/resolve", post(exceptions::resolve)),
        ("/api/v1/runs", get(runs::list).post(runs::create)),
        ("/api/v1/runs/{id}", get(runs::show)),
        ("/api/v1/accounts", get(runs::accounts)),
        ("/api/v1/openapi.json", get(describe)),
    ]
}

/// What programs read to use the rest.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /api/v1/openapi.json`: for everybody; it holds no secret.
async fn describe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// The routes of the API.
pub(super) fn routes() -> Router<WebState> {
    table().into_iter().fold(Router::new(), |router, (path, handlers)| router.route(path, handlers))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::domain::{
        refund::RefundState,
        resolution::ResolutionKind,
        state::{Flag, State},
    };

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("the document is JSON")
    }

    #[test]
    fn the_document_names_every_path_of_the_router_and_no_other() {
        let document = document();
        let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, table().iter().map(|(path, _)| *path).collect());
    }

    #[test]
    fn the_document_knows_the_domains_words() {
        let document = document();
        let words = |place: &str| -> Vec<String> {
            let listed = document.pointer(place).and_then(Value::as_array).expect(place);
            listed.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        let schemas = "/components/schemas";
        assert_eq!(words(&format!("{schemas}/Transaction/properties/state/enum")), State::ALL.map(State::as_str));
        assert_eq!(
            words(&format!("{schemas}/Refund/properties/state/enum")),
            RefundState::ALL.map(RefundState::as_str)
        );
        assert_eq!(
            words(&format!("{schemas}/Decision/properties/with/enum")),
            ResolutionKind::ALL.map(ResolutionKind::as_str)
        );
        assert_eq!(words(&format!("{schemas}/Decision/properties/flag/enum")), Flag::ALL.map(Flag::as_str));
    }
}
