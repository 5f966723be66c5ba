//! The merchant's accounts in the demo: one contract each with DOKU, Paydia and Brick, and the throw-away secrets that the
//! simulated providers know. Which payments they have is `kinds`' matter.

use crate::{
    cli::sim::{CLIENT_SECRET, MERCHANT_ID},
    sim::{SimClient, SimProvider},
};

/// One account.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The name in `jobs.toml`.
    pub(super) name: &'static str,
    /// The provider's name.
    pub(super) provider: &'static str,
    pub(super) client_id: &'static str,
    simulated: SimProvider,
}

pub(super) static DOKU: Account =
    Account { name: "doku", provider: "DOKU", client_id: "REKON-DOKU", simulated: SimProvider::Doku };
pub(super) static PAYDIA: Account =
    Account { name: "paydia", provider: "Paydia", client_id: "REKON-PAYDIA", simulated: SimProvider::Paydia };
pub(super) static BRICK: Account =
    Account { name: "brick", provider: "Brick", client_id: "REKON-BRICK", simulated: SimProvider::Brick };

/// All of them, in the order of what is shown.
pub(super) static ACCOUNTS: [&Account; 3] = [&DOKU, &PAYDIA, &BRICK];

/// Whose payments Paydia is asked about.
pub(super) const CUSTOMER_TOKEN: &str = "rekon-demo-customer";
/// What DOKU signs its notifications with.
pub(super) const SHARED_KEY: &str = "rekon-demo-shared-key";

/// The merchant as each provider knows it.
pub(super) fn clients() -> Vec<SimClient> {
    let client = |account: &&Account| SimClient {
        provider: account.simulated,
        customer_token: (account.simulated == SimProvider::Paydia).then(|| CUSTOMER_TOKEN.to_owned()),
        ..SimClient::demo(account.client_id, CLIENT_SECRET, MERCHANT_ID)
    };
    ACCOUNTS.iter().map(client).collect()
}
