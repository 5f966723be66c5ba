//! Gates: a test stops a call at an exact point (before its effect, after its effect) to crash the caller there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::snap::Service;

/// Where a gate stands in the course of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatePoint {
    /// The request passed the door; nothing happened yet.
    BeforeEffect,
    /// The effect is in the book; the answer was not sent.
    AfterEffect,
}

/// Which calls a gate stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    /// Where.
    pub point: GatePoint,
    /// Which service.
    pub service: Service,
    /// Only calls for this merchant's reference; absent = every call (a token call has no reference).
    #[serde(default)]
    pub partner_reference_no: Option<String>,
}

#[derive(Debug)]
struct GateState {
    spec: GateSpec,
    hits: watch::Sender<u64>,
    /// Calls that are held right now.
    held: watch::Sender<u64>,
    released: CancellationToken,
}

/// An armed gate. It stops every matching call until it is released or dropped.
#[derive(Debug)]
pub struct Gate {
    id: u64,
    state: Arc<GateState>,
    gates: Arc<Gates>,
}

impl Gate {
    /// The number it is known by at the HTTP control endpoints.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Waits until at least one call stands (or stood) at the gate; returns how many did so far.
    pub async fn hit(&self) -> u64 {
        self.hit_times(1).await
    }

    /// Waits until at least `times` calls stand (or stood) at the gate; returns how many did so far.
    pub async fn hit_times(&self, times: u64) -> u64 {
        let mut hits = self.state.hits.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        hits.wait_for(|&seen| seen >= times).await.map_or(0, |seen| *seen)
    }

    /// Waits until no call stands at the gate any more: those that did lost their peer (or the gate was released).
    pub async fn departed(&self) {
        let mut held = self.state.held.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        drop(held.wait_for(|&held| held == 0).await);
    }

    /// How many calls stand (or stood) at the gate so far.
    pub fn hits(&self) -> u64 {
        *self.state.hits.borrow()
    }

    /// Lets every held call go on and takes the gate away.
    pub fn release(self) {
        self.open();
    }

    /// The same for a gate that others still look at.
    pub(super) fn open(&self) {
        self.gates.remove(self.id);
        self.state.released.cancel();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// A call at a gate; it leaves when its future is dropped, too.
struct Standing<'a> {
    state: &'a GateState,
}

impl<'a> Standing<'a> {
    fn at(state: &'a GateState) -> Self {
        // Held before hit: whoever saw the hit sees the call standing.
        state.held.send_modify(|held| *held += 1);
        state.hits.send_modify(|hits| *hits += 1);
        Self { state }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.state.held.send_modify(|held| *held = held.saturating_sub(1));
    }
}

/// The gates of one simulator.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// Read on every call, so that a simulator without gates pays nothing for them.
    armed: AtomicUsize,
    states: Mutex<(u64, BTreeMap<u64, Arc<GateState>>)>,
}

impl Gates {
    /// Puts up a gate.
    pub(super) fn arm(self: &Arc<Self>, spec: GateSpec) -> Gate {
        let state = Arc::new(GateState {
            spec,
            hits: watch::Sender::new(0),
            held: watch::Sender::new(0),
            released: CancellationToken::new(),
        });
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.0 += 1;
        let id = states.0;
        states.1.insert(id, Arc::clone(&state));
        self.armed.store(states.1.len(), Ordering::Release);
        drop(states);
        Gate { id, state, gates: Arc::clone(self) }
    }

    /// Stops at every gate that matches, one after the other. Dropping the future (the peer left) leaves them.
    pub(super) async fn pass(&self, point: GatePoint, service: Service, partner_reference_no: &str) {
        if self.armed.load(Ordering::Acquire) == 0 {
            return;
        }
        let matching: Vec<Arc<GateState>> = {
            let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            let matches = |spec: &GateSpec| {
                let wanted = spec.partner_reference_no.as_deref();
                spec.point == point
                    && spec.service == service
                    && wanted.is_none_or(|wanted| wanted == partner_reference_no)
            };
            states.1.values().filter(|state| matches(&state.spec)).cloned().collect()
        };
        for state in matching {
            let _standing = Standing::at(&state);
            state.released.cancelled().await;
        }
    }

    /// Lets every held call go on; for a simulator that stops.
    pub(super) fn release_all(&self) {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.1.values().for_each(|state| state.released.cancel());
    }

    fn remove(&self, id: u64) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.1.remove(&id);
        self.armed.store(states.1.len(), Ordering::Release);
    }
}
