//! Posts one message: no redirect, no proxy from the environment, no repetition; every wait has an end. An address is judged at
//! every connection, after the name was resolved and before a byte leaves: a name that pointed elsewhere yesterday, or while it
//! was being checked, opens no way into the network. Of the answer only its status and Retry-After are read.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};

use super::sign::Signer;
use crate::{
    config::{Reach, Webhook},
    domain::webhook::Reply,
};

/// Longest time for TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Longest obedience to a Retry-After.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// As much of an answer's body is read, and thrown away, as keeps the connection usable.
const DRAINED_BYTES: usize = 16 * 1024;

/// The endpoint cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// A secret of another form.
    #[error("webhook {0}: {1}")]
    Secret(String, String),
    /// A URL that is none, or an address that may not be called.
    #[error("webhook {0}: its url cannot be called; see allow_private_addresses")]
    Url(String),
    /// No client.
    #[error("the HTTP client cannot be built; are CA certificates installed (ca-certificates)?")]
    Client(#[source] reqwest::Error),
}

/// The line to one endpoint, with connections of its own.
#[derive(Debug, Clone)]
pub struct Post {
    client: Client,
    url: Url,
    signer: Signer,
    timeout: Duration,
}

impl Post {
    /// A line to this endpoint. Installs rustls' `ring` provider if the process has none yet.
    ///
    /// # Errors
    /// A secret of another form, or an address that may not be called.
    pub fn try_new(webhook: &Webhook) -> Result<Self, PostError> {
        // An error means that another part of the process installed one before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let signer =
            Signer::try_new(&webhook.secrets).map_err(|problem| PostError::Secret(webhook.name.clone(), problem))?;
        let unusable = || PostError::Url(webhook.name.clone());
        let url = Url::parse(&webhook.url).map_err(|_| unusable())?;
        let host = url.host_str().map(|host| host.trim_matches(['[', ']'])).ok_or_else(unusable)?;
        let written = host.parse::<IpAddr>().ok();
        // Whoever writes `localhost` means this machine; a name that only resolves to it does not.
        let is_here = host == "localhost" || written.is_some_and(|address| address.is_loopback());
        let guard = Guard { allow_private: webhook.allow_private, is_here };
        // The client asks no resolver about a written address.
        if written.is_some_and(|address| !guard.admits(address)) {
            return Err(unusable());
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .dns_resolver(Arc::new(guard))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(usize::try_from(webhook.concurrency).unwrap_or(1))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .user_agent(concat!("rekon/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(PostError::Client)?;
        Ok(Self { client, url, signer, timeout: webhook.timeout })
    }

    /// Sends a message once, within the endpoint's timeout. `now` becomes its timestamp.
    pub async fn send(&self, id: &str, now: DateTime<Utc>, body: &str) -> Reply {
        let timestamp = now.timestamp();
        let request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.signer.sign(id, timestamp, body))
            .body(body.to_owned());
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Reply::Silence(word(&error)),
        };
        let reply =
            Reply::Status { status: response.status().as_u16(), retry_after: retry_after(response.headers(), now) };
        let mut read: usize = 0;
        while read < DRAINED_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => read = read.saturating_add(chunk.len()),
                // The status has been said; how its body ends changes nothing.
                Ok(None) | Err(_) => break,
            }
        }
        reply
    }
}

fn word(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return "address_refused";
        }
        cause = error.source();
    }
    if error.is_builder() {
        "invalid_request"
    } else if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "reset"
    }
}

/// Seconds, or a date by the sender's clock.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match said.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => DateTime::parse_from_rfc2822(said).ok()?.signed_duration_since(now).to_std().ok()?,
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Resolves names and lets through what may be called.
#[derive(Debug, Clone, Copy)]
struct Guard {
    allow_private: bool,
    is_here: bool,
}

impl Guard {
    fn admits(self, address: IpAddr) -> bool {
        match Reach::of(address) {
            Reach::Public => true,
            Reach::Private => self.allow_private || (self.is_here && address.is_loopback()),
            Reach::Never => false,
        }
    }
}

/// The name resolves to no address that may be called.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to no address that may be called")]
struct Refused;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|found| guard.admits(found.ip())).collect();
            if admitted.is_empty() {
                return Err(Refused.into());
            }
            let admitted: Addrs = Box::new(admitted.into_iter());
            Ok(admitted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_called_only_by_its_name_and_link_local_never() {
        let admits =
            |allow_private, is_here, address: &str| Guard { allow_private, is_here }.admits(address.parse().unwrap());
        assert!(admits(false, false, "8.8.8.8") && admits(false, true, "127.0.0.1") && admits(true, false, "10.0.0.1"));
        assert!(!admits(false, false, "127.0.0.1") && !admits(false, true, "10.0.0.1"));
        assert!(!admits(true, true, "169.254.169.254") && !admits(true, true, "fe80::1"));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused_where_nobody_named_it() {
        let resolve = |is_here| Guard { allow_private: false, is_here }.resolve("localhost".parse().unwrap());
        let Err(refused) = resolve(false).await else { panic!("it was let through") };
        assert!(refused.is::<Refused>(), "{refused}");
        assert!(resolve(true).await.is_ok());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_a_day() {
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let read = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]), now);
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read("Fri, 20 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!((read("soon"), read("Fri, 20 Nov 2026 09:00:00 GMT")), (None, None));
    }
}
