//! The processes of a soak and what befalls them, drawn from the seed: two workers that are killed and paused, a Postgres that
//! is killed and stopped, cashiers and a CronJob that come in between, tokens that die all at once.

use std::{
    collections::BTreeMap,
    process::{Child, Command},
    time::{Duration, Instant},
};

use rekon::{
    sim::{CallBudget, DEMO_PRIVATE_KEY_PEM, Postbox, Rng, Sim, SimClient, SimHandle, SimOptions, SimPayment},
    store::embedded::{EmbeddedOptions, EmbeddedPostgres},
};
use sqlx::{AssertSqlSafe, PgPool, Postgres, postgres::PgPoolOptions};

use super::{Size, ends::Expected, proof};
use crate::support::{process::Daemon, server};

const SECRET: &str = "SK-simulated-secret";
const SHARED_KEY: &str = "SHAREDKEY";
const LOOK: Duration = Duration::from_millis(200);
/// Nothing is at rest that did not change for so long and is not where it should be.
const STUCK: Duration = Duration::from_secs(45);
/// For a database that is being killed and for a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);
const UNPROVEN: &str = "select count(*) from rekon.account_controls where partial_proven";

/// The same program and the same clock as in production; the times alone are short.
const SECTIONS: &str = r#"
[policy]
confirm_after = "1s"
watch = "10s"
close_spread = "2s"
[refunds]
mode = "auto"
resends = {resends}
auto_limit = "100000000.00"
daily_budget = "100000000000.00"
[database]
max_connections = 16
[jobs.sweep]
every = "200ms"
lease = "{lease}s"
chunk_span = "1s"
[budget]
retry_after_default = "100ms"
retry_after_max = "1s"
[breaker]
probe_first = "100ms"
probe_max = "1s"
[server.notify]
unverified_per_minute = 600
unverified_burst = 100
"#;

/// What befell them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Befell {
    pub(super) kills: u64,
    pub(super) pauses: u64,
    pub(super) database_kills: u64,
    pub(super) database_stops: u64,
    pub(super) cashiers: u64,
    pub(super) cron_jobs: u64,
    pub(super) tokens_expired: u64,
    /// Workers that gave up because the database was away, and were started again as a supervisor does.
    pub(super) gave_up: u64,
}

pub(super) struct Crew {
    pub(super) sim: SimHandle,
    pub(super) befell: Befell,
    pub(super) config: String,
    pub(super) env: BTreeMap<String, String>,
    pool: PgPool,
    workers: Vec<Daemon>,
    /// Who sleeps, and until when.
    asleep: Option<(usize, Instant)>,
    visitors: Vec<Daemon>,
    next: Instant,
    /// When each was killed, on the clock of the provider's arrivals.
    pub(super) killed_at: Vec<u64>,
    rng: Rng,
    size: Size,
    begun: Instant,
    said_at: Instant,
    postgres: Option<EmbeddedPostgres>,
    again: EmbeddedOptions,
    _sweeper: Child,
    _keys: tempfile::TempDir,
}

impl Crew {
    pub(super) fn account(nth: usize) -> String {
        format!("soak-{nth}")
    }

    pub(super) fn client_id(nth: usize) -> String {
        format!("BRN-SOAK-{nth}")
    }

