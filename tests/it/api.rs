//! The API over real HTTP with a real Postgres: who may, what is accepted, what is said instead, and that a repetition acts
//! once.

mod accept;
mod auth;
mod document;
mod lists;
pub(crate) mod rig;
mod work;
