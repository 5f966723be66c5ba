//! The catalogue of metric names and the set-up of logs. No business meaning.
