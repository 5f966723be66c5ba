//! Every metric there is: its name, what it counts, its labels with their closed sets of values, its buckets. A metric that
//! is not here cannot be emitted; `docs/metrics.md` lists the same and a test compares them.
//!
//! Base units, `_total` on counters, money in `_rupiah`, and no label that grows with the number of payments. Counters and
//! histograms belong to one process; what the database knows is read from it at scrape and never kept by the code.

use std::collections::BTreeSet;

use super::number::Buckets;

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with unit and suffix.
    pub name: &'static str,
    /// What kind it is and where its value lives.
    pub kind: Kind,
    /// One sentence for `# HELP`.
    pub help: &'static str,
    /// Its labels, in the order in which values are given.
    pub labels: &'static [Label],
}

/// What kind a metric is and where its value lives.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Counted by this process since it started.
    Counter,
    /// Measured by this process since it started, in buckets.
    Histogram(Buckets),
    /// True of this process now.
    ProcessGauge,
    /// True of this process since it was last set.
    SetGauge,
    /// Read from the database at scrape: the same from every replica; take `max`, never `sum`, over replicas.
    DatabaseGauge,
}

/// A label and the values that it may have.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub words: Words,
}

/// A closed set of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// The configured accounts.
    Accounts,
    /// The configured accounts, and [`UNCONFIGURED`] for rows of any other.
    AccountsOrNot,
    /// The configured endpoints of webhooks.
    Endpoints,
    /// What a provider can have said.
    Observations,
    /// Rules of decisions.
    Rules,
    /// What may be doubtful about an answer.
    Warnings,
    /// Who asks for a call.
    CallClasses,
    /// Ledger states of rows that are not at rest.
    OpenStates,
    /// Flags of payments.
    Flags,
    /// Flags of payments, and [`UNFLAGGED`] for a payment that has none open.
    FlagsOrNone,
    /// States of refunds.
    RefundStates,
    /// States of refunds that are not at their end.
    LiveRefundStates,
    /// Templates of the paths that are answered, and [`UNROUTED`].
    Routes,
    /// Methods that some path answers, and [`OTHER_METHOD`].
    Methods,
    /// Words of this room.
    Own(&'static [&'static str]),
    /// Not known before: the version, the loops' names. Few by nature, and nothing to start at zero.
    Open,
}

/// The account label of rows whose account is not configured. No configured name can have parentheses.
pub const UNCONFIGURED: &str = "(unconfigured)";
/// The flag label of an exception without an open flag; there should be none.
pub const UNFLAGGED: &str = "(none)";

/// The route label of a request that nobody answers: an unknown path, or a method that its path does not know.
pub const UNROUTED: &str = "(none)";
/// The method label of the same.
pub const OTHER_METHOD: &str = "other";

/// The words that come from outside this room: configured names, and the domain's own.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// The configured accounts.
    pub accounts: Vec<String>,
    /// The configured endpoints of webhooks.
    pub endpoints: Vec<String>,
    /// What a provider can have said.
    pub observations: Vec<&'static str>,
    /// Rules of decisions.
    pub rules: Vec<&'static str>,
    /// What may be doubtful about an answer.
    pub warnings: Vec<&'static str>,
    /// Who asks for a call.
    pub call_classes: Vec<&'static str>,
    /// Ledger states of rows that are not at rest.
    pub open_states: Vec<&'static str>,
    /// Flags of payments.
    pub flags: Vec<&'static str>,
    /// States of refunds.
    pub refund_states: Vec<&'static str>,
    /// States of refunds that are not at their end.
    pub live_refund_states: Vec<&'static str>,
    /// What is answered over HTTP: method and template of the path.
    pub requests: Vec<(&'static str, &'static str)>,
}

