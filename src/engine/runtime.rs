//! What a process holds while it works: the accounts on the line, their budgets and weather, the rulebook, the clock,
//! the entry to the settler. Put together once at start from the configuration.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config, Inquiry, Schedule},
    domain::profile::Ladder,
    engine::{
        EngineError,
        budget::{Budget, BudgetSettings},
        clock::DbClock,
        drift::DriftBook,
        hurry::Hurry,
        rulebook::Rulebook,
        sentinel::SentinelSettings,
        settler::{self, Answers, SettlerSettings},
        shared_token::TokenShelf,
        weather::{AccountWeather, WeatherSettings},
        webhooks::{self, Endpoint},
    },
    providers::{Account, AccountClient, AccountSettings, ExternalIds, Transport},
    store::{ConnectOptions, Store, dearest::Choice, limits::CallClass},
    telemetry::heartbeat::{Heartbeat, Heartbeats},
};

/// One account at work.
#[derive(Debug)]
pub struct AccountRuntime {
    /// Its name.
    pub name: String,
    /// The line to its provider.
    pub client: AccountClient,
    /// Its call slots.
    pub budget: Budget,
    /// Its breaker.
    pub weather: AccountWeather,
    /// Calls of the sweep and of runs in flight in this process.
    pub in_flight: Semaphore,
    /// Calls of refunds and the cashier: they do not queue behind a chunk that waits for its slots.
    /// `None` where only one call may be in flight at all.
    pub urgent: Option<Semaphore>,
    /// As many calls as may be in flight.
    pub concurrency: usize,
    /// How many rows are leased at once.
    pace: RwLock<Pace>,
    /// Chunks under way at once.
    pub chunks_at_once: usize,
    /// Rows in its chunks that somebody waits for.
    pub hurry: Hurry,
    /// Its sweep's sign of life.
    pub heart: Heartbeat,
    /// The sign of life of the lane for rows that somebody waits for.
    pub pulled_heart: Heartbeat,
}

/// How many rows are leased at once, by what the budget grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At most: what the budget grants for a chunk's span.
    pub chunk_max: i64,
    /// How a chunk is chosen where more is due than that; `None`: first come, first served.
    pub choice: Option<Choice>,
}

impl AccountRuntime {
    /// The pace of now.
    pub fn pace(&self) -> Pace {
        *self.pace.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a new configuration says about the account's rate and the shares of its budget; nothing else of it.
    pub fn set_rate(&self, config: &Config) {
        let Some(account) = config.accounts.get(&self.name) else { return };
        let shipped = &self.client.account().profile.limits;
        let per_second = account.rate.per_second.unwrap_or(shipped.per_second);
        let burst = account.rate.burst.unwrap_or(shipped.burst);
        self.budget.set(budget_settings(config, per_second, burst));
        *self.pace.write().unwrap_or_else(PoisonError::into_inner) = pace(config, per_second);
    }

    /// The line on which a class of calls waits.
    pub fn line(&self, class: CallClass) -> &Semaphore {
        match class {
            CallClass::Refund | CallClass::Cashier => self.urgent.as_ref().unwrap_or(&self.in_flight),
            CallClass::Adhoc | CallClass::Due => &self.in_flight,
        }
    }
}

/// The named limits of a process.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pause between looks at the due index.
    pub every: Duration,
    /// Life of a lease.
    pub lease: Duration,
    /// Longest run of a reconciliation.
    pub deadline: Duration,
    /// A terminal row's answer this old is asked for again by a reconciliation.
    pub fresh: Duration,
    /// Longest obedience to a Retry-After.
    pub retry_after_max: Duration,
    /// How long nobody calls after a 429 without Retry-After.
    pub retry_after_default: Duration,
    /// Age at which raw bodies and runs go.
    pub keep_raw_answers: Duration,
    /// Age at which finished commands go.
    pub keep_commands: Duration,
    /// Age at which notifications that became no fact go.
    pub keep_notifications: Duration,
    /// Age at which delivered webhooks go.
    pub keep_webhooks: Duration,
    /// Age at which dead letters go.
    pub keep_dead_webhooks: Duration,
    /// How the sentinel goes round.
    pub sentinel: SentinelSettings,
}

