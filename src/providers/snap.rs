//! What the providers of the SNAP BI standard have in common: headers, the token service, and how the fields of an
//! answer are called. An adapter takes from here what its provider does by the book.

use chrono::{DateTime, FixedOffset, Utc};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;

use super::{
    Account, BuildError, Call,
    json::Object,
    profile::{AmountAs, AuthMode, CustomerTokenAs, IdsAs},
    service::Service,
    sign::ToSign,
    token::{GrantedToken, TokenError},
    wire::{Endpoint, HttpRequest, HttpResponse},
};
use crate::domain::{money::Sen, observe::Said, snap_code::ResponseCode};

mod answer;

pub use answer::{read_query, read_refund, read_status};

const WIB_SECS: i32 = 7 * 3600;
/// The life of a token that names none (ASPI: 900 s).
const STANDARD_LIFE_SECS: u32 = 900;
/// A token longer than this is none (ASPI allows 2048).
const LONGEST_TOKEN: usize = 8192;
/// No token is trusted for longer.
const LONGEST_LIFE_SECS: u32 = 30 * 86_400;

/// X-TIMESTAMP: WIB, whole seconds, always 25 characters. Paydia and NICEPAY insist on +07:00, and the same text goes
/// into the header and into the signature.
pub fn timestamp(at: DateTime<Utc>) -> String {
    wib(at).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The same moment on an Indonesian wall.
pub(super) fn wib(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    match FixedOffset::east_opt(WIB_SECS) {
        Some(zone) => at.with_timezone(&zone),
        None => at.fixed_offset(),
    }
}

/// A signed transaction request: the standard's headers over exactly these bytes.
pub fn transaction(
    account: &Account,
    service: Service,
    body: Vec<u8>,
    call: &Call<'_>,
) -> Result<HttpRequest, BuildError> {
    let endpoint = account.endpoint(service)?.clone();
    signed(account, service, endpoint, body, call)
}

/// The same without a body: the parameters stand in the URL, and are signed there.
pub fn transaction_in_url(
    account: &Account,
    service: Service,
    params: &[(&str, &str)],
    call: &Call<'_>,
) -> Result<HttpRequest, BuildError> {
    let endpoint = account.endpoint(service)?;
    let pairs: Vec<String> = params.iter().map(|(name, value)| format!("{name}={}", in_url(value))).collect();
    let query = pairs.join("&");
    let endpoint = Endpoint {
        method: endpoint.method,
        url: format!("{}?{query}", endpoint.url).into(),
        path: format!("{}?{query}", endpoint.path).into(),
    };
    signed(account, service, endpoint, Vec::new(), call)
}

/// Percent-encodes all but the characters that never need it, so that no client or proxy spells them in another way.
fn in_url(value: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |n: u8| HEX.get(usize::from(n)).copied().map_or('0', char::from);
    value.bytes().fold(String::with_capacity(value.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
        }
        out
    })
}

fn signed(
    account: &Account,
    service: Service,
    endpoint: Endpoint,
    body: Vec<u8>,
    call: &Call<'_>,
) -> Result<HttpRequest, BuildError> {
    let timestamp = timestamp(call.at);
    let to_sign = ToSign { method: endpoint.method.as_str(), path: &endpoint.path, body: &body, timestamp: &timestamp };
    let signature = match account.profile.auth {
        AuthMode::Symmetric => account.hmac_key.sign(&to_sign, call.token.unwrap_or_default()),
        AuthMode::Asymmetric => account.rsa_key.as_ref().ok_or(BuildError::NoPrivateKey)?.sign(&to_sign)?,
    };
    let mut headers = Vec::with_capacity(9);
    headers.push(("content-type", "application/json".to_owned()));
    headers.extend(call.token.map(|token| ("authorization", format!("Bearer {token}"))));
    headers.extend(customer_header(account, service, call)?);
    headers.push(("x-timestamp", timestamp));
    headers.push(("x-signature", signature));
    headers.push(("x-partner-id", account.client_id.clone()));
    headers.push(("x-external-id", call.external_id.to_owned()));
    headers.push(("channel-id", account.channel_id.clone()));
    Ok(HttpRequest { endpoint, headers, body })
}

