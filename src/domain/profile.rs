//! What the rules of money need to know about a provider. Hosts, paths and wire types are not here: they belong to
//! `providers`, and no rule looks at them.

use std::collections::BTreeMap;

use crate::domain::{
    money::Sen,
    observation::{Observation, StatusMap},
    order::Direction,
    refund_codes::RefundCodes,
    window::RefundWindow,
};

/// May a refund be sent again under the same `partner_refund_no`?
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundRepeat {
    /// Proved: a byte-identical repeat acts once.
    Safe,
    /// Not documented: an unknown refund is looked for, never repeated.
    Unproven,
}

/// A provider's refund abilities.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RefundAbility {
    /// Can a part of a payment be returned?
    pub partial: bool,
    /// May a refund be repeated under its number?
    pub repeat: RefundRepeat,
    /// Waits between attempts and looks at an unknown refund, seconds; the last one repeats.
    pub ladder_secs: Vec<i64>,
    /// When refunds are taken.
    pub window: RefundWindow,
    /// The least that goes back by API.
    pub min_amount: Sen,
    /// How long a provider may say "not now" to a number before a person must look, seconds.
    pub later_for_secs: i64,
    /// What its answers to a refund mean, where it is not what the standard says.
    pub codes: RefundCodes,
}

/// Which references a query cannot do without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequiredReferences {
    /// The provider's own id of the payment.
    pub reference_no: bool,
    /// The X-EXTERNAL-ID of the request that made the payment.
    pub external_id: bool,
}

/// What a row must hold before its provider can be asked, by the direction of its money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demands {
    /// Of a payment.
    pub pay_in: RequiredReferences,
    /// Of a payout; `None` where the provider has no service that knows payouts.
    pub payout: Option<RequiredReferences>,
}

impl Demands {
    /// The references of one direction; `None`: nobody can be asked at all.
    pub const fn of(self, direction: Direction) -> Option<RequiredReferences> {
        match direction {
            Direction::In => Some(self.pay_in),
            Direction::Out => self.payout,
        }
    }
}

/// When to ask again, seconds, per observation; the last step repeats.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ladder {
    /// Steps where the observation has none of its own. Never empty.
    pub default: Vec<i64>,
    /// Steps for single observations.
    pub by_observation: BTreeMap<Observation, Vec<i64>>,
}

impl Ladder {
    /// Seconds to the next look after the `nth` (0-based) answer in a row with this observation.
    pub fn step_secs(&self, observation: Observation, nth: usize) -> i64 {
        let steps = self.by_observation.get(&observation).filter(|s| !s.is_empty()).unwrap_or(&self.default);
        steps.get(nth).or_else(|| steps.last()).copied().unwrap_or(DEFAULT_STEP_SECS)
    }

    /// The longest step: what a stuck row is asked at.
    pub fn last_step_secs(&self) -> i64 {
        self.default.last().copied().unwrap_or(DEFAULT_STEP_SECS)
    }
}

/// Used only if a ladder were empty, which the configuration refuses.
const DEFAULT_STEP_SECS: i64 = 300;

/// A provider as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Profile {
    /// The provider's name, e.g. `doku`.
    pub provider: String,
    /// What each `latestTransactionStatus` means here.
    pub status: StatusMap,
    /// References without which a query cannot be built.
    pub required: RequiredReferences,
    /// The same for payouts, which are asked about in another way; `None` where the provider has none.
    pub required_out: Option<RequiredReferences>,
    /// Validity of a QR whose order has no `expires_at`, seconds.
    pub default_validity_secs: i64,
    /// May `paidTime` date money? Some providers label UTC as WIB.
    pub paid_time_trusted: bool,
    /// Does its payment id tell a payment from all others of the account? An approval code of six digits does not.
    pub payment_id_is_unique: bool,
    /// Is a QR ended at the provider when its order is cancelled?
    pub cancel_qr: bool,
    /// Refunds by API; `None` where the provider has none.
    pub refund: Option<RefundAbility>,
    /// When to ask again.
    pub ladder: Ladder,
}

impl Profile {
    /// What a row of either direction must hold.
    pub const fn demands(&self) -> Demands {
        Demands { pay_in: self.required, payout: self.required_out }
    }
}
