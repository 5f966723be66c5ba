//! What a QRIS payment, a fact, a refund and a day are, and what must follow from them. Pure: no clock, no I/O, no
//! logging, no floats. Reading order is the order below.

#![warn(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

pub mod approval;
pub mod case;
pub mod chain;
pub mod decide;
pub mod explain;
pub mod fact;
pub mod money;
pub mod day;
pub mod qris;
pub mod notification;
pub mod observation;
pub mod observe;
pub mod order;
pub mod person;
pub mod policy;
pub mod posting;
pub mod profile;
pub mod refund;
pub mod refund_codes;
pub mod reply;
pub mod resolution;
pub mod saga;
pub mod snap_code;
pub mod state;
pub mod switch;
pub mod token;
pub mod transfer;
pub mod webhook;
pub mod window;
