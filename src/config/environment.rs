//! The one place that reads the process's environment. Everything else gets it passed in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// Names the file to load where the command line does not.
pub const CONFIG_VARIABLE: &str = "REKON_CONFIG";

/// Holds the personal token of who types; a flag would show in every list of processes.
pub const TOKEN_VARIABLE: &str = "REKON_TOKEN";

/// The variables of the process, read once.
#[derive(Clone, Default)]
pub struct Environment {
    /// Name and value; what is not UTF-8 is left out.
    pub variables: BTreeMap<String, String>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        out.debug_list().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// Reads the environment of this process.
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables }
    }

    /// The personal token of who types, where one is set.
    pub fn token(&self) -> Option<SecretString> {
        set_variable(&self.variables, TOKEN_VARIABLE).map(SecretString::from)
    }
}

/// A variable that is set and not empty.
pub(crate) fn set_variable<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    env.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Where rekon keeps its own data: `/var/lib/rekon` for root, else `$XDG_DATA_HOME/rekon` or `~/.local/share/rekon`.
/// The server of a private Postgres does not run as root and could not reach a folder below `/root`.
pub(crate) fn default_data_dir(env: &BTreeMap<String, String>, is_root: bool) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/rekon"));
    }
    let absolute = |name: &str| set_variable(env, name).map(Path::new).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .map(|home| home.join("rekon"))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share/rekon")))
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}
