//! The invariant sentinel: proves the rules of money over and over on the tables as they stand. What is new is looked at soon,
//! everything in turn; a pass costs what its slice costs, whatever the size of the table. Where a rule is broken no refund
//! leaves the account any more, until people have looked. `rekon verify` proves all of it at once.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    engine::EngineError,
    store::{
        Store, StoreError,
        sentinel::{self, ALL_ACCOUNTS, Pace, Violation},
    },
    telemetry::metrics,
};

/// How passes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentinelSettings {
    /// Pause between two passes, of all replicas together; longer where a pass takes long.
    pub every: Duration,
    /// Rows of the slow look in one pass, and of what is new; fewer where a pass takes long.
    pub slice: i64,
}

/// What a pass found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Its number.
    pub number: i64,
    /// Rows looked at.
    pub rows: usize,
    /// It came to the end of the table.
    pub is_rotation: bool,
    /// What breaks a rule.
    pub found: Vec<Violation>,
}

/// Makes the next pass, if one is due and no other replica makes it. `accounts` are all that are configured.
pub async fn pass(store: &Store, settings: SentinelSettings, accounts: &[String]) -> Result<Option<Pass>, EngineError> {
    pass_after(store, settings, accounts, None).await
}

/// The same, also before it is due where pass `mine` was the last one: nobody else makes any.
pub async fn pass_after(
    store: &Store,
    settings: SentinelSettings,
    accounts: &[String],
    mine: Option<i64>,
) -> Result<Option<Pass>, EngineError> {
    let Some(turn) = store.sentinel_turn(settings.slice, mine).await? else { return Ok(None) };
    let begun = std::time::Instant::now();
    let mut reading = store.begin_reading().await?;
    let picked = sentinel::pick(&mut reading, &turn).await?;
    let found = sentinel::look(&mut reading, &picked.ids).await?;
    reading.commit().await.map_err(StoreError::from)?;
    let stops = stops(&found, accounts);
    for (account, why) in &stops {
        tracing::error!(account, why, "a rule of money is broken; no refund leaves the account");
    }
    let mut tx = store.begin().await?;
    let pace = pace(settings, turn.rows, begun.elapsed());
    sentinel::write(&mut tx, &turn, &picked, (&found, &stops), pace).await?;
    tx.commit().await.map_err(StoreError::from)?;
    metrics::sentinel_pass(begun.elapsed());
    Ok(Some(Pass { number: turn.pass, rows: picked.ids.len(), is_rotation: picked.behind_id == 0, found }))
}

/// A pass that takes longer is followed by one of half its rows, and one that takes half of this by one of twice as many.
const GOAL: Duration = Duration::from_secs(5);
/// It rests so many times as long as it looked: a fifth of one connection at most.
const REST: u32 = 4;

/// How the next pass is made after one of `rows` rows a slice that took so long.
fn pace(settings: SentinelSettings, rows: i64, took: Duration) -> Pace {
    let rows = if took > GOAL {
        rows / 2
    } else if took < GOAL / 2 {
        rows.saturating_mul(2)
    } else {
        rows
    };
    let rest = if settings.every.is_zero() { Duration::ZERO } else { took.saturating_mul(REST) };
    Pace { pause: settings.every.max(rest), rows: rows.max(sentinel::ROWS_AT_LEAST).min(settings.slice) }
}

/// Which accounts' refunds stop, each with the first reason.
fn stops(found: &[Violation], accounts: &[String]) -> Vec<(String, String)> {
    let mut stops = BTreeMap::new();
    for violation in found {
        let row =
            if violation.transaction_id > 0 { format!(" (row {})", violation.transaction_id) } else { String::new() };
        let why = format!(
            "the rule {} is broken{row}: {}; `rekon verify` names all that is",
            violation.invariant, violation.what
        );
        let concerned = match violation.account.as_str() {
            ALL_ACCOUNTS => accounts.to_vec(),
            one => vec![one.to_owned()],
        };
        for account in concerned {
            stops.entry(account).or_insert_with(|| why.clone());
        }
    }
    stops.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_takes_long_is_followed_by_a_smaller_one_after_a_longer_rest() {
        let settings = SentinelSettings { every: Duration::from_secs(10), slice: 5_000 };
        let after = |rows, millis| {
            let next = pace(settings, rows, Duration::from_millis(millis));
            (next.rows, next.pause.as_millis())
        };
        assert_eq!(after(5_000, 300), (5_000, 10_000));
        assert_eq!(after(5_000, 4_000), (5_000, 16_000));
        assert_eq!(after(5_000, 6_000), (2_500, 24_000));
        assert_eq!(after(150, 20_000), (100, 80_000));
        assert_eq!(after(100, 20_000), (100, 80_000));
        assert_eq!(after(1_250, 500), (2_500, 10_000));
        assert_eq!(after(4_000, 500), (5_000, 10_000));
    }

    #[test]
    fn a_broken_rule_stops_its_account_and_one_about_no_account_stops_all() {
        let broken = |invariant: &str, account: &str, transaction_id| Violation {
            invariant: invariant.into(),
            account: account.into(),
            transaction_id,
            what: "it does not add up".into(),
        };
        let accounts = ["shop".to_owned(), "till".to_owned()];
        let one = stops(&[broken("refunds_add_up", "till", 7), broken("chain_head", "till", 8)], &accounts);
        assert_eq!(one.len(), 1);
        assert!(one[0].0 == "till" && one[0].1.starts_with("the rule refunds_add_up is broken (row 7): "), "{one:?}");
        let all = stops(&[broken("seals_are_chained", ALL_ACCOUNTS, 0)], &accounts);
        assert_eq!(all.iter().map(|stop| stop.0.as_str()).collect::<Vec<_>>(), ["shop", "till"]);
        assert!(stops(&[], &accounts).is_empty());
    }
}
