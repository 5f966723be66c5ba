//! What a demo leaves behind, and what a new one may throw away: the files that a person looks at, and the demo's own Postgres
//! cluster in a place that the account which runs Postgres for root can reach. Nothing is deleted that no demo has made.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::{
    cli::{
        demo::accounts::{ACCOUNTS, CUSTOMER_TOKEN, SHARED_KEY},
        exit::Failure,
        sim::{CLIENT_SECRET, KEY_FILE, MERCHANT_ID, SECRET_FILE, write_file},
    },
    engine::EngineError,
    sim::DEMO_PRIVATE_KEY_PEM,
    store::embedded::{EmbeddedOptions, EmbeddedPostgres},
};

const TEMPLATE: &str = include_str!("jobs.toml");
/// Stands in a cluster's folder that a demo made; locked while a demo runs.
const MARK: &str = "rekon-demo";
/// What a demo leaves in its folder, beside key and secret.
pub(super) const CONFIG_FILE: &str = "jobs.toml";
pub(super) const EXPECTED_FILE: &str = "expected.csv";
pub(super) const FIRST_REPORT_FILE: &str = "first-look.html";
pub(super) const REPORT_FILE: &str = "report.txt";
/// The secrets that DOKU's notifications and Paydia's queries need, beside key and secret.
const SHARED_KEY_FILE: &str = "sim.shared_key";
const CUSTOMER_FILE: &str = "sim.customer";
pub(super) const OUTCOME_FILE: &str = "outcome.csv";

/// The demo's places.
#[derive(Debug)]
pub(super) struct Folder {
    /// Where a person looks, as he named it.
    path: PathBuf,
    data_dir: PathBuf,
    /// Held while the demo runs: two demos on one cluster would wipe each other's day.
    _lock: File,
}

impl Folder {
    /// Makes both places; what an earlier demo left in them goes.
    pub(super) fn prepare(path: &Path, data_dir: &Path) -> Result<Self, Failure> {
        let (data_dir, lock) = claim_cluster(data_dir)?;
        fs::create_dir_all(path).map_err(cannot_write(path))?;
        for file in [CONFIG_FILE, EXPECTED_FILE, FIRST_REPORT_FILE, REPORT_FILE, OUTCOME_FILE] {
            remove(&path.join(file), |path| fs::remove_file(path))?;
        }
        Ok(Self { path: path.to_owned(), data_dir, _lock: lock })
    }

    /// The folder, as it was named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of it, readable by the owner alone.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        write_file(&self.file(name), text)
    }

    /// Reads a file of it.
    pub(super) fn read(&self, name: &str) -> Result<String, Failure> {
        let path = self.file(name);
        fs::read_to_string(&path).map_err(|source| Failure::Input { path: path.display().to_string(), source })
    }

    /// The demo's own cluster, as it is to be started.
    pub(super) fn cluster(&self, bin_dir: Option<PathBuf>) -> EmbeddedOptions {
        EmbeddedOptions { data_dir: self.data_dir.clone(), bin_dir, settings: Vec::new() }
    }

    /// Writes key, secrets and configuration for providers at `base_url`; returns the configuration.
    pub(super) fn write_config(&self, base_url: &str) -> Result<String, Failure> {
        let config = config_text(&self.data_dir, base_url);
        for (file, text) in [
            (KEY_FILE, DEMO_PRIVATE_KEY_PEM),
            (SECRET_FILE, CLIENT_SECRET),
            (SHARED_KEY_FILE, SHARED_KEY),
            (CUSTOMER_FILE, CUSTOMER_TOKEN),
            (CONFIG_FILE, &config),
        ] {
            self.write(file, text)?;
        }
        Ok(config)
    }
}

fn config_text(data_dir: &Path, base_url: &str) -> String {
    // The escapes of a Rust string that a path or URL can need are TOML's too.
    let quoted = |text: &str| format!("{text:?}");
    let text = TEMPLATE
        .replace("{data_dir}", &quoted(&data_dir.display().to_string()))
        .replace("{base_url}", &quoted(base_url))
        .replace("{merchant_id}", &quoted(MERCHANT_ID));
    ACCOUNTS.iter().fold(text, |text, account| {
        text.replace(&format!("{{{}_client_id}}", account.name), &quoted(account.client_id))
    })
}

/// The demo's own cluster folder, empty and locked.
fn claim_cluster(data_dir: &Path) -> Result<(PathBuf, File), Failure> {
    fs::create_dir_all(data_dir).map_err(cannot_write(data_dir))?;
    let data_dir = data_dir.canonicalize().map_err(cannot_write(data_dir))?;
    let (mark, cluster) = (data_dir.join(MARK), data_dir.join("pg"));
    if cluster.exists() && !mark.exists() {
        let at = data_dir.display();
        return Err(Failure::Usage(format!(
            "{at} holds a database that no demo made; it stays as it is. Name another folder with --data-dir"
        )));
    }
    let lock = File::options().write(true).create(true).truncate(false).open(&mark).map_err(cannot_write(&mark))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(EngineError::Busy(format!(
                "the demo's database in {} (another demo runs, --data-dir names another folder)",
                data_dir.display()
            ))
            .into());
        }
        Err(TryLockError::Error(source)) => return Err(cannot_write(&mark)(source)),
    }
    EmbeddedPostgres::refuse_if_running(&data_dir)?;
    remove(&cluster, |path| fs::remove_dir_all(path))?;
    remove(&data_dir.join("postgres.log"), |path| fs::remove_file(path))?;
    Ok((data_dir, lock))
}

/// Removes what may be there.
fn remove(path: &Path, how: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Failure> {
    match how(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(cannot_write(path)(error)),
        _ => Ok(()),
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |source| Failure::File { path, source }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{cli::wiring, config::Config};

    #[test]
    fn the_configuration_that_is_written_loads_and_has_no_blank_left() {
        let folder = tempfile::tempdir().unwrap();
        let prepared = Folder::prepare(&folder.path().join("files"), &folder.path().join("data")).unwrap();
        let text = prepared.write_config("http://127.0.0.1:1").unwrap();
        assert!(!text.contains("{data_dir}") && !text.contains("_id}") && !text.contains("{base_url}"), "{text}");
        let config = Config::load(crate::config::LoadOptions {
            path: Some(&prepared.file(CONFIG_FILE)),
            env: &BTreeMap::new(),
            known_providers: &wiring::known_providers(),
        });
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
        assert_eq!(config.accounts.keys().collect::<Vec<_>>(), ["brick", "doku", "paydia"]);
    }

    #[test]
    fn a_cluster_that_no_demo_made_is_left_alone_and_a_demos_own_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (files, data) = (folder.path().join("files"), folder.path().join("data"));
        fs::create_dir_all(data.join("pg")).unwrap();
        assert!(matches!(Folder::prepare(&files, &data), Err(Failure::Usage(_))));
        assert!(data.join("pg").exists());

        fs::write(data.join(MARK), "").unwrap();
        let first = Folder::prepare(&files, &data).unwrap();
        assert!(!data.join("pg").exists());
        assert!(matches!(Folder::prepare(&files, &data), Err(Failure::Engine(EngineError::Busy(_)))));
        drop(first);
        Folder::prepare(&files, &data).unwrap();
    }
}
