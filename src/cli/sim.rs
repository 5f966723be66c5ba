//! `rekon sim`: a simulated provider over real HTTP, with what a configuration needs to talk to it. Runs until it is told to stop.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::{
    cli::{
        context::{Context, OnSignal, until_signal},
        exit::{Exit, Failure},
    },
    domain::money::Sen,
    sim::{DEMO_PRIVATE_KEY_PEM, Rng, Scenario, Sim, SimClient, SimHandle, SimOptions, scripted},
};

const CLIENT_ID: &str = "REKON-SIM";
pub(super) const CLIENT_SECRET: &str = "rekon-sim-secret";
pub(super) const MERCHANT_ID: &str = "2115";
/// Names of the files in `--out`.
pub(super) const KEY_FILE: &str = "sim.pem";
pub(super) const SECRET_FILE: &str = "sim.secret";
const EXPECTED_FILE: &str = "expected.csv";
/// Smallest and largest amount of a drawn payment, in rupiah.
const AMOUNTS: (i64, i64) = (10_000, 500_000);

/// Play a provider that tells the truth, lies, stalls and crashes on a seed
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Play a provider over real HTTP with real signatures, on a seed.\n\nPrints its address, the address of its controls and an \
                  [accounts.NAME] section that talks to it, then runs until SIGINT or SIGTERM.",
    after_help = "Example: rekon sim --payments 100 --seed 7 --out ./sim"
)]
pub(crate) struct SimCommand {
    /// Listen here; port 0 takes a free one. Controls exist only on loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8790")]
    listen: SocketAddr,
    /// Draw everything from this seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Register so many payments
    #[arg(long, value_name = "N", default_value_t = 0)]
    payments: u32,
    /// Draw payments from this scenario only; may be given several times
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    scenario: Vec<Scenario>,
    /// Wait so many milliseconds before every answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// What the configuration calls the account: in the printed section and in the expected payments
    #[arg(long, value_name = "NAME", default_value = "sim")]
    account: String,
    /// Write the private key, the client secret and the expected payments into this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl SimCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        until_signal(OnSignal::Drain, async |stop| {
            let client = SimClient::demo(CLIENT_ID, CLIENT_SECRET, MERCHANT_ID);
            let mut options = SimOptions::loopback(vec![client]);
            options.listen = self.listen;
            options.seed = self.seed;
            options.latency_ms = self.latency_ms;
            let sim = Sim::start(options).await?;
            let expected = self.register(&sim)?;
            let folder = self.out.as_deref().map(|folder| write_files(folder, &expected)).transpose()?;
            let account = account_section(&self.account, &sim.base_url(), folder.as_deref());
            let admin_url = format!("{}/_sim", sim.base_url());
            let told = json!({
                "base_url": sim.base_url(), "admin_url": admin_url, "client_id": CLIENT_ID, "merchant_id": MERCHANT_ID, "account": account,
                "payments": self.payments, "folder": folder,
            });
            context.out.document(&told, || {
                format!("# The simulator listens on {}, its controls are at {admin_url}.\n{account}", sim.base_url())
            })?;
            stop.cancelled().await;
            sim.shutdown().await;
            Ok(Exit::Clean)
        })
    }

    /// Registers the payments; returns them as the CSV that `rekon import` reads.
    fn register(&self, sim: &SimHandle) -> Result<String, Failure> {
        let mut rng = Rng::new(self.seed);
        let choices: &[Scenario] = if self.scenario.is_empty() { &Scenario::ALL } else { &self.scenario };
        let mut csv = "account,partner_reference_no,reference_no,amount\n".to_owned();
        let world = sim.world();
        for _ in 0..self.payments {
            let scenario = rng.pick(choices).copied().unwrap_or_default();
            let amount = Sen::rupiah(rng.between(AMOUNTS.0, AMOUNTS.1));
            let payment = scripted(scenario, amount.sen(), &mut rng);
            let (ours, theirs) = (&payment.partner_reference_no, &payment.reference_no);
            writeln!(csv, "{},{ours},{theirs},{amount}", self.account).unwrap_or_default();
            world.add_payment(payment)?;
        }
        Ok(csv)
    }
}

fn scenario(name: &str) -> Result<Scenario, String> {
    let word = |scenario: Scenario| serde_json::to_value(scenario).ok().and_then(|v| v.as_str().map(str::to_owned));
    let known: Vec<String> = Scenario::ALL.into_iter().filter_map(word).collect();
    Scenario::by_name(name).ok_or_else(|| format!("known scenarios: {}", known.join(", ")))
}

/// Writes key, secret and CSV, readable by the owner alone; returns the folder's full path.
fn write_files(folder: &Path, expected: &str) -> Result<PathBuf, Failure> {
    let cannot = |path: &Path| {
        let path = path.display().to_string();
        move |source| Failure::File { path, source }
    };
    fs::create_dir_all(folder).map_err(cannot(folder))?;
    let folder = folder.canonicalize().map_err(cannot(folder))?;
    for (name, text) in [(KEY_FILE, DEMO_PRIVATE_KEY_PEM), (SECRET_FILE, CLIENT_SECRET), (EXPECTED_FILE, expected)] {
        write_file(&folder.join(name), text)?;
    }
    Ok(folder)
}

/// Writes a file that its owner alone may read.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Failure::File { path: path.display().to_string(), source })
}

/// A section that loads as it stands where the files were written; else it names two variables.
fn account_section(name: &str, base_url: &str, folder: Option<&Path>) -> String {
    let (secret, key) = match folder {
        Some(folder) => {
            let file = |name| format!("{{ file = {:?} }}", folder.join(name).display().to_string());
            (file(SECRET_FILE), file(KEY_FILE))
        }
        None => ("{ env = \"REKON_SIM_SECRET\" }".to_owned(), "{ env = \"REKON_SIM_KEY\" }".to_owned()),
    };
    let hint = if folder.is_some() {
        String::new()
    } else {
        format!("# REKON_SIM_SECRET is {CLIENT_SECRET}; --out FOLDER writes it and the key.\n")
    };
    format!(
        "{hint}[accounts.{name}]\nprovider = \"doku\"\nbase_url = \"{base_url}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = {secret}\n\
         private_key = {key}\nmerchant_id = \"{MERCHANT_ID}\"\n"
    )
}
