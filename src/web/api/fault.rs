//! From a use-case's refusal to a problem: the status says whose turn it is, the words say what to do. What is nobody's
//! business outside stands in the log.

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    engine::{
        EngineError,
        accept::{AcceptError, BadItem},
    },
    store::StoreError,
    web::Problem,
};

/// After so many seconds a database that was away or busy may be asked again.
const RETRY_SECS: u32 = 1;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Conflict(_) => {
                tracing::debug!(%error, "an API request found the database away or busy");
                let detail = "the database is away or busy; nothing was done, try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_after(RETRY_SECS)
            }
            StoreError::Schema(_) => {
                tracing::error!(%error, "an API request met another schema");
                let detail = "the database's schema is not this program's; an operator must run `rekon migrate`";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
            StoreError::Refused { message, .. } => Self::new(StatusCode::CONFLICT, message),
            StoreError::Inconsistent { .. }
            | StoreError::Pooler(_)
            | StoreError::Statement(_)
            | StoreError::Migrate(_) => internal(&error),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let status = match error {
            EngineError::Store(error) => return error.into(),
            EngineError::NotFound(_) => StatusCode::NOT_FOUND,
            EngineError::Token(_) => StatusCode::UNAUTHORIZED,
            EngineError::Forbidden(_) => StatusCode::FORBIDDEN,
            EngineError::Ambiguous { .. }
            | EngineError::Busy(_)
            | EngineError::Refused(_)
            | EngineError::Transfer(_) => StatusCode::CONFLICT,
            EngineError::UnknownAccount { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::Account { .. }
            | EngineError::Webhook(_)
            | EngineError::Unaskable(_)
            | EngineError::NotSandbox { .. }
            | EngineError::CustomerToken(_)
            | EngineError::RunLost(_)
            | EngineError::Export(_)
            | EngineError::ExportVersion(_) => return internal(&error),
        };
        Self::new(status, error.to_string())
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        let detail = error.to_string();
        let (status, items) = match error {
            AcceptError::Engine(error) => return error.into(),
            AcceptError::Bad(items) => (StatusCode::UNPROCESSABLE_ENTITY, items),
            AcceptError::Differs(items) => (StatusCode::CONFLICT, items),
        };
        let told = |item: BadItem| json!({"index": item.index, "reason": item.reason});
        Self::new(status, detail).listing(items.into_iter().map(told).collect())
    }
}

/// Something that no caller can mend.
pub(super) fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(error = %error, cause = error.source().map(tracing::field::display), "an API request failed");
    let detail = "this is rekon's fault, not the request's; its log says what happened";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}
