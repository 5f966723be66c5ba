//! The customer's token (B2B2C, service 74): how it is asked for, what the answer says, and until when one that stands in
//! the configuration lives. Nothing keeps such a token: it is the customer's consent, given by hand.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};

use super::{
    Account, BuildError, Service,
    json::Object,
    snap::{self, is_header_safe},
    token::TokenError,
    wire::{HttpRequest, HttpResponse},
};
use crate::domain::{
    observe::{Said, paid_time},
    snap_code::ResponseCode,
};

/// What a customer's token is given for.
#[derive(Clone, Copy)]
pub enum CustomerGrant<'a> {
    /// The code that the customer's consent gave, at most 256 characters.
    AuthCode(&'a str),
    /// The refresh token of an earlier answer, at most 512 characters.
    RefreshToken(&'a str),
}

impl fmt::Debug for CustomerGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthCode(_) => "AuthCode(***)",
            Self::RefreshToken(_) => "RefreshToken(***)",
        })
    }
}

/// A customer's token as it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerToken {
    /// Without "Bearer ".
    pub token: String,
    /// When it ends, where the answer says so with its zone.
    pub expires_at: Option<DateTime<Utc>>,
    /// What the next one can be asked for with.
    pub refresh_token: Option<String>,
}

impl fmt::Debug for CustomerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomerToken(***, until {:?})", self.expires_at)
    }
}

/// The request: the B2B token's headers, and the grant in the body.
pub fn request(account: &Account, grant: CustomerGrant<'_>, at: DateTime<Utc>) -> Result<HttpRequest, BuildError> {
    let body = match grant {
        CustomerGrant::AuthCode(code) => {
            snap::check_field("authCode", code, 256)?;
            serde_json::json!({ "grantType": "authorization_code", "authCode": code })
        }
        CustomerGrant::RefreshToken(token) => {
            snap::check_field("refreshToken", token, 512)?;
            serde_json::json!({ "grantType": "refresh_token", "refreshToken": token })
        }
    };
    snap::signed_by_client(account, Service::CustomerToken, body.to_string().into_bytes(), at)
}

/// The token in its answer.
pub fn read(response: &HttpResponse) -> Result<CustomerToken, TokenError> {
    let refused = |code: Option<String>| TokenError::Refused { http_status: response.status, response_code: code };
    let Ok(object) = Object::read(&response.body) else {
        return Err(if response.status == 200 { TokenError::Unreadable } else { refused(None) });
    };
    let code = object.get("responseCode").characters().and_then(ResponseCode::parse);
    if response.status != 200 || code.is_some_and(|c| c.http() != 200) {
        return Err(refused(code.map(|c| c.to_string())));
    }
    let safe = |said: Said<'_>| said.characters().map(str::trim).filter(|t| is_header_safe(t)).map(str::to_owned);
    Ok(CustomerToken {
        token: safe(object.get("accessToken")).ok_or(TokenError::Unreadable)?,
        expires_at: object.get("accessTokenExpiryTime").characters().and_then(paid_time),
        refresh_token: safe(object.get("refreshToken")),
    })
}

/// When a token that is a JWT ends. Its signature is not looked at: this is for a warning, and lying hurts the liar.
pub fn jwt_expiry(token: &str) -> Option<DateTime<Utc>> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let object = Object::read(&claims).ok()?;
    let secs = object.get("exp").characters()?.parse::<i64>().ok()?;
    DateTime::from_timestamp(secs, 0)
}

impl Account {
    /// Does it have a customer's token of its own?
    pub const fn has_customer_token(&self) -> bool {
        self.customer_token.is_some()
    }

    /// When the account's own customer token ends, where it is a JWT that says so.
    pub fn customer_token_expires_at(&self) -> Option<DateTime<Utc>> {
        use secrecy::ExposeSecret;
        jwt_expiry(self.customer_token.as_ref()?.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_paydias_sample_token_is_read_and_nonsense_has_none() {
        let claims = URL_SAFE_NO_PAD.encode(br#"{"iss":"Paydia","iat":1724900401,"exp":1740668401}"#);
        let end = jwt_expiry(&format!("e30.{claims}.c2ln")).unwrap();
        assert_eq!(end.to_rfc3339(), "2025-02-27T15:00:01+00:00");
        for token in ["", "opaque", "a.b.c", "e30.e30.e30"] {
            assert_eq!(jwt_expiry(token), None, "{token}");
        }
    }

    #[test]
    fn a_customers_token_is_read_with_its_end_and_shows_nothing() {
        let answer = |status, body: &str| HttpResponse { status, headers: Vec::new(), body: body.into() };
        let body = r#"{"responseCode":"2007400","accessToken":"cust-1","tokenType":"Bearer","accessTokenExpiryTime":"2026-12-05T10:00:00+07:00","refreshToken":"ref-1"}"#;
        let token = read(&answer(200, body)).unwrap();
        assert_eq!((token.token.as_str(), token.refresh_token.as_deref()), ("cust-1", Some("ref-1")));
        assert_eq!(token.expires_at.map(|at| at.to_rfc3339()), Some("2026-12-05T03:00:00+00:00".to_owned()));
        assert!(!format!("{token:?}").contains("cust-1") && !format!("{token:?}").contains("ref-1"));
        assert_eq!(read(&answer(200, "{}")), Err(TokenError::Unreadable));
        let refused = TokenError::Refused { http_status: 401, response_code: Some("4017400".into()) };
        assert_eq!(read(&answer(401, r#"{"responseCode":"4017400"}"#)), Err(refused));
    }
}
