//! The entry to the command bus for rooms that may not see the job runtime: whoever puts a process together lends it.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{engine::EngineError, store::Tx};

/// Puts a run's command on the bus within a transaction.
type Push = dyn for<'t> Fn(&'t mut Tx, i64) -> BoxFuture<'t, Result<(), EngineError>> + Send + Sync;

/// The command bus, for whoever begins runs.
#[derive(Clone)]
pub struct Bus(Arc<Push>);

impl std::fmt::Debug for Bus {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Bus")
    }
}

impl Bus {
    /// A bus over the runtime's own way to push.
    pub fn new(
        push: impl for<'t> Fn(&'t mut Tx, i64) -> BoxFuture<'t, Result<(), EngineError>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(push))
    }

    /// Puts a run's command on the bus; it is there when the transaction commits.
    pub async fn push(&self, tx: &mut Tx, run_id: i64) -> Result<(), EngineError> {
        (self.0)(tx, run_id).await
    }
}
