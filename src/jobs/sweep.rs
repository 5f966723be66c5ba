//! The sweep: leases chunks of due rows of one account and has them asked. One worker per account, so that a slow
//! provider starves nobody. A second lane beside it leases rows that somebody waits for (a signed notification, a cashier), so
//! that they overtake a backlog; one that a chunk under way holds already is hurried there (`engine::hurry`). The fetcher never
//! yields an error and never ends, because either would end the worker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::{
    BackendBuilder, BoxDynError, Data, Monitor, Task, TaskBuilder, TaskId, WorkerBuilder, WorkerContext,
};
use futures::{SinkExt, StreamExt, stream};

use crate::{
    engine::{
        Ctx,
        check::{self, Chunk},
        runtime::AccountRuntime,
        strays,
    },
    jobs::{Wake, guard::guard, wake::Ear},
    store::{
        StoreError,
        leases::{Claim, Leased},
        limits::Weather,
    },
    telemetry::metrics,
};

/// Nobody waits for a row that nobody can be asked about.
const STRAYS_EVERY: Duration = Duration::from_secs(5);

/// Which rows a worker leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// What is due, longest first.
    Due,
    /// What somebody waits for.
    Pulled,
}

impl Lane {
    /// The first word of the worker's name.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "sweep",
            Self::Pulled => "pulled",
        }
    }

    const fn ear(self) -> Ear {
        match self {
            Self::Due => Ear::Sweep,
            Self::Pulled => Ear::Pulled,
        }
    }
}

#[derive(Clone)]
struct Fetcher {
    lane: Lane,
    ctx: Arc<Ctx>,
    account: Arc<AccountRuntime>,
    wake: Arc<Wake>,
    n: u64,
}

impl Fetcher {
    /// The next chunk of due rows; waits for one.
    async fn next(&mut self) -> Task<Chunk> {
        let tick = self.ctx.limits.every;
        loop {
            let claimed = match self.lane {
                Lane::Due => {
                    self.account.heart.beat();
                    self.claim().await
                }
                Lane::Pulled => {
                    self.account.pulled_heart.beat();
                    self.claim_pulled().await
                }
            };
            match claimed {
                Ok(Some(chunk)) => {
                    self.n = self.n.wrapping_add(1);
                    let id = TaskId::from_string(format!(
                        "{}/{}/{}/{}",
                        self.ctx.owner,
                        self.account.name,
                        self.lane.as_str(),
                        self.n
                    ));
                    return TaskBuilder::new(chunk).task_id(id).build();
                }
                Ok(None) => self.wake.wait(&self.account.name, self.lane.ear(), tick).await,
                Err(error) => {
                    tracing::warn!(account = %self.account.name, %error, "due rows could not be leased; trying again");
                    tokio::time::sleep(tick).await;
                }
            }
        }
    }

    async fn claim(&self) -> Result<Option<Chunk>, StoreError> {
        if self.ctx.stop.is_cancelled() {
            return Ok(None);
        }
        // A probe is for somebody who has something to ask.
        if self.account.weather.is_bad() && !self.ctx.store.is_due(&self.account.name).await? {
            return Ok(None);
        }
        let weather = self.account.weather.look(&self.ctx.store).await?;
        let asked = Instant::now();
        let claim = match weather {
            Weather::Closed => self.claim_chunk().await?,
            Weather::Probe => self.claim_in_turn(1).await?,
            Weather::Open => return Ok(None),
        };
        if claim.rows.is_empty() {
            if weather == Weather::Probe {
                self.account.weather.probe_over(&self.ctx.store).await;
            }
            // Claims keep the clock's anchor young; an account that rests must not let it grow old.
            self.ctx.clock.refresh(&self.ctx.store).await?;
            return Ok(None);
        }
        self.ctx.clock.set(asked, claim.at);
        metrics::lease_claimed(&self.account.name, u64::try_from(claim.rows.len()).unwrap_or(u64::MAX));
        Ok(Some(Chunk::new(Arc::clone(&self.account), claim.rows)))
    }

    /// Rows that somebody waits for. In bad weather they wait with all others: the sweep has the probe.
    async fn claim_pulled(&self) -> Result<Option<Chunk>, crate::store::StoreError> {
        if self.ctx.stop.is_cancelled() || self.account.weather.is_bad() {
            self.account.hurry.set([]);
            return Ok(None);
        }
        let (account, limit) = (&self.account, self.account.pace().chunk_max);
        let (store, lease) = (&self.ctx.store, self.ctx.limits.lease);
        let asked = Instant::now();
        let (claim, held) = store.claim_pulled(&account.name, limit, &self.ctx.owner, lease).await?;
        account.hurry.set(held);
        if claim.rows.is_empty() {
            return Ok(None);
        }
        self.ctx.clock.set(asked, claim.at);
        metrics::lease_claimed(&account.name, u64::try_from(claim.rows.len()).unwrap_or(u64::MAX));
        Ok(Some(Chunk::pulled(Arc::clone(account), claim.rows)))
    }
}

