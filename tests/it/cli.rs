//! The command line as a shell sees it: the real binary, a real Postgres, what stands on stdout and stderr, and how it ended.

mod by_hand;
mod doctor;
mod ends;
mod import;
mod manual;
mod ops;
pub(crate) mod people;
mod proof;
mod providers;
mod reads;
pub(crate) mod rig;
mod sim;
