//! The recorder, and one function for everything that is counted. Without [`install`], as in a command that nobody
//! scrapes, nothing is kept.

use std::time::Duration;

use metrics::with_recorder;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::{
    catalogue::{self as c, CATALOGUE, Kind, Metric, Vocabulary},
    handles::{counter, gauge, histogram, recorder_is_installed},
};

/// Why nothing is counted.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be set up, or were set up twice in one process")]
pub struct MetricsError(#[from] BuildError);

/// What this process has counted. Cheap to clone.
#[derive(Clone)]
pub struct ProcessMetrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for ProcessMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessMetrics")
    }
}

impl ProcessMetrics {
    /// Counters and histograms in Prometheus's text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms have collected into their buckets. Call it every few seconds: without it, and without a
    /// scrape, they grow.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Sets up counting for the process and starts every label combination at zero, so that a rate is right from the first
/// event on.
///
/// # Errors
/// A recorder that was installed before.
pub fn install(vocabulary: &Vocabulary) -> Result<ProcessMetrics, MetricsError> {
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let handle = builder.install_recorder()?;
    recorder_is_installed();
    for metric in CATALOGUE {
        describe(metric);
        for labels in vocabulary.combinations(metric) {
            let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
            match metric.kind {
                Kind::Counter => counter(metric, &labels).increment(0),
                Kind::Histogram(_) => drop(histogram(metric, &labels)),
                Kind::SetGauge => gauge(metric, &labels).set(0),
                Kind::ProcessGauge | Kind::DatabaseGauge => {}
            }
        }
    }
    Ok(ProcessMetrics { handle })
}

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A token.
    Token,
    /// The state of a payment.
    Query,
    /// Money back.
    Refund,
    /// The end of a QR.
    Cancel,
}

impl Operation {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Query => "query",
            Self::Refund => "refund",
            Self::Cancel => "cancel",
        }
    }
}

/// What came back from a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// A success code.
    Success,
    /// A readable refusal, such as 404 or 403.
    Refused,
    /// 401.
    Unauthorised,
    /// 429.
    Throttled,
    /// 5xx.
    ServerError,
    /// No whole answer in time.
    Timeout,
    /// No connection, or one that broke.
    Transport,
    /// An answer that could not be read.
    Unreadable,
}

impl CallOutcome {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Unauthorised => "unauthorised",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A kind of worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Worker {
    /// Asks about payments.
    Check,
    /// Sends refunds.
    Refund,
    /// Carries out commands.
    Command,
    /// Tells merchants.
    Webhook,
}

impl Worker {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Refund => "refund",
            Self::Command => "command",
            Self::Webhook => "webhook",
        }
    }
}

/// How a run of a calendar job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// Well.
    Done,
    /// Not.
    Failed,
    /// Out of time or budget.
    Incomplete,
}

impl JobOutcome {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What came of an attempt to tell a merchant's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// 2xx.
    Delivered,
    /// Sent again later.
    Failed,
    /// A dead letter.
    Dead,
    /// 410: the endpoint is disabled.
    Gone,
    /// Somebody else held the message by then.
    Lost,
}

impl Delivery {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Gone => "gone",
            Self::Lost => "lost",
        }
    }
}

/// A message was sent to an endpoint.
pub fn webhook_delivery(endpoint: &str, delivery: Delivery) {
    counter(c::WEBHOOK_DELIVERIES, &[endpoint, delivery.as_str()]).increment(1);
}

/// A call ended.
pub fn provider_call(account: &str, operation: Operation, outcome: CallOutcome, took: Duration) {
    counter(c::PROVIDER_CALLS, &[account, operation.as_str(), outcome.as_str()]).increment(1);
    histogram(c::PROVIDER_CALL_SECONDS, &[account, operation.as_str()]).record(took);
}

/// An answer was recorded; `observation` is the domain's word.
pub fn fact(account: &str, observation: &'static str) {
    counter(c::FACTS, &[account, observation]).increment(1);
}

/// An answer is in doubt; `kind` is the domain's word.
pub fn parse_warning(account: &str, kind: &'static str) {
    counter(c::PARSE_WARNINGS, &[account, kind]).increment(1);
}

/// A code that the profile does not list.
pub fn unknown_code(account: &str) {
    counter(c::UNKNOWN_CODES, &[account]).increment(1);
}

