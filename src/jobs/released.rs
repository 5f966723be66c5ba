//! The worker that makes rows due after a brake was let go of. All replicas have one; the database says who takes which step.

use std::{sync::Arc, time::Duration};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{
    BackendBuilder, BoxDynError, Data, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerContext,
};
use futures::{SinkExt, StreamExt, stream};

use crate::{
    engine::{Ctx, released},
    jobs::guard::guard,
};

/// Pause between two looks whether a brake was let go of.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look that takes longer is given up; the next one goes on where it was.
const LOOK_MAX: Duration = Duration::from_mins(1);

/// A look whether rows are to be made due.
#[derive(Debug, Clone, Copy)]
struct Look;

async fn look(_: Look, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let ctx = Arc::clone(&ctx);
    guard(LOOK_MAX, async move { released::carry_on(&ctx.store, &ctx.stop).await.map_err(Into::into) }).await
}

/// Adds the worker to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>) -> Monitor {
    let ctx = Arc::clone(ctx);
    monitor.register(move |restarts: usize| {
        #[expect(clippy::expect_used, reason = "a fetcher and a sink are given; build fails only without them")]
        let backend = BackendBuilder::<Look, _, _, _>::new()
            .database(Arc::clone(&ctx))
            .fetcher(|ctx: &mut Arc<Ctx>, (), _: &WorkerContext| {
                stream::unfold((Arc::clone(ctx), 0_u64), |(ctx, n)| async move {
                    if n > 0 {
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                    let id = TaskId::from_string(format!("{}/released/{n}", ctx.owner));
                    let task = TaskBuilder::new(Look).task_id(id).build();
                    Some((Ok::<Option<Task<Look>>, BoxDynError>(Some(task)), (ctx, n.wrapping_add(1))))
                })
                .boxed()
            })
            .sink(|_, ()| futures::sink::drain().sink_map_err(|e| -> BoxDynError { match e {} }))
            .build()
            .expect("the backend is complete");
        WorkerBuilder::new(format!("released-{}-{restarts}", ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(1)
            .build(look)
    })
}
