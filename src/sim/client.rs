//! One merchant as the provider knows it: keys, pace, used X-EXTERNAL-IDs, payments. Everything is behind small locks, sharded
//! where every call passes. Whether a call is let in is `door`'s question.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::arrivals::CallBudget;
use super::payment::PaymentState;
use super::script::SimProvider;
use super::signature::{KeyUnreadable, RsaPublicKey, SymmetricKey};

/// One merchant's credentials at the simulated provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimClient {
    /// Whose merchant it is: no other provider knows it.
    #[serde(default)]
    pub provider: SimProvider,
    /// X-PARTNER-ID and X-CLIENT-KEY.
    pub client_id: String,
    /// Key of the symmetric signature.
    pub client_secret: String,
    /// RSA public key: PEM, or the base64 of its SPKI.
    pub public_key: String,
    /// The `merchantId` that its requests must carry.
    pub merchant_id: String,
    /// The customer's token that Authorization-Customer must carry, where the provider wants one.
    #[serde(default)]
    pub customer_token: Option<String>,
    /// An X-EXTERNAL-ID that may come again and again.
    #[serde(default)]
    pub fixed_external_id: Option<String>,
    /// Refuse requests without CHANNEL-ID.
    #[serde(default)]
    pub requires_channel_id: bool,
    /// Answer 429 to calls beyond this budget; absent = no limit.
    #[serde(default)]
    pub rate: Option<CallBudget>,
}

impl SimClient {
    /// A client that signs with the throw-away key of [`DEMO_PRIVATE_KEY_PEM`](super::DEMO_PRIVATE_KEY_PEM).
    pub fn demo(client_id: &str, client_secret: &str, merchant_id: &str) -> Self {
        Self {
            provider: SimProvider::Doku,
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            public_key: super::DEMO_PUBLIC_KEY_PEM.to_owned(),
            merchant_id: merchant_id.to_owned(),
            customer_token: None,
            fixed_external_id: None,
            requires_channel_id: false,
            rate: None,
        }
    }
}

const SHARDS: usize = 32;
type Shards<T> = [Mutex<T>; SHARDS];

/// The X-EXTERNAL-IDs seen on one WIB day.
#[derive(Debug, Default)]
struct DayOfIds {
    day: i64,
    seen: HashSet<u128>,
}

/// A client and all that belongs to it.
#[derive(Debug)]
pub(super) struct ClientState {
    pub(super) client: SimClient,
    pub(super) symmetric_key: SymmetricKey,
    pub(super) public_key: RsaPublicKey,
    /// GCRA: microseconds on the simulator's clock at which the next call is due.
    due_at_micros: Mutex<u64>,
    external_ids: Shards<DayOfIds>,
    pub(super) external_id_reuses: AtomicU64,
    payments: Shards<HashMap<Box<str>, PaymentState>>,
    /// Which payment each `partnerRefundNo` belongs to.
    refund_numbers: Mutex<HashMap<String, String>>,
}

impl ClientState {
    pub(super) fn try_new(client: SimClient) -> Result<Self, KeyUnreadable> {
        Ok(Self {
            symmetric_key: SymmetricKey::new(&client.client_secret),
            public_key: RsaPublicKey::try_new(&client.public_key)?,
            due_at_micros: Mutex::default(),
            external_ids: std::array::from_fn(|_| Mutex::default()),
            external_id_reuses: AtomicU64::new(0),
            payments: std::array::from_fn(|_| Mutex::default()),
            refund_numbers: Mutex::default(),
            client,
        })
    }

    /// Takes one call of the client's budget, or says in how many seconds to come again.
    pub(super) fn take_call(&self, now_micros: u64) -> Result<(), u64> {
        let Some(CallBudget { per_second, burst }) = self.client.rate else { return Ok(()) };
        let interval = 1_000_000 / u64::from(per_second.max(1));
        let tolerance = interval * u64::from(burst.max(1) - 1);
        let mut due_at = lock(&self.due_at_micros);
        let due = (*due_at).max(now_micros);
        if due > now_micros + tolerance {
            return Err((due - now_micros - tolerance).div_ceil(1_000_000));
        }
        *due_at = due + interval;
        Ok(())
    }

