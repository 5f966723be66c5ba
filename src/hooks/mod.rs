//! The line to the merchant's own endpoints: signs a message after the Standard Webhooks specification and posts it to an address
//! that may be called. It knows of no table and no retry; when a message is due and what an answer means are others' to say.
//!
//! Apart from `providers` on purpose: other timeouts, no shared connections (a receiver that hangs must not use up what payments
//! are asked with), and another trust: a provider's host is a contract, a webhook's is whatever a name resolves to today.

mod post;
mod sign;

pub use post::{Post, PostError};
pub use sign::Signer;
