//! `rekon replay`: decides a day again from what is stored, and tells what another policy would have done.

use std::path::PathBuf;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::table,
        wiring,
    },
    domain::{day::BusinessDay, money::Sen},
    engine::{
        replay::{self, Replay, WhatIf},
        rulebook::Rulebook,
    },
};

/// Decide a day again from stored facts, and say where anything comes out otherwise
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 5: a stored decision is not what the same rules say of the same facts.\n\n\
                        Example: rekon replay --date 2026-11-19 --policy stricter.toml")]
pub(crate) struct ReplayCommand {
    /// The WIB day, as 2026-11-19
    #[arg(long, value_name = "D")]
    date: BusinessDay,
    /// A jobs.toml whose [policy], [refunds] and profiles are tried instead: what would have happened?
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl ReplayCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let other = self.policy.as_ref().map(|path| context.config_of(path)).transpose()?;
        let bar = context.out.bar(0, "rows");
        let replay = context.with_database(async |session| {
            let other = match &other {
                Some(config) => Some(tried(wiring::rulebook(session.config)?, wiring::rulebook(config)?)),
                None => None,
            };
            let seen = |replay: &Replay| bar.set_position(replay.rows);
            Ok(replay::replay(&session.store, self.date, other.as_ref(), seen).await?)
        })?;
        bar.finish_and_clear();
        context.out.document(&replay, || told(&replay))?;
        Ok(if replay.different == 0 { Exit::Clean } else { Exit::Invariant })
    }
}

/// The tried terms; an account that the tried file does not name keeps the profile that it has.
fn tried(current: Rulebook, tried: Rulebook) -> Rulebook {
    let mut accounts = current.accounts;
    accounts.extend(tried.accounts);
    Rulebook { accounts, ..tried }
}

fn told(replay: &Replay) -> String {
    let Replay { day, rows, entries, different, .. } = replay;
    let mut parts = vec![match different {
        0 => format!("{day}: {rows} rows, {entries} decisions, each as it was taken"),
        n => format!("{day}: {rows} rows, {entries} decisions, {n} come out otherwise"),
    }];
    if !replay.differences.is_empty() {
        let rows = replay.differences.iter().flat_map(|d| {
            d.what.iter().map(|(field, stored, again)| {
                let (stored, again) = (stored.to_string(), again.to_string());
                vec![
                    d.account.clone(),
                    d.partner_reference_no.clone(),
                    d.entry_no.to_string(),
                    field.clone(),
                    stored,
                    again,
                ]
            })
        });
        let header = ["account", "partner_reference_no", "entry", "field", "stored", "decided again"];
        parts.push(table(&header, &[2], rows));
    }
    if let Some(what_if) = &replay.what_if {
        parts.push(other_world(what_if));
    }
    parts.join("\n\n")
}

fn other_world(what_if: &WhatIf) -> String {
    let WhatIf { different, refunds, balances, rows } = what_if;
    let mut parts = vec![format!("Under the other policy {different} rows would have come out otherwise.")];
    let causes = refunds.iter().map(|(cause, sum)| {
        let difference = sum.other_amount.minus(sum.stored_amount);
        let counts = [sum.stored.to_string(), sum.stored_amount.to_string(), sum.other.to_string()];
        let sums = [sum.other_amount, sum.other_alone, difference].map(|sen| sen.to_string());
        [(*cause).to_owned()].into_iter().chain(counts).chain(sums).collect()
    });
    let header = ["cause", "refunds", "rupiah", "then refunds", "then rupiah", "of it alone", "difference"];
    parts.push(format!("Refunds\n{}", table(&header, &[1, 2, 3, 4, 5, 6], causes)));
    let accounts = balances.iter().map(|(account, sum)| {
        let sums: [Sen; 3] = [sum.stored, sum.other, sum.other.minus(sum.stored)];
        [account.clone()].into_iter().chain(sums.map(|sen| sen.to_string())).collect()
    });
    parts.push(format!(
        "Balances (debit less credit)\n{}",
        table(&["account", "rupiah", "then", "difference"], &[1, 2, 3], accounts)
    ));
    if !rows.is_empty() {
        let rows = rows.iter().map(|row| {
            vec![row.account.clone(), row.partner_reference_no.clone(), row.stored.clone(), row.other.clone()]
        });
        parts.push(format!("Rows\n{}", table(&["account", "partner_reference_no", "stored", "then"], &[], rows)));
    }
    parts.join("\n\n")
}
