//! `rekon providers`: what rekon knows about each provider and from where, and whether an account works.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::{
        context::{Context, OnSignal, Schema},
        exit::{Exit, Failure},
        output::{table, wib},
        wiring,
    },
    config::nearest_name,
    domain::profile::RefundRepeat,
    engine::{
        Engine, EngineError, control,
        provider_check::{self, AccountCheck, Verdict},
        runtime,
    },
    providers::{self, ProviderProfile},
    store::limits::CallClass,
    telemetry::heartbeat::Heartbeats,
};

/// How long a person waits for a call slot.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a sample in a table; `--json` has all of it.
const SAMPLE_SHOWN: usize = 120;

/// Show what is known about providers, and check accounts
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon providers list")]
pub(crate) enum ProvidersCommand {
    /// List the providers that an account may name
    #[command(after_help = "Example: rekon providers list --json")]
    List,
    /// Show a provider's profile, or an account's with its replacements: what each status means and who says so
    #[command(after_help = "Example: rekon providers show doku")]
    Show {
        /// A provider, or an account of the configuration
        #[arg(value_name = "NAME")]
        name: String,
        /// List instead what an account's provider said or spelt otherwise than documented
        #[arg(long)]
        drift: bool,
    },
    /// Pause an account: nobody asks its provider, for whatever purpose, and nothing of it ages, until somebody resumes it
    #[command(after_help = "Example: rekon providers pause doku-main --reason maintenance-until-0600")]
    Pause(Turned),
    /// Resume a paused account
    #[command(after_help = "Example: rekon providers resume doku-main --reason maintenance-is-over")]
    Resume(Turned),
    /// Check an account: token, signature, clock, and one question about a payment that does not exist
    #[command(after_help = "Example: rekon providers check doku-main")]
    Check {
        /// An account of the configuration
        #[arg(value_name = "ACCOUNT")]
        account: String,
    },
}

/// Whose asking is turned, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Turned {
    /// An account of the configuration
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Why
    #[arg(long)]
    reason: String,
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    refunds: &'static str,
    unproven: usize,
    source: String,
    read_on: String,
}

impl ProvidersCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List => list(context),
            Self::Show { name, drift: true } => drift(context, &name),
            Self::Show { name, drift: false } => show(context, &name),
            Self::Pause(turned) => turn(context, &turned, true),
            Self::Resume(turned) => turn(context, &turned, false),
            Self::Check { account } => check(context, &account),
        }
    }
}

/// The profile as it is shipped.
#[expect(clippy::default_trait_access, reason = "the type of a TOML table is at home in config and providers")]
fn shipped(name: &str) -> Result<Option<ProviderProfile>, Failure> {
    let Some(provider) = providers::provider(name) else { return Ok(None) };
    let load = ProviderProfile::load(provider, &Default::default(), Default::default());
    load.map(Some).map_err(|error| EngineError::Account { account: name.to_owned(), problem: error.to_string() }.into())
}

fn list(context: &Context) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for provider in providers::providers() {
        let Some(profile) = shipped(provider.name())? else { continue };
        rows.push(Listed {
            name: provider.name().to_owned(),
            refunds: refunds(&profile),
            unproven: provider_check::unproven(&profile).len(),
            source: profile.source,
            read_on: profile.read_on,
        });
    }
    let page = || {
        let header = ["provider", "refunds by API", "unproven", "source", "read on"];
        let cells = |row: &Listed| {
            let unproven = row.unproven.to_string();
            vec![row.name.clone(), row.refunds.to_owned(), unproven, row.source.clone(), row.read_on.clone()]
        };
        table(&header, &[2], rows.iter().map(cells))
    };
    context.out.list(&rows, page)?;
    Ok(Exit::Clean)
}

fn refunds(profile: &ProviderProfile) -> &'static str {
    match &profile.rules.refund {
        None => "no",
        Some(ability) if ability.partial => "full and partial",
        Some(_) => "full only",
    }
}

