//! Rows about which no configured account can be asked: accepted, shown to people, and asked once one can.

use std::time::Duration;

use crate::engine::{Ctx, EngineError, rulebook::AccountRules, settle};

/// Rows looked at per round.
const ROUND: i64 = 500;
/// Long enough to decide a round.
const LEASE: Duration = Duration::from_secs(30);

/// One round: new strays go to review, found ones become due again.
pub async fn look(ctx: &Ctx) -> Result<(), EngineError> {
    let known: Vec<String> = ctx.rulebook.accounts.keys().cloned().collect();
    let knows_payouts = |(name, rules): (&String, &AccountRules)| rules.profile.required_out.map(|_| name.clone());
    let of_payouts: Vec<String> = ctx.rulebook.accounts.iter().filter_map(knows_payouts).collect();
    let found = ctx.store.find_again(&known, &of_payouts).await?;
    if found > 0 {
        tracing::info!(found, "rows of an account that is configured now are asked");
    }
    let strays = ctx.store.claim_strays(&known, ROUND, &ctx.owner, LEASE).await?;
    if !strays.is_empty() {
        tracing::warn!(rows = strays.len(), "rows name an account that is not configured");
        settle::look(&ctx.store, &ctx.rulebook, &strays).await?;
    }
    Ok(())
}
