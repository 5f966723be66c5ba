//! The worker of an endpoint: leases due messages, a few at once, and sends them. Each endpoint has its own, so that a receiver
//! that hangs holds up nobody else. No retry layer: the message's row says what comes next and when.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{
    BackendBuilder, BoxDynError, Data, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerContext,
};
use futures::{SinkExt, StreamExt, stream};
use tracing::Instrument as _;

use crate::{
    engine::{
        Ctx,
        webhooks::{self, Endpoint},
    },
    jobs::{Wake, guard::guard},
    store::webhooks::LeasedWebhook,
    telemetry::trace::TraceId,
};

/// A leased message and its endpoint.
#[derive(Clone)]
struct Due {
    endpoint: Arc<Endpoint>,
    webhook: LeasedWebhook,
    leased: Instant,
}

#[derive(Clone)]
struct Fetcher {
    ctx: Arc<Ctx>,
    endpoint: Arc<Endpoint>,
    wake: Arc<Wake>,
    /// Leased together and not yet handed out.
    held: VecDeque<Due>,
    /// When the next attempt may begin.
    free_at: tokio::time::Instant,
}

impl Fetcher {
    async fn next(&mut self) -> Task<Due> {
        loop {
            if self.ctx.stop.is_cancelled() {
                // What is held goes back when the process ends.
                self.held.clear();
            } else if self.held.is_empty() {
                self.claim().await;
            }
            if let Some(due) = self.held.pop_front() {
                tokio::time::sleep_until(self.free_at).await;
                if !due.endpoint.covers(due.leased) {
                    webhooks::give_back(&self.ctx, &due.endpoint, &due.webhook).await;
                    continue;
                }
                let begun = tokio::time::Instant::now();
                self.free_at = begun.checked_add(self.endpoint.spacing).unwrap_or(begun);
                let LeasedWebhook { id, epoch, .. } = due.webhook;
                let id = TaskId::from_string(format!("{}/webhook/{id}/{epoch}", self.ctx.owner));
                return TaskBuilder::new(due).task_id(id).build();
            }
            self.wake.wait_for_endpoint(&self.endpoint.name, self.ctx.limits.every).await;
        }
    }

    async fn claim(&mut self) {
        let Endpoint { name, batch, lease, .. } = &*self.endpoint;
        let leased = Instant::now();
        match self.ctx.store.claim_webhooks(name, *batch, &self.ctx.owner, *lease).await {
            Ok(claimed) => {
                let due = |webhook| Due { endpoint: Arc::clone(&self.endpoint), webhook, leased };
                self.held = claimed.into_iter().map(due).collect();
            }
            Err(error) => {
                tracing::warn!(endpoint = %name, %error, "due webhooks could not be leased; trying again");
                tokio::time::sleep(self.ctx.limits.every).await;
            }
        }
    }
}

async fn step(due: Due, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let ctx = Arc::clone(&ctx);
    // What is not begun now is begun by whoever leases it next.
    if ctx.stop.is_cancelled() {
        return Ok(());
    }
    if !due.endpoint.covers(due.leased) {
        webhooks::give_back(&ctx, &due.endpoint, &due.webhook).await;
        return Ok(());
    }
    let limit = due.endpoint.lease;
    guard(limit, async move {
        let span = tracing::info_span!("webhook", trace_id = %TraceId::new(), endpoint = %due.endpoint.name);
        let sent = webhooks::deliver(&ctx, &due.endpoint, &due.webhook).instrument(span).await;
        sent.map(drop).map_err(Into::into)
    })
    .await
}

/// Adds the endpoint's worker to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>, endpoint: &Arc<Endpoint>, wake: &Arc<Wake>) -> Monitor {
    let (ctx, endpoint, wake) = (Arc::clone(ctx), Arc::clone(endpoint), Arc::clone(wake));
    monitor.register(move |restarts: usize| {
        let fetcher = Fetcher {
            ctx: Arc::clone(&ctx),
            endpoint: Arc::clone(&endpoint),
            wake: Arc::clone(&wake),
            held: VecDeque::new(),
            free_at: tokio::time::Instant::now(),
        };
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
        WorkerBuilder::new(format!("webhooks-{}-{}-{restarts}", endpoint.name, ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(endpoint.concurrency)
            .build(step)
    })
}