impl Vocabulary {
    /// The values of a set; none where they are not known before.
    pub fn values(&self, words: Words) -> Vec<&str> {
        let accounts = || self.accounts.iter().map(String::as_str);
        match words {
            Words::Accounts => accounts().collect(),
            Words::AccountsOrNot => accounts().chain([UNCONFIGURED]).collect(),
            Words::Endpoints => self.endpoints.iter().map(String::as_str).collect(),
            Words::Observations => self.observations.clone(),
            Words::Rules => self.rules.clone(),
            Words::Warnings => self.warnings.clone(),
            Words::CallClasses => self.call_classes.clone(),
            Words::OpenStates => self.open_states.clone(),
            Words::Flags => self.flags.clone(),
            Words::FlagsOrNone => self.flags.iter().copied().chain([UNFLAGGED]).collect(),
            Words::RefundStates => self.refund_states.clone(),
            Words::LiveRefundStates => self.live_refund_states.clone(),
            Words::Routes => self.distinct(|(_, route)| route, UNROUTED),
            Words::Methods => self.distinct(|(method, _)| method, OTHER_METHOD),
            Words::Own(words) => words.to_vec(),
            Words::Open => Vec::new(),
        }
    }

    /// Every combination of a metric's label values; one empty combination for a metric without labels.
    pub fn combinations(&self, metric: &Metric) -> Vec<Vec<&str>> {
        metric.labels.iter().fold(vec![Vec::new()], |sofar, label| {
            let values = self.values(label.words);
            let grown = |start: &Vec<_>| {
                let start = start.clone();
                values
                    .iter()
                    .map(move |value| start.iter().copied().chain([*value]).collect::<Vec<&str>>())
                    .collect::<Vec<_>>()
            };
            let mut combinations: Vec<_> = sofar.iter().flat_map(grown).collect();
            if label.words == Words::Methods {
                combinations.retain(|of| self.is_answered(of));
            }
            combinations
        })
    }

    /// A route and its method, which every metric has side by side and first: is there such a request?
    fn is_answered(&self, combination: &[&str]) -> bool {
        let [route, method, ..] = combination else { return false };
        let is_one = |&(known, at): &(&str, &str)| known == *method && at == *route;
        self.requests.iter().any(is_one) || (*route == UNROUTED && *method == OTHER_METHOD)
    }

    fn distinct(&self, part: impl Fn((&'static str, &'static str)) -> &'static str, rest: &'static str) -> Vec<&str> {
        let words: BTreeSet<&str> = self.requests.iter().map(|request| part(*request)).collect();
        words.into_iter().chain([rest]).collect()
    }
}

const ACCOUNT: Label = Label { name: "account", words: Words::Accounts };
const ROW_ACCOUNT: Label = Label { name: "account", words: Words::AccountsOrNot };
const ENDPOINT: Label = Label { name: "endpoint", words: Words::Endpoints };
const FLAG: Label = Label { name: "flag", words: Words::FlagsOrNone };
const OPERATION: Label = Label { name: "operation", words: Words::Own(&["token", "query", "refund", "cancel"]) };
const OUTCOME: Label = Label {
    name: "outcome",
    words: Words::Own(&[
        "success",
        "refused",
        "unauthorised",
        "throttled",
        "server_error",
        "timeout",
        "transport",
        "unreadable",
    ]),
};
const NOTIFIED: Label = Label {
    name: "outcome",
    words: Words::Own(&["verified", "unverified", "redelivered", "unmatched", "limited", "crowded", "refused"]),
};
/// Not `job`: Prometheus writes its own there, and ours would be read as `exported_job`.
const JOB: Label = Label { name: "calendar_job", words: Words::Own(JOBS) };
const WORKER: Label = Label { name: "worker", words: Words::Own(&["check", "refund", "command", "webhook"]) };

const ROUTE: Label = Label { name: "route", words: Words::Routes };
const METHOD: Label = Label { name: "method", words: Words::Methods };

/// The jobs on the calendar and the reconciliation that somebody asks for, as `runs.job` names them.
pub const JOBS: &[&str] = &["daily", "prune", "reconcile", "seal"];

/// The rules that the invariant sentinel proves, pass by pass; `docs/invariants.md` says what each one means.
pub const INVARIANTS: &[&str] = &[
    "returned_at_most_paid",
    "budget_adds_up",
    "seals_are_chained",
    "paid_is_not_unpaid",
    "paid_as_first_answered",
    "postings_balance",
    "balances_equal_row",
    "suspense_equals_flags",
    "refunds_add_up",
    "one_refund_per_cause",
    "one_refund_in_flight",
    "approver_is_not_proposer",
    "sent_on_two_answers",
    "chain_links",
    "chain_head",
    "row_equals_journal",
    "decision_says_why",
    "sequence_is_dense",
    "facts_as_written",
    "nothing_is_forgotten",
];

