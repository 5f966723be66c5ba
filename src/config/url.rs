//! As much of a URL as a configuration has to judge: scheme, host, and that nothing is hidden in it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A URL that may stand in a configuration.
pub(crate) struct Url {
    /// The URL without slashes at its end.
    pub(crate) text: String,
    /// Whether it is `https`.
    pub(crate) is_https: bool,
    /// Whether its host is this machine.
    pub(crate) is_loopback: bool,
}

/// Reads `http[s]://HOST[:PORT][/PATH]`. User names, queries and fragments are refused: a secret could hide there.
pub(crate) fn parse_url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let is_https = match scheme {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    if rest.contains(['@', '?', '#', '\\']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let authority = rest.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']')?;
            if !port.is_empty() && port.strip_prefix(':').is_none_or(|port| !is_port(port)) {
                return None;
            }
            host.parse::<Ipv6Addr>().ok()?;
            host
        }
        None => match authority.split_once(':') {
            Some((host, port)) if is_port(port) => host,
            Some(_) => return None,
            None => authority,
        },
    };
    if host.is_empty() {
        return None;
    }
    let is_loopback = host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    Some(Url { text: text.trim_end_matches('/').to_owned(), is_https, is_loopback })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_loopback_hosts_count_as_this_machine() {
        let is_loopback = |text| parse_url(text).map(|url| url.is_loopback);
        for here in ["http://127.0.0.1:8080", "http://127.1.2.3/x/", "http://localhost", "http://[::1]:80"] {
            assert_eq!(is_loopback(here), Some(true), "{here}");
        }
        for elsewhere in
            ["http://127.0.0.1.evil.example", "https://localhost.example", "http://[::2]", "http://10.0.0.1"]
        {
            assert_eq!(is_loopback(elsewhere), Some(false), "{elsewhere}");
        }
    }

    #[test]
    fn what_could_hide_something_is_refused() {
        for refused in [
            "ftp://x",
            "https://",
            "https://u:p@h",
            "https://h?k=v",
            "https://h#f",
            "https://h:0",
            "https://h:x",
            "https://a b",
            "h",
            "http://[x]",
        ] {
            assert!(parse_url(refused).is_none(), "{refused}");
        }
        assert_eq!(parse_url("https://h/base//").unwrap().text, "https://h/base");
    }
}
