//! The refund worker of an account: leases a few due refunds and takes the saga's steps. Few at once, no retry layer: the saga
//! itself says what comes next and when.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{
    BackendBuilder, BoxDynError, Data, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerContext,
};
use futures::{SinkExt, StreamExt, stream};
use tracing::Instrument as _;

use crate::{
    engine::{Ctx, refund, runtime::AccountRuntime},
    jobs::{Wake, guard::guard, wake::Ear},
    store::{StoreError, leases::LeasedRefund, limits::Weather},
    telemetry::trace::TraceId,
};

/// Refunds of one account under way at once in this process.
const AT_ONCE: usize = 4;
/// Refunds leased with one statement; those that have no worker yet wait here.
const LEASED_AT_ONCE: i64 = 8;
/// The part of its lease, as a divisor, that a refund may wait here: the rest holds its step and its call.
const WAITS_AT_MOST: u32 = 8;

/// A leased refund and its account.
#[derive(Clone)]
struct Due {
    account: Arc<AccountRuntime>,
    refund: LeasedRefund,
}

#[derive(Clone)]
struct Fetcher {
    ctx: Arc<Ctx>,
    account: Arc<AccountRuntime>,
    wake: Arc<Wake>,
    leased: VecDeque<LeasedRefund>,
    leased_at: Instant,
}

impl Fetcher {
    async fn next(&mut self) -> Task<Due> {
        let tick = self.ctx.limits.every;
        loop {
            if let Some(refund) = self.waiting() {
                let id = TaskId::from_string(format!("{}/refund/{}/{}", self.ctx.owner, refund.id, refund.epoch));
                return TaskBuilder::new(Due { account: Arc::clone(&self.account), refund }).task_id(id).build();
            }
            let begun = Instant::now();
            match self.claim().await {
                Ok(leased) if !leased.is_empty() => {
                    self.leased = leased.into();
                    self.leased_at = begun;
                }
                Ok(_) => self.wake.wait(&self.account.name, Ear::Refunds, tick).await,
                Err(error) => {
                    tracing::warn!(account = %self.account.name, %error, "due refunds could not be leased; trying again");
                    tokio::time::sleep(tick).await;
                }
            }
        }
    }

    /// The next of those that are leased, while there is time for it; a lease that waited too long runs out.
    fn waiting(&mut self) -> Option<LeasedRefund> {
        let patience: Duration = self.ctx.limits.lease / WAITS_AT_MOST;
        if self.ctx.stop.is_cancelled() || self.leased_at.elapsed() > patience {
            self.leased.clear();
        }
        self.leased.pop_front()
    }

    async fn claim(&self) -> Result<Vec<LeasedRefund>, StoreError> {
        let (store, account) = (&self.ctx.store, &self.account);
        if self.ctx.stop.is_cancelled() {
            return Ok(Vec::new());
        }
        // A probe is for somebody who has something to ask.
        let is_bad = account.weather.is_bad();
        if is_bad && (!store.is_refund_due(&account.name).await? || account.weather.look(store).await? == Weather::Open)
        {
            return Ok(Vec::new());
        }
        let limit = if is_bad { 1 } else { LEASED_AT_ONCE };
        let claimed = store.claim_refunds(&account.name, limit, &self.ctx.owner, self.ctx.limits.lease).await?;
        if is_bad && claimed.is_empty() {
            account.weather.probe_over(store).await;
        }
        Ok(claimed)
    }
}

async fn step(due: Due, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let limit = ctx.limits.lease;
    let ctx = Arc::clone(&ctx);
    guard(limit, async move {
        let leased = due.refund;
        let span = tracing::info_span!("refund", trace_id = %TraceId::new(), account = %due.account.name,
            id = leased.transaction_id, refund = leased.id);
        let advanced = Box::pin(refund::advance(&ctx, &due.account, leased)).instrument(span).await;
        due.account.weather.probe_over(&ctx.store).await;
        advanced.map_err(Into::into)
    })
    .await
}

/// Adds the account's refund worker to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>, account: &Arc<AccountRuntime>, wake: &Arc<Wake>) -> Monitor {
    let (ctx, account, wake) = (Arc::clone(ctx), Arc::clone(account), Arc::clone(wake));
    monitor.register(move |restarts: usize| {
        let (ctx_of, account_of, wake_of) = (Arc::clone(&ctx), Arc::clone(&account), Arc::clone(&wake));
        let (leased, leased_at) = (VecDeque::new(), Instant::now());
        let fetcher = Fetcher { ctx: ctx_of, account: account_of, wake: wake_of, leased, leased_at };
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
        WorkerBuilder::new(format!("refunds-{}-{}-{restarts}", account.name, ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(AT_ONCE)
            .build(step)
    })
}