/// Milliseconds to half a minute: one call of a provider.
const CALL_SECONDS: Buckets = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Fractions of a millisecond to seconds: one database transaction.
const SETTLE_SECONDS: Buckets = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// A millisecond to the longest time of a request.
const REQUEST_SECONDS: Buckets = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// One row to the largest group.
const GROUP_ROWS: Buckets = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];
/// No wait to a minute and a half.
const WAIT_SECONDS: Buckets = &[0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0];
/// Seconds to two days: from the order to the proof that it was paid.
const TRUTH_SECONDS: Buckets = &[5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 172_800.0];
/// On time to an hour late.
const LATE_SECONDS: Buckets = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];
/// A second to an hour.
const JOB_SECONDS: Buckets = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0];

/// Names the metrics once: as constants for the code and as the catalogue.
macro_rules! catalogue {
    ($($ident:ident = $name:literal $kind:expr, [$($label:expr),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $ident: &Metric = &Metric { name: $name, kind: $kind, help: $help, labels: &[$($label),*] };
        )*
        /// Every metric.
        pub const CATALOGUE: &[&Metric] = &[$($ident),*];
    };
}

catalogue! {
    BUILD_INFO = "rekon_build_info" Kind::ProcessGauge, [Label { name: "version", words: Words::Open }],
        "1, with the program's version.";
    LOOP_AGE = "rekon_loop_age_seconds" Kind::ProcessGauge, [Label { name: "loop", words: Words::Open }],
        "Time since a loop of this process last said that it is alive.";
    CUSTOMER_TOKEN_EXPIRES = "rekon_customer_token_expires_timestamp_seconds" Kind::ProcessGauge, [ACCOUNT],
        "When the account's customer token ends, in seconds since 1970; 0 where it has none or does not say.";
    PROVIDER_CALLS = "rekon_provider_calls_total" Kind::Counter, [ACCOUNT, OPERATION, OUTCOME],
        "Calls to the provider by what came back.";
    PROVIDER_CALL_SECONDS = "rekon_provider_call_seconds" Kind::Histogram(CALL_SECONDS), [ACCOUNT, OPERATION],
        "Time from sending a call to the end of its answer, or to giving up.";
    FACTS = "rekon_facts_total" Kind::Counter, [ACCOUNT, Label { name: "observation", words: Words::Observations }],
        "Answers recorded, also where they only repeat the one before.";
    PARSE_WARNINGS = "rekon_parse_warnings_total" Kind::Counter, [ACCOUNT, Label { name: "kind", words: Words::Warnings }],
        "Doubts about an answer's amount, currency, reference or status.";
    UNKNOWN_CODES = "rekon_unknown_codes_total" Kind::Counter, [ACCOUNT],
        "Answers with a code that the provider's profile does not list.";
    DRIFT = "rekon_drift_total" Kind::Counter, [ACCOUNT],
        "Oddities of answers, by `rekon providers show --drift` in words.";
    NOTIFICATIONS = "rekon_notifications_total" Kind::Counter, [ACCOUNT, NOTIFIED],
        "Notifications of the provider by what became of them.";
    DECISIONS = "rekon_decisions_total" Kind::Counter, [Label { name: "rule", words: Words::Rules }],
        "Rules that a written decision stood on.";
    REFUND_TRANSITIONS = "rekon_refund_transitions_total" Kind::Counter,
        [ACCOUNT, Label { name: "to", words: Words::RefundStates }],
        "Refunds that came into a state.";
    TIME_TO_TRUTH = "rekon_time_to_truth_seconds" Kind::Histogram(TRUTH_SECONDS), [ACCOUNT],
        "Time from the row's creation to the decision that it was paid.";
    CHECK_LATENESS = "rekon_check_lateness_seconds" Kind::Histogram(LATE_SECONDS), [ACCOUNT],
        "Time from when a row was due to when it was leased.";
    SETTLE_SECONDS_SPENT = "rekon_settle_seconds" Kind::Histogram(SETTLE_SECONDS), [],
        "Time of one settle transaction.";
    SETTLE_ROWS = "rekon_settle_rows" Kind::Histogram(GROUP_ROWS), [],
        "Answers settled by one transaction.";
    LEASES_CLAIMED = "rekon_leases_claimed_total" Kind::Counter, [ACCOUNT],
        "Rows leased to be asked.";
    STALE_ANSWERS = "rekon_stale_answers_total" Kind::Counter, [],
        "Answers that came after their lease was lost: recorded, and nothing else.";
    POISONED_ROWS = "rekon_poisoned_rows_total" Kind::Counter, [],
        "Rows that could not be settled even alone.";
    WEBHOOK_DELIVERIES = "rekon_webhook_deliveries_total" Kind::Counter,
        [ENDPOINT, Label { name: "outcome", words: Words::Own(&["delivered", "failed", "dead", "gone", "lost"]) }],
        "Attempts to tell an endpoint by what followed: the end, another attempt, a dead letter, a disabled endpoint, a lost lease.";
    BUDGET_WAIT = "rekon_budget_wait_seconds" Kind::Histogram(WAIT_SECONDS),
        [ACCOUNT, Label { name: "class", words: Words::CallClasses }],
        "Time that a call waited for its slot in the account's budget.";
    BUDGET_SLOTS = "rekon_budget_slots_total" Kind::Counter,
        [ACCOUNT, Label { name: "class", words: Words::CallClasses }],
        "Call slots that calls took from the account's budget.";
    BUDGET_PER_SECOND = "rekon_budget_per_second" Kind::SetGauge, [ACCOUNT],
        "Calls a second that the account's budget grants to all replicas together; 0 where this process asks nobody.";
    WORKER_RESTARTS = "rekon_worker_restarts_total" Kind::Counter, [WORKER],
        "Workers that ended on their own and were started again.";
    JOB_RUNS = "rekon_jobs_total" Kind::Counter,
        [JOB, Label { name: "outcome", words: Words::Own(&["done", "failed", "incomplete"]) }],
        "Runs of calendar jobs that ended in this process.";
    JOB_RUN_SECONDS = "rekon_job_seconds" Kind::Histogram(JOB_SECONDS), [JOB],
        "Time of one run of a calendar job.";
    SENTINEL_SECONDS = "rekon_sentinel_pass_seconds" Kind::Histogram(JOB_SECONDS), [],
        "Time of one pass of the invariant sentinel in this process.";
    HTTP_REQUESTS = "rekon_http_requests_total" Kind::Counter,
        [ROUTE, METHOD, Label { name: "status", words: Words::Own(&["2xx", "4xx", "5xx"]) }],
        "Requests answered by this process: API, notifications, probes, scrapes.";
    HTTP_SECONDS = "rekon_http_request_seconds" Kind::Histogram(REQUEST_SECONDS), [ROUTE, METHOD],
        "Time from a request's head to its answer's head.";
    GAUGE_READS = "rekon_gauge_reads_total" Kind::Counter, [Label { name: "outcome", words: Words::Own(&["done", "failed"]) }],
        "Times that the database's gauges were read for a scrape.";
    DATABASE_UP = "rekon_database_up" Kind::ProcessGauge, [],
        "1 when the database answered this scrape's reading; then, and only then, the gauges below are there.";
    GAUGE_AGE = "rekon_gauge_age_seconds" Kind::ProcessGauge, [],
        "Age of the reading of the database's gauges that this scrape shows.";
    GAUGE_READ_SECONDS = "rekon_gauge_read_seconds" Kind::ProcessGauge, [],
        "Time that this reading took.";
    OPEN_ROWS = "rekon_open_rows" Kind::DatabaseGauge, [ROW_ACCOUNT, Label { name: "state", words: Words::OpenStates }],
        "Payments that are not at rest.";
    OLDEST_OVERDUE = "rekon_oldest_overdue_seconds" Kind::DatabaseGauge, [ACCOUNT],
        "How long the row that waits longest has been due; 0 when none is.";
    EXCEPTIONS = "rekon_exceptions" Kind::DatabaseGauge, [ROW_ACCOUNT, FLAG],
        "Payments in held or review, each under the first of its open flags in the order of causes.";
    VALUE_AT_RISK = "rekon_value_at_risk_rupiah" Kind::DatabaseGauge, [ROW_ACCOUNT, FLAG],
        "Money taken and not given back on those payments, under the same flag.";
    SUSPENSE = "rekon_suspense_rupiah" Kind::DatabaseGauge, [ROW_ACCOUNT, Label { name: "cause", words: Words::Flags }],
        "Balance of the ledger's suspense accounts over payments with an open flag or not at rest.";
    REFUNDS = "rekon_refunds" Kind::DatabaseGauge, [ROW_ACCOUNT, Label { name: "state", words: Words::LiveRefundStates }],
        "Refunds that are not at their end.";
    REFUND_IN_FLIGHT = "rekon_refund_in_flight_rupiah" Kind::DatabaseGauge, [ROW_ACCOUNT],
        "Money reserved, being sent, or of unknown fate.";
    REFUND_UNKNOWN_AGE = "rekon_refund_unknown_oldest_seconds" Kind::DatabaseGauge, [ROW_ACCOUNT],
        "Time since the oldest refund of unknown fate was last sent; 0 when there is none.";
    REFUND_WINDOW_LEFT = "rekon_refund_window_left_seconds" Kind::DatabaseGauge, [ROW_ACCOUNT],
        "Time until the provider's window closes on the first refund that has not gone; 0 when none has an end.";
    TRANSFERS = "rekon_transfers_by_hand" Kind::DatabaseGauge, [ROW_ACCOUNT, Label { name: "state", words: Words::LiveRefundStates }],
        "Refunds that go by bank transfer and are not at their end; `sending` waits for the person who makes it.";
    REFUNDS_STOPPED = "rekon_refunds_stopped" Kind::DatabaseGauge, [ACCOUNT],
        "1 while no refund leaves the account, because an answer or a proof contradicted how refunds work.";
    REFUND_BREAKER_OPEN = "rekon_refund_breaker_open" Kind::DatabaseGauge, [ACCOUNT],
        "1 while a limit of the refund breaker is passed and refunds leave the account by two people only.";
    SWITCH_LOWERED = "rekon_switch_lowered" Kind::DatabaseGauge, [ACCOUNT],
        "How far switches and refund breaker hold the account back: 0 auto, 1 propose, 2 post, 3 observe.";
    BREAKER_OPEN = "rekon_breaker_open" Kind::DatabaseGauge, [ACCOUNT],
        "1 while the account's circuit breaker is open and nobody asks its provider.";
    ACCOUNT_PAUSED = "rekon_account_paused" Kind::DatabaseGauge, [ACCOUNT],
        "1 while a person has paused the account: nobody asks its provider and nothing of it ages.";
    WEBHOOKS_OLDEST = "rekon_webhook_oldest_undelivered_seconds" Kind::DatabaseGauge, [ENDPOINT],
        "Age of the oldest message that waits for its endpoint; 0 when none does.";
    WEBHOOKS_DEAD = "rekon_webhook_dead_letters" Kind::DatabaseGauge, [ENDPOINT],
        "Messages that were given up: nobody sends them until somebody replays them.";
    WEBHOOK_DISABLED = "rekon_webhook_endpoint_disabled" Kind::DatabaseGauge, [ENDPOINT],
        "1 since the endpoint answered 410 Gone: nothing is sent to it.";
    RUN_LAST_SUCCESS = "rekon_run_last_success_timestamp_seconds" Kind::DatabaseGauge, [JOB],
        "When a job last ended well, in seconds since 1970; 0 when it never has. `reconcile`: a reconciliation of everything that asked about each of its rows.";
    INVARIANT_VIOLATIONS = "rekon_invariant_violations" Kind::DatabaseGauge,
        [Label { name: "invariant", words: Words::Own(INVARIANTS) }],
        "Rows that break a rule of money, as the sentinel last saw them. Anything but 0 is an emergency.";
    SENTINEL_PASSED = "rekon_sentinel_pass_timestamp_seconds" Kind::DatabaseGauge, [],
        "When the sentinel last ended a pass, in seconds since 1970; 0 when it never has.";
    SENTINEL_ROTATED = "rekon_sentinel_rotation_timestamp_seconds" Kind::DatabaseGauge, [],
        "When the sentinel had last looked at every row, in seconds since 1970; 0 when it never has.";
}
