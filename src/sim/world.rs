//! The simulated world: clients, their payments and tokens, the book, weather and gates. Every provider file plays on it;
//! tests and the control endpoints look into it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::arrivals::{Arrival, Arrivals, CallBudget, max_excess};
use super::book::{Book, BookEntry};
use super::client::{ClientState, lock};
use super::gate::{Gate, GateSpec, Gates};
use super::payment::PaymentState;
use super::postman::Postbox;
use super::rng::Rng;
use super::script::{Answer, Fault, SimPayment};
use super::server::{SimError, SimOptions};
use super::snap::Service;

/// How often a client's calls of one service ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallCount {
    /// Who, as it said; empty for unknown callers and for calls that met bad weather.
    pub client_id: String,
    /// What for.
    pub service: Service,
    /// The response code, or the name of the fault.
    pub outcome: String,
    /// How often.
    pub count: u64,
}

#[derive(Debug)]
struct Token {
    client_index: usize,
    expires_at: Instant,
}

type CountKey = (Option<usize>, Service, Cow<'static, str>);

/// Approval codes have six digits; steps of a number without a common divisor come to each of them once.
const APPROVAL_CODES: u64 = 1_000_000;
const APPROVAL_STRIDE: u64 = 611_953;
const FIRST_APPROVAL: u64 = 328_591;

/// Everything the simulated provider knows and remembers.
#[derive(Debug)]
pub struct World {
    pub(super) clients: Vec<ClientState>,
    pub(super) options: SimOptions,
    pub(super) gates: Arc<Gates>,
    pub(super) arrivals: Arrivals,
    pub(super) stop: CancellationToken,
    pub(super) postboxes: Mutex<HashMap<String, Postbox>>,
    tokens: RwLock<HashMap<String, Token>>,
    counts: Mutex<HashMap<CountKey, u64>>,
    weather: Mutex<HashMap<Service, Fault>>,
    is_weather_bad: AtomicBool,
    refund_sequence: AtomicU64,
    /// Payments that got an approval code.
    approved: AtomicU64,
    advanced_secs: AtomicI64,
    rng: Mutex<Rng>,
    started: Instant,
}

impl World {
    pub(super) fn try_new(mut options: SimOptions) -> Result<Self, SimError> {
        let clients: Result<Vec<ClientState>, SimError> = std::mem::take(&mut options.clients)
            .into_iter()
            .map(|client| {
                let client_id = client.client_id.clone();
                ClientState::try_new(client).map_err(|source| SimError::Key { client_id, source })
            })
            .collect();
        Ok(Self {
            clients: clients?,
            gates: Arc::default(),
            arrivals: Arrivals::new(options.arrival_log),
            stop: CancellationToken::new(),
            postboxes: Mutex::default(),
            tokens: RwLock::default(),
            counts: Mutex::default(),
            weather: Mutex::default(),
            is_weather_bad: AtomicBool::new(false),
            refund_sequence: AtomicU64::new(0),
            approved: AtomicU64::new(0),
            advanced_secs: AtomicI64::new(0),
            rng: Mutex::new(Rng::new(options.seed)),
            started: Instant::now(),
            options,
        })
    }

    /// Registers a payment.
    pub fn add_payment(&self, mut payment: SimPayment) -> Result<(), SimError> {
        let client = self.client_or_first(&payment.client_id)?;
        payment.client_id.clear();
        if payment.reference_no.is_empty() {
            payment.reference_no = lock(&self.rng).reference();
        }
        if payment.approval_code.is_empty() {
            let nth = self.approved.fetch_add(1, Ordering::Relaxed) % APPROVAL_CODES;
            payment.approval_code = format!("{:06}", (nth * APPROVAL_STRIDE + FIRST_APPROVAL) % APPROVAL_CODES);
        }
        let partner_reference_no = payment.partner_reference_no.clone();
        if client.add_payment(&partner_reference_no, PaymentState::new(payment, self.script_clock())) {
            Ok(())
        } else {
            Err(SimError::PaymentExists { partner_reference_no })
        }
    }

    /// Replaces the answers still to come for a payment; what was taken and returned stays. An empty `client_id` is the
    /// first client's.
    pub fn set_script(&self, client_id: &str, partner_reference_no: &str, script: Vec<Answer>) -> Result<(), SimError> {
        self.client_or_first(client_id)?
            .with_payment(partner_reference_no, |payment| payment.set_script(script))
            .ok_or_else(|| SimError::PaymentUnknown { partner_reference_no: partner_reference_no.to_owned() })
    }

    /// One payment's page in the book. An empty `client_id` is the first client's.
    pub fn book_entry(&self, client_id: &str, partner_reference_no: &str) -> Option<BookEntry> {
        let client = self.client_or_first(client_id).ok()?;
        client.with_payment(partner_reference_no, |payment| payment.entry(&client.client.client_id))
    }

    /// The whole book of money.
    pub fn book(&self) -> Book {
        let mut entries = Vec::new();
        for client in &self.clients {
            client.for_each_payment(|payment| entries.push(payment.entry(&client.client.client_id)));
        }
        Book::new(entries)
    }

    /// How calls ended, sorted.
    pub fn call_counts(&self) -> Vec<CallCount> {
        let mut counts: Vec<CallCount> = lock(&self.counts)
            .iter()
            .map(|((client_index, service, outcome), &count)| CallCount {
                client_id: self.client_id(*client_index).to_owned(),
                service: *service,
                outcome: outcome.clone().into_owned(),
                count,
            })
            .collect();
        counts.sort_by(|one, other| {
            (&one.client_id, one.service, &one.outcome).cmp(&(&other.client_id, other.service, &other.outcome))
        });
        counts
    }

    /// How many calls of a service ended with this response code or fault, over all clients.
    pub fn count_of(&self, service: Service, outcome: &str) -> u64 {
        let counts = lock(&self.counts);
        counts.iter().filter(|((_, of, ended), _)| *of == service && ended == outcome).map(|(_, &count)| count).sum()
    }

    /// How often a client used an X-EXTERNAL-ID twice on one WIB day.
    pub fn external_id_reuses(&self, client_id: &str) -> u64 {
        self.client_or_first(client_id).map_or(0, |client| client.external_id_reuses.load(Ordering::Relaxed))
    }

    /// The arrival log, in order; empty unless `SimOptions::arrival_log` is set.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.all()
    }

    /// How many calls of this client, in the worst window, came beyond its budget (see [`max_excess`]).
    pub fn max_excess(&self, client_id: &str, budget: CallBudget, tolerance_percent: u32) -> u64 {
        let of_client = |arrival: &Arrival| (arrival.client_id == client_id).then_some(arrival.at_micros);
        let at: Vec<u64> = self.arrivals().iter().filter_map(of_client).collect();
        max_excess(&at, budget, tolerance_percent)
    }

    /// When a service was asked about this reference: microseconds since the start, in order.
    pub fn times_asked(&self, service: Service, partner_reference_no: &str) -> Vec<u64> {
        let matches =
            |arrival: &Arrival| arrival.service == service && arrival.partner_reference_no == partner_reference_no;
        self.arrivals().iter().filter(|arrival| matches(arrival)).map(|arrival| arrival.at_micros).collect()
    }

    /// Puts up a gate.
    pub fn arm_gate(&self, spec: GateSpec) -> Gate {
        self.gates.arm(spec)
    }

    /// From now on every call of this service meets this fault at the door; `None` clears the sky.
    pub fn set_weather(&self, service: Service, fault: Option<Fault>) {
        let mut weather = lock(&self.weather);
        match fault {
            Some(fault) => weather.insert(service, fault),
            None => weather.remove(&service),
        };
        self.is_weather_bad.store(!weather.is_empty(), Ordering::Release);
    }

    /// Makes every token given out so far invalid.
    pub fn expire_tokens(&self) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// From now on the notifications of this client go there.
    pub fn notify_at(&self, client_id: &str, postbox: Postbox) {
        lock(&self.postboxes).insert(client_id.to_owned(), postbox);
    }

    /// Moves the clock of scripts (`not_before_secs`, `until_secs`, registration) forward. X-TIMESTAMP is still judged by
    /// the real clock.
    pub fn advance_scripts(&self, by_secs: i64) {
        self.advanced_secs.fetch_add(by_secs, Ordering::AcqRel);
    }

    pub(super) fn fault_of_the_day(&self, service: Service) -> Option<Fault> {
        let is_bad = self.is_weather_bad.load(Ordering::Acquire);
        is_bad.then(|| lock(&self.weather).get(&service).cloned()).flatten()
    }

    pub(super) fn client_or_first(&self, client_id: &str) -> Result<&ClientState, SimError> {
        let is_meant = |client: &&ClientState| client_id.is_empty() || client.client.client_id == client_id;
        self.clients.iter().find(is_meant).ok_or_else(|| SimError::ClientUnknown { client_id: client_id.to_owned() })
    }

    pub(super) fn client_index(&self, client_id: &str) -> Option<usize> {
        self.clients.iter().position(|client| client.client.client_id == client_id)
    }

    fn client_id(&self, client_index: Option<usize>) -> &str {
        client_index.and_then(|index| self.clients.get(index)).map_or("", |client| &client.client.client_id)
    }

    pub(super) fn count(&self, client_index: Option<usize>, service: Service, outcome: Cow<'static, str>) {
        *lock(&self.counts).entry((client_index, service, outcome)).or_default() += 1;
    }

    pub(super) fn issue_token(&self, client_index: usize) -> Result<String, SimError> {
        let mut bytes = [0_u8; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SimError::Entropy)?;
        let token = hex::encode(bytes);
        let now = Instant::now();
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let kills_old = self.options.new_token_kills_old;
        tokens.retain(|_, token| token.expires_at > now && !(kills_old && token.client_index == client_index));
        let expires_at = now + Duration::from_secs(self.options.token_ttl_secs);
        tokens.insert(token.clone(), Token { client_index, expires_at });
        Ok(token)
    }

    pub(super) fn is_token_valid(&self, token: &str, client_index: usize) -> bool {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).is_some_and(|token| token.client_index == client_index && token.expires_at > Instant::now())
    }

    /// Takes a token that is good for one call.
    pub(super) fn spend_token(&self, token: &str, client_index: usize) -> bool {
        let is_valid = self.is_token_valid(token, client_index);
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(token).is_some() && is_valid
    }

    pub(super) fn next_refund_no(&self) -> String {
        format!("QRISR{:08}", self.refund_sequence.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Microseconds since the start: the clock of [`Arrival::at_micros`].
    pub fn now_micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The clock that scripts go by.
    pub(super) fn script_clock(&self) -> DateTime<Utc> {
        wall_clock() + TimeDelta::seconds(self.advanced_secs.load(Ordering::Acquire))
    }
}

/// The real time: a provider has a clock of its own, apart from the caller's and from the database's.
#[expect(clippy::disallowed_methods, reason = "the simulated provider is another party with its own clock")]
pub(super) fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}
