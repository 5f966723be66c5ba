//! The sentinel's worker: makes a pass when one is due. All replicas have one; the database says whose turn it is.

use std::{sync::Arc, time::Duration};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{
    BackendBuilder, BoxDynError, Data, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerContext,
};
use futures::{SinkExt, StreamExt, stream};

use crate::{
    engine::{Ctx, sentinel},
    jobs::guard::guard,
};

/// Longest pause between two looks whether a pass is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A pass that takes longer is given up.
const PASS_MAX: Duration = Duration::from_secs(40);

/// A look whether a pass is due.
#[derive(Debug, Clone, Copy)]
struct Look;

async fn look(_: Look, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let ctx = Arc::clone(&ctx);
    if ctx.stop.is_cancelled() {
        return Ok(());
    }
    guard(PASS_MAX, async move {
        let accounts: Vec<String> = ctx.rulebook.accounts.keys().cloned().collect();
        sentinel::pass(&ctx.store, ctx.limits.sentinel, &accounts).await?;
        Ok(())
    })
    .await
}

/// Adds the sentinel to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>) -> Monitor {
    let ctx = Arc::clone(ctx);
    monitor.register(move |restarts: usize| {
        #[expect(clippy::expect_used, reason = "a fetcher and a sink are given; build fails only without them")]
        let backend = BackendBuilder::<Look, _, _, _>::new()
            .database(Arc::clone(&ctx))
            .fetcher(|ctx: &mut Arc<Ctx>, (), _: &WorkerContext| {
                stream::unfold((Arc::clone(ctx), 0_u64), |(ctx, n)| async move {
                    if n > 0 {
                        tokio::time::sleep(ctx.limits.sentinel.every.min(LOOK_EVERY)).await;
                    }
                    let id = TaskId::from_string(format!("{}/sentinel/{n}", ctx.owner));
                    let task = TaskBuilder::new(Look).task_id(id).build();
                    Some((Ok::<Option<Task<Look>>, BoxDynError>(Some(task)), (ctx, n.wrapping_add(1))))
                })
                .boxed()
            })
            .sink(|_, ()| futures::sink::drain().sink_map_err(|e| -> BoxDynError { match e {} }))
            .build()
            .expect("the backend is complete");
        WorkerBuilder::new(format!("sentinel-{}-{restarts}", ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(1)
            .build(look)
    })
}