/// Everything that a use-case needs.
#[derive(Debug)]
pub struct Ctx {
    /// The database.
    pub store: Store,
    /// For LISTEN and the command bus: the same database, or the direct way to it where `store` goes through a transaction
    /// pooler.
    pub bus: Store,
    /// The terms in force.
    pub rulebook: Arc<Rulebook>,
    /// Accounts by name.
    pub accounts: BTreeMap<String, Arc<AccountRuntime>>,
    /// Merchants' endpoints by name.
    pub endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// Database time.
    pub clock: Arc<DbClock>,
    /// New X-EXTERNAL-IDs.
    pub ids: Arc<ExternalIds>,
    /// The entry to the settler.
    pub answers: Answers,
    /// The owner's name on every lease of this process.
    pub owner: String,
    /// Cancelled: nothing new is begun.
    pub stop: CancellationToken,
    /// Limits.
    pub limits: Limits,
    /// The calendar.
    pub schedules: Vec<(String, Schedule)>,
    /// The class under which this process asks what is due.
    pub class: CallClass,
    /// The loops of this process.
    pub hearts: Heartbeats,
    /// What providers say otherwise.
    pub drift: DriftBook,
}

impl Ctx {
    /// An account by name.
    pub fn account(&self, name: &str) -> Result<&Arc<AccountRuntime>, EngineError> {
        self.accounts.get(name).ok_or_else(|| EngineError::UnknownAccount {
            account: name.to_owned(),
            known: self.accounts.keys().cloned().collect(),
        })
    }
}

/// A process at work, and how to end it.
#[derive(Debug)]
pub struct Engine {
    /// What use-cases get.
    pub ctx: Arc<Ctx>,
    settler: JoinHandle<()>,
    settled: CancellationToken,
}

/// Chunks of one account under way at once, at least and at most.
const CHUNKS_MIN: usize = 2;
const CHUNKS_MAX: usize = 4;
/// Answers wait this long for a database that is away, as a share of the lease: by then they are asked again anyway.
const KEEP_ANSWERS_LEASES: u32 = 2;
/// Calls in flight that are kept for refunds and the cashier, where more than one is allowed at all.
const URGENT_LINES: usize = 2;
/// A loop that has not come round for this long is stuck; a longer lease, which is how long a chunk may be asked, counts for
/// more.
const LOOP_LIMIT: Duration = Duration::from_mins(1);

impl Engine {
    /// Puts a process together. `only` names the accounts it works on; empty means all.
    pub async fn start(
        store: Store,
        config: &Config,
        class: CallClass,
        only: &[String],
        hearts: Heartbeats,
    ) -> Result<Self, EngineError> {
        let accounts = accounts(config)?;
        let rulebook = Rulebook::new(config.policy, accounts.iter().map(|a| (a.name.clone(), a.profile.rules.clone())));
        let rulebook = Arc::new(rulebook.telling(webhooks::subscriptions(config)));
        store.keep_terms(&rulebook.documents()).await?;
        let instance = store.instance().await?;
        let clock = Arc::new(DbClock::start(&store).await?);
        let ids = Arc::new(ExternalIds::new(u32::try_from(instance.rem_euclid(1_000_000)).unwrap_or(0)));
        let problem =
            |e: &dyn std::error::Error| EngineError::Account { account: "all".into(), problem: e.to_string() };
        let transport = Arc::new(Transport::try_new().map_err(|e| problem(&e))?);
        let bus = match ConnectOptions::to_bus(&config.database) {
            Some(options) => Store::connect_later(&options)?,
            None => store.clone(),
        };
        let settled = CancellationToken::new();
        let settings = SettlerSettings {
            group_max: usize::try_from(config.settle.group_max).unwrap_or(usize::MAX),
            linger: config.settle.linger,
            keep: config.jobs.sweep.lease.saturating_mul(KEEP_ANSWERS_LEASES),
        };
        let loop_limit =
            LOOP_LIMIT.max(config.jobs.sweep.lease.saturating_mul(2)).max(config.jobs.sweep.every.saturating_mul(3));
        let heart = hearts.register("settler", loop_limit);
        let (answers, work) = settler::settler(store.clone(), Arc::clone(&rulebook), settings, heart, settled.clone());
        let mut runtimes = BTreeMap::new();
        for account in accounts.into_iter().filter(|a| only.is_empty() || only.contains(&a.name)) {
            let time = Arc::clone(&clock);
            let name = account.name.clone();
            let heart = |lane: &str| hearts.register(&format!("{lane} {name}"), loop_limit);
            let hearts_of = [heart("sweep"), heart("pulled")];
            let line = AccountClient::new(
                Arc::new(account),
                Arc::clone(&transport),
                Arc::clone(&ids),
                Arc::new(move || time.now()),
            )
            .sharing(Arc::new(TokenShelf::new(store.clone(), &name)));
            let runtime = runtime(config, line, hearts_of);
            runtimes.insert(name, Arc::new(runtime));
        }
        let ctx = Arc::new(Ctx {
            bus,
            rulebook,
            accounts: runtimes,
            endpoints: webhooks::endpoints(config)?,
            clock,
            ids,
            answers,
            owner: format!("rekon-{instance}"),
            stop: CancellationToken::new(),
            limits: limits(config),
            schedules: schedules(config),
            class,
            hearts,
            drift: DriftBook::default(),
            store,
        });
        Ok(Self { ctx, settler: tokio::spawn(work), settled })
    }