/// The configuration is read only where the name is no provider's: profiles need neither accounts nor secrets.
fn show(context: &Context, name: &str) -> Result<Exit, Failure> {
    if let Some(profile) = shipped(name)? {
        context.out.document(&document(&profile, None), || page(&profile, name))?;
        return Ok(Exit::Clean);
    }
    let accounts = runtime::accounts(context.config()?)?;
    let Some(account) = accounts.iter().find(|account| account.name == name) else {
        let known: Vec<&str> = providers::providers()
            .iter()
            .map(|provider| provider.name())
            .chain(accounts.iter().map(|account| account.name.as_str()))
            .collect();
        let meant = nearest_name(name, &known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let known = known.join(", ");
        return Err(Failure::Usage(format!("no provider and no account is called {name:?}{meant} Known: {known}")));
    };
    let title = format!("{name}, an account of {}", account.profile.rules.provider);
    context.out.document(&document(&account.profile, Some(name)), || page(&account.profile, &title))?;
    Ok(Exit::Clean)
}

fn drift(context: &Context, account: &str) -> Result<Exit, Failure> {
    let known = &context.config()?.accounts;
    if !known.contains_key(account) {
        let known = known.keys().cloned().collect();
        return Err(EngineError::UnknownAccount { account: account.to_owned(), known }.into());
    }
    let rows = context.with_database(async |session| Ok(session.store.drift(account).await?))?;
    let page = || {
        if rows.is_empty() {
            return format!("{account}: its provider has said nothing that is not documented.");
        }
        let header = ["kind", "n", "first", "last", "sample"];
        let cells = rows.iter().map(|row| {
            let sample = row.sample.as_deref().unwrap_or("-").chars().take(SAMPLE_SHOWN).collect();
            vec![row.kind.clone(), row.n.to_string(), wib(row.first_at), wib(row.last_at), sample]
        });
        table(&header, &[1], cells)
    };
    context.out.document(&rows, page)?;
    Ok(Exit::Clean)
}

fn turn(context: &Context, turned: &Turned, paused: bool) -> Result<Exit, Failure> {
    let Turned { account, reason } = turned;
    let row = context.with_database(async |session| {
        let rulebook = wiring::rulebook(session.config)?;
        let by = context.actor(&session.store).await?;
        Ok(control::pause(&session.store, &rulebook, &by, (account, paused), reason).await?)
    })?;
    let now = if paused { "paused: nobody asks its provider and nothing of it ages" } else { "at work again" };
    context.out.document(&row, || format!("{account} is {now}."))?;
    Ok(Exit::Clean)
}

fn document(profile: &ProviderProfile, account: Option<&str>) -> Value {
    let status: Vec<Value> = profile
        .rules
        .status
        .iter()
        .map(|(code, m)| json!({"code": code, "means": m.means.as_str(), "final": m.is_final, "source": m.note}))
        .collect();
    let operations: Vec<Value> = operations(profile)
        .map(|(name, o)| json!({"operation": name, "service": o.service_code, "method": o.method.as_str(), "path": o.path}))
        .collect();
    let refund =
        profile.rules.refund.as_ref().map(
            |ability| json!({"partial": ability.partial, "repeat_is_proved": ability.repeat == RefundRepeat::Safe}),
        );
    json!({
        "provider": profile.rules.provider,
        "account": account,
        "source": profile.source,
        "read_on": profile.read_on,
        "version": profile.version,
        "hosts": profile.hosts,
        "sandbox_hosts": profile.sandbox_hosts,
        "status": status,
        "operations": operations,
        "limits": {
            "per_second": profile.limits.per_second,
            "burst": profile.limits.burst,
            "concurrency": profile.limits.concurrency,
        },
        "required": profile.rules.required,
        "default_validity_secs": profile.rules.default_validity_secs,
        "paid_time_trusted": profile.rules.paid_time_trusted,
        "refund": refund,
        "unproven": provider_check::unproven(profile),
    })
}

fn operations(profile: &ProviderProfile) -> impl Iterator<Item = (&'static str, &providers::profile::Operation)> {
    profile.operations.iter().map(|(service, operation)| (service.as_str(), operation))
}

fn page(profile: &ProviderProfile, title: &str) -> String {
    let mut text = format!("{title}\n{}, read on {}\n", profile.source, profile.read_on);
    let status = profile.rules.status.iter().map(|(code, meaning)| {
        let is_final = if meaning.is_final { "final" } else { "-" };
        vec![code.clone(), meaning.means.as_str().to_owned(), is_final.to_owned(), meaning.note.clone()]
    });
    let grid = table(&["status", "means", "", "source"], &[], status);
    let calls = operations(profile)
        .map(|(name, o)| vec![name.to_owned(), o.service_code.clone(), o.method.as_str().to_owned(), o.path.clone()]);
    let calls = table(&["call", "service", "method", "path"], &[], calls);
    let limits = &profile.limits;
    write!(
        text,
        "\n{grid}\nAny other status is INDETERMINATE: asked again, never a verdict.\n\n{calls}\n\n\
         Limits: {} calls a second, {} at once, {} in flight per process\nHosts: {}; sandbox: {}\nRefunds by API: {}\n\nUnproven",
        limits.per_second,
        limits.burst,
        limits.concurrency,
        profile.hosts.join(", "),
        profile.sandbox_hosts.join(", "),
        refunds(profile),
    )
    .unwrap_or_default();
    push_unproven(&mut text, &provider_check::unproven(profile));
    text
}

fn push_unproven(text: &mut String, unproven: &[String]) {
    for line in unproven {
        write!(text, "\n  {line}").unwrap_or_default();
    }
    if unproven.is_empty() {
        text.push_str("\n  nothing");
    }
}

fn check(context: &Context, name: &str) -> Result<Exit, Failure> {
    let place = context.place()?;
    context.session(place, Schema::Current, OnSignal::Drain, async |session, _stop| {
        let (store, only) = (session.store.clone(), [name.to_owned()]);
        let engine = Engine::start(store, session.config, CallClass::Adhoc, &only, Heartbeats::new()).await?;
        let checked = match engine.ctx.account(name).cloned() {
            Ok(account) => provider_check::check(&engine.ctx, &account, PATIENCE).await,
            Err(_) => Err(EngineError::UnknownAccount {
                account: name.to_owned(),
                known: session.config.accounts.keys().cloned().collect(),
            }),
        };
        engine.finish().await?;
        let Some(checked) = checked? else {
            session.out.say("rekon: the call budget grants no call now; nothing was asked");
            return Ok(Exit::TryAgain);
        };
        session.out.document(&checked, || told(&checked))?;
        Ok(if checked.has(Verdict::Wrong) {
            Exit::Config
        } else if checked.has(Verdict::Unavailable) {
            Exit::Unavailable
        } else {
            Exit::Clean
        })
    })
}

fn told(checked: &AccountCheck) -> String {
    let place = if checked.is_sandbox { "sandbox" } else { "production: real money" };
    let mut text = format!("{}: {} at {} ({place})", checked.account, checked.provider, checked.host);
    for step in &checked.steps {
        let word = match step.verdict {
            Verdict::Fine => "fine",
            Verdict::NoneNeeded => "none needed",
            Verdict::Wrong => "WRONG",
            Verdict::Unavailable => "UNAVAILABLE",
            Verdict::Unknown => "unknown",
        };
        write!(text, "\n  {:<10} {word}: {}", step.step, step.seen).unwrap_or_default();
        if !step.fix.is_empty() {
            write!(text, "\n             {}", step.fix).unwrap_or_default();
        }
    }
    text.push_str("\n\nUnproven");
    push_unproven(&mut text, &checked.unproven);
    text
}
