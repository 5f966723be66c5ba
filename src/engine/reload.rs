//! What a running process takes from a new configuration: how fast it asks. Everything else waits for a restart, because it is
//! part of what decisions stand on (policy, profiles), of who we are to a provider (accounts, secrets), or of how the process is
//! built (workers, pools, listeners); a restart drains and takes seconds. How far rekon may go is not turned here but with
//! `rekon switch` and `rekon providers pause`, which hold for every replica at once.

use std::collections::BTreeMap;

use crate::{config::Config, engine::Ctx};

/// Keys that a running process takes up, `NAME` standing for an account.
pub const RELOADABLE: [&str; 5] = [
    "accounts.NAME.rate.burst",
    "accounts.NAME.rate.per_second",
    "budget.block_max",
    "budget.reserve_percent",
    "log.level",
];

/// The keys by which two configurations differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that a running process takes up.
    pub reloadable: Vec<String>,
    /// Those that wait for a restart.
    pub restart: Vec<String>,
}

/// Compares two configurations key by key.
pub fn difference(old: &Config, new: &Config) -> Difference {
    let (old, new) = (values(old), values(new));
    let mut changed: Vec<_> =
        old.iter().filter(|(path, value)| new.get(*path) != Some(*value)).map(|(p, _)| *p).collect();
    changed.extend(new.keys().filter(|path| !old.contains_key(*path)));
    changed.sort_unstable();
    let mut difference = Difference::default();
    for path in changed {
        let is_reloadable = is_reloadable(path);
        let side = if is_reloadable { &mut difference.reloadable } else { &mut difference.restart };
        side.push(path.join("."));
    }
    difference
}

/// Takes up what can be taken up of the accounts at work.
pub fn apply(ctx: &Ctx, new: &Config) {
    for account in ctx.accounts.values() {
        account.set_rate(new);
    }
}

fn values(config: &Config) -> BTreeMap<&[String], &str> {
    config.settings().iter().map(|setting| (setting.path.as_slice(), setting.value.as_str())).collect()
}

fn is_reloadable(path: &[String]) -> bool {
    RELOADABLE.iter().any(|key| {
        let parts: Vec<&str> = key.split('.').collect();
        parts.len() == path.len() && parts.iter().zip(path).all(|(part, word)| *part == "NAME" || part == word)
    })
}
