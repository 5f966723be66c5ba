//! The door of a SNAP provider: headers, token, clock, signature, X-EXTERNAL-ID, pace. Nothing behind it looks at headers
//! again. Order and codes follow the ASPI standard; its clock skew is not pinned there, 15 minutes is what one open server uses.

use std::borrow::Cow;
use std::str;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;

use super::arrivals::Arrival;
use super::client::ClientState;
use super::script::SimProvider;
use super::signature::Signed;
use super::snap::{self, Refusal, Service};
use super::world::{World, wall_clock};

static X_PARTNER_ID: HeaderName = HeaderName::from_static("x-partner-id");
static X_CLIENT_KEY: HeaderName = HeaderName::from_static("x-client-key");
static X_EXTERNAL_ID: HeaderName = HeaderName::from_static("x-external-id");
static X_SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
static CHANNEL_ID: HeaderName = HeaderName::from_static("channel-id");
static AUTHORIZATION_CUSTOMER: HeaderName = HeaderName::from_static("authorization-customer");
/// Echoed in answers, as the standard asks.
pub(super) static X_TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");

const BODY_BYTES_MAX: usize = 64 * 1024;
const SKEW_MAX: TimeDelta = TimeDelta::minutes(15);
const IDENTIFIER_CHARS_MAX: usize = 36;

/// Whose signature a provider wants on transactions.
#[derive(Debug, Clone, Copy)]
pub(super) enum SignedBy {
    /// HMAC-SHA512 with the client secret, over the token too.
    Secret,
    /// SHA256withRSA with the merchant's private key, without the token.
    PrivateKey,
}

/// What a provider's tokens are good for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tokens {
    /// Until they expire.
    ForAWhile,
    /// For one call.
    ForOneCall,
    /// There are none.
    None,
}

/// What one provider's door wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    /// Whose door it is.
    pub(super) provider: SimProvider,
    pub(super) signed_by: SignedBy,
    pub(super) tokens: Tokens,
    /// Authorization-Customer.
    pub(super) wants_customer: bool,
    /// X-CLIENT-KEY beside X-PARTNER-ID.
    pub(super) wants_client_key: bool,
    /// CHANNEL-ID of every client.
    pub(super) wants_channel: bool,
}

/// A request that arrived.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Service,
    arrived_at: DateTime<Utc>,
    arrived_micros: u64,
    pub(super) parts: Parts,
    /// The raw body; `None` when it was too long or was cut off.
    body: Option<Bytes>,
}

