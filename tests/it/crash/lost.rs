//! Answers that are lost.
