//! `rekon demo`: a day of payments from pending rows to a reconciled ledger, on this machine alone. It plays the providers and
//! then runs the very commands that a person would type, each as it is; at the end it compares every row with what the
//! rules of money demand and with each provider's own book. Absent on purpose: a path that production does not take.

mod accounts;
mod day;
mod door;
mod ends;
mod folder;
mod kinds;
mod notices;
mod story;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser as _;
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    cli::{
        Cli,
        context::{Context, OnSignal, until_signal},
        exit::{Exit, Failure},
        output::Output,
    },
    config::{Config, Environment},
    domain::{day::BusinessDay, fact::Source},
    sim::{Notifier, Sim, SimHandle, SimOptions},
    store::{ConnectOptions, embedded::EmbeddedPostgres, reads::TransactionFilter},
};

use accounts::DOKU;
use day::Plan;
use door::Doorway;
use ends::Outcome;
use folder::{CONFIG_FILE, EXPECTED_FILE, FIRST_REPORT_FILE, Folder, OUTCOME_FILE, REPORT_FILE};
use notices::{Knocks, Sent};
use story::Notifications;

/// Show a day of payments being reconciled, with simulated providers and a private Postgres
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show a day of payments being reconciled, with simulated providers and a private Postgres.\n\n\
                  Plays DOKU, Paydia and Brick over real HTTP, expects payments and payouts of one day of which many go wrong in known ways, imports \
                  them, reconciles the day twice while true and forged notifications come in, and compares every row with what the rules demand and \
                  with each provider's own book of money. Leaves CSV, configuration and reports in --dir. A second run starts over. Exit code 0: \
                  every row ended as it must, and no notification moved anything.",
    after_help = "Example: rekon demo --payments 500 --seed 7"
)]
pub(crate) struct Demo {
    /// Leave CSV, configuration, key and reports in this folder
    #[arg(long, value_name = "FOLDER", default_value = "rekon-demo")]
    dir: PathBuf,
    /// Folder of the demo's own Postgres [default: demo in rekon's data folder]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Expect so many payments
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(kinds::PAYMENTS_MIN..=100_000))]
    payments: u32,
    /// Draw everything from this seed
    #[arg(long, default_value_t = 19)]
    seed: u64,
    /// Keep the simulated providers, probes and metrics at the end, until SIGINT or SIGTERM
    #[arg(long)]
    stay: bool,
}

/// The demo at work.
struct Stage<'a> {
    demo: &'a Demo,
    folder: &'a Folder,
    sim: &'a SimHandle,
    door: &'a Doorway,
    /// Where the others live: the providers and the door. They outlive each command's own runtime.
    others: &'a Runtime,
    /// The database of the whole demo.
    server: &'a ConnectOptions,
    /// The process around the commands that are run: the demo's configuration and nothing of this machine's.
    inner: Context,
    /// Where the story goes.
    out: Output,
    /// How this program was called: what a person can type again.
    program: String,
    began: Instant,
}

/// How the day went.
#[derive(Serialize)]
struct Told<'a> {
    day: BusinessDay,
    payments: u32,
    seed: u64,
    took_secs: u64,
    folder: &'a std::path::Path,
    config: String,
    outcome: Outcome,
    notifications: Notifications,
}

