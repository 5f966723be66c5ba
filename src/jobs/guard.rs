//! Timeout and panic guard inside a handler, so that apalis sees a plain error: a layer around the handler would leave
//! the task's row in `Running` for ever.

use std::{panic::AssertUnwindSafe, time::Duration};

use apalis::prelude::BoxDynError;
use futures::FutureExt;

/// Runs a handler's work with a limit; a panic becomes an error with its message.
pub(crate) async fn guard<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, BoxDynError>> + Send,
) -> Result<T, BoxDynError> {
    match AssertUnwindSafe(tokio::time::timeout(limit, work)).catch_unwind().await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(format!("took longer than {} s", limit.as_secs()).into()),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("panicked: {}", message.unwrap_or_default()).into())
        }
    }
}
