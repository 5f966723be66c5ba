//! What a report of one or more business days is made of: plain figures that the caller brings. Amounts are sen, instants UTC.
//!
//! Deliberately absent: how the figures are found (the store) and what they mean (`verdict`). Figures of money cover payments
//! only (`direction` in); payouts are counted apart, because they never belong to paid totals.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        day::BusinessDay,
        money::Sen,
        order::{Direction, OrderStatus},
        refund::RefundState,
        state::{Flag, State},
    },
    report::section::Cell,
};

/// Everything a day report shows but the rows, which are streamed beside it.
#[derive(Debug, Clone)]
pub struct DayReport {
    /// The first business day.
    pub first: BusinessDay,
    /// The last business day, included.
    pub last: BusinessDay,
    /// Rows of other days that are still open are in it too.
    pub with_open_rows: bool,
    /// When the figures were read.
    pub generated_at: DateTime<Utc>,
    /// The accounts asked for, by name.
    pub accounts: Vec<String>,
    /// What was asked for, in the words of the command.
    pub filter: String,
    /// The run that made the figures; none where somebody only looks at them.
    pub run: Option<RunFigures>,
    /// Payments by account and state, in any order.
    pub totals: Vec<StateTotal>,
    /// Payouts by account and state, in any order.
    pub payouts: Vec<PayoutTotal>,
    /// Payments by flag, in any order.
    pub flags: Vec<FlagTotal>,
    /// Refunds of those payments by state, in any order.
    pub refunds: Vec<RefundTotal>,
    /// The ledger's own balances over the same payments.
    pub ledger: LedgerFigures,
    /// The rows that wait for a person, the most urgent first. May be cut short: counts come from the totals too.
    pub exceptions: Vec<ExceptionRow>,
    /// How many rows wait for a person in all; `exceptions` may be cut short.
    pub exceptions_total: u64,
    /// What else proves where the figures come from: profile and policy hashes, journal head. Name and value.
    pub provenance: Vec<(String, String)>,
}

/// What one run did.
#[derive(Debug, Clone)]
pub struct RunFigures {
    /// The run's identifier.
    pub id: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration: Duration,
    /// Rows selected.
    pub selected: u64,
    /// Calls made to providers about these rows: queries and refunds, not tokens.
    pub calls: u64,
    /// Refunds confirmed by it.
    pub refunds_confirmed: u64,
    /// It wrote nothing and sent no refund.
    pub is_dry_run: bool,
    /// What it left undone, if anything.
    pub unfinished: Option<Unfinished>,
}

/// Why a run ended before it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Rows that still wanted a look or a refund.
    pub rows: u64,
    /// What stopped it.
    pub stopped_by: Stop,
}

/// What stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The deadline came.
    Deadline,
    /// The call budget was too small.
    Budget,
    /// The provider could not be reached or its breaker is open.
    Provider,
    /// Somebody stopped it.
    Interrupt,
}

impl Stop {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::Provider => "provider",
            Self::Interrupt => "interrupt",
        }
    }
}

/// Payments of one account in one state.
#[derive(Debug, Clone)]
pub struct StateTotal {
    /// The account.
    pub account: String,
    /// The state.
    pub state: State,
    /// Rows.
    pub count: u64,
    /// Σ expected.
    pub expected: Sen,
    /// Σ paid, gross.
    pub paid: Sen,
    /// Σ returned by us, confirmed.
    pub refunded: Sen,
    /// Σ returned outside of us.
    pub outside: Sen,
    /// Σ standing in suspense: the money at risk.
    pub suspense: Sen,
}

/// Payouts of one account in one state.
#[derive(Debug, Clone)]
pub struct PayoutTotal {
    /// The account.
    pub account: String,
    /// The state.
    pub state: State,
    /// Rows.
    pub count: u64,
    /// Σ expected.
    pub expected: Sen,
}

/// Payments that carry one flag.
#[derive(Debug, Clone, Copy)]
pub struct FlagTotal {
    /// The flag.
    pub flag: Flag,
    /// Rows where it is open. A row with two flags is counted under both.
    pub open: u64,
    /// Rows where it is resolved and stays listed.
    pub resolved: u64,
    /// What stands in suspense under it. Each sen stands under one flag only, so these add up.
    pub at_risk: Sen,
}

/// Refunds in one state.
#[derive(Debug, Clone, Copy)]
pub struct RefundTotal {
    /// The state.
    pub state: RefundState,
    /// Refunds.
    pub count: u64,
    /// Σ amount.
    pub amount: Sen,
}