impl Demo {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let began = Instant::now();
        let environment = environment();
        let folder = Folder::prepare(&self.dir, &self.data_dir(&environment)?)?;
        let out = if context.out.json { context.out.aside() } else { context.out };
        // The notifications' sender is an HTTP client, and each wants this chosen; a second choice changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        let others = Runtime::new().map_err(Failure::Runtime)?;
        let sim = others.block_on(start_providers(self.seed))?;
        let config = folder.write_config(&sim.base_url())?;
        out.text(&story::introduction(&sim.base_url(), &folder, &config))?;
        let inner = Context::new(Some(folder.file(CONFIG_FILE)), environment, out);
        // One server for the whole demo: the door needs it between the commands too.
        let database = &inner.config()?.database;
        let postgres = EmbeddedPostgres::start(&folder.cluster(database.bin_dir.clone()))?;
        let server = ConnectOptions::to_private(database, postgres.url());
        let door = others.block_on(Doorway::open(inner.config()?))?;
        let stage = Stage {
            demo: &self,
            folder: &folder,
            sim: &sim,
            door: &door,
            others: &others,
            server: &server,
            inner: inner.beside(server.clone()),
            out,
            program: std::env::args().next().unwrap_or_else(|| "rekon".to_owned()),
            began,
        };
        let result = stage.play(context);
        others.block_on(door.let_go());
        if let Err(error) = postgres.stop() {
            out.say(&format!("rekon: {error}"));
        }
        if self.stay && result.is_ok() {
            out.say(&format!(
                "The providers stay at {}, and probes and metrics of this process at {}, until Ctrl-C.",
                sim.base_url(),
                door.base_url()
            ));
            until_signal(OnSignal::Drain, async |stop| {
                stop.cancelled().await;
                Ok(())
            })?;
        }
        others.block_on(door.close());
        others.block_on(sim.shutdown());
        result
    }

    /// Where the cluster lives; the account that runs Postgres for root must be able to reach it.
    fn data_dir(&self, environment: &Environment) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.data_dir {
            return Ok(folder.clone());
        }
        let defaults = Config::from_toml("", &environment.variables, &[])?;
        Ok(defaults.database.data_dir.ok_or(Failure::NoDataDir)?.join("demo"))
    }
}

/// The variables of this process without those that configure rekon: a demo on a production machine must not meet
/// its database, its accounts or its policy.
fn environment() -> Environment {
    let mut environment = Environment::from_process();
    environment.variables.retain(|name, _| !name.starts_with("REKON_") && name != "DATABASE_URL");
    environment
}

async fn start_providers(seed: u64) -> Result<SimHandle, Failure> {
    let mut options = SimOptions::loopback(accounts::clients());
    options.seed = seed;
    Ok(Sim::start(options).await?)
}

