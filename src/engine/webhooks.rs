//! Tells merchants' endpoints what changed: sends one leased message and writes down what came of it. What is said is written
//! where it happens (`decisions`), in the same transaction; when it is sent is the endpoint's worker's (`jobs::webhooks`).
//!
//! At least once, never exactly once: a process that ends between the answer and its record sends the message again, under the
//! same webhook-id. Absent on purpose: an order among messages. Each says the `sequence` of its payment.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::{
    config::{Config, Webhook},
    domain::webhook::{Next, Reply, Subscription, judge, test_body},
    engine::{Ctx, EngineError},
    hooks::Post,
    store::webhooks::{Attempted, LeasedWebhook},
    telemetry::metrics::{self, Delivery},
};

/// A lease is longer than an attempt's timeout so many times, and by this long: a message waits for the one before it.
const LEASE_TIMEOUTS: u32 = 3;
const LEASE_MORE: Duration = Duration::from_secs(30);
/// At most what may be sent in so many seconds is leased at once: what is leased and not sent can go stale.
const BATCH_SECONDS: u32 = 2;

/// One endpoint at work.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Attempts under way at once in this process.
    pub concurrency: usize,
    /// Messages leased at once.
    pub batch: i64,
    /// Between two attempts' beginnings.
    pub spacing: Duration,
    /// Life of a lease on a message.
    pub lease: Duration,
    timeout: Duration,
    ladder: Vec<Duration>,
    post: Post,
    /// When the receiver last wanted a pause or the end; a lease that is no younger is not used.
    held_back: Mutex<Option<Instant>>,
}

impl Endpoint {
    fn try_new(webhook: &Webhook) -> Result<Self, EngineError> {
        Ok(Self {
            name: webhook.name.clone(),
            concurrency: usize::try_from(webhook.concurrency).unwrap_or(1),
            batch: webhook.concurrency.min(webhook.per_second.saturating_mul(BATCH_SECONDS)).into(),
            spacing: Duration::from_secs(1).checked_div(webhook.per_second).unwrap_or_default(),
            lease: webhook.timeout.saturating_mul(LEASE_TIMEOUTS).saturating_add(LEASE_MORE),
            timeout: webhook.timeout,
            ladder: webhook.ladder.clone(),
            post: Post::try_new(webhook)?,
            held_back: Mutex::new(None),
        })
    }

    /// Does a lease that was taken then still cover an attempt that begins now? Not where the receiver has asked for a pause or
    /// the end since: the database knows of it, and leases nothing before it is over.
    pub fn covers(&self, leased: Instant) -> bool {
        let held_back = *self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        held_back.is_none_or(|at| at < leased) && leased.elapsed().saturating_add(self.timeout) < self.lease
    }

