//! `jobs.toml`, environment and secret files become one checked, immutable configuration. Nothing else reads the environment.
//!
//! Layers, each over the one before: the shipped `jobs.toml` (compiled in, so the manual and the defaults are one text), the
//! file of `--config` or `REKON_CONFIG`, the variables `REKON__SECTION__KEY`. All errors are reported at once. Absent on
//! purpose: what a running process may take up of a new one (`engine::reload`) and knowledge of any provider (profiles belong to `providers`).

mod accounts;
mod calls;
mod database;
mod environment;
mod error;
mod jobs;
mod layer;
mod limits;
mod notify;
mod policy;
mod reader;
mod schedule;
mod secret;
mod server;
mod show;
mod url;
mod values;
mod webhooks;
pub(crate) use values::parse_duration;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use accounts::{Account, Inquiry, Rate};
pub use calls::{Breaker, Budget, Reconcile, Settle};
pub use database::{Database, DatabaseTarget};
pub use environment::{CONFIG_VARIABLE, Environment, TOKEN_VARIABLE};
pub use error::{ConfigError, ConfigErrors, Source};
pub use jobs::{Daily, Jobs, Prune, Seal, Sweep};
pub use notify::{NotifyForm, NotifyLimits, NotifyTerms};
pub use reader::Setting;
pub(crate) use reader::nearest_name;
pub use schedule::{Missed, Schedule};
pub use secret::read_secret_file;
pub use server::{ApiLimits, Log, LogFormat, Server};
pub use webhooks::{Reach, Webhook, signing_key};

use crate::domain::policy::Policy;
use layer::Tree;
use reader::{Book, Section};

/// The shipped `jobs.toml`: the manual, the example and the defaults.
pub const BUILT_IN: &str = include_str!("../../jobs.toml");

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// The file; without it the one that `REKON_CONFIG` names; without that the defaults alone.
    pub path: Option<&'a Path>,
    /// The process's environment.
    pub env: &'a BTreeMap<String, String>,
    /// The providers that an account may name.
    pub known_providers: &'a [&'a str],
}

/// Everything rekon was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub path: Option<PathBuf>,
    /// Whose Postgres.
    pub database: Database,
    /// Where rekon listens.
    pub server: Server,
    /// How it speaks.
    pub log: Log,
    /// The contracts with providers, by name.
    pub accounts: BTreeMap<String, Account>,
    /// What runs when.
    pub jobs: Jobs,
    /// The merchant's choices about money.
    pub policy: Policy,
    /// How answers are grouped.
    pub settle: Settle,
    /// How calls are shared out.
    pub budget: Budget,
    /// When an account is not asked any more.
    pub breaker: Breaker,
    /// The defaults of a reconcile run.
    pub reconcile: Reconcile,
    /// Where merchants are told of changes, by name.
    pub webhooks: BTreeMap<String, Webhook>,
    settings: Vec<Setting>,
    known_keys: BTreeSet<String>,
}

/// A document to read and what its relative paths mean.
struct Document<'a> {
    text: &'a str,
    file: String,
    base_dir: PathBuf,
}

