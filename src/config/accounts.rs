//! `[accounts.NAME]`: one contract with one provider. What the provider can do stands in its profile, not here; a key here
//! wins over the profile.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::observation::Observation;
use crate::domain::profile::Ladder;

use super::layer::Node;
use super::notify::{NotifyTerms, read_terms};
use super::reader::{Section, nearest_name};
use super::secret::check_private_key;
use super::url::{Url, parse_url};
use super::values::parse_duration;

/// The longest name of an account: it stands in URLs and metric labels.
const NAME_MAX: usize = 40;

/// How a transaction is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inquiry {
    /// By the query service (51).
    Query,
    /// By the status service (53).
    Status,
}

/// How hard the provider may be asked. `None` leaves the profile's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rate {
    /// Calls per second, of every kind and all replicas together.
    pub per_second: Option<u32>,
    /// Calls that may come at once after a pause.
    pub burst: Option<u32>,
    /// Calls in flight per process.
    pub concurrency: Option<u32>,
}

/// One account, checked.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name in `transactions.account`.
    pub name: String,
    /// The provider's name.
    pub provider: String,
    /// Scheme, host and base path, without a slash at the end; http only on this machine.
    pub base_url: String,
    /// `X-PARTNER-ID` or what the provider calls it.
    pub client_id: String,
    /// The key of symmetric signatures.
    pub client_secret: SecretString,
    /// A PKCS#8 PEM RSA key, found readable at load.
    pub private_key: Option<SecretString>,
    /// `merchantId`.
    pub merchant_id: String,
    /// `terminalId`.
    pub terminal_id: Option<String>,
    /// `CHANNEL-ID`.
    pub channel_id: Option<String>,
    /// The customer's token of B2B2C providers.
    pub customer_token: Option<SecretString>,
    /// How a transaction is asked for.
    pub inquiry: Inquiry,
    /// How hard the provider may be asked.
    pub rate: Rate,
    /// Longest time for one call.
    pub timeout: Duration,
    /// Pauses between queries in whole seconds; where given, it replaces the profile's ladder as a whole.
    pub ladder: Option<Ladder>,
    /// How its notifications are signed; `None`: none can be verified.
    pub notify: Option<NotifyTerms>,
    /// Keys of the provider's profile that are replaced for this account, such as `refund_repeat`.
    pub profile: toml::Table,
}

/// Reads all accounts.
pub(crate) fn read(section: &mut Section<'_>, known_providers: &[&str]) -> Option<BTreeMap<String, Account>> {
    let mut accounts = BTreeMap::new();
    let mut is_complete = true;
    let mut sections = section.sections();
    let mut owners: BTreeMap<(String, String, String), String> = BTreeMap::new();
    for section in &mut sections {
        let Some(account) = read_account(section, known_providers) else {
            is_complete = false;
            continue;
        };
        let identity = (account.provider.clone(), account.client_id.clone(), account.merchant_id.clone());
        if let Some(owner) = owners.get(&identity) {
            let problem = format!(
                "account `{owner}` has the same provider, client_id and merchant_id: one contract is one account"
            );
            section.refuse::<()>("merchant_id", problem);
            is_complete = false;
        }
        owners.insert(identity, account.name.clone());
        accounts.insert(account.name.clone(), account);
    }
    is_complete.then_some(accounts)
}

