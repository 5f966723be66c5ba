//! What the database refuses, proved by direct SQL: nobody who can write to it may break a rule of money by accident, and
//! neither may we. Every test shows the refusal, by the constraint that stands for the rule, and the honest way that passes.

mod evidence;
mod merchant;
mod order_changes;
mod refunds;
mod reservation;
mod saga;
