//! `rekon demo`: a day of payments from pending rows to a reconciled ledger, on this machine alone. It plays the provider and
//! then runs the very commands that a person would type, each as it is; at the end it compares every row with what the
//! rules of money demand and with the provider's own book. Absent on purpose: a path that production does not take.

mod day;
mod ends;
mod folder;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser as _;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    cli::{
        Cli,
        context::{Context, OnSignal, until_signal},
        exit::{Exit, Failure},
        output::Output,
        sim::{ACCOUNT, CLIENT_ID, CLIENT_SECRET, MERCHANT_ID},
    },
    config::{Config, Environment},
    report::format,
    sim::{Sim, SimClient, SimHandle, SimOptions},
    store::reads::TransactionFilter,
};

use day::Plan;
use ends::Outcome;
use folder::{CONFIG_FILE, EXPECTED_FILE, FIRST_REPORT_FILE, Folder, OUTCOME_FILE, REPORT_FILE};

/// Show a day of payments being reconciled, with a simulated provider and a private Postgres
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Show a day of payments being reconciled, with a simulated provider and a private Postgres.\n\n\
                  Plays a provider over real HTTP, expects payments of one day of which many go wrong in known ways, imports them, reconciles the \
                  day twice, and compares every row with what the rules demand and with the provider's own book of money. Leaves CSV, \
                  configuration and reports in --dir. A second run starts over. Exit code 0: every row ended as it must.",
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
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(day::PAYMENTS_MIN..=100_000))]
    payments: u32,
    /// Draw everything from this seed
    #[arg(long, default_value_t = 19)]
    seed: u64,
    /// Keep the simulated provider running at the end, until SIGINT or SIGTERM
    #[arg(long)]
    stay: bool,
}

/// The demo at work.
struct Stage<'a> {
    demo: &'a Demo,
    folder: &'a Folder,
    sim: &'a SimHandle,
    /// The process around the commands that are run: the demo's configuration and nothing of this machine's.
    inner: Context,
    /// Where the story goes.
    out: Output,
    /// How this program was called: what a person can type again.
    program: String,
}

impl Demo {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let environment = environment();
        let folder = Folder::prepare(&self.dir, &self.data_dir(&environment)?)?;
        // A provider is another party: it has a runtime of its own, which outlives each command's.
        let provider = Runtime::new().map_err(Failure::Runtime)?;
        let sim = provider.block_on(start_provider(self.seed))?;
        let out = if context.out.json { context.out.aside() } else { context.out };
        let stage = Stage {
            inner: Context::new(Some(folder.file(CONFIG_FILE)), environment, out),
            demo: &self,
            folder: &folder,
            sim: &sim,
            out,
            program: std::env::args().next().unwrap_or_else(|| "rekon".to_owned()),
        };
        let result = stage.play(context);
        provider.block_on(sim.shutdown());
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

async fn start_provider(seed: u64) -> Result<SimHandle, Failure> {
    let mut options = SimOptions::loopback(vec![SimClient::demo(CLIENT_ID, CLIENT_SECRET, MERCHANT_ID)]);
    options.seed = seed;
    Ok(Sim::start(options).await?)
}

impl Stage<'_> {
    fn play(&self, context: &Context) -> Result<Exit, Failure> {
        let began = Instant::now();
        self.introduce()?;
        self.command(&["migrate"])?;
        let now = self.inner.with_database(async |session| Ok(session.store.now().await?))?;
        let plan = Plan::draw(self.demo.payments, self.demo.seed, now);
        self.expect_payments(&plan)?;
        self.command(&["import", &self.file(EXPECTED_FILE)])?;
        let day = plan.day.to_string();
        self.command(&["reconcile", "--date", &day, "--format", "html", "--out", &self.file(FIRST_REPORT_FILE)])?;
        self.turn(&plan)?;
        self.command(&["reconcile", "--date", &day, "--fresh", "0", "--out", &self.file(REPORT_FILE)])?;
        self.out.text(&format!("\n{}", self.folder.read(REPORT_FILE)?))?;
        self.command(&["recheck", &plan.example("flip_flop")])?;
        self.command(&["explain", &plan.example("refund_answer_lost")])?;
        self.command(&["verify"])?;
        let outcome = self.judge(&plan)?;
        let took = began.elapsed();
        self.out.text(&self.next_steps(&plan, took))?;
        if context.out.json {
            context.out.document(&self.told(&plan, &outcome, took), String::new)?;
        }
        if self.demo.stay {
            self.out.say("The provider stays until Ctrl-C.");
            until_signal(OnSignal::Drain, async |stop| {
                stop.cancelled().await;
                Ok(())
            })?;
        }
        Ok(if outcome.differing.is_empty() { Exit::Clean } else { Exit::Failed })
    }

