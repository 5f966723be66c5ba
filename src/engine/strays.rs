//! Rows that name no configured account: accepted, shown to people, and asked once the account exists.

use std::time::Duration;

use crate::engine::{Ctx, EngineError, settle};

/// Rows looked at per round.
const ROUND: i64 = 500;
/// Long enough to decide a round.
const LEASE: Duration = Duration::from_secs(30);

/// One round: new strays go to review, found ones become due again.
pub async fn look(ctx: &Ctx) -> Result<(), EngineError> {
    let known: Vec<String> = ctx.rulebook.accounts.keys().cloned().collect();
    let found = ctx.store.find_again(&known).await?;
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