/// Balances of the ledger's accounts over the payments of the report, each positive on its usual side: what is owed to us is
/// debit minus credit, what we owe is credit minus debit.
#[derive(Debug, Clone, Copy, Default)]
pub struct LedgerFigures {
    /// Owed to us by the provider, or already in our bank: `provider_clearing` and `bank`, debit minus credit.
    pub provider_clearing: Sen,
    /// Owed to the merchant.
    pub merchant_payable: Sen,
    /// In suspense, all causes.
    pub suspense: Sen,
    /// Reserved, under way or of unknown fate.
    pub refund_in_flight: Sen,
}

/// One row that waits for a person.
#[derive(Debug, Clone)]
pub struct ExceptionRow {
    /// The account.
    pub account: String,
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference, where known.
    pub reference_no: Option<String>,
    /// The state.
    pub state: State,
    /// The open flags.
    pub flags: Vec<Flag>,
    /// Expected.
    pub expected: Sen,
    /// Paid; none while unknown.
    pub paid: Option<Sen>,
    /// Returned by us.
    pub refunded: Sen,
    /// Standing in suspense.
    pub at_risk: Sen,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// The id of the rule that put it there.
    pub rule: String,
    /// Why, in one sentence.
    pub why: String,
    /// What to do next, in one sentence.
    pub next_step: String,
}

/// One row as anybody may read it: the columns of `rekon.transactions` that are a contract.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each field is the column of the same name")]
pub struct PaymentRow {
    pub account: String,
    pub partner_reference_no: String,
    pub reference_no: Option<String>,
    pub external_id: Option<String>,
    pub direction: Direction,
    pub amount: Sen,
    pub currency: String,
    pub order_status: OrderStatus,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub qr_content: Option<String>,
    pub state: State,
    pub flags: Vec<Flag>,
    pub paid_amount: Option<Sen>,
    pub fee_amount: Option<Sen>,
    pub refunded_amount: Sen,
    pub refunded_outside: Sen,
    pub paid_at: Option<DateTime<Utc>>,
    pub checks: u32,
    pub last_checked_at: Option<DateTime<Utc>>,
    pub next_check_at: Option<DateTime<Utc>>,
}

/// The kind of a column, which is the same in every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Money,
    Count,
    Time,
}

impl PaymentRow {
    /// The columns in their order, named as in the table.
    pub(crate) const COLUMNS: [(&'static str, Kind); 21] = [
        ("account", Kind::Text),
        ("partner_reference_no", Kind::Text),
        ("reference_no", Kind::Text),
        ("external_id", Kind::Text),
        ("direction", Kind::Text),
        ("amount", Kind::Money),
        ("currency", Kind::Text),
        ("order_status", Kind::Text),
        ("created_at", Kind::Time),
        ("expires_at", Kind::Time),
        ("qr_content", Kind::Text),
        ("state", Kind::Text),
        ("flags", Kind::Text),
        ("paid_amount", Kind::Money),
        ("fee_amount", Kind::Money),
        ("refunded_amount", Kind::Money),
        ("refunded_outside", Kind::Money),
        ("paid_at", Kind::Time),
        ("checks", Kind::Count),
        ("last_checked_at", Kind::Time),
        ("next_check_at", Kind::Time),
    ];

    /// The cells, in the order of [`PaymentRow::COLUMNS`].
    pub(crate) fn cells(&self) -> [Cell<'_>; 21] {
        let word = |word: &'static str| Cell::Text(Cow::Borrowed(word));
        [
            Cell::text(&self.account),
            Cell::text(&self.partner_reference_no),
            Cell::maybe_text(self.reference_no.as_deref()),
            Cell::maybe_text(self.external_id.as_deref()),
            word(self.direction.as_str()),
            Cell::Money(self.amount),
            Cell::text(&self.currency),
            word(self.order_status.as_str()),
            Cell::When(self.created_at),
            Cell::maybe_when(self.expires_at),
            Cell::maybe_text(self.qr_content.as_deref()),
            word(self.state.as_str()),
            Cell::Text(flag_words(&self.flags).into()),
            Cell::maybe_money(self.paid_amount),
            Cell::maybe_money(self.fee_amount),
            Cell::Money(self.refunded_amount),
            Cell::Money(self.refunded_outside),
            Cell::maybe_when(self.paid_at),
            Cell::Count(self.checks.into()),
            Cell::maybe_when(self.last_checked_at),
            Cell::maybe_when(self.next_check_at),
        ]
    }
}

/// The flags as the column lists them: sorted words, a blank between.
pub(crate) fn flag_words(flags: &[Flag]) -> String {
    let mut words: Vec<&str> = flags.iter().map(|flag| flag.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    words.join(" ")
}
