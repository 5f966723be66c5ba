//! The worker that ends cancelled orders' QRs at the provider, for accounts whose profile has it: one at a time, no retry
//! layer. What a lost answer means, the use-case says.

use std::sync::Arc;

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{
    BackendBuilder, BoxDynError, Data, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerContext,
};
use futures::{SinkExt, StreamExt, stream};

use crate::{
    engine::{Ctx, qr_cancel, runtime::AccountRuntime},
    jobs::guard::guard,
    store::{StoreError, qr_cancels::LeasedCancel},
};

#[derive(Clone)]
struct Due {
    account: Arc<AccountRuntime>,
    cancel: LeasedCancel,
}

#[derive(Clone)]
struct Fetcher {
    ctx: Arc<Ctx>,
    account: Arc<AccountRuntime>,
}

impl Fetcher {
    async fn next(&mut self) -> Task<Due> {
        loop {
            match self.claim().await {
                Ok(Some(cancel)) => {
                    let id = TaskId::from_string(format!(
                        "{}/cancel/{}/{}",
                        self.ctx.owner, cancel.transaction_id, cancel.epoch
                    ));
                    return TaskBuilder::new(Due { account: Arc::clone(&self.account), cancel }).task_id(id).build();
                }
                Ok(None) => tokio::time::sleep(self.ctx.limits.every).await,
                Err(error) => {
                    tracing::warn!(account = %self.account.name, %error, "due cancels could not be leased; trying again");
                    tokio::time::sleep(self.ctx.limits.every).await;
                }
            }
        }
    }

    /// In bad weather nothing is begun: a QR that nobody ends runs out by itself.
    async fn claim(&self) -> Result<Option<LeasedCancel>, StoreError> {
        if self.ctx.stop.is_cancelled() || self.account.weather.is_bad() {
            return Ok(None);
        }
        self.ctx.store.claim_qr_cancel(&self.account.name, &self.ctx.owner, self.ctx.limits.lease).await
    }
}

async fn step(due: Due, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let limit = ctx.limits.lease;
    let ctx = Arc::clone(&ctx);
    guard(limit, async move { qr_cancel::advance(&ctx, &due.account, due.cancel).await.map_err(Into::into) }).await
}

/// Adds the account's worker to the monitor, where its profile ends QRs.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>, account: &Arc<AccountRuntime>) -> Monitor {
    if !ctx.rulebook.terms(&account.name).profile.is_some_and(|profile| profile.cancel_qr) {
        return monitor;
    }
    let (ctx, account) = (Arc::clone(ctx), Arc::clone(account));
    monitor.register(move |restarts: usize| {
        let fetcher = Fetcher { ctx: Arc::clone(&ctx), account: Arc::clone(&account) };
        #[expect(clippy::expect_used, reason = "a fetcher and a sink are given; build fails only without them")]
        let backend = BackendBuilder::<Due, _, _, _>::new()
            .database(fetcher)
            .fetcher(|fetcher: &mut Fetcher, (), _: &WorkerContext| {
                stream::unfold(fetcher.clone(), |mut fetcher| async move {
                    let task = fetcher.next().await;
                    Some((Ok::<Option<Task<Due>>, BoxDynError>(Some(task)), fetcher))
                })
                .boxed()
            })
            .sink(|_, ()| futures::sink::drain().sink_map_err(|e| -> BoxDynError { match e {} }))
            .build()
            .expect("the backend is complete");
        WorkerBuilder::new(format!("cancels-{}-{}-{restarts}", account.name, ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(1)
            .build(step)
    })
}
