//! The rules of money on the pure core: a virtual clock, a scripted provider, and the design's own words as the
//! expected values.

pub(crate) mod build;
mod end_states;
mod properties;
mod rules;
mod timing;
pub(crate) mod world;
