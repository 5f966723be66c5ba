//! `rekon webhooks`: what merchants' endpoints were told, what did not arrive, and how it is sent again.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    cli::{
        context::{Context, OnSignal, until_signal},
        exit::{Exit, Failure},
        output::{or_dash, table, wib, wib_or_dash},
    },
    config::{Config, Webhook, nearest_name},
    domain::webhook::{Next, Reply, judge},
    engine::webhooks,
    store::webhooks::{EndpointRow, Filter, WebhookRow},
};

/// Show what endpoints were told, and send again what did not arrive
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon webhooks list")]
pub(crate) enum WebhooksCommand {
    /// List messages, the newest first; without --state the dead letters
    #[command(after_help = "Example: rekon webhooks list --state pending --endpoint shop")]
    List {
        /// pending, delivered or dead; may be repeated
        #[arg(long = "state", value_name = "STATE", value_parser = ["pending", "delivered", "dead"])]
        states: Vec<String>,
        /// Only this endpoint
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
        /// Only messages written then or later, e.g. 2026-11-20T06:00:00+07:00
        #[arg(long, value_name = "TIME")]
        since: Option<DateTime<Utc>>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        limit: i64,
    },
    /// List the endpoints: what waits for each, and what it asked for
    #[command(after_help = "Example: rekon webhooks endpoints --json")]
    Endpoints,
    /// Show one message with its body
    #[command(after_help = "Example: rekon webhooks show 4711")]
    Show {
        /// A message's number, or its webhook-id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Send messages again, under the same webhook-id: these, or an endpoint's dead letters
    #[command(after_help = "Example: rekon webhooks replay --endpoint shop --since 2026-11-20T06:00:00+07:00")]
    Replay {
        /// Messages' numbers or webhook-ids
        #[arg(value_name = "ID", required_unless_present = "endpoint", conflicts_with_all = ["endpoint", "since", "delivered"])]
        ids: Vec<String>,
        /// All dead letters of this endpoint
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
        /// Only messages written then or later, e.g. 2026-11-20T06:00:00+07:00
        #[arg(long, value_name = "TIME", requires = "endpoint")]
        since: Option<DateTime<Utc>>,
        /// What was delivered as well: the receiver has lost it
        #[arg(long, requires = "since")]
        delivered: bool,
    },
    /// Let an endpoint in again that answered 410 Gone or wanted a pause; what waited for it is sent
    #[command(after_help = "Example: rekon webhooks enable shop")]
    Enable {
        /// An endpoint
        #[arg(value_name = "NAME")]
        endpoint: String,
    },
    /// Send a signed message of type rekon.test now and print the answer; nothing is stored
    #[command(after_help = "Example: rekon webhooks test shop")]
    Test {
        /// An endpoint of the configuration
        #[arg(value_name = "NAME")]
        endpoint: String,
    },
}

/// One message with what was sent.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    row: WebhookRow,
    body: String,
}

/// What a receiver answered to a trial.
#[derive(Debug, Serialize)]
struct Trial<'a> {
    endpoint: &'a str,
    status: Option<u16>,
    error: Option<&'static str>,
    delivered: bool,
}

impl WebhooksCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List { states, endpoint, since, limit } => {
                let states = if states.is_empty() { vec!["dead".to_owned()] } else { states };
                let filter = Filter { states, endpoint, since };
                let rows = context.with_database(async |session| Ok(session.store.webhooks(&filter, limit).await?))?;
                context.out.list(&rows, || page(&rows))?;
            }
            Self::Endpoints => {
                let rows = context.with_database(async |session| {
                    let configured: Vec<String> = session.config.webhooks.keys().cloned().collect();
                    Ok(session.store.webhook_endpoints(&configured).await?)
                })?;
                context.out.list(&rows, || endpoints(&rows))?;
            }
            Self::Show { id } => show(context, &id)?,
            Self::Replay { ids, endpoint, since, delivered } => {
                let replayed = context.with_database(async |session| {
                    if ids.is_empty() {
                        let states = if delivered { vec!["dead", "delivered"] } else { vec!["dead"] };
                        let states = states.into_iter().map(str::to_owned).collect();
                        Ok(session.store.replay_webhooks(&Filter { states, endpoint, since }).await?)
                    } else {
                        let (ids, events) = split(&ids);
                        Ok(session.store.replay_webhooks_named(&ids, &events).await?)
                    }
                })?;
                context.out.document(&replayed, || format!("{} messages are due again.", replayed.replayed))?;
            }
            Self::Enable { endpoint } => {
                let enabled = context
                    .with_database(async |session| Ok(session.store.enable_webhook_endpoint(&endpoint).await?))?;
                let said =
                    if enabled { "is let in again; what waited is sent" } else { "was neither disabled nor paused" };
                context.out.document(&serde_json::json!({ "endpoint": endpoint, "enabled": enabled }), || {
                    format!("{endpoint} {said}.")
                })?;
            }
            Self::Test { endpoint } => return test(context, &endpoint),
        }
        Ok(Exit::Clean)
    }
}