    /// What was leased until now is not sent.
    fn hold_back(&self) {
        *self.held_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// What the receiver said.
    pub reply: Reply,
    /// What followed; `None` where somebody else held the message by then.
    pub next: Option<Next>,
}

/// The endpoints of a configuration.
///
/// # Errors
/// A secret or an address that cannot be used.
pub fn endpoints(config: &Config) -> Result<BTreeMap<String, Arc<Endpoint>>, EngineError> {
    let named = |webhook: &Webhook| Ok((webhook.name.clone(), Arc::new(Endpoint::try_new(webhook)?)));
    config.webhooks.values().map(named).collect()
}

/// Who wants to be told what.
pub fn subscriptions(config: &Config) -> Vec<Subscription> {
    let wants = |webhook: &Webhook| Subscription {
        endpoint: webhook.name.clone(),
        types: webhook.events.clone(),
        accounts: webhook.accounts.clone(),
    };
    config.webhooks.values().map(wants).collect()
}

/// Sends a leased message once and writes down what came of it. No transaction is open while it is sent.
///
/// # Errors
/// The database. What was sent then is sent again when the lease has run out.
pub async fn deliver(ctx: &Ctx, endpoint: &Endpoint, leased: &LeasedWebhook) -> Result<Attempt, EngineError> {
    let LeasedWebhook { id, epoch, rung, .. } = *leased;
    let reply = endpoint.post.send(&leased.event_id, ctx.clock.now(), &leased.body).await;
    let next = judge(reply, usize::try_from(rung).unwrap_or(usize::MAX), &endpoint.ladder);
    let holds_back = matches!(next, Next::Gone | Next::Again { pause: Some(_), .. });
    if holds_back {
        endpoint.hold_back();
    }
    let (status, error) = match reply {
        Reply::Status { status, .. } => (Some(i32::from(status)), (next != Next::Delivered).then_some("status")),
        Reply::Silence(word) => (None, Some(word)),
    };
    let attempted = Attempted { endpoint: &endpoint.name, id, epoch, rung, status, error, next };
    let is_ours = ctx.store.end_webhook(&attempted).await?;
    if holds_back {
        // Also what was leased before this was written down.
        endpoint.hold_back();
    }
    let name = &endpoint.name;
    if is_ours {
        tell(name, id, next, status, error);
    } else {
        tracing::info!(endpoint = %name, id, "a message was taken over; what came of it is another's to say");
    }
    metrics::webhook_delivery(name, if is_ours { outcome(next) } else { Delivery::Lost });
    Ok(Attempt { reply, next: is_ours.then_some(next) })
}

fn tell(name: &str, id: i64, next: Next, status: Option<i32>, error: Option<&str>) {
    match next {
        Next::Delivered => tracing::debug!(endpoint = %name, id, "delivered"),
        Next::Again { .. } => tracing::info!(endpoint = %name, id, status, error, "not delivered; it is sent again"),
        Next::Dead => {
            tracing::warn!(endpoint = %name, id, status, error, "a dead letter: `rekon webhooks replay` sends it again");
        }
        Next::Gone => {
            tracing::warn!(endpoint = %name, id, "410 Gone: nothing is sent until `rekon webhooks enable`");
        }
    }
}

const fn outcome(next: Next) -> Delivery {
    match next {
        Next::Delivered => Delivery::Delivered,
        Next::Again { .. } => Delivery::Failed,
        Next::Dead => Delivery::Dead,
        Next::Gone => Delivery::Gone,
    }
}

/// Gives back a leased message that is not sent after all.
pub async fn give_back(ctx: &Ctx, endpoint: &Endpoint, leased: &LeasedWebhook) {
    if let Err(error) = ctx.store.give_back_webhook(leased.id, leased.epoch).await {
        tracing::debug!(endpoint = %endpoint.name, %error, "a lease is left to run out");
    }
}

/// Sends what is due when a command ends that has no daemon beside it: what its last decisions said need not wait for the next
/// run. After the first attempts none is begun that could last past `longest`.
pub async fn last_round(ctx: &Ctx, longest: Duration) {
    let round = ctx.endpoints.values().map(|endpoint| async move {
        let begun = Instant::now();
        let mut is_first = true;
        while std::mem::take(&mut is_first) || begun.elapsed().saturating_add(endpoint.timeout) < longest {
            let leased = Instant::now();
            let claimed = ctx.store.claim_webhooks(&endpoint.name, endpoint.batch, &ctx.owner, endpoint.lease).await;
            let claimed = match claimed {
                Ok(claimed) => claimed,
                Err(error) => {
                    tracing::warn!(endpoint = %endpoint.name, %error, "webhooks that are due wait for the next run");
                    return;
                }
            };
            if claimed.is_empty() {
                return;
            }
            let each = (0_u32..).zip(&claimed).map(|(n, one)| async move {
                tokio::time::sleep(endpoint.spacing.saturating_mul(n)).await;
                if !endpoint.covers(leased) {
                    give_back(ctx, endpoint, one).await;
                } else if let Err(error) = deliver(ctx, endpoint, one).await {
                    tracing::warn!(endpoint = %endpoint.name, %error, "what came of a message could not be written down");
                }
            });
            futures::future::join_all(each).await;
            tokio::time::sleep(endpoint.spacing).await;
        }
    });
    futures::future::join_all(round).await;
}

/// Sends a message of type `rekon.test` that belongs to no payment and is stored nowhere; says what the receiver answered.
///
/// # Errors
/// A secret or an address that cannot be used.
pub async fn try_out(webhook: &Webhook, now: DateTime<Utc>, id: &str) -> Result<Reply, EngineError> {
    Ok(Post::try_new(webhook)?.send(id, now, &test_body(&webhook.name, now)).await)
}
