//! The door for notifications under a steady load: so many a second over real HTTP, each of another payment and rightly signed,
//! sent when its time has come whether or not the last one was answered. The time of an answer counts from when its request
//! was to leave. A second pair of eyes, on connections of its own, looks for the fact of every answer as soon as it is there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    ACCOUNT,
    loops::AMOUNT_SEN,
    place::{Place, SimProcess},
};
use crate::{
    cli::{
        exit::Failure,
        http::{self, Lent},
    },
    sim::{Notice, Says, Sealer, SimPayment},
    store::{Store, bench::Supply},
    telemetry::{heartbeat::Heartbeats, metrics::ProcessMetrics},
    web,
};

/// Notifications a second.
const PER_SECOND: u32 = 500;
const PREFIX: &str = "N";
/// Pause of the second pair of eyes between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// What was found.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct DoorFigures {
    /// Notifications a second, as they were sent.
    pub(super) per_second: u32,
    /// Seconds.
    pub(super) seconds: u64,
    /// Sent.
    pub(super) sent: usize,
    /// Answered with `CONTINUE`.
    pub(super) taken: usize,
    /// Microseconds until the answer: half of them, ninety-nine of a hundred, all.
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
    /// Answers whose fact another connection did not see when it looked.
    pub(super) before_commit: u64,
    /// Looks.
    pub(super) looks: u64,
}

/// Measures for so long.
pub(super) async fn measure(
    place: &Place,
    sim: &SimProcess,
    seconds: u64,
    metrics: ProcessMetrics,
) -> Result<DoorFigures, Failure> {
    let store = place.database("door").await?;
    let count = u64::from(PER_SECOND).saturating_mul(seconds);
    let rows = i64::try_from(count).unwrap_or(i64::MAX);
    let supply =
        Supply { account: ACCOUNT, prefix: PREFIX, first: 0, count: rows, amount_sen: AMOUNT_SEN, is_due: false };
    store.supply(&supply).await?;
    store.settle_down().await?;
    let config = sim.config_with(64, "notify = { form = \"json\" }\n")?;
    let account =
        config.accounts.get(ACCOUNT).ok_or_else(|| Failure::NotFound("the bench has no account".to_owned()))?;
    let path = format!("/notify/doku/{ACCOUNT}");
    let sealer = Sealer {
        client_id: account.client_id.clone(),
        client_secret: super::super::sim::CLIENT_SECRET.to_owned(),
        path: path.clone(),
    };
    let closing = CancellationToken::new();
    let (known, seen) = watch::channel(Some(store.clone()));
    let lent = Lent {
        heartbeats: Heartbeats::new(),
        store: seen,
        draining: CancellationToken::new(),
        closing: closing.clone(),
    };
    let listener = web::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let side = http::answer(&config, lent, listener, metrics)?;
    let answered = Arc::new(Mutex::new(Vec::new()));
    let over = CancellationToken::new();
    let looking = tokio::spawn(look(place.connect("door").await?, Arc::clone(&answered), over.clone()));
    let knocker = Knocker { client: client()?, url: format!("http://{}{path}", side.address), sealer, answered };
    let times = knocker.knock(count, store.now().await?).await;
    over.cancel();
    let eyes = looking.await.map_err(|error| Failure::Runtime(error.into()))??;
    closing.cancel();
    if let Err(error) = side.serving.await {
        tracing::debug!(%error, "the door did not close in an orderly way");
    }
    drop(known);
    store.close().await;
    Ok(figures(seconds, count, times, eyes))
}

fn client() -> Result<reqwest::Client, Failure> {
    let built = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
    built.map_err(|error| Failure::NotFound(format!("the HTTP client cannot be built: {error}")))
}

fn figures(seconds: u64, count: u64, mut times: Vec<u64>, eyes: Eyes) -> DoorFigures {
    times.sort_unstable();
    let at = |permille: usize| {
        let place = times.len().saturating_mul(permille).div_ceil(1000).saturating_sub(1);
        times.get(place).copied().unwrap_or_default()
    };
    DoorFigures {
        per_second: PER_SECOND,
        seconds,
        sent: usize::try_from(count).unwrap_or(usize::MAX),
        taken: times.len(),
        p50_us: at(500),
        p99_us: at(990),
        max_us: at(1000),
        before_commit: eyes.missed,
        looks: eyes.looks,
    }
}

#[derive(Debug, Clone)]
struct Knocker {
    client: reqwest::Client,
    url: String,
    sealer: Sealer,
    answered: Arc<Mutex<Vec<String>>>,
}

impl Knocker {
    /// Sends them all, each in its time; the microseconds of those that were taken.
    async fn knock(self, count: u64, signed_at: chrono::DateTime<chrono::Utc>) -> Vec<u64> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        let mut times = Vec::new();
        for n in 0..count {
            let due = ticks.tick().await;
            let one = self.clone();
            under_way.spawn(async move { one.one(n, signed_at, due).await });
            while let Some(ended) = under_way.try_join_next() {
                times.extend(ended.ok().flatten());
            }
        }
        while let Some(ended) = under_way.join_next().await {
            times.extend(ended.ok().flatten());
        }
        times
    }

    async fn one(self, n: u64, signed_at: chrono::DateTime<chrono::Utc>, due: Instant) -> Option<u64> {
        let reference = format!("{PREFIX}{n:08}");
        let payment = SimPayment { reference_no: format!("R{reference}"), ..SimPayment::exact(&reference, AMOUNT_SEN) };
        let letter = self.sealer.json(&Notice::about(&payment, Says::Paid, signed_at, ""), signed_at);
        let request = self.client.post(&self.url).header("content-type", "application/json").body(letter.body);
        let request = letter.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send().await.ok()?;
        let is_taken = answer.status() == 200 && answer.text().await.is_ok_and(|text| text == "CONTINUE");
        let took = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        is_taken.then(|| self.answered.lock().unwrap_or_else(PoisonError::into_inner).push(reference))?;
        Some(took)
    }
}

/// What the second pair of eyes saw.
#[derive(Debug, Clone, Copy, Default)]
struct Eyes {
    missed: u64,
    looks: u64,
}

async fn look(store: Store, answered: Arc<Mutex<Vec<String>>>, over: CancellationToken) -> Result<Eyes, Failure> {
    let mut eyes = Eyes::default();
    loop {
        let is_last = over.is_cancelled();
        let new = std::mem::take(&mut *answered.lock().unwrap_or_else(PoisonError::into_inner));
        if !new.is_empty() {
            let found = store.notified(ACCOUNT, &new).await?;
            let missed = i64::try_from(new.len()).unwrap_or(i64::MAX).saturating_sub(found);
            eyes.missed = eyes.missed.saturating_add(missed.unsigned_abs());
            eyes.looks = eyes.looks.saturating_add(1);
        } else if is_last {
            store.close().await;
            return Ok(eyes);
        }
        tokio::time::sleep(LOOK).await;
    }
}
