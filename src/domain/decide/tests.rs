//! The rules of money on the pure core: a virtual clock, a scripted provider, and the design's own words as the
//! expected values.

#![expect(clippy::arithmetic_side_effects, reason = "the seconds and rupiah of tests are small")]

pub(crate) mod build;
mod end_states;
mod properties;
mod refunds;
mod rules;
mod soak;
mod timing;
pub(crate) mod world;