/// Numbers and webhook-ids, apart.
fn split(ids: &[String]) -> (Vec<i64>, Vec<String>) {
    let (numbers, events): (Vec<&String>, Vec<&String>) = ids.iter().partition(|id| id.parse::<i64>().is_ok());
    (numbers.iter().filter_map(|id| id.parse().ok()).collect(), events.into_iter().cloned().collect())
}

fn show(context: &Context, id: &str) -> Result<(), Failure> {
    let (ids, events) = split(&[id.to_owned()]);
    let found = context.with_database(async |session| Ok(session.store.webhooks_named(&ids, &events).await?))?;
    if found.is_empty() {
        return Err(Failure::NotFound(format!("no message {id}: `rekon webhooks list` has their numbers")));
    }
    let shown: Vec<Shown> = found.into_iter().map(|(row, body)| Shown { row, body }).collect();
    context.out.list(&shown, || shown.iter().map(sheet).collect::<Vec<_>>().join("\n\n"))
}

fn sheet(shown: &Shown) -> String {
    let Shown { row, body } = shown;
    let lines = [
        ("id", row.id.to_string()),
        ("webhook-id", row.event_id.clone()),
        ("endpoint", row.endpoint.clone()),
        ("type", row.kind.clone()),
        ("payment", format!("{}/{} sequence {}", row.account, row.partner_reference_no, row.entry_no)),
        ("state", row.state.clone()),
        ("attempts", format!("{} (replayed {} times)", row.attempts, row.replays)),
        ("written", wib(row.created_at)),
        ("last attempt", wib_or_dash(row.last_attempt_at)),
        ("answer", answer(row)),
        ("next attempt", wib_or_dash(row.next_at)),
        ("body", body.clone()),
    ];
    table(&["", ""], &[], lines.map(|(name, value)| vec![name.to_owned(), value])).trim_start().to_owned()
}

fn answer(row: &WebhookRow) -> String {
    match (row.last_status, &row.last_error) {
        (Some(status), _) => format!("HTTP {status}"),
        (None, error) => or_dash(error.as_ref()),
    }
}

fn page(rows: &[WebhookRow]) -> String {
    if rows.is_empty() {
        return "No such messages.".to_owned();
    }
    let lines = rows.iter().map(|row| {
        vec![
            row.id.to_string(),
            row.endpoint.clone(),
            row.kind.clone(),
            format!("{}/{}", row.account, row.partner_reference_no),
            row.state.clone(),
            row.attempts.to_string(),
            answer(row),
            wib(row.created_at),
            wib_or_dash(row.next_at),
        ]
    });
    table(
        &["id", "endpoint", "type", "payment", "state", "attempts", "answer", "written", "next attempt"],
        &[0, 5],
        lines,
    )
}

fn endpoints(rows: &[EndpointRow]) -> String {
    if rows.is_empty() {
        return "No endpoint is configured: [webhooks.NAME] in jobs.toml makes one.".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let asked = match (row.disabled_at, row.paused_until) {
            (Some(since), _) => format!("disabled since {}: {}", wib(since), or_dash(row.disabled_why.as_ref())),
            (None, Some(until)) => format!("paused until {}", wib(until)),
            (None, None) => "-".to_owned(),
        };
        vec![row.endpoint.clone(), row.pending.to_string(), wib_or_dash(row.oldest_at), row.dead.to_string(), asked]
    });
    table(&["endpoint", "waiting", "oldest", "dead letters", "asked for"], &[1, 3], lines)
}

fn configured<'c>(config: &'c Config, name: &str) -> Result<&'c Webhook, Failure> {
    config.webhooks.get(name).ok_or_else(|| {
        let known: Vec<&str> = config.webhooks.keys().map(String::as_str).collect();
        let meant = nearest_name(name, &known).map_or_else(String::new, |name| format!("; did you mean {name}?"));
        Failure::Usage(format!("no endpoint {name}{meant} Known: {}", known.join(", ")))
    })
}

#[expect(clippy::disallowed_methods, reason = "no database is asked, so this machine's clock dates the message")]
fn test(context: &Context, name: &str) -> Result<Exit, Failure> {
    let webhook = configured(context.config()?, name)?;
    let now = Utc::now();
    let id = format!("msg_test_{}", now.timestamp_micros());
    let reply = until_signal(OnSignal::Abandon, async |_stop| Ok(webhooks::try_out(webhook, now, &id).await?))?;
    let (status, error) = match reply {
        Reply::Status { status, .. } => (Some(status), None),
        Reply::Silence(word) => (None, Some(word)),
    };
    let delivered = judge(reply, 0, &webhook.ladder) == Next::Delivered;
    let trial = Trial { endpoint: name, status, error, delivered };
    context.out.document(&trial, || match (delivered, status) {
        (true, Some(status)) => format!("{name} took it: HTTP {status}."),
        (_, Some(status)) => format!("{name} did not take it: HTTP {status}; a receiver answers 2xx."),
        (_, None) => format!("{name} cannot be reached: {}.", or_dash(error)),
    })?;
    Ok(if delivered { Exit::Clean } else { Exit::Failed })
}