    /// Notes an X-EXTERNAL-ID (digits, at most 36); false if this client used it on the same WIB day.
    pub(super) fn note_external_id(&self, digits: &str, wib_day: i64) -> bool {
        if self.client.fixed_external_id.as_deref() == Some(digits) {
            return true;
        }
        // A leading one keeps `7` and `07` apart; 37 digits fit into 128 bits.
        let number = digits.bytes().fold(1_u128, |number, digit| number * 10 + u128::from(digit - b'0'));
        let Some(shard) = shard(&self.external_ids, digits) else { return false };
        let mut ids = lock(shard);
        if ids.day != wib_day {
            *ids = DayOfIds { day: wib_day, seen: HashSet::new() };
        }
        let is_new = ids.seen.insert(number);
        if !is_new {
            self.external_id_reuses.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Adds a payment; false if its reference is taken.
    pub(super) fn add_payment(&self, partner_reference_no: &str, state: PaymentState) -> bool {
        let Some(shard) = shard(&self.payments, partner_reference_no) else { return false };
        let mut payments = lock(shard);
        if payments.contains_key(partner_reference_no) {
            return false;
        }
        payments.insert(partner_reference_no.into(), state);
        true
    }

    /// Works on a payment under its lock; `None` if there is no such payment.
    pub(super) fn with_payment<T>(
        &self,
        partner_reference_no: &str,
        work: impl FnOnce(&mut PaymentState) -> T,
    ) -> Option<T> {
        lock(shard(&self.payments, partner_reference_no)?).get_mut(partner_reference_no).map(work)
    }

    /// The merchant's reference of the payment that the provider calls so.
    pub(super) fn reference_of(&self, reference_no: &str) -> Option<String> {
        self.payments.iter().find_map(|shard| {
            let payments = lock(shard);
            let found = payments.iter().find(|(_, payment)| payment.reference_no() == reference_no);
            found.map(|(reference, _)| reference.to_string())
        })
    }

    /// Works on every payment.
    pub(super) fn for_each_payment(&self, mut work: impl FnMut(&PaymentState)) {
        for shard in &self.payments {
            lock(shard).values().for_each(&mut work);
        }
    }

    /// Whether this number may refund this payment: it is new, or it did so before.
    pub(super) fn claim_refund_number(&self, partner_refund_no: &str, partner_reference_no: &str) -> bool {
        let mut numbers = lock(&self.refund_numbers);
        let owner = numbers.entry(partner_refund_no.to_owned()).or_insert_with(|| partner_reference_no.to_owned());
        owner == partner_reference_no
    }
}

/// A poisoned lock means that a handler panicked; the book must still be readable.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shard of a key, by FNV-1a: cheap, and spread well enough for numbered references.
fn shard<'a, T>(shards: &'a Shards<T>, key: &str) -> Option<&'a Mutex<T>> {
    let hash = key
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let index = usize::try_from(hash >> 32).ok()? % SHARDS;
    shards.get(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_refused_twice_on_a_day_and_welcome_on_the_next() {
        let client = ClientState::try_new(SimClient::demo("C", "s", "1")).unwrap();
        assert!(client.note_external_id("7", 1));
        assert!(client.note_external_id("07", 1));
        assert!(!client.note_external_id("7", 1));
        assert!(client.note_external_id("7", 2));
        assert_eq!(client.external_id_reuses.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_budget_grants_its_burst_and_then_its_pace() {
        let rate = Some(CallBudget { per_second: 2, burst: 3 });
        let client = ClientState::try_new(SimClient { rate, ..SimClient::demo("C", "s", "1") }).unwrap();
        let granted: Vec<bool> = [0, 0, 0, 0, 499_999, 500_000, 500_000].map(|at| client.take_call(at).is_ok()).into();
        assert_eq!(granted, [true, true, true, false, false, true, false]);
    }
}