    fn introduce(&self) -> Result<(), Failure> {
        let config = self.folder.write_config(&self.sim.base_url())?;
        self.out.text(&format!(
            "A day of QRIS payments, from pending rows to a reconciled ledger. Many go wrong, each in a known way.\n\n\
             A simulated DOKU listens on {}: real HTTP, real signatures, and a book of its own in which it notes what was truly\n\
             taken and returned. Nothing leaves this machine. This is the configuration, {}:\n\n{}",
            self.sim.base_url(),
            self.file(CONFIG_FILE),
            indented(&config)
        ))
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
        self.out.text(&format!(
            "\nA merchant's day, {}: {} that he expects, in {}.",
            format::day(plan.day),
            format::counted(u64::from(self.demo.payments), "payment", "payments"),
            self.file(EXPECTED_FILE)
        ))
    }

    /// The world goes on between the two runs.
    fn turn(&self, plan: &Plan) -> Result<(), Failure> {
        let world = self.sim.world();
        let mut turned: u64 = 0;
        for row in &plan.rows {
            if let Some(answers) = row.turn() {
                world.set_script("", &row.payment.partner_reference_no, answers)?;
                turned += 1;
            }
        }
        self.out.text(&format!(
            "\nMeanwhile the provider changes its mind about {}: some that it called paid have failed, and some that were\n\
             never paid, and are closed, are paid after all. A second look at the whole day (--fresh 0) finds them.",
            format::counted(turned, "payment", "payments")
        ))
    }

    fn judge(&self, plan: &Plan) -> Result<Outcome, Failure> {
        let filter = TransactionFilter {
            account: Some(ACCOUNT.to_owned()),
            limit: i64::from(self.demo.payments) + 1,
            ..TransactionFilter::default()
        };
        let rows = self.inner.with_database(async |session| Ok(session.store.list_transactions(&filter).await?))?;
        let outcome = ends::judge(plan, &rows, &self.sim.world().book());
        self.folder.write(OUTCOME_FILE, &outcome.csv)?;
        self.out.text(&format!("\nWhat every kind of payment came to\n{}", outcome.text()))?;
        if !outcome.differing.is_empty() {
            self.out.say(&format!("rekon: {}", outcome.complaints()));
        }
        Ok(outcome)
    }

    fn next_steps(&self, plan: &Plan, took: Duration) -> String {
        let look = |what: &str, words: &[&str]| format!("  {what}\n      {}", self.typed(words));
        let lines = [
            look("Where everything stands:", &["status"]),
            look("What a person must look at:", &["exceptions", "list"]),
            look("Why this payment is held:", &["explain", &plan.example("paid_late")]),
            look("What went back, and how that is known:", &["refunds", "list"]),
        ];
        let more = self.folder.path().join("more").display().to_string();
        format!(
            "\nThat took {} s. Files in {}:\n  \
               {EXPECTED_FILE}     the payments as they were imported\n  \
               {OUTCOME_FILE}      each of them, and what it came to\n  \
               {FIRST_REPORT_FILE}  the day after the first run\n  \
               {REPORT_FILE}       the day after the second run\n  \
               {CONFIG_FILE}        the configuration\n\n\
             The database sleeps in its folder and wakes with every command:\n{}\n\n\
             The provider ends with the demo (--stay keeps it). A new one at the same address, with payments of its own:\n      \
             {} sim --listen {} --seed {} --payments 50 --out {more}\n  \
             and, in another terminal:\n      {}\n      {}",
            took.as_secs(),
            self.folder.path().display(),
            lines.join("\n"),
            self.program,
            self.sim.address(),
            self.demo.seed.wrapping_add(1),
            self.typed(&["import", &format!("{more}/expected.csv")]),
            self.typed(&["reconcile"]),
        )
    }

    fn told(&self, plan: &Plan, outcome: &Outcome, took: Duration) -> serde_json::Value {
        json!({
            "day": plan.day, "payments": self.demo.payments, "seed": self.demo.seed, "took_secs": took.as_secs(),
            "folder": self.folder.path(), "config": self.file(CONFIG_FILE), "outcome": outcome,
        })
    }

    fn file(&self, name: &str) -> String {
        shown(&self.folder.file(name))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}
