//! `rekon transactions`: rows of the ledger, in lists or one by one. Why a row stands where it stands is `rekon explain`.

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{or_dash, table, wib, wib_or_dash},
    },
    domain::{
        day::BusinessDay,
        state::{Flag, State},
    },
    engine::lookup,
    store::reads::{TransactionFilter, TransactionRow},
};

/// List expected payments and show single ones
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon transactions list --state held")]
pub(crate) enum Transactions {
    /// List payments, newest first
    #[command(after_help = "Example: rekon transactions list --state held --account doku-main --date 2026-11-19")]
    List(List),
    /// Show one payment
    #[command(after_help = "Example: rekon transactions show doku-main/INV-1")]
    Show {
        /// A partner_reference_no, or ACCOUNT/REF where it stands on several accounts
        #[arg(value_name = "REF")]
        reference: String,
    },
}

/// Which payments.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only in this state
    #[arg(long, value_parser = state)]
    state: Option<State>,
    /// Only with this flag, open or resolved
    #[arg(long, value_parser = flag)]
    flag: Option<Flag>,
    /// Only of this account
    #[arg(long)]
    account: Option<String>,
    /// Only created or paid on this day in WIB
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<BusinessDay>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
    /// Only behind the row with this id: the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
}

impl Transactions {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context),
            Self::Show { reference } => {
                let row = context
                    .with_database(async |session| Ok(lookup::transaction(&session.store, &reference).await?))?;
                context.out.document(&row, || card(&row))?;
                Ok(Exit::Clean)
            }
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let filter = TransactionFilter {
            state: self.state,
            flag: self.flag.map(|flag| flag.as_str().to_owned()),
            account: self.account,
            day: self.date,
            after: self.after,
            limit: self.limit,
            ..TransactionFilter::default()
        };
        let rows = context.with_database(async |session| Ok(session.store.list_transactions(&filter).await?))?;
        context.out.list(&rows, || page(&rows))?;
        if let Some(last) = rows.last().filter(|_| i64::try_from(rows.len()) == Ok(self.limit)) {
            context.out.say(&format!("There may be more: --after {}", last.id));
        }
        Ok(Exit::Clean)
    }
}

/// Reads a state's word.
pub(crate) fn state(word: &str) -> Result<State, String> {
    State::from_word(word).ok_or_else(|| format!("known states: {}", State::ALL.map(State::as_str).join(", ")))
}

fn flag(word: &str) -> Result<Flag, String> {
    Flag::from_word(word).ok_or_else(|| format!("known flags: {}", Flag::ALL.map(Flag::as_str).join(", ")))
}

fn page(rows: &[TransactionRow]) -> String {
    if rows.is_empty() {
        return "No payment passes these filters.".to_owned();
    }
    let header = ["id", "account", "partner_reference_no", "state", "flags", "amount", "paid", "created"];
    let lines = rows.iter().map(|row| {
        vec![
            row.id.to_string(),
            row.account.clone(),
            row.partner_reference_no.clone(),
            row.state.as_str().to_owned(),
            row.flags.join(","),
            row.amount.to_string(),
            or_dash(row.paid_amount),
            wib(row.created_at),
        ]
    });
    table(&header, &[5, 6], lines)
}

/// A row as lines of name and value.
pub(crate) fn card(row: &TransactionRow) -> String {
    let resolved: Vec<&str> =
        row.flags.iter().filter(|flag| !row.flags_open.contains(flag)).map(String::as_str).collect();
    let words = |flags: String| if flags.is_empty() { "-".to_owned() } else { flags };
    let lines = [
        ("account", row.account.clone()),
        ("partner_reference_no", row.partner_reference_no.clone()),
        ("reference_no", or_dash(row.reference_no.as_ref())),
        ("external_id", or_dash(row.external_id.as_ref())),
        ("state", row.state.as_str().to_owned()),
        ("flags open", words(row.flags_open.join(", "))),
        ("flags resolved", words(resolved.join(", "))),
        ("direction", row.direction.as_str().to_owned()),
        ("order_status", row.order_status.as_str().to_owned()),
        ("amount", format!("{} {}", row.amount, row.currency)),
        ("paid_amount", or_dash(row.paid_amount)),
        ("fee_amount", or_dash(row.fee_amount)),
        ("refunded_amount", row.refunded_amount.to_string()),
        ("refunded_outside", row.refunded_outside.to_string()),
        ("refund_reserved", row.refund_reserved.to_string()),
        ("created_at", wib(row.created_at)),
        ("expires_at", wib_or_dash(row.expires_at)),
        ("paid_at", wib_or_dash(row.paid_at)),
        ("checks", row.checks.to_string()),
        ("last_checked_at", wib_or_dash(row.last_checked_at)),
        ("next_check_at", wib_or_dash(row.next_check_at)),
    ];
    let text: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<22}{value}")).collect();
    text.join("\n")
}
