//! Providers that lie, stall and crash on a seed, for the demo, the bench and the tests. Nothing depends on it but cli and tests.
