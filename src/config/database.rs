//! `[database]`: whose Postgres, and how hard it may be used.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::environment::{default_data_dir, is_root, set_variable};
use super::layer::{Entry, Node, Tree};
use super::reader::Section;

/// Which database this configuration means.
#[derive(Clone, Debug)]
pub enum DatabaseTarget {
    /// A server of the operator's.
    Url {
        /// Where the pool connects.
        url: SecretString,
        /// Where `LISTEN` and the command bus connect when `url` is a transaction pooler.
        direct_url: Option<SecretString>,
    },
    /// rekon's own private Postgres in the data folder.
    Embedded,
    /// None is given. Not an error here: commands that need one end with exit code 78.
    Missing,
}

/// `[database]`, checked.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which database.
    pub target: DatabaseTarget,
    /// rekon's own data folder; `None` where neither `data_dir` nor a home is known.
    pub data_dir: Option<PathBuf>,
    /// Folder of the Postgres server's programs (also `PG_BINDIR`); `None` = look for them.
    pub bin_dir: Option<PathBuf>,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Longest statement; the server ends it.
    pub statement_timeout: Duration,
    /// Longest wait for a row's lock; the server ends it.
    pub lock_timeout: Duration,
    /// A connection unused for so long is closed.
    pub idle_timeout: Duration,
}

/// `LISTEN` and the command bus keep one connection each; a settle and a look at what is due must find another.
const CONNECTIONS_MIN: u32 = 4;

pub(crate) fn read(section: &mut Section<'_>) -> Option<Database> {
    let has_url = section.has("url");
    let embedded = section.boolean("embedded");
    // The convention of DATABASE_URL is followed, but somebody else's MySQL in the environment is no mistake of ours.
    let default_url = set_variable(section.env(), "DATABASE_URL").filter(|url| check_url(url).is_ok());
    if !has_url && embedded == Some(false) && default_url.is_some() {
        section.default("url", Node::Table(Tree::from([("env".to_owned(), Entry::default_text("DATABASE_URL"))])));
    }
    let url = section.optional("url", |section, key| section.checked_secret(key, check_url));
    let direct_url = section.optional("direct_url", |section, key| section.checked_secret(key, check_url));
    let data_dir = section.optional("data_dir", absolute_folder);
    let bin_dir = section.optional("bin_dir", absolute_folder);
    let max_connections = section.number("max_connections", CONNECTIONS_MIN, 1_000);
    let acquire_timeout = section.duration("acquire_timeout", "100ms", "5m");
    let statement_timeout = section.duration("statement_timeout", "100ms", "1h");
    let lock_timeout = section.duration("lock_timeout", "100ms", "1h");
    let idle_timeout = section.duration("idle_timeout", "1s", "1d");
    section.finish();
    let target = target(section, has_url, embedded?, url?, direct_url?)?;
    let env = section.env();
    Some(Database {
        target,
        data_dir: data_dir?.or_else(|| default_data_dir(env, is_root())),
        bin_dir: bin_dir?.or_else(|| set_variable(env, "PG_BINDIR").map(PathBuf::from)),
        max_connections: max_connections?,
        acquire_timeout: acquire_timeout?,
        statement_timeout: statement_timeout?,
        lock_timeout: lock_timeout?,
        idle_timeout: idle_timeout?,
    })
}

fn target(
    section: &Section<'_>,
    has_url: bool,
    embedded: bool,
    url: Option<SecretString>,
    direct_url: Option<SecretString>,
) -> Option<DatabaseTarget> {
    if embedded && has_url {
        return section.refuse("embedded", "url is given too; keep one of the two");
    }
    match (url, direct_url) {
        (Some(url), direct_url) => Some(DatabaseTarget::Url { url, direct_url }),
        (None, Some(_)) => {
            section.refuse_unshown("direct_url", "direct_url stands beside url, never alone; give url as well")
        }
        (None, None) if embedded => Some(DatabaseTarget::Embedded),
        (None, None) => Some(DatabaseTarget::Missing),
    }
}

fn check_url(url: &str) -> Result<(), String> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(());
    }
    Err("the secret it names is not a Postgres URL: postgres://USER:PASSWORD@HOST:5432/DATABASE".to_owned())
}

fn absolute_folder(section: &mut Section<'_>, key: &str) -> Option<PathBuf> {
    section
        .parsed(key, "an absolute path of a folder", |text| Some(PathBuf::from(text)).filter(|path| path.is_absolute()))
}
