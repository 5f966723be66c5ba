//! The services of SNAP BI that rekon knows, as data: what an adapter can do is a list of these, its profile must describe
//! exactly that list, and both are compared at start. Nothing finds out at run time that it cannot be done.

/// A service of the standard; its word is the key under `[operations]` in a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// The B2B token (73).
    Token,
    /// The customer's token, B2B2C (74).
    CustomerToken,
    /// A new QR (47).
    Generate,
    /// What a QR says (48).
    Decode,
    /// A customer's payment of a QR (50).
    Payment,
    /// The status of a payment (51).
    Query,
    /// The status of a transaction of any kind, payouts among them (53).
    Status,
    /// The end of an unpaid QR (77).
    Cancel,
    /// Money back (78).
    Refund,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 9] = [
        Self::Token,
        Self::CustomerToken,
        Self::Generate,
        Self::Decode,
        Self::Payment,
        Self::Query,
        Self::Status,
        Self::Cancel,
        Self::Refund,
    ];

    /// The key in a profile, the word in a message and the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::CustomerToken => "customer_token",
            Self::Generate => "generate",
            Self::Decode => "decode",
            Self::Payment => "payment",
            Self::Query => "query",
            Self::Status => "status",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
        }
    }

    /// The reverse of [`Service::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.as_str() == word)
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
