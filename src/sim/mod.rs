//! Providers that lie, stall and crash on a seed, for the demo, the bench and the tests. Nothing depends on it but cli and tests.
//!
//! It is written apart from `providers` and `engine`: a mistake there must not find its twin here. So it has its own
//! signatures, its own spelling of amounts and codes, and the published vectors as its own tests.
//! Reading order: `script` and `grammar` (what a provider will say and do wrong), `payment` and `book` (what is true), `door`,
//! `desk` and the providers' files (how it is said), `notifier` and `postman` (what is said unasked), `gate`, `arrivals` and
//! `admin` (how a test looks in).

mod admin;
mod arrivals;
mod book;
mod brick;
mod client;
mod connection;
mod desk;
mod doku;
mod door;
mod gate;
mod grammar;
mod keys;
mod notifier;
mod paydia;
mod payment;
mod postman;
mod qris;
mod reply;
mod rng;
mod scenario;
mod script;
mod server;
mod signature;
mod snap;
mod standard;
mod winpay;
mod world;

pub use arrivals::{Arrival, CallBudget, max_excess};
pub use book::{Book, BookEntry, Returned};
pub use client::SimClient;
pub use doku::{
    notify::{Notice, Says},
    sealed::{Envelope, NoticeForm, Sealer},
};
pub use gate::{Gate, GatePoint, GateSpec};
pub use grammar::{FaultKind, Play, Truth, play};
pub use keys::{DEMO_PRIVATE_KEY_PEM, DEMO_PUBLIC_KEY_PEM};
pub use notifier::{Notifier, NotifierError};
pub use postman::Postbox;
pub use rng::Rng;
pub use scenario::{Scenario, VALIDITY_SECS, scripted};
pub use script::{
    AmountStyle, Answer, Echo, Fault, PaidTime, RefundBehaviour, RepeatPolicy, ResetAt, SimPayment, SimProvider,
};
pub use server::{Sim, SimError, SimHandle, SimOptions};
pub use signature::KeyUnreadable;
pub use snap::Service;
pub use world::{CallCount, World};
