//! `rekon exceptions assign|resolve`: who looks after a row, and what people decide about it. Each takes a personal token.

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        refunds::amount,
        wiring,
    },
    domain::{
        money::Sen,
        resolution::{About, ResolutionKind},
        state::Flag,
    },
    engine::control::{self, Decided},
};

/// Whose row it is from now on.
#[derive(Debug, clap::Args)]
pub(crate) struct Assign {
    /// The payment's reference, or ACCOUNT/REF
    #[arg(value_name = "REF")]
    reference: String,
    /// To whom; without it, to nobody
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// What to tell him
    #[arg(long)]
    note: Option<String>,
}

/// What people decide.
#[derive(Debug, clap::Args)]
pub(crate) struct Resolve {
    /// The payment's reference, or ACCOUNT/REF
    #[arg(value_name = "REF")]
    reference: String,
    /// accept_as_paid, close_as_is, return, keep_in_suspense, refund_done, refund_not_done, outside_refund, ask_again, dispute or undispute
    #[arg(long, value_name = "KIND", value_parser = kind)]
    with: ResolutionKind,
    /// The flag it is about; may be left out where one alone can be meant
    #[arg(long, value_parser = flag)]
    flag: Option<Flag>,
    /// The refund whose fate was found out; may be left out where there is one
    #[arg(long, value_name = "ID")]
    refund: Option<i64>,
    /// With outside_refund: how much went back
    #[arg(long, value_parser = amount)]
    amount: Option<Sen>,
    /// Why
    #[arg(long)]
    reason: String,
}

impl Assign {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let row = context.with_database(async |session| {
            let by = context.actor(&session.store).await?;
            let (to, note) = (self.to.as_deref(), self.note.as_deref());
            Ok(control::assign(&session.store, &by, &self.reference, to, note).await?)
        })?;
        let to = self.to.as_deref();
        let done = serde_json::json!({ "partner_reference_no": row.partner_reference_no, "account": row.account, "assignee": to });
        context.out.document(&done, || {
            format!("{} is looked after by {}.", row.partner_reference_no, to.unwrap_or("nobody"))
        })?;
        Ok(Exit::Clean)
    }
}

impl Resolve {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let decided = Decided {
            kind: self.with,
            about: About { flag: self.flag, refund_id: self.refund, amount: self.amount },
            reason: self.reason,
        };
        let said = context.with_database(async |session| {
            let rulebook = wiring::rulebook(session.config)?;
            let by = context.actor(&session.store).await?;
            Ok(control::resolve(&session.store, &rulebook, &by, &self.reference, &decided).await?)
        })?;
        let word = decided.kind.as_str();
        context.out.document(&said, || match (said.effective, &said.confirmed) {
            (true, Some(who)) => format!("{word} is in force, as {who} asked."),
            (true, None) => format!("{word} is in force."),
            (false, _) => format!("Asked for. {word} is in force when another checker says the same within a day."),
        })?;
        Ok(Exit::Clean)
    }
}

fn kind(word: &str) -> Result<ResolutionKind, String> {
    let known = || format!("known kinds: {}", ResolutionKind::ALL.map(ResolutionKind::as_str).join(", "));
    ResolutionKind::from_word(word).ok_or_else(known)
}

fn flag(word: &str) -> Result<Flag, String> {
    Flag::from_word(word).ok_or_else(|| format!("known flags: {}", Flag::ALL.map(Flag::as_str).join(", ")))
}
