//! Wakes an account's sweeper before its tick, when somebody made a row due, and voids its call slots, when another process
//! was told to slow down; and an endpoint's worker, when there is something to tell. The listening connection comes back by itself; while it is away, the tick is enough.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::{
    engine::Ctx,
    store::wake::{Heard, Wakes},
};

/// Who waits for a bell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ear {
    /// The sweep.
    Sweep,
    /// The lane of rows that somebody waits for.
    Pulled,
    /// The refund worker.
    Refunds,
}

/// A bell per account and worker, because one ring must reach all of them and a bell wakes one; and a bell per endpoint.
#[derive(Debug)]
pub struct Wake {
    accounts: BTreeMap<String, [Notify; 3]>,
    endpoints: BTreeMap<String, Notify>,
}

/// Pause before listening anew.
const AGAIN: Duration = Duration::from_secs(1);

impl Wake {
    /// Bells for these accounts and endpoints.
    pub fn new<'a>(accounts: impl Iterator<Item = &'a String>, endpoints: impl Iterator<Item = &'a String>) -> Self {
        Self {
            accounts: accounts.map(|a| (a.clone(), [Notify::new(), Notify::new(), Notify::new()])).collect(),
            endpoints: endpoints.map(|e| (e.clone(), Notify::new())).collect(),
        }
    }

    /// Waits for the account's bell, at most `tick`.
    pub async fn wait(&self, account: &str, ear: Ear, tick: Duration) {
        let bell = self.accounts.get(account).map(|[sweep, pulled, refunds]| match ear {
            Ear::Sweep => sweep,
            Ear::Pulled => pulled,
            Ear::Refunds => refunds,
        });
        rung(bell, tick).await;
    }

    /// Waits for the endpoint's bell, at most `tick`.
    pub async fn wait_for_endpoint(&self, endpoint: &str, tick: Duration) {
        rung(self.endpoints.get(endpoint), tick).await;
    }

    fn ring(&self, account: &str) {
        for bell in self.accounts.get(account).into_iter().flatten() {
            bell.notify_one();
        }
    }
}

async fn rung(bell: Option<&Notify>, tick: Duration) {
    match bell {
        Some(bell) => {
            tokio::select! {
                () = bell.notified() => {}
                () = tokio::time::sleep(tick) => {}
            }
        }
        None => tokio::time::sleep(tick).await,
    }
}

/// Listens for wake-ups until the task is dropped.
pub(super) async fn listen(ctx: Arc<Ctx>, wake: Arc<Wake>) {
    loop {
        match Wakes::listen(&ctx.bus).await {
            Ok(mut wakes) => loop {
                match wakes.next().await {
                    Ok(Heard::Wake(account)) => wake.ring(&account),
                    Ok(Heard::Webhook(endpoint)) => {
                        if let Some(bell) = wake.endpoints.get(&endpoint) {
                            bell.notify_one();
                        }
                    }
                    Ok(Heard::Slow(account)) => {
                        if let Some(account) = ctx.accounts.get(&account) {
                            account.budget.void();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "wake-ups are not heard for a while; the tick goes on");
                        break;
                    }
                }
            },
            Err(error) => tracing::debug!(%error, "cannot listen for wake-ups; the tick goes on"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
