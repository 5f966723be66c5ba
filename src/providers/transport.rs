//! The one place that does I/O with providers: sends a request's bytes as they stand and returns the answer's. No
//! redirects, no proxy from the environment, no retries, no decompression; every wait has an end.
//!
//! An error tells whether the request *surely never left*. Everything else may have reached the provider.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use reqwest::{
    Client, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::wire::{HttpRequest, HttpResponse, KEPT_HEADERS, Method, SECRET_HEADERS};

/// The longest body that is read; the standard's longest answer is some kilobytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest time for TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence while an answer is awaited or read: the longest `timeout` an account may have, so that the account's
/// own, which covers the whole call, is always the one that counts.
const READ_TIMEOUT: Duration = Duration::from_mins(5);
/// As many idle connections as calls can be in flight: a new connection costs more CPU than a call.
const IDLE_PER_HOST: usize = 1_024;
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// URLs whose parsed form is kept. Accounts have a handful each.
const KEPT_URLS: usize = 1_024;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The URL or a header cannot be sent.
    #[error("the request cannot be sent over HTTP")]
    Invalid,
    /// No connection: name, TCP or TLS.
    #[error("no connection to the provider")]
    Connect,
    /// No whole answer in time.
    #[error("the provider did not answer in time")]
    Timeout,
    /// The connection ended before the answer did.
    #[error("the connection was cut before the answer was complete")]
    Reset,
    /// The answer is longer than [`MAX_BODY_BYTES`].
    #[error("the provider's answer is too long")]
    TooLarge,
}

impl TransportError {
    /// Can the provider not have seen the request?
    pub const fn is_surely_unsent(self) -> bool {
        match self {
            Self::Invalid | Self::Connect => true,
            Self::Timeout | Self::Reset | Self::TooLarge => false,
        }
    }

    /// The word for doubts and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::TooLarge => "too_large",
        }
    }
}

/// The transport cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built; are CA certificates installed (ca-certificates)?")]
pub struct TransportBuildError(#[source] reqwest::Error);

/// One client for all accounts; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Transport {
    client: Client,
    urls: RwLock<HashMap<String, Url>>,
}

impl Transport {
    /// Builds the client. Installs rustls' `ring` provider if the process has none yet.
    pub fn try_new() -> Result<Self, TransportBuildError> {
        // An error means that another part of the process installed one before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .tcp_nodelay(true)
            .user_agent(concat!("rekon/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(TransportBuildError)?;
        Ok(Self { client, urls: RwLock::default() })
    }

    /// Sends one request and reads the whole answer, all within `timeout`.
    pub async fn send(&self, request: HttpRequest, timeout: Duration) -> Result<HttpResponse, TransportError> {
        let url = self.url(&request.endpoint.url)?;
        let method = match request.endpoint.method {
            Method::Post => reqwest::Method::POST,
            Method::Get => reqwest::Method::GET,
        };
        let mut call = reqwest::Request::new(method, url);
        *call.headers_mut() = headers(&request)?;
        *call.timeout_mut() = Some(timeout);
        if !request.body.is_empty() {
            *call.body_mut() = Some(request.body.into());
        }
        let mut response = self.client.execute(call).await.map_err(|e| before_answer(&e))?;
        let status = response.status().as_u16();
        let headers = kept(response.headers());
        let announced = response.content_length().unwrap_or(0);
        if announced > u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX) {
            return Err(TransportError::TooLarge);
        }
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|e| within_answer(&e))? {
            if body.len().saturating_add(chunk.len()) > MAX_BODY_BYTES {
                return Err(TransportError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status, headers, body })
    }

    fn url(&self, text: &str) -> Result<Url, TransportError> {
        if let Some(url) = self.urls.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(url.clone());
        }
        let url = Url::parse(text).map_err(|_| TransportError::Invalid)?;
        let mut urls = self.urls.write().unwrap_or_else(PoisonError::into_inner);
        // A URL with parameters is another one for every call.
        if urls.len() < KEPT_URLS && url.query().is_none() {
            urls.insert(text.to_owned(), url.clone());
        }
        Ok(url)
    }
}

fn headers(request: &HttpRequest) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::with_capacity(request.headers.len().saturating_add(4));
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| TransportError::Invalid)?;
        value.set_sensitive(SECRET_HEADERS.contains(name));
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

fn kept(headers: &HeaderMap) -> Vec<(&'static str, String)> {
    KEPT_HEADERS.iter().filter_map(|name| Some((*name, headers.get(*name)?.to_str().ok()?.to_owned()))).collect()
}

fn before_answer(error: &reqwest::Error) -> TransportError {
    if error.is_builder() {
        TransportError::Invalid
    } else if error.is_connect() {
        TransportError::Connect
    } else if error.is_timeout() {
        TransportError::Timeout
    } else {
        TransportError::Reset
    }
}

fn within_answer(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() { TransportError::Timeout } else { TransportError::Reset }
}

#[cfg(test)]
mod tests;
