//! What a QRIS payment, a fact, a refund and a day are, and what must follow from them. Pure: no clock, no I/O, no
//! logging, no floats. Reading order is the order below.

#![warn(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

pub mod money;
pub mod observation;
pub mod profile;
pub mod policy;
pub mod order;
pub mod fact;
pub mod state;
pub mod refund;
pub mod posting;
pub mod case;
pub mod explain;
pub mod decide;
pub mod saga;
pub mod reply;
pub mod chain;