/// Authorization-Customer, where the call has one.
fn customer_header(
    account: &Account,
    service: Service,
    call: &Call<'_>,
) -> Result<Option<(&'static str, String)>, BuildError> {
    let Some(spelling) = account.profile.operation(service).and_then(|o| o.customer_token) else { return Ok(None) };
    let ours = account.customer_token.as_ref().map(ExposeSecret::expose_secret);
    let token = call.customer_token.or(ours).ok_or(BuildError::NoCustomerToken)?;
    Ok(Some((
        "authorization-customer",
        match spelling {
            CustomerTokenAs::Bare => token.to_owned(),
            CustomerTokenAs::Bearer => format!("Bearer {token}"),
        },
    )))
}

/// The B2B token request (service 73): RSA over `client_id|timestamp`. The body is the standard's, or the account's own.
pub fn token_request(account: &Account, at: DateTime<Utc>) -> Result<HttpRequest, BuildError> {
    let body = account.profile.operation(Service::Token).and_then(|token| token.body.as_deref());
    signed_by_client(account, Service::Token, body.unwrap_or(STANDARD_TOKEN_BODY).as_bytes().to_vec(), at)
}

const STANDARD_TOKEN_BODY: &str = r#"{"grantType":"client_credentials"}"#;

/// A request that no token opens yet: signed over client and time alone.
pub(super) fn signed_by_client(
    account: &Account,
    service: Service,
    body: Vec<u8>,
    at: DateTime<Utc>,
) -> Result<HttpRequest, BuildError> {
    let endpoint = account.endpoint(service)?.clone();
    let timestamp = timestamp(at);
    let key = account.rsa_key.as_ref().ok_or(BuildError::NoPrivateKey)?;
    let signature = key.sign_token_request(&account.client_id, &timestamp)?;
    Ok(HttpRequest {
        endpoint,
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("x-timestamp", timestamp),
            ("x-client-key", account.client_id.clone()),
            ("x-signature", signature),
        ],
        body,
    })
}

/// Reads the answer to a token request. `responseCode` is mandatory only on failure; `expiresIn` is a string or an
/// integer of seconds.
pub fn read_token(response: &HttpResponse) -> Result<GrantedToken, TokenError> {
    let refused = |code: Option<String>| TokenError::Refused { http_status: response.status, response_code: code };
    let Ok(object) = Object::read(&response.body) else {
        return Err(if response.status == 200 { TokenError::Unreadable } else { refused(None) });
    };
    let code = object.get("responseCode").characters().and_then(ResponseCode::parse);
    if response.status != 200 || code.is_some_and(|c| c.http() != 200) {
        return Err(refused(code.map(|c| c.to_string())));
    }
    let said = object.get("accessToken");
    let token = said.characters().map(str::trim).filter(|t| is_header_safe(t)).ok_or(TokenError::Unreadable)?;
    let life_secs = match object.get("expiresIn") {
        Said::Nothing => STANDARD_LIFE_SECS,
        said => said
            .characters()
            .and_then(|t| t.trim().parse::<u32>().ok())
            .filter(|secs| *secs > 0)
            .ok_or(TokenError::Unreadable)?,
    };
    Ok(GrantedToken { token: token.to_owned(), life_secs: life_secs.min(LONGEST_LIFE_SECS) })
}

pub(super) fn is_header_safe(token: &str) -> bool {
    !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(|b| b.is_ascii_graphic())
}

/// An identifier as this provider wants it typed. A number only where no digit is lost by it.
pub fn id_token(id: &str, ids_as: IdsAs) -> Result<Box<RawValue>, BuildError> {
    let is_number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && (id == "0" || !id.starts_with('0'));
    match ids_as {
        IdsAs::Number if is_number => Ok(RawValue::from_string(id.to_owned())?),
        IdsAs::Number | IdsAs::String => Ok(serde_json::value::to_raw_value(id)?),
    }
}

/// An amount as this provider wants it typed: `"1200.00"`, or `1200` and `1200.25`.
pub fn amount_token(amount: Sen, amount_as: AmountAs) -> Result<Box<RawValue>, BuildError> {
    let text = amount.to_string();
    Ok(RawValue::from_string(match amount_as {
        AmountAs::String => format!("\"{text}\""),
        AmountAs::Number => text.strip_suffix(".00").unwrap_or(&text).to_owned(),
    })?)
}

/// Refuses a field that this provider would refuse, before anything leaves.
pub fn check_field(name: &'static str, value: &str, max: usize) -> Result<(), BuildError> {
    if value.is_empty() || value.len() > max || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(BuildError::Field { name, max });
    }
    Ok(())
}