impl Fetcher {
    /// The dearest of what is due, where the account is asked slowly enough to choose.
    async fn claim_chunk(&self) -> Result<Claim<Leased>, StoreError> {
        let (ctx, account) = (&self.ctx, &self.account);
        let pace = account.pace();
        if let Some(choice) = pace.choice {
            let claim = ctx.store.claim_dearest(&account.name, choice, &ctx.owner, ctx.limits.lease).await?;
            // Another replica may have chosen the very same rows a moment before.
            if !claim.rows.is_empty() {
                return Ok(claim);
            }
        }
        self.claim_in_turn(pace.chunk_max).await
    }

    async fn claim_in_turn(&self, limit: i64) -> Result<Claim<Leased>, StoreError> {
        self.ctx.store.claim_due(&self.account.name, limit, &self.ctx.owner, self.ctx.limits.lease).await
    }
}

async fn check(chunk: Chunk, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let limit = ctx.limits.lease;
    let ctx = Arc::clone(&ctx);
    guard(limit, async move {
        check::chunk(&ctx, chunk).await;
        Ok(())
    })
    .await
}

/// Adds a lane of the account's sweep to the monitor.
pub(super) fn register(
    monitor: Monitor,
    ctx: &Arc<Ctx>,
    account: &Arc<AccountRuntime>,
    wake: &Arc<Wake>,
    lane: Lane,
) -> Monitor {
    let (ctx, account, wake) = (Arc::clone(ctx), Arc::clone(account), Arc::clone(wake));
    monitor.register(move |restarts: usize| {
        let (ctx_of, account_of, wake_of) = (Arc::clone(&ctx), Arc::clone(&account), Arc::clone(&wake));
        let fetcher = Fetcher { lane, ctx: ctx_of, account: account_of, wake: wake_of, n: 0 };
        #[expect(clippy::expect_used, reason = "a fetcher and a sink are given; build fails only without them")]
        let backend = BackendBuilder::<Chunk, _, _, _>::new()
            .database(fetcher)
            .fetcher(|fetcher: &mut Fetcher, (), _: &WorkerContext| {
                stream::unfold(fetcher.clone(), |mut fetcher| async move {
                    let task = fetcher.next().await;
                    Some((Ok::<Option<Task<Chunk>>, BoxDynError>(Some(task)), fetcher))
                })
                .boxed()
            })
            .sink(|_, ()| futures::sink::drain().sink_map_err(|e| -> BoxDynError { match e {} }))
            .build()
            .expect("the backend is complete");
        WorkerBuilder::new(format!("{}-{}-{}-{restarts}", lane.as_str(), account.name, ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(account.chunks_at_once)
            .build(check)
    })
}

/// Rows that name no configured account.
#[derive(Debug, Clone, Copy)]
struct Strays;

async fn stray_rows(_: Strays, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let limit = ctx.limits.lease;
    let ctx = Arc::clone(&ctx);
    guard(limit, async move { strays::look(&ctx).await.map_err(Into::into) }).await
}

/// Adds the look at rows of unknown accounts.
pub(super) fn register_strays(monitor: Monitor, ctx: &Arc<Ctx>) -> Monitor {
    let ctx = Arc::clone(ctx);
    monitor.register(move |restarts: usize| {
        #[expect(clippy::expect_used, reason = "a fetcher and a sink are given; build fails only without them")]
        let backend = BackendBuilder::<Strays, _, _, _>::new()
            .database(Arc::clone(&ctx))
            .fetcher(|ctx: &mut Arc<Ctx>, (), _: &WorkerContext| {
                stream::unfold((Arc::clone(ctx), 0_u64), |(ctx, n)| async move {
                    if n > 0 {
                        tokio::time::sleep(ctx.limits.every.max(STRAYS_EVERY)).await;
                    }
                    let id = TaskId::from_string(format!("{}/strays/{n}", ctx.owner));
                    let task = TaskBuilder::new(Strays).task_id(id).build();
                    Some((Ok::<Option<Task<Strays>>, BoxDynError>(Some(task)), (ctx, n.wrapping_add(1))))
                })
                .boxed()
            })
            .sink(|_, ()| futures::sink::drain().sink_map_err(|e| -> BoxDynError { match e {} }))
            .build()
            .expect("the backend is complete");
        WorkerBuilder::new(format!("strays-{}-{restarts}", ctx.owner))
            .backend(backend)
            .data(Arc::clone(&ctx))
            .concurrency(1)
            .build(stray_rows)
    })
}
