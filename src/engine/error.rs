//! What a use-case can fail with, told apart by what its caller should do.

use crate::{domain::transfer::TransferError, hooks::PostError, providers::token::TokenError, store::StoreError};

/// A failed use-case.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A reference that names nothing.
    #[error("no payment {0:?}: check the reference, or write ACCOUNT/REF")]
    NotFound(String),
    /// A reference that names several rows.
    #[error("{reference:?} stands on several accounts ({}): write ACCOUNT/{reference}", accounts.join(", "))]
    Ambiguous {
        /// The reference as given.
        reference: String,
        /// Where it stands.
        accounts: Vec<String>,
    },
    /// An account that is not configured.
    #[error("account {account:?} is not configured; known: {}", known.join(", "))]
    UnknownAccount {
        /// The name as given.
        account: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A provider's profile or an account's settings do not fit together.
    #[error("account {account}: {problem}")]
    Account {
        /// The account.
        account: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A merchant's endpoint that cannot be called.
    #[error(transparent)]
    Webhook(#[from] PostError),
    /// A request that this provider cannot be sent.
    #[error("the provider cannot be asked: {0}")]
    Unaskable(String),
    /// Real money, by hand.
    #[error(
        "{service} by hand is for the sandbox, and account {account} stands at {host}, where money is real: {instead}; to try \
         it out, use an account whose base_url is a sandbox ({})",
        sandbox(sandbox_hosts)
    )]
    NotSandbox {
        /// The account.
        account: String,
        /// Its host.
        host: String,
        /// What was asked for.
        service: &'static str,
        /// What a person does in its place.
        instead: &'static str,
        /// Where it would be allowed.
        sandbox_hosts: Vec<String>,
    },
    /// A customer's token was not given.
    #[error("the customer's token was not given: take a new authorisation code from the customer's consent")]
    CustomerToken(#[source] TokenError),
    /// A run that another worker has taken up, because this one was silent for too long.
    #[error("run {0} was taken up by somebody else; what it comes to is his to say")]
    RunLost(i64),
    /// An export could not be read or written.
    #[error("the export cannot be read or written: choose another place")]
    Export(#[source] std::io::Error),
    /// An export of another version.
    #[error("this is an export of version {0}: prove it with the rekon that wrote it")]
    ExportVersion(u32),
    /// What a person says about a refund cannot be so.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// Somebody else works on it right now.
    #[error("{0}: somebody else is working on it; try again")]
    Busy(String),
    /// A token that proves nobody.
    #[error("the token is refused: {0}")]
    Token(&'static str),
    /// Somebody who may not.
    #[error("{0}")]
    Forbidden(String),
    /// Where things stand, this cannot be done.
    #[error("{0}")]
    Refused(String),
}

impl EngineError {
    /// Can the database not be reached at all?
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
    }

    /// Would the same call a little later have a chance?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(e) => e.is_transient(),
            Self::Busy(_) => true,
            Self::NotFound(_)
            | Self::Ambiguous { .. }
            | Self::UnknownAccount { .. }
            | Self::Account { .. }
            | Self::Webhook(_)
            | Self::Token(_)
            | Self::Forbidden(_)
            | Self::Refused(_)
            | Self::Transfer(_)
            | Self::Export(_)
            | Self::ExportVersion(_)
            | Self::RunLost(_)
            | Self::Unaskable(_)
            | Self::NotSandbox { .. }
            | Self::CustomerToken(_) => false,
        }
    }
}

fn sandbox(hosts: &[String]) -> String {
    if hosts.is_empty() { "the profile knows none".to_owned() } else { hosts.join(", ") }
}
