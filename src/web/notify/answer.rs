//! How a notification is answered: the word that DOKU waits for, a problem document, or SNAP BI's codes: three digits of HTTP,
//! two of the service (52 notify, 73 token) and two of the case. Source of the codes: ASPI's standard.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{BODY_MAX, Problem, Trouble};
use crate::{
    domain::notification::NotificationError,
    engine::ingest::{Form, GivenToken, Objection},
};

/// The documented answer; anything else is delivered again.
const CONTINUE: &str = "CONTINUE";

/// The service of SNAP BI's payment notification.
pub(super) const NOTIFY: &str = "52";
/// The service of its B2B token.
pub(super) const TOKEN: &str = "73";

/// The answer of the two older forms.
pub(super) fn plain(form: Form, taken: Result<(), Trouble>) -> Response {
    let problem = match taken {
        Ok(()) => return continued(),
        Err(Trouble::Unsigned(_)) if form == Form::Legacy => return continued(),
        Err(Trouble::Unsigned(why)) => Problem::new(StatusCode::UNAUTHORIZED, why.to_string()),
        Err(Trouble::Unknown(problem)) => problem,
        Err(Trouble::Large) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a notification may have {BODY_MAX} bytes"))
        }
        Err(Trouble::Refused(error)) => Problem::new(status_of(error), error.to_string()),
        Err(Trouble::Away(away)) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, away.to_string()),
    };
    problem.into_response()
}

fn continued() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], CONTINUE).into_response()
}

const fn status_of(error: NotificationError) -> StatusCode {
    match error {
        NotificationError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        NotificationError::Encoding
        | NotificationError::Conflict(_)
        | NotificationError::TooLong(_)
        | NotificationError::Reference(_)
        | NotificationError::Json => StatusCode::BAD_REQUEST,
    }
}

/// The answer of SNAP BI's form; a success has these fields beside its code.
pub(super) fn snap(service: &str, taken: Result<Map<String, Value>, Trouble>) -> Response {
    let (status, case, message, fields) = match taken {
        Ok(fields) => (StatusCode::OK, "00", "Successful".to_owned(), fields),
        Err(trouble) => {
            let (status, case, message) = match trouble {
                Trouble::Unknown(problem) => return problem.into_response(),
                Trouble::Large => (StatusCode::BAD_REQUEST, "00", format!("Bad Request. More than {BODY_MAX} bytes")),
                Trouble::Refused(NotificationError::Reference(name)) | Trouble::Unsigned(Objection::Header(name)) => {
                    (StatusCode::BAD_REQUEST, "02", format!("Invalid Mandatory Field {{{name}}}"))
                }
                Trouble::Refused(_) => (StatusCode::BAD_REQUEST, "00", "Bad Request".to_owned()),
                Trouble::Unsigned(Objection::Token) => {
                    (StatusCode::UNAUTHORIZED, "01", "Invalid Token (B2B)".to_owned())
                }
                Trouble::Unsigned(why) => (StatusCode::UNAUTHORIZED, "00", format!("Unauthorized. {}", reason(why))),
                Trouble::Away(_) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "01", "Internal Server Error. Send it again".to_owned())
                }
            };
            (status, case, message, Map::new())
        }
    };
    let code = format!("{}{service}{case}", status.as_u16());
    let mut document =
        Map::from_iter([("responseCode".to_owned(), json!(code)), ("responseMessage".to_owned(), json!(message))]);
    document.extend(fields);
    (status, Json(Value::Object(document))).into_response()
}

const fn reason(objection: Objection) -> &'static str {
    match objection {
        Objection::Client => "Unknown Client",
        Objection::Timestamp => "Timestamp",
        Objection::Signature | Objection::Header(_) | Objection::Token => "Signature",
    }
}

/// The fields of a token.
pub(super) fn given(token: &GivenToken) -> Map<String, Value> {
    Map::from_iter([
        ("accessToken".to_owned(), json!(token.token)),
        ("tokenType".to_owned(), json!("Bearer")),
        ("expiresIn".to_owned(), json!(token.life_secs.to_string())),
    ])
}
