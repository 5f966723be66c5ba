//! The end-state table of the design and the invariants, on the pure core.
