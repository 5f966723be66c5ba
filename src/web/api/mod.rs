//! `/api/v1`: what programs of the merchant use instead of SQL and the command line. Each handler proves the token, reads
//! the request, calls one use-case and writes its answer; the documents are those of `--json`. No rule of money is here.
//!
//! Every route stands in [`table`], and a test walks it and the OpenAPI document both ways.

mod call;
mod fault;
mod page;
mod read;
mod transactions;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{MethodRouter, get, post},
};

use super::WebState;
use crate::{
    config::ApiLimits,
    engine::{import::ImportRules, rulebook::Rulebook},
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
}

/// A request under an Idempotency-Key that has no answer so much later than its longest time died with its process.
const GRACE: Duration = Duration::from_secs(5);

/// Every route: path, its methods, and who answers.
fn table() -> Vec<(&'static str, &'static [&'static str], MethodRouter<WebState>)> {
    vec![
        ("/api/v1/transactions", &["get", "post"][..], get(transactions::list).post(transactions::create)),
        ("/api/v1/transactions/{ref}", &["get"], get(transactions::by_reference)),
        ("/api/v1/transactions/{account}/{ref}", &["get"], get(transactions::show)),
        ("/api/v1/transactions/{account}/{ref}/recheck", &["post"], post(transactions::recheck)),
    ]
}

/// The routes of the API.
pub(super) fn routes() -> Router<WebState> {
    table().into_iter().fold(Router::new(), |router, (path, _, handlers)| router.route(path, handlers))
}
