//! Double entry. A row's money is a set of balances; a posting moves the row from the balances it has to the balances
//! its state demands, so that posting the same decision twice posts nothing.

use std::collections::BTreeMap;

use crate::domain::{
    money::Sen,
    refund::{Channel, RefundState},
    state::{Flag, State},
};

/// A ledger account. The text form is what stands in `rekon.postings.account`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// What the provider owes us.
    ProviderClearing,
    /// What we owe the merchant.
    MerchantPayable,
    /// The merchant's own bank, out of which transfers by hand are made.
    Bank,
    /// Money whose cause is not settled: the money at risk.
    Suspense(Flag),
    /// Money reserved, under way or lost sight of.
    RefundInFlight,
}

impl LedgerAccount {
    /// The word in the table, e.g. `suspense:overpaid`.
    pub fn word(self) -> String {
        match self {
            Self::ProviderClearing => "provider_clearing".into(),
            Self::MerchantPayable => "merchant_payable".into(),
            Self::Bank => "bank".into(),
            Self::Suspense(flag) => format!("suspense:{}", flag.as_str()),
            Self::RefundInFlight => "refund_in_flight".into(),
        }
    }

    /// The reverse of [`LedgerAccount::word`].
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "provider_clearing" => Some(Self::ProviderClearing),
            "merchant_payable" => Some(Self::MerchantPayable),
            "refund_in_flight" => Some(Self::RefundInFlight),
            "bank" => Some(Self::Bank),
            other => other.strip_prefix("suspense:").and_then(Flag::from_word).map(Self::Suspense),
        }
    }
}

impl serde::Serialize for LedgerAccount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.word())
    }
}

/// One line of an entry: `sen` > 0 is a debit, < 0 a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Posting {
    /// The account.
    pub account: LedgerAccount,
    /// Debit minus credit, sen; never zero.
    pub sen: i64,
}

/// A refund as the ledger sees it.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// Why.
    pub cause: Flag,
    /// How much.
    pub amount: Sen,
    /// How far it is.
    pub state: RefundState,
    /// Which way it goes.
    pub channel: Channel,
}

/// Where a row's money is.
#[derive(Debug, Clone, Copy)]
pub struct Money<'a> {
    /// Paid, gross.
    pub paid: Sen,
    /// Returned outside of us.
    pub outside: Sen,
    /// The part of `paid` above what was expected; stands apart only under `overpaid`.
    pub excess: Sen,
    /// The state decided.
    pub state: State,
    /// The first open blocker or cause.
    pub cause: Option<Flag>,
    /// Does `overpaid` stand unresolved?
    pub overpaid_open: bool,
    /// The row's refunds.
    pub refunds: &'a [Moved],
}

/// The balances that a row with this money must have (debit minus credit, sen). They add up to zero.
pub fn target_balances(money: &Money<'_>) -> BTreeMap<LedgerAccount, i64> {
    let total = |keep: &dyn Fn(&Moved) -> bool| {
        money.refunds.iter().filter(|r| keep(r)).fold(Sen::ZERO, |sum, r| sum.plus(r.amount))
    };
    let done = |r: &Moved| r.state == RefundState::Confirmed;
    let by_api = total(&|r| done(r) && r.channel == Channel::Api);
    let by_hand = total(&|r| done(r) && r.channel == Channel::Manual);
    let in_flight = total(&|r| r.state.holds_reservation());
    let from_excess = total(&|r| r.cause == Flag::Overpaid && (done(r) || r.state.holds_reservation()));
    // The provider still owes what the merchant's own bank has paid out in its place.
    let clearing = money.paid.minus(by_api).minus(money.outside);
    let standing = clearing.minus(by_hand).minus(in_flight);
    let mut balances = BTreeMap::new();
    let mut put = |account, sen: i64| {
        if sen != 0 {
            balances.insert(account, sen);
        }
    };
    put(LedgerAccount::ProviderClearing, clearing.sen());
    put(LedgerAccount::Bank, by_hand.sen().saturating_neg());
    put(LedgerAccount::RefundInFlight, in_flight.sen().saturating_neg());
    match money.state {
        // What rests, rests with the merchant, but for an excess that is still to go back.
        State::Paid | State::Refunded | State::PartlyRefunded => {
            let excess = if money.overpaid_open { money.excess.minus(from_excess).max(Sen::ZERO) } else { Sen::ZERO };
            put(LedgerAccount::Suspense(Flag::Overpaid), excess.sen().saturating_neg());
            put(LedgerAccount::MerchantPayable, standing.minus(excess).sen().saturating_neg());
        }
        State::Pending | State::Held | State::Refunding | State::Unpaid | State::Review => {
            let cause = money.cause.unwrap_or(Flag::RefundUnknown);
            put(LedgerAccount::Suspense(cause), standing.sen().saturating_neg());
        }
    }
    balances
}

/// The lines that lead from `current` to `target`. They add up to zero because both sides do.
pub fn postings(current: &BTreeMap<LedgerAccount, i64>, target: &BTreeMap<LedgerAccount, i64>) -> Vec<Posting> {
    let mut accounts: Vec<LedgerAccount> = current.keys().chain(target.keys()).copied().collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
        .into_iter()
        .map(|account| {
            let had = current.get(&account).copied().unwrap_or(0);
            let wanted = target.get(&account).copied().unwrap_or(0);
            Posting { account, sen: wanted.saturating_sub(had) }
        })
        .filter(|p| p.sen != 0)
        .collect()
}
