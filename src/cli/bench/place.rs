//! Where the bench lives: a folder of its own with a private cluster, and simulated providers as child processes, so that
//! the work and the provider never share a process. All of it goes when the bench ends.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cli::{exit::Failure, wiring},
    config::{Config, Database},
    jobs,
    store::{
        ConnectOptions, Store,
        embedded::{EmbeddedOptions, EmbeddedPostgres},
    },
};

/// The budget of the account: never reached here, so that the limiter costs what it costs and holds nothing up.
const PER_SECOND: u32 = 100_000;
/// Server settings that an operator would choose for such a load; fsync and synchronous_commit stay on.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "512MB"), ("max_wal_size", "8GB")];
const COUNTING: (&str, &str) = ("shared_preload_libraries", "pg_stat_statements");

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the bench's folder stays");
        }
    }
}

/// The folder and its cluster.
pub(super) struct Place {
    server: EmbeddedPostgres,
    database: Database,
    folder: Folder,
}

impl Place {
    /// Starts a cluster in a new folder below the configured data folder.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        // For the client that fills the simulated providers; an error means that there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let above = config.database.data_dir.as_deref().ok_or(Failure::NoDataDir)?;
        let path = above.join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|source| Failure::File { path: path.display().to_string(), source })?;
        let folder = Folder(path);
        let start = |settings: &[(&str, &str)]| {
            EmbeddedPostgres::start(&EmbeddedOptions {
                data_dir: folder.0.join("cluster"),
                bin_dir: config.database.bin_dir.clone(),
                settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            })
        };
        // A server without its contrib modules does not start with them; statements are then not counted.
        let server = start(&[SETTINGS[0], SETTINGS[1], COUNTING]).or_else(|_| start(&SETTINGS))?;
        Ok(Self { server, database: config.database.clone(), folder })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The server's process.
    pub(super) fn server_pid(&self) -> u32 {
        self.server.pid()
    }

    /// The address of a database of this cluster.
    pub(super) fn url(&self, name: &str) -> String {
        self.server.url().replacen("/postgres?", &format!("/{name}?"), 1)
    }

    /// Makes and migrates a database.
    pub(super) async fn database(&self, name: &'static str) -> Result<Store, Failure> {
        let root = self.connect("postgres").await?;
        root.create_database(name).await?;
        root.close().await;
        let store = self.connect(name).await?;
        store.migrate().await?;
        jobs::setup::setup(&store).await?;
        store.count_statements().await?;
        Ok(store)
    }

    /// Connects to a database of this cluster.
    pub(super) async fn connect(&self, name: &str) -> Result<Store, Failure> {
        let options = ConnectOptions::to_private(&self.database, &self.url(name));
        Store::connect(&options).await.map_err(Failure::Connect)
    }

    /// Stops the server; the folder goes with `self`.
    pub(super) fn close(self) -> Result<(), Failure> {
        self.server.stop()?;
        Ok(())
    }
}

/// A simulated provider in a process of its own.
pub(super) struct SimProcess {
    child: Child,
    /// Where it listens.
    pub(super) base_url: String,
    account: String,
}

impl SimProcess {
    /// Starts one. Must be called by the main thread: the kernel ends it with the thread that started it.
    pub(super) fn start(place: &Place, name: &str, latency_ms: u64) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::Runtime)?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["sim", "--json", "--listen", "127.0.0.1:0", "--latency-ms", &latency_ms.to_string(), "--out"])
            .arg(place.folder().join(name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C reaches the bench alone, which then ends its children.
            .process_group(0)
            .spawn()
            .map_err(Failure::Runtime)?;
        let said = child.stdout.take().and_then(|stdout| {
            serde_json::Deserializer::from_reader(stdout).into_iter::<Value>().next().and_then(Result::ok)
        });
        let text = |key: &str| said.as_ref().and_then(|s| s.get(key)).and_then(Value::as_str).map(str::to_owned);
        match (text("base_url"), text("account")) {
            (Some(base_url), Some(account)) => Ok(Self { child, base_url, account }),
            _ => Err(Failure::NotFound("the simulated provider did not start".to_owned())),
        }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The configuration of somebody who talks to it, as text. Two calls in flight are kept for refunds and the cashier, so
    /// that as many as the bare loop has are left for what is due.
    pub(super) fn configuration(&self, in_flight: u32) -> String {
        let concurrency = in_flight.saturating_add(2);
        format!(
            "[log]\nlevel = \"warn\"\n{}rate = {{ per_second = 1000000, burst = 1000000, concurrency = {concurrency} }}\n",
            self.account
        )
    }

    /// The same, read, with a budget that is never reached.
    pub(super) fn config(&self, in_flight: u32) -> Result<Config, Failure> {
        self.config_with(in_flight, "")
    }

    /// The same with more lines of the account.
    pub(super) fn config_with(&self, in_flight: u32, lines: &str) -> Result<Config, Failure> {
        let text = format!("{}{lines}", self.configuration(in_flight));
        let mut config = Config::from_toml(&text, &BTreeMap::new(), &wiring::known_providers())?;
        for account in config.accounts.values_mut() {
            account.rate.per_second = Some(PER_SECOND);
            account.rate.burst = Some(PER_SECOND);
        }
        Ok(config)
    }

    /// Lets it know payments: `prefix` and eight digits, paid exactly.
    pub(super) async fn register(&self, prefix: &str, first: i64, count: i64, amount_sen: i64) -> Result<(), Failure> {
        let client = reqwest::Client::builder().no_proxy().build();
        let refused =
            |error: reqwest::Error| Failure::NotFound(format!("the simulated provider refused rows: {error}"));
        let body = json!({ "prefix": prefix, "first": first, "count": count, "expected_sen": amount_sen }).to_string();
        let request = client
            .map_err(refused)?
            .post(format!("{}/_sim/series", self.base_url))
            .header("content-type", "application/json")
            .body(body);
        request.send().await.and_then(reqwest::Response::error_for_status).map_err(refused)?;
        Ok(())
    }
}

impl Drop for SimProcess {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::warn!(%error, "a simulated provider could not be ended");
        }
    }
}
