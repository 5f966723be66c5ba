//! The catalogue of metric names, the recorder behind it, the loops' heartbeats and the set-up of logs. No business meaning:
//! the words of the domain that labels may hold come in as a [`catalogue::Vocabulary`].

pub mod board;
pub mod catalogue;
pub mod heartbeat;
pub mod logs;
pub mod metrics;
pub mod handles;
mod number;
pub mod trace;