impl Stage<'_> {
    fn play(&self, context: &Context) -> Result<Exit, Failure> {
        self.command(&["migrate"])?;
        self.others.block_on(self.door.stand_before(self.server))?;
        let now = self.inner.with_database(async |session| Ok(session.store.now().await?))?;
        let plan = Plan::draw(self.demo.payments, self.demo.seed, now);
        self.expect_payments(&plan)?;
        self.command(&["import", &self.file(EXPECTED_FILE)])?;
        let knocks = Knocks::plan(&plan);
        let copied = knocks.copied_example.clone();
        let day = plan.day.to_string();
        let sent = self.amid_notifications(knocks, || {
            self.command(&["reconcile", "--date", &day, "--format", "html", "--out", &self.file(FIRST_REPORT_FILE)])
        })?;
        let sent = self.turn(&plan)?.and(&sent);
        self.command(&["reconcile", "--date", &day, "--fresh", "0", "--out", &self.file(REPORT_FILE)])?;
        self.out.text(&format!("\n{}", story::beginning(&self.folder.read(REPORT_FILE)?)))?;
        self.command(&["recheck", &plan.example(&DOKU, "flip_flop")])?;
        self.command(&["explain", &plan.example(&DOKU, "refund_answer_lost")])?;
        self.command(&["verify"])?;
        let told = Told {
            day: plan.day,
            payments: self.demo.payments,
            seed: self.demo.seed,
            notifications: self.notifications(sent)?,
            outcome: self.judge(&plan)?,
            took_secs: self.began.elapsed().as_secs(),
            folder: self.folder.path(),
            config: self.file(CONFIG_FILE),
        };
        self.out.text(&self.next_steps(&plan, &copied, self.began.elapsed()))?;
        let is_right = told.outcome.differing.is_empty() && told.notifications.is_harmless();
        if context.out.json {
            context.out.document(&told, String::new)?;
        }
        Ok(if is_right { Exit::Clean } else { Exit::Failed })
    }

    /// Runs a command as a person would type it. A day with exceptions ends `reconcile` with 3; anything else but 0 ends the demo.
    fn command(&self, words: &[&str]) -> Result<(), Failure> {
        let config = self.file(CONFIG_FILE);
        let line = [&["rekon"], words, &["--config", &config]].concat();
        self.out.text(&format!("\n$ {}", self.typed(words)))?;
        let cli = Cli::try_parse_from(&line).map_err(|error| Failure::Usage(error.to_string()))?;
        match cli.command.run(&self.inner)? {
            Exit::Clean => Ok(()),
            Exit::Exceptions => {
                let hint = "(exit code 3: finished, and a person has something to look at)";
                self.out.say(hint);
                Ok(())
            }
            other => Err(Failure::Demo { command: line.join(" "), exit: other }),
        }
    }

    fn typed(&self, words: &[&str]) -> String {
        format!("{} {} --config {}", self.program, words.join(" "), self.file(CONFIG_FILE))
    }

    fn expect_payments(&self, plan: &Plan) -> Result<(), Failure> {
        let world = self.sim.world();
        for row in &plan.rows {
            world.add_payment(row.payment.clone())?;
        }
        self.folder.write(EXPECTED_FILE, &plan.csv())?;
        self.out.text(&story::expectation(plan, &self.file(EXPECTED_FILE)))
    }

    /// DOKU tells of some payments before the command asks, and of others while it is at work.
    fn amid_notifications(
        &self,
        knocks: Knocks,
        command: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Sent, Failure> {
        let url = self.door.url(DOKU.name);
        let notifier = Notifier::new(url.clone())?;
        let before = Self::wait(self.others.spawn(notices::deliver(notifier.clone(), knocks.before)))?;
        self.out.text(&story::knocking(before.total(), knocks.during.len(), &url))?;
        let day_is_over = CancellationToken::new();
        let sending = notices::deliver_in_time(notifier, self.sim.world(), knocks.during, day_is_over.clone());
        let sending = self.others.spawn(sending);
        command()?;
        day_is_over.cancel();
        let during = Self::wait(sending)?;
        Ok(before.and(&during))
    }

    /// Waits for the others' work as a command waits for its own: a signal ends it.
    fn wait<T: Send>(work: JoinHandle<T>) -> Result<T, Failure> {
        let work = AbortOnDropHandle::new(work);
        until_signal(OnSignal::Abandon, async move |_stop| work.await.map_err(|error| Failure::Runtime(error.into())))
    }

    /// The world goes on between the two runs, and DOKU tells of it.
    fn turn(&self, plan: &Plan) -> Result<Sent, Failure> {
        let world = self.sim.world();
        let mut turned: u64 = 0;
        for row in &plan.rows {
            if let Some(answers) = row.turn() {
                world.set_script(&row.payment.client_id, &row.payment.partner_reference_no, answers)?;
                turned += 1;
            }
        }
        let notifier = Notifier::new(self.door.url(DOKU.name))?;
        let sent = Self::wait(self.others.spawn(notices::deliver(notifier, notices::of_the_turn(plan))))?;
        self.out.text(&story::turn(turned))?;
        Ok(sent)
    }

    fn notifications(&self, sent: Sent) -> Result<Notifications, Failure> {
        let (with_queries, with_notifications) = self.inner.with_database(async |session| {
            let with_queries = session.store.entries_written_with(Source::Query).await?;
            Ok((with_queries, session.store.entries_written_with(Source::Notification).await?))
        })?;
        let notifications = Notifications { sent, counted: self.door.counted(), with_queries, with_notifications };
        self.out.text(&notifications.text())?;
        Ok(notifications)
    }

    fn judge(&self, plan: &Plan) -> Result<Outcome, Failure> {
        let filter = TransactionFilter { limit: i64::from(self.demo.payments) + 1, ..TransactionFilter::default() };
        let rows = self.inner.with_database(async |session| Ok(session.store.list_transactions(&filter).await?))?;
        let outcome = ends::judge(plan, &rows, &self.sim.world().book());
        self.folder.write(OUTCOME_FILE, &outcome.csv)?;
        self.out.text(&format!("\nWhat every kind of payment came to\n{}", outcome.text()))?;
        if !outcome.differing.is_empty() {
            self.out.say(&format!("rekon: {}", outcome.complaints()));
        }
        Ok(outcome)
    }

    fn next_steps(&self, plan: &Plan, copied: &str, took: Duration) -> String {
        let look = |what: &str, words: &[&str]| format!("  {what}\n      {}", self.typed(words));
        let lines = [
            look("Where everything stands:", &["status"]),
            look("What a person must look at:", &["exceptions", "list"]),
            look("Why this payment is held:", &["explain", &plan.example(&DOKU, "paid_late")]),
            look("What a notification with a copied signature did, nothing:", &["explain", copied]),
            look("What went back, and how that is known:", &["refunds", "list"]),
        ];
        story::ending(took, self.folder, &lines.join("\n"))
    }

    fn file(&self, name: &str) -> String {
        self.folder.file(name).display().to_string()
    }
}