impl Config {
    /// Loads the configuration of this process.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(options: LoadOptions<'_>) -> Result<Self, ConfigErrors> {
        let named = environment::set_variable(options.env, CONFIG_VARIABLE).map(Path::new);
        let Some(path) = options.path.or(named) else {
            return Self::build(None, options.env, options.known_providers);
        };
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&file, &error))?;
        let base_dir = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut config =
            Self::build(Some(Document { text: &text, file, base_dir }), options.env, options.known_providers)?;
        config.path = Some(path.to_owned());
        Ok(config)
    }

    /// The same from a text; messages call it `jobs.toml`, relative paths start in the working folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn from_toml(
        text: &str,
        env: &BTreeMap<String, String>,
        known_providers: &[&str],
    ) -> Result<Self, ConfigErrors> {
        Self::build(
            Some(Document { text, file: "jobs.toml".to_owned(), base_dir: PathBuf::new() }),
            env,
            known_providers,
        )
    }

    fn build(
        document: Option<Document<'_>>,
        env: &BTreeMap<String, String>,
        known_providers: &[&str],
    ) -> Result<Self, ConfigErrors> {
        let (mut tree, mut broken) = layer::parse(BUILT_IN, &|_| Source::Default);
        let mut base_dir = PathBuf::new();
        if let Some(document) = document {
            let (over, errors) =
                layer::parse(document.text, &|line| Source::File { file: document.file.clone(), line });
            layer::lay_over(&mut tree, over);
            broken.extend(errors);
            base_dir = document.base_dir;
        }
        if !broken.is_empty() {
            // Half a document would only give errors that are not there.
            return Err(ConfigErrors { errors: broken });
        }
        let refused = layer::lay_environment_over(&mut tree, env);
        let book = Book {
            env,
            base_dir,
            errors: RefCell::new(refused),
            settings: RefCell::default(),
            known_keys: RefCell::default(),
        };
        let config = read(&book, tree, known_providers);
        let errors = book.errors.into_inner();
        match config {
            Some(config) if errors.is_empty() => {
                Ok(Self { settings: book.settings.into_inner(), known_keys: book.known_keys.into_inner(), ..config })
            }
            _ => Err(ConfigErrors { errors }),
        }
    }

    /// Every value in force with its source, in the order of the sections. Secrets appear as references.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// Every key that was asked for; an account's name is written `NAME`, a flag's `FLAG`.
    pub fn known_keys(&self) -> &BTreeSet<String> {
        &self.known_keys
    }

    /// What is allowed but probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let Sweep { lease, chunk_span, .. } = self.jobs.sweep;
        let outlasts = |duration: std::time::Duration| duration.saturating_mul(2) > lease;
        let slow = self.accounts.values().filter(|account| outlasts(account.timeout)).map(|account| {
            format!("accounts.{}.timeout is more than half of jobs.sweep.lease: a slow call outlives its lease and its row is asked twice", account.name)
        });
        let wide = outlasts(chunk_span).then(|| {
            "jobs.sweep.chunk_span is more than half of jobs.sweep.lease: chunks will not end inside it".to_owned()
        });
        slow.chain(wide).collect()
    }

    /// The configuration as TOML with the source of each value as a comment. `effective` includes the defaults.
    pub fn show(&self, effective: bool) -> String {
        show::render(&self.settings, effective)
    }
}

fn read(book: &Book<'_>, tree: Tree, known_providers: &[&str]) -> Option<Config> {
    let mut root = Section::root(book, tree);
    let database = database::read(&mut root.section("database"));
    let server = server::read_server(&mut root.section("server"));
    let log = server::read_log(&mut root.section("log"));
    let jobs = jobs::read(&mut root.section("jobs"));
    let refunds = policy::read_refunds(&mut root.section("refunds"));
    let policy = policy::read(&mut root.section("policy"), refunds.as_ref());
    let settle = calls::read_settle(&mut root.section("settle"));
    let budget = calls::read_budget(&mut root.section("budget"));
    let breaker = calls::read_breaker(&mut root.section("breaker"));
    let reconcile = calls::read_reconcile(&mut root.section("reconcile"));
    let accounts = accounts::read(&mut root.section("accounts"), known_providers);
    let names: Option<Vec<&str>> = accounts.as_ref().map(|accounts| accounts.keys().map(String::as_str).collect());
    let webhooks = webhooks::read(&mut root.section("webhooks"), names.as_deref());
    root.finish();
    Some(Config {
        path: None,
        database: database?,
        server: server?,
        log: log?,
        accounts: accounts?,
        jobs: jobs?,
        policy: policy?,
        settle: settle?,
        budget: budget?,
        breaker: breaker?,
        reconcile: reconcile?,
        webhooks: webhooks?,
        settings: Vec::new(),
        known_keys: BTreeSet::new(),
    })
}

fn unreadable(file: &str, error: &std::io::Error) -> ConfigErrors {
    let source = Source::File { file: file.to_owned(), line: 1 };
    let problem = format!(
        "cannot read this file: {error}; name the file with --config PATH or {CONFIG_VARIABLE}=PATH, or leave both out for the defaults"
    );
    ConfigErrors { errors: vec![ConfigError { source, key: String::new(), found: None, problem }] }
}
