//! SIGINT and SIGTERM as two tokens: the first one asks, the second one insists.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled in order as signals arrive.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Somebody wants us to stop.
    pub(crate) first: CancellationToken,
    /// Somebody wants us to stop now.
    pub(crate) second: CancellationToken,
}

impl Signals {
    /// Listens from now on; needs a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let signals = Self { first: CancellationToken::new(), second: CancellationToken::new() };
        let tokens = [signals.first.clone(), signals.second.clone()];
        tokio::spawn(async move {
            for token in tokens {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}