impl Call {
    /// Notes the time, then reads the body.
    pub(super) async fn receive(world: &World, service: Service, request: Request) -> Self {
        let (arrived_micros, arrived_at) = (world.now_micros(), wall_clock());
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, BODY_BYTES_MAX).await.ok();
        Self { service, arrived_at, arrived_micros, parts, body }
    }

    /// The raw body; empty if it could not be read, which then fails as JSON.
    pub(super) fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// Who calls, by its own account.
    pub(super) fn claimed_client_id(&self) -> &str {
        let name =
            if matches!(self.service, Service::Token | Service::CustomerToken) { &X_CLIENT_KEY } else { &X_PARTNER_ID };
        self.header(name).unwrap_or_default()
    }

    /// Writes the call into the arrival log.
    pub(super) fn note_arrival(&self, world: &World, partner_reference_no: &str) {
        world.arrivals.note(|| Arrival {
            at_micros: self.arrived_micros,
            client_id: self.claimed_client_id().to_owned(),
            service: self.service,
            partner_reference_no: partner_reference_no.to_owned(),
        });
    }

    /// Checks a transaction request; returns the client's place and state.
    pub(super) fn admit<'w>(&self, world: &'w World, door: Door) -> Result<(usize, &'w ClientState), Refusal> {
        let (index, client) = self.client(world, &X_PARTNER_ID, "X-PARTNER-ID")?;
        if client.client.provider != door.provider {
            return Err(Refusal::unauthorized("[Unknown Client]"));
        }
        if door.wants_client_key && self.required(&X_CLIENT_KEY, "X-CLIENT-KEY")? != client.client.client_id {
            return Err(Refusal::unauthorized("[Unknown Client]"));
        }
        let timestamp = self.timestamp()?;
        let external_id = self.required(&X_EXTERNAL_ID, "X-EXTERNAL-ID")?;
        let is_numeric = external_id.bytes().all(|byte| byte.is_ascii_digit());
        let is_fixed = client.client.fixed_external_id.as_deref() == Some(external_id);
        if !(is_numeric || is_fixed) || external_id.len() > IDENTIFIER_CHARS_MAX {
            return Err(Refusal::malformed("X-EXTERNAL-ID"));
        }
        let signature = self.required(&X_SIGNATURE, "X-SIGNATURE")?;
        let wants_channel = door.wants_channel || client.client.requires_channel_id;
        if wants_channel && self.required(&CHANNEL_ID, "CHANNEL-ID")?.len() > 5 {
            return Err(Refusal::malformed("CHANNEL-ID"));
        }
        let access_token = self.access_token(world, index, door.tokens)?;
        if door.wants_customer {
            self.check_customer(client)?;
        }
        self.check_skew(timestamp.1)?;
        let endpoint_url = self.parts.uri.path_and_query().map_or("", |path| path.as_str());
        let method = self.parts.method.as_str();
        let signed = Signed { method, endpoint_url, access_token, body: self.body(), timestamp: timestamp.0 };
        let is_genuine = match door.signed_by {
            SignedBy::Secret => client.symmetric_key.verifies(signed, signature),
            SignedBy::PrivateKey => client.public_key.verifies_transaction(signed, signature),
        };
        if !is_genuine {
            return Err(Refusal::unauthorized("[Invalid Signature]"));
        }
        if !client.note_external_id(external_id, snap::wib_day(self.arrived_at)) {
            return Err(Refusal::new(409, "00"));
        }
        Ok((index, client))
    }

    /// The token of the call, found valid; empty where the provider has none.
    fn access_token(&self, world: &World, client_index: usize, tokens: Tokens) -> Result<&str, Refusal> {
        let is_valid = match tokens {
            Tokens::None => return Ok(""),
            Tokens::ForAWhile => World::is_token_valid,
            Tokens::ForOneCall => World::spend_token,
        };
        let authorization = self.required(&AUTHORIZATION, "Authorization")?;
        let token = authorization.strip_prefix("Bearer ").ok_or_else(|| Refusal::malformed("Authorization"))?;
        if is_valid(world, token, client_index) { Ok(token) } else { Err(Refusal::new(401, "01")) }
    }

    fn check_customer(&self, client: &ClientState) -> Result<(), Refusal> {
        let said = self.required(&AUTHORIZATION_CUSTOMER, "Authorization-Customer")?;
        let token = said.strip_prefix("Bearer ").unwrap_or(said);
        if client.client.customer_token.as_deref() == Some(token) { Ok(()) } else { Err(Refusal::new(401, "02")) }
    }

    /// Checks a token request: SHA256withRSA over `client_ID|X-TIMESTAMP`.
    pub(super) fn admit_token(&self, world: &World) -> Result<usize, Refusal> {
        let (index, client) = self.client(world, &X_CLIENT_KEY, "X-CLIENT-KEY")?;
        let timestamp = self.timestamp()?;
        let signature = self.required(&X_SIGNATURE, "X-SIGNATURE")?;
        self.check_skew(timestamp.1)?;
        let message = format!("{}|{}", client.client.client_id, timestamp.0);
        if !client.public_key.verifies(&message, signature) {
            return Err(Refusal::unauthorized("[Invalid Signature]"));
        }
        Ok(index)
    }

    fn client<'w>(
        &self,
        world: &'w World,
        name: &HeaderName,
        label: &str,
    ) -> Result<(usize, &'w ClientState), Refusal> {
        let client_id = self.required(name, label)?;
        if client_id.len() > IDENTIFIER_CHARS_MAX {
            return Err(Refusal::malformed(label));
        }
        let index = world.client_index(client_id);
        let known = index.and_then(|index| Some((index, world.clients.get(index)?)));
        let (index, client) = known.ok_or_else(|| Refusal::unauthorized("[Unknown Client]"))?;
        client
            .take_call(self.arrived_micros)
            .map_err(|wait_secs| Refusal { retry_after_secs: Some(wait_secs), ..Refusal::new(429, "00") })?;
        Ok((index, client))
    }

    fn timestamp(&self) -> Result<(&str, DateTime<Utc>), Refusal> {
        let text = self.required(&X_TIMESTAMP, "X-TIMESTAMP")?;
        let at = snap::parse_timestamp(text).ok_or_else(|| Refusal::malformed("X-TIMESTAMP"))?;
        Ok((text, at))
    }

    fn check_skew(&self, timestamp: DateTime<Utc>) -> Result<(), Refusal> {
        if self.arrived_at.signed_duration_since(timestamp).abs() > SKEW_MAX {
            return Err(Refusal::unauthorized("[X-TIMESTAMP out of range]"));
        }
        Ok(())
    }

    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn required(&self, name: &HeaderName, label: &str) -> Result<&str, Refusal> {
        self.header(name).filter(|value| !value.is_empty()).ok_or_else(|| Refusal::missing(label))
    }
}

/// A mandatory JSON string of 1 to `chars_max` characters.
pub(super) fn text<'a>(token: Option<&'a RawValue>, field: &str, chars_max: usize) -> Result<Cow<'a, str>, Refusal> {
    let token = token.ok_or_else(|| Refusal::missing(field))?.get();
    let inner = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = match inner {
        None => return Err(Refusal::malformed(field)),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => Cow::Owned(serde_json::from_str(token).map_err(|_| Refusal::malformed(field))?),
    };
    if text.is_empty() {
        return Err(Refusal::missing(field));
    }
    if text.chars().count() > chars_max {
        return Err(Refusal::malformed(field));
    }
    Ok(text)
}

/// A mandatory JSON string, or a JSON number by its very spelling (DOKU's samples send numbers for typed strings).
pub(super) fn text_or_number<'a>(
    token: Option<&'a RawValue>,
    field: &str,
    chars_max: usize,
) -> Result<Cow<'a, str>, Refusal> {
    match token.map(RawValue::get) {
        Some(number) if number.starts_with(|first: char| first.is_ascii_digit()) && number.len() <= chars_max => {
            Ok(Cow::Borrowed(number))
        }
        _ => text(token, field, chars_max),
    }
}
