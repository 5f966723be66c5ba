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
    http::header,
    response::IntoResponse,
    routing::{get, post},
};

use super::server::Route;
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

/// Every route of the API.
pub(super) fn table() -> Vec<Route> {
    vec![
        ("/api/v1/transactions", &["GET", "POST"], get(transactions::list).post(transactions::create)),
        ("/api/v1/transactions/{ref}", &["GET"], get(transactions::by_reference)),
        ("/api/v1/transactions/{account}/{ref}", &["GET"], get(transactions::show)),
        ("/api/v1/transactions/{account}/{ref}/recheck", &["POST"], post(transactions::recheck)),
        ("/api/v1/refunds", &["GET", "POST"], get(refunds::list).post(refunds::propose)),
        ("/api/v1/refunds/{id}", &["GET"], get(refunds::show)),
        ("/api/v1/refunds/{id}/approve", &["POST"], post(refunds::approve)),
        ("/api/v1/refunds/{id}/deny", &["POST"], post(refunds::deny)),
        ("/api/v1/exceptions", &["GET"], get(exceptions::list)),
        ("/api/v1/exceptions/{account}/{ref}/assign", &["POST"], post(exceptions::assign)),
        ("/api/v1/exceptions/{account}/{ref}/resolve", &["POST"], post(exceptions::resolve)),
        ("/api/v1/runs", &["GET", "POST"], get(runs::list).post(runs::create)),
        ("/api/v1/runs/{id}", &["GET"], get(runs::show)),
        ("/api/v1/accounts", &["GET"], get(runs::accounts)),
        ("/api/v1/openapi.json", &["GET"], get(describe)),
    ]
}

/// What programs read to use the rest.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /api/v1/openapi.json`: for everybody; it holds no secret.
async fn describe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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
    fn the_document_names_every_path_and_method_of_the_router_and_no_other() {
        let document = document();
        let methods = |of: &Value| -> BTreeSet<String> {
            let all = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];
            of.as_object().unwrap().keys().filter(|key| all.contains(&key.as_str())).map(|m| m.to_uppercase()).collect()
        };
        let documented: BTreeMap<&str, BTreeSet<String>> =
            document["paths"].as_object().unwrap().iter().map(|(path, of)| (path.as_str(), methods(of))).collect();
        let known = |methods: &[&str]| methods.iter().map(|method| (*method).to_owned()).collect();
        assert_eq!(documented, table().iter().map(|(path, methods, _)| (*path, known(methods))).collect());
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
