//! `[webhooks.NAME]`: where a merchant is told of changes, how messages are signed, and how patiently they are sent. What a
//! message says is the domain's; that a name resolves to an address that may be called is found at every connection (`hooks`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::layer::{Entry, Node};
use super::reader::{Section, nearest_name};
use super::url::{Url, parse_url};
use super::values::parse_duration;
use crate::domain::webhook::types;

/// Longest name of an endpoint.
const NAME_MAX: usize = 64;
/// What stands before the base64 of a secret.
const SECRET_PREFIX: &str = "whsec_";
/// How long a key may be, in bytes, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Pauses between attempts, by the specification: with the first, ten attempts in some three days.
const LADDER: [&str; 9] = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"];
/// Most steps of a ladder.
const LADDER_MAX: usize = 32;

/// `[webhooks.NAME]`.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where messages are posted.
    pub url: String,
    /// What they are signed with, the new one first: one, or two while it is being changed.
    pub secrets: Vec<SecretString>,
    /// Types of messages; empty: all.
    pub events: BTreeSet<String>,
    /// Accounts; empty: all.
    pub accounts: BTreeSet<String>,
    /// Addresses of private networks may be called.
    pub allow_private: bool,
    /// Longest time for one attempt.
    pub timeout: Duration,
    /// Pauses between attempts; after the last one a message is a dead letter.
    pub ladder: Vec<Duration>,
    /// Attempts under way at once in one process.
    pub concurrency: u32,
    /// Most attempts begun per second in one process.
    pub per_second: u32,
}

/// Reads all endpoints. `accounts` are the configured ones, where they could be read.
pub(crate) fn read(section: &mut Section<'_>, accounts: Option<&[&str]>) -> Option<BTreeMap<String, Webhook>> {
    let mut webhooks = BTreeMap::new();
    let mut is_complete = true;
    for section in &mut section.sections() {
        match read_one(section, accounts) {
            Some(webhook) => drop(webhooks.insert(webhook.name.clone(), webhook)),
            None => is_complete = false,
        }
    }
    is_complete.then_some(webhooks)
}

fn read_one(section: &mut Section<'_>, accounts: Option<&[&str]>) -> Option<Webhook> {
    section.default("timeout", Node::Text("15s".to_owned()));
    section.default("ladder", Node::List(LADDER.map(Entry::default_text).to_vec()));
    section.default("concurrency", Node::Integer(8));
    section.default("per_second", Node::Integer(50));
    section.default("allow_private_addresses", Node::Boolean(false));
    let name = read_name(section);
    let allow_private = section.boolean("allow_private_addresses");
    let url = read_url(section, allow_private);
    let secret = section.checked_secret("secret", |text| signing_key(text).map(drop));
    let old =
        section.optional("secret_old", |section, key| section.checked_secret(key, |text| signing_key(text).map(drop)));
    let events = section.optional("events", |section, key| read_known(section, key, &types(), "event"));
    let named = section.optional("accounts", |section, key| {
        let known: Vec<String> = accounts.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect();
        match accounts {
            Some(_) => read_known(section, key, &known, "account"),
            // What is wrong with the accounts has been said.
            None => section.list(key, "the name of an account", |text| Some(text.to_owned())).map(BTreeSet::from_iter),
        }
    });
    let timeout = section.duration("timeout", "100ms", "1m");
    let ladder = section.list("ladder", "a duration from \"1s\", such as \"5m\"", |text| {
        parse_duration(text).filter(|step| *step >= Duration::from_secs(1))
    });
    let ladder = ladder.and_then(|steps| {
        if steps.len() <= LADDER_MAX {
            Some(steps)
        } else {
            section.refuse("ladder", format!("at most {LADDER_MAX} steps"))
        }
    });
    let concurrency = section.number("concurrency", 1, 64);
    let per_second = section.number("per_second", 1, 1_000);
    section.finish();
    Some(Webhook {
        name: name?,
        url: url?,
        secrets: std::iter::once(secret?).chain(old?).collect(),
        events: events?.unwrap_or_default(),
        accounts: named?.unwrap_or_default(),
        allow_private: allow_private?,
        timeout: timeout?,
        ladder: ladder?,
        concurrency: concurrency?,
        per_second: per_second?,
    })
}

fn read_name(section: &Section<'_>) -> Option<String> {
    let name = section.name();
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.len() <= NAME_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_word) {
        return Some(name.to_owned());
    }
    section.refuse_table(format!(
        "an endpoint's name is a lower-case letter and then letters, digits, `-` or `_`, at most {NAME_MAX}"
    ))
}