    pub(super) async fn begin(size: Size) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let settings = [("shared_buffers", "256MB"), ("max_wal_size", "2GB")];
        let (postgres, again, sweeper) = server::own_server(size.name, &settings);
        let clients = (0..size.accounts).map(|nth| SimClient::demo(&Self::client_id(nth), SECRET, &merchant_id(nth)));
        let mut options = SimOptions::loopback(clients.collect());
        options.seed = size.seed;
        options.latency_ms = size.latency_ms;
        options.arrival_log = size.kill_every.is_some();
        let sim = Sim::start(options).await.expect("the simulator starts");
        let keys = tempfile::tempdir().expect("a folder for the key");
        let key = keys.path().join("doku.pem");
        std::fs::write(&key, DEMO_PRIVATE_KEY_PEM).expect("the key is written");
        let mut config: String =
            (0..size.accounts).map(|nth| account(nth, size.grants, &sim.base_url(), &key)).collect();
        let times = [("{lease}", size.lease_secs()), ("{resends}", Size::RESENDS)];
        config.push_str(&times.iter().fold(SECTIONS.to_owned(), |text, (key, n)| text.replace(key, &n.to_string())));
        let env = BTreeMap::from([
            ("DOKU_SECRET".to_owned(), SECRET.to_owned()),
            ("SHARED_KEY".to_owned(), SHARED_KEY.to_owned()),
            ("DATABASE_URL".to_owned(), postgres.url().to_owned()),
        ]);
        let migrated = Daemon::command("migrate", &config, &env).end().await;
        assert_eq!(migrated.code, Some(0), "{}", migrated.said);
        let pool = PgPoolOptions::new().max_connections(4).connect(postgres.url()).await.expect("the database answers");
        let now = Instant::now();
        let workers = (0..size.workers).map(|_| Daemon::spawn(&config, &env)).collect();
        let mut crew = Self {
            sim,
            befell: Befell::default(),
            config,
            env,
            pool,
            workers,
            asleep: None,
            visitors: Vec::new(),
            next: now,
            killed_at: Vec::new(),
            rng: Rng::new(size.seed ^ 0x5EED),
            size,
            begun: now,
            said_at: now,
            postgres: Some(postgres),
            again,
            _sweeper: sweeper,
            _keys: keys,
        };
        crew.tell_the_provider().await;
        crew
    }

    /// Where the workers take in notifications now.
    async fn tell_the_provider(&mut self) {
        let mut addresses = Vec::new();
        for worker in &mut self.workers {
            addresses.push(worker.address().await);
        }
        for nth in 0..self.size.accounts {
            let path = format!("/notify/doku/{}", Self::account(nth));
            let postbox = Postbox { addresses: addresses.clone(), path, shared_key: SHARED_KEY.to_owned() };
            self.sim.world().notify_at(&Self::client_id(nth), postbox);
        }
    }

    /// Runs a statement until the database has done it.
    pub(super) async fn run(&mut self, sql: &str) {
        let begun = Instant::now();
        while let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await {
            let is_away = may_pass(&error) && begun.elapsed() < PATIENCE;
            assert!(is_away, "{error}\n{}", sql.get(..400).unwrap_or(sql));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The one value of a query, asked until the database gives it.
    pub(super) async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres> + Send + Unpin,
    {
        let begun = Instant::now();
        loop {
            match sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.pool).await {
                Ok(value) => return value,
                Err(error) => assert!(may_pass(&error) && begun.elapsed() < PATIENCE, "{error}\n{sql}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The provider knows payments of Rp 50,000 that were paid exactly.
    pub(super) fn is_to_be_told(
        &self,
        prefix: &str,
        numbers: impl IntoIterator<Item = usize>,
        account: impl Fn(usize) -> usize,
    ) {
        for nth in numbers {
            let payment = SimPayment::exact(format!("{prefix}{nth}"), 5_000_000);
            let client_id = Self::client_id(account(nth) % self.size.accounts);
            let payment = SimPayment { reference_no: format!("R-{prefix}{nth}"), client_id, ..payment };
            self.sim.world().add_payment(payment).expect("it is new");
        }
    }

    /// Where the first worker listens.
    pub(super) async fn address(&mut self) -> std::net::SocketAddr {
        self.workers[0].address().await
    }

    /// So many payments that are paid exactly, all due in one moment.
    pub(super) async fn is_owed(&mut self, count: usize) {
        self.is_to_be_told("E", 0..count, |nth| nth);
        self.run(&format!(
            "insert into rekon.transactions (account, partner_reference_no, reference_no, amount)
             select 'soak-' || n % {}, 'E' || n, 'R-E' || n, 50000 from generate_series(0, {count} - 1) n",
            self.size.accounts
        ))
        .await;
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Database time, as the merchants write it down.
    pub(super) async fn now(&self) -> String {
        self.value("select to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')").await
    }

    /// Nothing befalls anybody until every account has proved its first difference.
    pub(super) async fn wait_for_proven_accounts(&self) {
        let begun = Instant::now();
        while self.value::<i64>(UNPROVEN).await < i64::try_from(self.size.accounts).expect("few") {
            assert!(begun.elapsed() < PATIENCE, "no first refund came through:\n{}", self.workers[0].said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// From now on things befall them.
    pub(super) fn is_in_danger_from_now(&mut self) {
        self.next = Instant::now() + self.size.kill_every.unwrap_or_default();
    }

    /// Lets things happen until rekon has nearly caught up with the merchants.
    pub(super) async fn work_until_few_are_unasked(&mut self, most: i64, sold: &[Expected]) {
        loop {
            self.tick(sold).await;
            let unasked = "select count(*) from rekon.transactions where checks = 0 and state = 'pending'";
            if self.value::<i64>(unasked).await <= most {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets things happen until every payment rests where it should; says which do not when they never will.
    pub(super) async fn come_to_rest(&mut self, sold: &[Expected], deadline: Instant) {
        let (mut wrong, mut since) = (usize::MAX, Instant::now());
        loop {
            self.tick(sold).await;
            let moving: i64 = self.value(proof::MOVING).await;
            let elsewhere = if moving == 0 { proof::elsewhere(self, sold).await } else { Vec::new() };
            if moving == 0 && elsewhere.is_empty() && self.is_all_done() {
                return;
            }
            let left = usize::try_from(moving).unwrap_or(usize::MAX).saturating_add(elsewhere.len());
            if left != wrong {
                (wrong, since) = (left, Instant::now());
            }
            let is_over = Instant::now() > deadline || (since.elapsed() > STUCK && self.is_all_done());
            if is_over {
                let moving = proof::moving(self).await;
                panic!("{left} payments do not come to rest:\n{}\n{}", elsewhere.join("\n"), moving.join("\n"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Has everything befallen them that was to?
    fn is_all_done(&self) -> bool {
        self.befell.kills >= self.size.kills && self.asleep.is_none()
    }

    /// The next thing that happens, when its time has come.
    async fn tick(&mut self, sold: &[Expected]) {
        self.say(sold.len()).await;
        self.see_visitors_off();
        self.supervise().await;
        if let Some((nth, until)) = self.asleep
            && Instant::now() >= until
        {
            self.workers[nth].signal("CONT");
            self.asleep = None;
        }
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.pause();
        if self.befell.kills >= self.size.kills {
            return;
        }
        self.kill_one().await;
        if self.size.kill_every.is_some() {
            return;
        }
        match self.befell.kills {
            n if n == self.size.kills / 2 => self.kill_the_database().await,
            n if n == self.size.kills * 3 / 4 => self.stop_the_database().await,
            n if n % 4 == 1 => self.put_one_to_sleep(),
            n if n % 4 == 2 => self.let_a_cashier_ask(sold),
            n if n % 8 == 3 || self.size.is_small => self.start_the_cron_job(),
            n if n % 8 == 7 => {
                self.befell.tokens_expired += 1;
                self.sim.world().expire_tokens();
            }
            _ => {}
        }
    }

    /// Until the next thing happens.
    fn pause(&mut self) -> Duration {
        let (least, most) = if self.size.is_small { (300, 800) } else { (1_500, 4_500) };
        let drawn = Duration::from_millis(self.rng.between(least, most).unsigned_abs());
        self.size.kill_every.unwrap_or(drawn)
    }

    /// One of the workers.
    fn anybody(&mut self) -> usize {
        let last = i64::try_from(self.size.workers).expect("few") - 1;
        usize::try_from(self.rng.between(0, last)).expect("an index")
    }

    /// Starts again who ended alone, which only a database that is away excuses.
    async fn supervise(&mut self) {
        for nth in 0..self.workers.len() {
            if self.workers[nth].is_alive() {
                continue;
            }
            let ended = self.workers[nth].end().await;
            assert!(matches!(ended.code, Some(69 | 75)), "a worker ended with {:?}: {}", ended.code, ended.said);
            self.workers[nth] = Daemon::spawn(&self.config, &self.env);
            self.befell.gave_up += 1;
            self.tell_the_provider().await;
        }
    }

    /// `kill -9`, and another one takes its place.
    async fn kill_one(&mut self) {
        self.supervise().await;
        let nth = self.anybody();
        if self.asleep.is_some_and(|(asleep, _)| asleep == nth) {
            self.asleep = None;
        }
        let next = Daemon::spawn(&self.config, &self.env);
        std::mem::replace(&mut self.workers[nth], next).kill_9();
        self.killed_at.push(self.sim.world().now_micros());
        self.befell.kills += 1;
        self.tell_the_provider().await;
    }

    /// As a virtual machine that is moved, or a process that its machine forgot: it wakes up behind its lease.
    fn put_one_to_sleep(&mut self) {
        if self.asleep.is_none() {
            let nth = self.anybody();
            self.workers[nth].signal("STOP");
            // Whoever slept longer than a lease has lost what it held.
            self.asleep = Some((nth, Instant::now() + Duration::from_secs(self.size.lease_secs() + 1)));
            self.befell.pauses += 1;
        }
    }

    fn let_a_cashier_ask(&mut self, sold: &[Expected]) {
        if let Some(expected) = self.rng.pick(sold) {
            let reference = format!("{}/{}", Self::account(expected.account), expected.reference);
            self.visitors.push(Daemon::run(&["recheck", &reference], &self.config, &self.env));
            self.befell.cashiers += 1;
        }
    }

    fn start_the_cron_job(&mut self) {
        self.visitors.push(Daemon::run(&["reconcile", "--deadline", "10s"], &self.config, &self.env));
        self.befell.cron_jobs += 1;
    }

    fn see_visitors_off(&mut self) {
        let mut stay = Vec::new();
        for mut visitor in self.visitors.drain(..) {
            if visitor.is_alive() {
                stay.push(visitor);
            } else {
                assert!(!visitor.said().contains("panicked"), "{}", visitor.said());
            }
        }
        self.visitors = stay;
    }

    /// `kill -9` of the postmaster: its backends follow, and the next start recovers from the log.
    async fn kill_the_database(&mut self) {
        let postgres = self.postgres.take().expect("it runs");
        let killed = Command::new("kill").args(["-9", &postgres.pid().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "the database could not be killed");
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(postgres);
        self.befell.database_kills += 1;
        self.start_the_database().await;
    }

    /// An orderly restart: every connection ends.
    async fn stop_the_database(&mut self) {
        self.postgres.take().expect("it runs").stop().expect("it stops in order");
        self.befell.database_stops += 1;
        self.start_the_database().await;
    }

    async fn start_the_database(&mut self) {
        let begun = Instant::now();
        loop {
            // The last backends of a killed one hold its memory for a moment.
            match EmbeddedPostgres::start(&self.again) {
                Ok(postgres) => {
                    self.postgres = Some(postgres);
                    return;
                }
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn say(&mut self, sold: usize) {
        if self.said_at.elapsed() < Duration::from_secs(if self.size.is_small { 3 } else { 15 }) {
            return;
        }
        self.said_at = Instant::now();
        let pending: i64 = self.value("select count(*) from rekon.transactions where state = 'pending'").await;
        let confirmed: i64 = self.value("select count(*) from rekon.refund_saga where state = 'confirmed'").await;
        println!(
            "{:>5} s: {sold} sold, {pending} pending, {confirmed} refunds confirmed, {} kills",
            self.begun.elapsed().as_secs(),
            self.befell.kills
        );
    }

    /// SIGTERM to all: each ends in order.
    pub(super) async fn end_in_order(&mut self) {
        for visitor in self.visitors.drain(..) {
            visitor.signal("TERM");
        }
        for worker in &self.workers {
            worker.ask_to_end();
        }
        for mut worker in self.workers.drain(..) {
            let ended = worker.end().await;
            assert_eq!(ended.code, Some(0), "{}", ended.said);
        }
    }
}

/// A database that is being killed comes back; a statement that is wrong (42), or refused (23, P0), stays so.
fn may_pass(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    !["42", "23", "P0"].iter().any(|class| code.starts_with(class))
}

fn merchant_id(nth: usize) -> String {
    format!("{}", 2_115 + nth)
}

fn account(nth: usize, grants: CallBudget, base_url: &str, key: &std::path::Path) -> String {
    let name = Crew::account(nth);
    format!(
        "[accounts.{name}]\nprovider = \"doku\"\nbase_url = \"{base_url}\"\nclient_id = \"{}\"\nclient_secret = {{ env = \"DOKU_SECRET\" }}\n\
         private_key = {{ file = \"{}\" }}\nmerchant_id = \"{}\"\nchannel_id = \"H2H\"\ntimeout = \"1s\"\n\
         rate = {{ per_second = {}, burst = {}, concurrency = 32 }}\n\
         [accounts.{name}.ladder]\ndefault = [\"1s\"]\n\
         [accounts.{name}.notify]\nshared_key = {{ env = \"SHARED_KEY\" }}\n\
         [accounts.{name}.profile]\nrefund_repeat = \"safe\"\n[accounts.{name}.profile.refund.codes]\n\
         \"403xx14\" = {{ means = \"later\", wait = \"1s\", note = \"as soon as a soak can wait\" }}\n\
         \"405xx01\" = {{ means = \"later\", wait = \"1s\", note = \"as soon as a soak can wait\" }}\n",
        Crew::client_id(nth),
        key.display(),
        merchant_id(nth),
        grants.per_second,
        grants.burst,
    )
}
