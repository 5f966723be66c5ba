//! A request and an answer as data. Providers build the one and read the other; only `transport` sends anything, so every
//! byte that is signed can be looked at in a test. Absent on purpose: what the bytes mean.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

/// HTTP methods that providers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST.
    Post,
    /// GET.
    Get,
}

impl Method {
    /// As it stands in the request line and in the string to sign.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
        }
    }
}

/// Where an operation of an account lives; made once, shared by all its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: Arc<str>,
    /// Everything after the host: what is signed.
    pub path: Arc<str>,
}

/// A request, ready to be sent. Its body is sent as it stands here: it has been hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method, URL and signed path.
    pub endpoint: Endpoint,
    /// Header names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
}

/// Headers whose values open doors.
pub(super) const SECRET_HEADERS: [&str; 3] = ["authorization", "authorization-customer", "x-signature"];

impl fmt::Debug for HttpRequest {
    /// Everything but the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(&'static str, String)| {
            (*name, if SECRET_HEADERS.contains(name) { "***".to_owned() } else { value.clone() })
        };
        f.debug_struct("HttpRequest")
            .field("method", &self.endpoint.method)
            .field("url", &self.endpoint.url)
            .field("headers", &self.headers.iter().map(shown).collect::<Vec<_>>())
            .field("body", &String::from_utf8_lossy(&self.body))
            .finish()
    }
}

/// The headers of an answer that somebody reads; all others are dropped at the door.
pub const KEPT_HEADERS: [&str; 6] =
    ["retry-after", "date", "ratelimit-remaining", "ratelimit-reset", "x-ratelimit-remaining", "x-ratelimit-reset"];

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// Those of [`KEPT_HEADERS`] that came.
    pub headers: Vec<(&'static str, String)>,
    /// The body, at most as long as the transport allows.
    pub body: Vec<u8>,
}

impl HttpResponse {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.trim())
    }

    /// The provider's clock, from `Date`.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        DateTime::parse_from_rfc2822(self.header("date")?).ok().map(|at| at.with_timezone(&Utc))
    }

    /// Seconds to wait by `Retry-After`, in either of its forms. A date is counted from the provider's own `Date`, so
    /// that a skewed clock of ours does not shorten it. Never negative.
    pub fn retry_after_secs(&self) -> Option<i64> {
        let text = self.header("retry-after")?;
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok();
        }
        let until = DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc);
        Some(until.signed_duration_since(self.date()?).num_seconds().max(0))
    }

    /// Seconds until calls are granted again, where a rate-limit header says that none is left now.
    pub fn exhausted_for_secs(&self) -> Option<i64> {
        [("ratelimit-remaining", "ratelimit-reset"), ("x-ratelimit-remaining", "x-ratelimit-reset")]
            .into_iter()
            .filter(|(remaining, _)| self.header(remaining) == Some("0"))
            .find_map(|(_, reset)| self.header(reset)?.parse::<u32>().ok())
            .filter(|secs| *secs <= LONGEST_RESET_SECS)
            .map(i64::from)
    }
}

/// Some providers write a Unix time into the reset header; no window is longer than a day.
const LONGEST_RESET_SECS: u32 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(headers: &[(&'static str, &str)]) -> HttpResponse {
        HttpResponse {
            status: 429,
            headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            body: Vec::new(),
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date_by_the_providers_clock() {
        assert_eq!(with(&[("retry-after", "7")]).retry_after_secs(), Some(7));
        let date = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");
        assert_eq!(with(&[date, ("retry-after", "Fri, 20 Nov 2026 10:01:00 GMT")]).retry_after_secs(), Some(60));
        assert_eq!(with(&[date, ("retry-after", "Fri, 20 Nov 2026 09:00:00 GMT")]).retry_after_secs(), Some(0));
        assert_eq!(with(&[("retry-after", "soon")]).retry_after_secs(), None);
        assert_eq!(with(&[]).retry_after_secs(), None);
    }

    #[test]
    fn a_rate_limit_header_counts_only_when_nothing_is_left() {
        assert_eq!(with(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "12")]).exhausted_for_secs(), Some(12));
        assert_eq!(with(&[("ratelimit-remaining", "3"), ("ratelimit-reset", "12")]).exhausted_for_secs(), None);
        assert_eq!(
            with(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795168800")]).exhausted_for_secs(),
            None
        );
    }

    #[test]
    fn a_request_shows_no_secret() {
        let request = HttpRequest {
            endpoint: Endpoint { method: Method::Post, url: "https://x/y".into(), path: "/y".into() },
            headers: vec![
                ("authorization", "Bearer s3cret".into()),
                ("x-signature", "s1gned".into()),
                ("channel-id", "H2H".into()),
            ],
            body: b"{}".to_vec(),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("H2H") && !shown.contains("s3cret") && !shown.contains("s1gned"), "{shown}");
    }
}
