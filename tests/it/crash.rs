//! What a crash leaves behind, and that it makes no difference: the real program is killed with `kill -9` at points that
//! gates at the simulator and locks in the database hold open, started again, and everything ends as if nothing had
//! happened, with at most one refund at the provider.

mod day;
mod kills;
mod lost;
mod people;
mod points;
