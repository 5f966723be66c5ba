//! After people let go of a brake: every row that it held up is made due, in small steps. What is left when a process dies, or while
//! somebody holds rows, the next look of any process goes on with.

use tokio_util::sync::CancellationToken;

use crate::{
    domain::state::Flag,
    engine::EngineError,
    store::{Store, released::Walk},
};

/// Rows of a step: some milliseconds, and no row is held for longer.
const STEP: i64 = 2_000;

/// Goes on with every brake that was let go of, until all its rows are due, the rest is held by somebody, or `stop`.
pub async fn carry_on(store: &Store, stop: &CancellationToken) -> Result<(), EngineError> {
    let causes: Vec<&str> = Flag::ALL
        .into_iter()
        .filter(|flag| flag.is_cause() || *flag == Flag::RefundBlocked)
        .map(Flag::as_str)
        .collect();
    for brake in store.released().await? {
        while !stop.is_cancelled() {
            match store.walk(&brake, &causes, STEP).await? {
                Walk::On => {}
                Walk::Over => {
                    tracing::info!(account = brake.account, what = brake.what, "all that a brake held up is due");
                    break;
                }
                Walk::Waits | Walk::Taken => break,
            }
        }
    }
    Ok(())
}
