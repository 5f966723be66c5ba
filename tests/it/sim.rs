//! The simulator over real HTTP, asked by a merchant that signs with its own code: the door, scripts, faults, refunds, the book,
//! gates and the control endpoints.

mod control;
mod door;
mod merchant;
mod money;
mod scripts;
