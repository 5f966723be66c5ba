//! `[server]`: where rekon listens, and `[log]`: how it speaks.

use std::net::SocketAddr;
use std::time::Duration;

use super::notify::{NotifyLimits, read_limits};
use super::reader::Section;
use super::url::{Url, parse_url};

/// `[server]`, checked.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address of probes, metrics, notifications and API.
    pub listen: SocketAddr,
    /// How others reach it, without a slash at the end; `None` when nobody has to.
    pub public_url: Option<String>,
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// Longest time for the head of a request, and for the wait between two of them on one connection.
    pub header_timeout: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// Largest body of a request, in bytes.
    pub body_max: usize,
    /// Longest time for requests and calls in flight to end after SIGTERM.
    pub drain_timeout: Duration,
    /// How much notifications may make us do.
    pub notify: NotifyLimits,
    /// Bounds of the API.
    pub api: ApiLimits,
}

/// `[server.api]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ApiLimits {
    /// Largest body of a request, in bytes; never above `[server] body_max`.
    pub body_max: usize,
    /// Most payments in one request.
    pub batch_max: usize,
    /// Items of a page where the request names no number.
    pub page_default: u32,
    /// Most items of a page.
    pub page_max: u32,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[log]`, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// How log lines are written.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

pub(crate) fn read_server(section: &mut Section<'_>) -> Option<Server> {
    let listen =
        section.parsed("listen", "an address and a port, such as \"127.0.0.1:8080\" or \"0.0.0.0:8080\"", |text| {
            text.parse().ok()
        });
    let public_url = section.optional("public_url", |section, key| {
        section.parsed(
            key,
            "an http or https URL without user, query or fragment, such as \"https://rekon.example.com\"",
            |text| parse_url(text).map(|Url { text, .. }| text),
        )
    });
    let request_timeout = section.duration("request_timeout", "100ms", "10m");
    let header_timeout = section.duration("header_timeout", "100ms", "10m");
    let max_connections = section.number("max_connections", 1, 100_000);
    let body_max = section.number("body_max", 1_024, 1_073_741_824);
    let drain_timeout = section.duration("drain_timeout", "1s", "10m");
    let notify = read_limits(&mut section.section("notify"));
    let api = read_api(&mut section.section("api"), body_max);
    section.finish();
    Some(Server {
        listen: listen?,
        public_url: public_url?,
        request_timeout: request_timeout?,
        header_timeout: header_timeout?,
        max_connections: usize::try_from(max_connections?).ok()?,
        body_max: usize::try_from(body_max?).ok()?,
        drain_timeout: drain_timeout?,
        notify: notify?,
        api: api?,
    })
}

fn read_api(section: &mut Section<'_>, server_body_max: Option<u32>) -> Option<ApiLimits> {
    let body_max = section.number("body_max", 1_024, 1_073_741_824);
    let batch_max = section.number("batch_max", 1, 10_000);
    let page_default = section.number("page_default", 1, 10_000);
    let page_max = section.number("page_max", 1, 10_000);
    section.finish();
    let (page_default, page_max) = (page_default?, page_max?);
    if page_default > page_max {
        return section.refuse("page_default", "must not be more than page_max");
    }
    // A smaller bound on every request holds here as well.
    let body_max = body_max?.min(server_body_max?);
    Some(ApiLimits {
        body_max: usize::try_from(body_max).ok()?,
        batch_max: usize::try_from(batch_max?).ok()?,
        page_default,
        page_max,
    })
}

pub(crate) fn read_log(section: &mut Section<'_>) -> Option<Log> {
    let format = section.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let level = section.choice("level", &["error", "warn", "info", "debug", "trace"].map(|level| (level, level)));
    section.finish();
    Some(Log { format: format?, level: level?.to_owned() })
}
