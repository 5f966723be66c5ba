//! What a QRIS payment, a fact, a refund and a day are, and what must follow from them. Pure: no clock, no I/O, no logging, no floats.

pub mod policy;
