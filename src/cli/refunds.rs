//! `rekon refunds`: money going back, in lists or one by one. What people decide about it is in `people`.

mod by_hand;
mod people;

pub(crate) use people::proposed;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{or_dash, table, wib, wib_or_dash},
    },
    domain::refund::{Channel, RefundState},
    engine::{
        explain::{self, Lang},
        lookup,
    },
    store::reads::{RefundFilter, RefundRow},
};

/// List, show, propose, approve and deny refunds
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon refunds list --state unknown")]
pub(crate) enum Refunds {
    /// List refunds, newest first
    #[command(after_help = "Example: rekon refunds list --state proposed --account doku-main")]
    List(List),
    /// Show one refund
    #[command(after_help = "Example: rekon refunds show 42")]
    Show {
        /// A partner_refund_no, or the refund's id
        #[arg(value_name = "ID|PARTNER_REFUND_NO")]
        refund: String,
    },
    /// Propose to return money; somebody else approves it
    #[command(after_help = "Example: rekon refunds propose INV-1 --amount 50000.00 --reason returned-goods")]
    Propose(people::Propose),
    /// Approve what somebody else, or the policy, proposed
    #[command(after_help = "Example: rekon refunds approve 42 --reason checked")]
    Approve(people::Approve),
    /// Deny a refund that has not left
    #[command(after_help = "Example: rekon refunds deny 42 --reason goods-were-kept")]
    Deny(people::Deny),
    /// Let refunds of an account leave again after its breaker opened; takes two people within an hour
    #[command(after_help = "Example: rekon refunds rearm doku-main --reason checked-with-provider")]
    Rearm(people::Rearm),
    /// Record that you made a transfer by hand, with the bank's reference; somebody else has approved it
    #[command(after_help = "Example: rekon refunds transferred 42 --bank-reference FT26324XYZ9")]
    Transferred(by_hand::Transferred),
    /// Record that a transfer by hand was not made, or came back; a new one is proposed
    #[command(after_help = "Example: rekon refunds not-transferred 42 --reason account-closed")]
    NotTransferred(by_hand::Because),
    /// Return by bank transfer what was to go by API and never left, or is put off
    #[command(after_help = "Example: rekon refunds by-hand 42 --reason balance-will-not-come")]
    ByHand(by_hand::Because),
    /// Send the number once more that the provider has put off for too long
    #[command(after_help = "Example: rekon refunds again 42")]
    Again(by_hand::Again),
}

pub(crate) use people::amount;

/// Which refunds.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only in this state of the saga
    #[arg(long, value_parser = state)]
    state: Option<RefundState>,
    /// Only of this account
    #[arg(long)]
    account: Option<String>,
    /// Only those that go this way
    #[arg(long, value_name = "api|manual", value_parser = channel)]
    channel: Option<Channel>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
    /// Only behind the refund with this id: the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
}

impl Refunds {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context),
            Self::Propose(propose) => propose.run(context),
            Self::Approve(approve) => approve.run(context),
            Self::Deny(deny) => deny.run(context),
            Self::Rearm(rearm) => rearm.run(context),
            Self::Transferred(deed) => deed.run(context),
            Self::NotTransferred(deed) => deed.not_transferred(context),
            Self::ByHand(deed) => deed.by_hand(context),
            Self::Again(deed) => deed.run(context),
            Self::Show { refund } => {
                let found =
                    context.with_database(async |session| Ok(lookup::refund(&session.store, &refund).await?))?;
                let refund = found.ok_or_else(|| {
                    Failure::NotFound(format!("no refund {refund:?}: `rekon refunds list` shows ids and numbers"))
                })?;
                context.out.document(&refund, || card(&refund))?;
                Ok(Exit::Clean)
            }
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let filter = RefundFilter {
            state: self.state,
            account: self.account,
            channel: self.channel,
            after: self.after,
            limit: self.limit,
        };
        let refunds = context.with_database(async |session| Ok(session.store.list_refunds(&filter).await?))?;
        context.out.list(&refunds, || page(&refunds))?;
        if let Some(last) = refunds.last().filter(|_| i64::try_from(refunds.len()) == Ok(self.limit)) {
            context.out.say(&format!("There may be more: --after {}", last.refund_id));
        }
        Ok(Exit::Clean)
    }
}

fn state(word: &str) -> Result<RefundState, String> {
    let known = || format!("known states: {}", RefundState::ALL.map(RefundState::as_str).join(", "));
    RefundState::from_word(word).ok_or_else(known)
}

fn channel(word: &str) -> Result<Channel, String> {
    Channel::from_word(word).ok_or_else(|| format!("known ways: {}", Channel::ALL.map(Channel::as_str).join(", ")))
}

fn page(refunds: &[RefundRow]) -> String {
    if refunds.is_empty() {
        return "No refund passes these filters.".to_owned();
    }
    let header = [
        "id",
        "account",
        "partner_reference_no",
        "cause",
        "amount",
        "state",
        "way",
        "partner_refund_no",
        "proof",
        "proposed",
    ];
    let lines = refunds.iter().map(|refund| {
        vec![
            refund.refund_id.to_string(),
            refund.account.clone(),
            refund.partner_reference_no.clone(),
            refund.cause.clone(),
            refund.amount.to_string(),
            refund.state.as_str().to_owned(),
            refund.channel.as_str().to_owned(),
            or_dash(refund.partner_refund_no.as_ref()),
            or_dash(refund.proof.as_ref()),
            wib(refund.proposed_at),
        ]
    });
    table(&header, &[4], lines)
}

/// A refund as lines of name and value.
pub(crate) fn card(refund: &RefundRow) -> String {
    let lines = [
        ("refund_id", refund.refund_id.to_string()),
        ("account", refund.account.clone()),
        ("partner_reference_no", refund.partner_reference_no.clone()),
        ("cause", refund.cause.clone()),
        ("amount", refund.amount.to_string()),
        ("state", refund.state.as_str().to_owned()),
        ("partner_refund_no", or_dash(refund.partner_refund_no.as_ref())),
        ("refund_no", or_dash(refund.refund_no.as_ref())),
        ("proof", or_dash(refund.proof.as_ref())),
        ("way", refund.channel.as_str().to_owned()),
        ("reason", or_dash(refund.reason.as_ref())),
        ("goes again", wib_or_dash(refund.put_off_until)),
        ("provider takes it until", wib_or_dash(refund.window_ends_at)),
        (
            "may belong to",
            refund.candidate_reference_no.as_ref().map_or_else(
                || "-".to_owned(),
                |other| format!("{other} ({})", or_dash(refund.candidate_why.as_ref())),
            ),
        ),
        ("bank reference", or_dash(refund.bank_reference.as_ref())),
        ("transferred by", or_dash(refund.transferred_by.as_ref())),
        ("proposed", format!("{} by {}", wib(refund.proposed_at), refund.proposed_by)),
        ("why", or_dash(refund.why.as_ref())),
        ("approved", format!("{} by {}", wib_or_dash(refund.approved_at), or_dash(refund.approved_by.as_ref()))),
        ("denied by", or_dash(refund.denied_by.as_ref())),
        ("reserved", wib_or_dash(refund.reserved_at)),
        ("attempts", refund.attempts.to_string()),
        ("last sent", wib_or_dash(refund.last_sent_at)),
        ("ended", wib_or_dash(refund.ended_at)),
    ];
    let mut text: Vec<String> = lines.iter().map(|(name, value)| format!("{name:<25}{value}")).collect();
    text.extend(explain::meant_for_another(refund, Lang::En));
    text.join("\n")
}