fn read_account(section: &mut Section<'_>, known_providers: &[&str]) -> Option<Account> {
    section.default("inquiry", Node::Text("query".to_owned()));
    section.default("timeout", Node::Text("10s".to_owned()));
    let name = read_name(section);
    let provider = read_provider(section, known_providers);
    let base_url = read_base_url(section);
    let client_id = section.text("client_id", "the client id that the provider gave you");
    let client_secret = section.secret("client_secret");
    let private_key = section.optional("private_key", |section, key| section.checked_secret(key, check_private_key));
    let merchant_id = section.text("merchant_id", "the merchant id that the provider gave you");
    let terminal_id = section.optional("terminal_id", |section, key| section.text(key, "the terminal's id"));
    let channel_id =
        section.optional("channel_id", |section, key| section.text(key, "the channel's id, such as \"H2H\""));
    let customer_token = section.optional("customer_token", Section::secret);
    let inquiry = section.choice("inquiry", &[("query", Inquiry::Query), ("status", Inquiry::Status)]);
    let timeout = section.duration("timeout", "100ms", "5m");
    let rate = read_rate(&mut section.section("rate"));
    let ladder = section.optional_section("ladder", read_ladder);
    let notify = section.optional_section("notify", read_terms);
    let profile = section.open_table("profile");
    section.finish();
    Some(Account {
        name: name?,
        provider: provider?,
        base_url: base_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        private_key: private_key?,
        merchant_id: merchant_id?,
        terminal_id: terminal_id?,
        channel_id: channel_id?,
        customer_token: customer_token?,
        inquiry: inquiry?,
        rate: rate?,
        timeout: timeout?,
        ladder: ladder?,
        notify: notify?,
        profile: profile?,
    })
}

fn read_name(section: &Section<'_>) -> Option<String> {
    let name = section.name();
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.len() <= NAME_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_word) {
        return Some(name.to_owned());
    }
    section.refuse_table(format!(
        "an account's name is a lower-case letter and then letters, digits, `-` or `_`, at most {NAME_MAX}"
    ))
}

fn read_provider(section: &mut Section<'_>, known_providers: &[&str]) -> Option<String> {
    let provider = section.text("provider", "the name of a provider")?;
    if known_providers.contains(&provider.as_str()) {
        return Some(provider);
    }
    let meant = nearest_name(&provider, known_providers)
        .map_or_else(|| ".".to_owned(), |name| format!("; did you mean \"{name}\"?"));
    section.refuse("provider", format!("unknown provider{meant} Known: {}", known_providers.join(", ")))
}

fn read_base_url(section: &mut Section<'_>) -> Option<String> {
    const FORM: &str = "an https URL without user, query or fragment, such as \"https://api-sandbox.doku.com\"";
    match section.parsed("base_url", FORM, parse_url)? {
        Url { is_https: false, is_loopback: false, .. } => {
            section.refuse("base_url", "http is allowed only to this machine (localhost, 127.0.0.1, [::1]): use https")
        }
        Url { text, .. } => Some(text),
    }
}

fn read_rate(section: &mut Section<'_>) -> Option<Rate> {
    let calls = |section: &mut Section<'_>, key: &str| section.number(key, 1, 1_000_000);
    let per_second = section.optional("per_second", calls);
    let burst = section.optional("burst", calls);
    let concurrency = section.optional("concurrency", |section, key| section.number(key, 1, 1_024));
    section.finish();
    Some(Rate { per_second: per_second?, burst: burst?, concurrency: concurrency? })
}

fn read_ladder(section: &mut Section<'_>) -> Option<Ladder> {
    const FORM: &str = "a duration of whole seconds from \"1s\", such as \"90s\", \"5m\", \"2h\" or \"7d\"";
    let steps = |section: &mut Section<'_>, key: &str| section.list(key, FORM, whole_seconds);
    let default = steps(section, "default");
    let mut by_observation = BTreeMap::new();
    let mut is_complete = true;
    for observation in Observation::ALL {
        match section.optional(&observation.as_str().to_ascii_lowercase(), steps) {
            Some(Some(steps)) => {
                by_observation.insert(observation, steps);
            }
            Some(None) => {}
            None => is_complete = false,
        }
    }
    section.finish();
    let ladder = Ladder { default: default?, by_observation };
    is_complete.then_some(ladder)
}

fn whole_seconds(text: &str) -> Option<i64> {
    let step = parse_duration(text).filter(|step| step.subsec_nanos() == 0)?;
    i64::try_from(step.as_secs()).ok().filter(|seconds| *seconds > 0)
}