/// An answer showed so many oddities.
pub fn drift(account: &str, kinds: u64) {
    counter(c::DRIFT, &[account]).increment(kinds);
}

/// A notification came; `outcome` is the engine's word, or `refused` where it was none.
pub fn notification(account: &str, outcome: &'static str) {
    counter(c::NOTIFICATIONS, &[account, outcome]).increment(1);
}

/// A written decision stood on this rule; `rule` is its stable id.
pub fn decision(rule: &'static str) {
    counter(c::DECISIONS, &[rule]).increment(1);
}

/// A refund came into a state; `to` is the domain's word.
pub fn refund_transition(account: &str, to: &'static str) {
    counter(c::REFUND_TRANSITIONS, &[account, to]).increment(1);
}

/// A payment was decided to be paid so long after its row was made.
pub fn time_to_truth(account: &str, took: Duration) {
    histogram(c::TIME_TO_TRUTH, &[account]).record(took);
}

/// Rows were leased.
pub fn lease_claimed(account: &str, rows: u64) {
    counter(c::LEASES_CLAIMED, &[account]).increment(rows);
}

/// A row was leased so long after it was due.
pub fn check_lateness(account: &str, late: Duration) {
    histogram(c::CHECK_LATENESS, &[account]).record(late);
}

/// A settle transaction was committed.
pub fn settle_group(rows: u32, took: Duration) {
    histogram(c::SETTLE_ROWS, &[]).record(rows);
    histogram(c::SETTLE_SECONDS_SPENT, &[]).record(took);
}

/// Answers came after their lease was lost.
pub fn stale_answers(answers: u64) {
    counter(c::STALE_ANSWERS, &[]).increment(answers);
}

/// Rows could not be settled.
pub fn poisoned_rows(rows: u64) {
    counter(c::POISONED_ROWS, &[]).increment(rows);
}

/// A call waited for its slot; `class` is the budget's word.
pub fn budget_wait(account: &str, class: &'static str, waited: Duration) {
    histogram(c::BUDGET_WAIT, &[account, class]).record(waited);
}

/// A call took a slot of the account's budget; `class` is the budget's word.
pub fn budget_slot(account: &str, class: &'static str) {
    counter(c::BUDGET_SLOTS, &[account, class]).increment(1);
}

/// The account's budget grants a slot every `spacing`.
pub fn budget_grants(account: &str, spacing: Duration) {
    gauge(c::BUDGET_PER_SECOND, &[account]).set(spacing.as_secs_f64().recip());
}

/// A worker ended on its own and was started again.
pub fn worker_restarted(worker: Worker) {
    counter(c::WORKER_RESTARTS, &[worker.as_str()]).increment(1);
}

/// A run of a calendar job ended; `job` is one of [`c::JOBS`].
pub fn job_ended(job: &'static str, outcome: JobOutcome, took: Duration) {
    counter(c::JOB_RUNS, &[job, outcome.as_str()]).increment(1);
    histogram(c::JOB_RUN_SECONDS, &[job]).record(took);
}

/// The sentinel made a pass.
pub fn sentinel_pass(took: Duration) {
    histogram(c::SENTINEL_SECONDS, &[]).record(took);
}

/// A request was answered. Route and method are words of the vocabulary, never what the caller wrote; `status` is 2xx, 4xx or 5xx.
pub fn http_request(route: &str, method: &str, status: &'static str, took: Duration) {
    counter(c::HTTP_REQUESTS, &[route, method, status]).increment(1);
    histogram(c::HTTP_SECONDS, &[route, method]).record(took);
}

/// The database's gauges were read, or could not be.
pub fn gauges_read(done: bool) {
    counter(c::GAUGE_READS, &[if done { "done" } else { "failed" }]).increment(1);
}

fn describe(metric: &'static Metric) {
    with_recorder(|recorder| match metric.kind {
        Kind::Counter => recorder.describe_counter(metric.name.into(), None, metric.help.into()),
        Kind::Histogram(_) => recorder.describe_histogram(metric.name.into(), None, metric.help.into()),
        Kind::SetGauge => recorder.describe_gauge(metric.name.into(), None, metric.help.into()),
        Kind::ProcessGauge | Kind::DatabaseGauge => {}
    });
}
