//! The saga's steps, one situation a test.