fn read_url(section: &mut Section<'_>, allow_private: Option<bool>) -> Option<String> {
    const FORM: &str = "an https URL without user, query or fragment, such as \"https://shop.example/rekon\"";
    let Url { text, is_https, is_loopback } = section.parsed("url", FORM, parse_url)?;
    if !is_https && !is_loopback {
        return section.refuse("url", "http is allowed only to this machine (localhost, 127.0.0.1, [::1]): use https");
    }
    let written = host(&text).parse::<IpAddr>();
    let reach = written.as_ref().map_or(Reach::Public, |address| Reach::of(*address));
    match (reach, is_loopback || allow_private.unwrap_or(true)) {
        (Reach::Public, _) | (Reach::Private, true) => Some(text),
        (Reach::Private, false) => section
            .refuse("url", "an address of a private network: set allow_private_addresses = true if that is meant"),
        (Reach::Never, _) => section
            .refuse("url", "an address to which nothing is sent (a metadata service, link-local, multicast, reserved)"),
    }
}

fn host(url: &str) -> &str {
    let authority = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn read_known(section: &mut Section<'_>, key: &str, known: &[String], what: &str) -> Option<BTreeSet<String>> {
    let named = section.list(key, &format!("the name of an {what}"), |text| Some(text.to_owned()))?;
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    if let Some(unknown) = named.iter().find(|name| !known.contains(*name)) {
        let meant =
            nearest_name(unknown, &names).map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"));
        return section.refuse(key, format!("unknown {what} \"{unknown}\"{meant} Known: {}", names.join(", ")));
    }
    Some(named.into_iter().collect())
}

/// The key in a secret's text: `whsec_` and base64. The error does not hold it.
pub fn signing_key(secret: &str) -> Result<Vec<u8>, String> {
    const FORM: &str = "a webhook's secret is \"whsec_\" and the base64 of 24 to 64 random bytes: \
                        printf 'whsec_%s' \"$(openssl rand -base64 32)\"";
    let key = secret.strip_prefix(SECRET_PREFIX).and_then(|text| STANDARD.decode(text).ok());
    key.filter(|key| KEY_BYTES.contains(&key.len())).ok_or_else(|| FORM.to_owned())
}

/// How far an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere in the world.
    Public,
    /// This machine or a private network.
    Private,
    /// Where clouds keep their machines' credentials (link-local mostly), multicast, reserved: no merchant's endpoint.
    Never,
}

impl Reach {
    /// How far this address is. An IPv4 address inside an IPv6 one counts as what it is.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => match v4.octets() {
                // Alibaba's metadata service lies within a private network, Azure's host within a public one.
                [100, 100, 100, 200]
                | [168, 63, 129, 16]
                | [0 | 224..=255, ..]
                | [169, 254, ..]
                | [192, 0, 0 | 2, _]
                | [192, 88, 99, _]
                | [198, 18..=19, ..]
                | [198, 51, 100, _]
                | [203, 0, 113, _] => Self::Never,
                [10 | 127, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Self::Private,
                _ => Self::Public,
            },
            IpAddr::V6(v6) => match v6.segments() {
                // Amazon's and Google's metadata services.
                [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] => Self::Never,
                [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] => Self::Private,
                [0, 0, 0, 0, 0, 0xffff, high, low]
                | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
                | [0x2002, high, low, ..] => Self::of_v4_within(high, low),
                // Teredo and documentation.
                [0x2001, second, ..] if second == 0 || second == 0xdb8 => Self::Never,
                [0x2000..=0x3fff, ..] => Self::Public,
                _ => Self::Never,
            },
        }
    }

    fn of_v4_within(high: u16, low: u16) -> Self {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Self::of(IpAddr::from([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_public_private_or_none_for_us() {
        let reach = |text: &str| Reach::of(text.parse().unwrap());
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert_eq!(reach(public), Reach::Public, "{public}");
        }
        for private in
            ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert_eq!(reach(private), Reach::Private, "{private}");
        }
        for never in [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "ff02::1",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2001:db8::1",
        ] {
            assert_eq!(reach(never), Reach::Never, "{never}");
        }
        assert_eq!(reach("2002:7f00:1::"), Reach::Private);
    }

    #[test]
    fn a_secret_is_its_prefix_and_the_base64_of_enough_bytes() {
        assert_eq!(signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").map(|key| key.len()), Ok(24));
        for refused in
            ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64 at all, no no no no"]
        {
            assert!(signing_key(refused).is_err(), "{refused}");
        }
    }
}