    /// Ends in order: what has been asked is written, then leases go back. Call it when the workers have ended.
    pub async fn finish(self) -> Result<(), EngineError> {
        self.settled.cancel();
        if self.settler.await.is_err() {
            tracing::error!("the settler ended badly; what it held will be asked again");
        }
        match self.ctx.store.release(&self.ctx.owner).await {
            Ok(0) => {}
            Ok(released) => tracing::info!(released, "unused leases were given back"),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the database is away; unused leases run out by themselves");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.ctx.drift.finish(&self.ctx.store).await {
            tracing::warn!(%error, "the last counts of drift are lost");
        }
        Ok(())
    }
}

/// The accounts of a configuration, each with its merged profile.
pub fn accounts(config: &Config) -> Result<Vec<Account>, EngineError> {
    config
        .accounts
        .values()
        .map(|a| {
            let problem = |problem: String| EngineError::Account { account: a.name.clone(), problem };
            Account::try_new(settings(a)).map_err(|e| problem(e.to_string()))
        })
        .collect()
}

fn settings(a: &crate::config::Account) -> AccountSettings {
    AccountSettings {
        name: a.name.clone(),
        provider: a.provider.clone(),
        base_url: a.base_url.clone(),
        client_id: a.client_id.clone(),
        client_secret: a.client_secret.clone(),
        private_key: a.private_key.clone(),
        merchant_id: a.merchant_id.clone(),
        terminal_id: a.terminal_id.clone(),
        channel_id: a.channel_id.clone(),
        customer_token: a.customer_token.clone(),
        inquiry: match a.inquiry {
            Inquiry::Query => "query".to_owned(),
            Inquiry::Status => "status".to_owned(),
        },
        per_second: a.rate.per_second,
        burst: a.rate.burst,
        concurrency: a.rate.concurrency,
        timeout: Some(a.timeout),
        ladder: a.ladder.as_ref().map(ladder).unwrap_or_default(),
        profile: a.profile.clone(),
    }
}

fn ladder(ladder: &Ladder) -> BTreeMap<String, Vec<Duration>> {
    let steps = |secs: &[i64]| secs.iter().map(|s| Duration::from_secs(s.max(&0).unsigned_abs())).collect::<Vec<_>>();
    let named = ladder.by_observation.iter().map(|(o, secs)| (o.as_str().to_lowercase(), steps(secs)));
    named.chain([("default".to_owned(), steps(&ladder.default))]).collect()
}

fn runtime(config: &Config, client: AccountClient, [heart, pulled_heart]: [Heartbeat; 2]) -> AccountRuntime {
    let name = client.account().name.clone();
    let limits = client.account().limits;
    let weather = WeatherSettings {
        calls_min: usize::try_from(config.breaker.calls_min).unwrap_or(usize::MAX),
        window: config.breaker.window,
        failed_percent: usize::try_from(config.breaker.failed_percent).unwrap_or(100),
        probe_first: config.breaker.probe_first,
        probe_max: config.breaker.probe_max,
        probe_span: client.account().timeout.saturating_mul(PROBE_CALLS),
    };
    let budget = budget_settings(config, limits.per_second, limits.burst);
    let concurrency = usize::try_from(limits.concurrency).unwrap_or(1).max(1);
    let urgent = URGENT_LINES.min(concurrency.saturating_sub(1));
    let ordinary = concurrency.saturating_sub(urgent).max(1);
    let pace = pace(config, limits.per_second);
    AccountRuntime {
        budget: Budget::new(&name, budget),
        weather: AccountWeather::new(&name, weather),
        in_flight: Semaphore::new(ordinary),
        urgent: (urgent > 0).then(|| Semaphore::new(urgent)),
        concurrency: ordinary,
        chunks_at_once: chunks_at_once(granted(config, limits.per_second), pace.chunk_max),
        pace: RwLock::new(pace),
        hurry: Hurry::default(),
        name,
        heart,
        pulled_heart,
        client,
    }
}

fn budget_settings(config: &Config, per_second: u32, burst: u32) -> BudgetSettings {
    let config::Budget { reserve_percent, block_max, .. } = config.budget;
    BudgetSettings { per_second, burst, reserve_percent, block_max }
}

/// What the rate grants in a chunk's span.
fn granted(config: &Config, per_second: u32) -> u128 {
    let span = config.jobs.sweep.chunk_span.as_millis();
    u128::from(per_second).saturating_mul(span).checked_div(1000).unwrap_or(1).max(1)
}

fn pace(config: &Config, per_second: u32) -> Pace {
    let granted = i64::try_from(granted(config, per_second)).unwrap_or(i64::MAX);
    let chunk_max = granted.min(i64::from(config.jobs.sweep.chunk_max));
    Pace { chunk_max, choice: choice(chunk_max, per_second) }
}

/// Due rows that are looked at for each second that a chunk lasts: looking is some microseconds for each, so this is less
/// than a hundredth of one core, and an account that is asked fast enough not to choose does not look at all.
const WINDOW_PER_SECOND: i64 = 2_000;
/// Due rows that are looked at once, at most.
const WINDOW_MAX: i64 = 20_000;
/// One row in so many is leased because it waited longest, whatever it is worth. So no row waits more than so many times as
/// long as it would if all came in turn.
const OLDEST_ONE_IN: i64 = 10;

/// Chooses where choosing is worth its price: the slower an account may be asked, the larger its window.
fn choice(chunk_max: i64, per_second: u32) -> Option<Choice> {
    let window = chunk_max.saturating_mul(WINDOW_PER_SECOND).checked_div(i64::from(per_second.max(1)))?.min(WINDOW_MAX);
    let oldest = chunk_max.checked_add(OLDEST_ONE_IN - 1)?.checked_div(OLDEST_ONE_IN)?;
    (window > chunk_max.saturating_mul(2)).then_some(Choice { limit: chunk_max, oldest, window })
}

/// Calls that a probe makes at most: a token and the query, both of them again where the token was refused.
const PROBE_CALLS: u32 = 4;

/// One chunk is asked while the next is leased; where the span's grant is many chunks, several more, because each ends in
/// a tail of calls that are still in flight.
fn chunks_at_once(granted: u128, chunk_max: i64) -> usize {
    let chunks = granted.checked_div(u128::from(chunk_max.max(1).unsigned_abs())).unwrap_or(0);
    usize::try_from(chunks).unwrap_or(CHUNKS_MAX).clamp(CHUNKS_MIN, CHUNKS_MAX)
}

fn limits(config: &Config) -> Limits {
    Limits {
        every: config.jobs.sweep.every,
        lease: config.jobs.sweep.lease,
        deadline: config.reconcile.deadline,
        fresh: config.reconcile.fresh,
        retry_after_max: config.budget.retry_after_max,
        retry_after_default: config.budget.retry_after_default,
        keep_raw_answers: config.jobs.prune.keep_raw_answers,
        keep_commands: config.jobs.prune.keep_commands,
        keep_notifications: config.jobs.prune.keep_notifications,
        keep_webhooks: config.jobs.prune.keep_webhooks,
        keep_dead_webhooks: config.jobs.prune.keep_dead_webhooks,
        sentinel: SentinelSettings { every: config.jobs.sentinel.every, slice: i64::from(config.jobs.sentinel.slice) },
    }
}

fn schedules(config: &Config) -> Vec<(String, Schedule)> {
    vec![
        ("daily".to_owned(), config.jobs.daily.schedule.clone()),
        ("prune".to_owned(), config.jobs.prune.schedule.clone()),
        ("seal".to_owned(), config.jobs.seal.schedule.clone()),
    ]
}
