//! `rekon refunds propose|approve|deny|rearm`: what people decide about money going back. Each takes a personal token.

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::Output,
        wiring,
    },
    domain::{money::Sen, state::Flag},
    engine::{
        approvals::{self, Wish},
        control,
    },
    store::reads::RefundRow,
};

/// What to propose.
#[derive(Debug, clap::Args)]
pub(crate) struct Propose {
    /// The payment's reference, or ACCOUNT/REF
    #[arg(value_name = "REF")]
    reference: String,
    /// How much, in rupiah: 12000.00; without it all that is left
    #[arg(long, value_parser = amount)]
    amount: Option<Sen>,
    /// Why money is owed; without it the cause that decides now, or `requested`
    #[arg(long, value_name = "FLAG", value_parser = cause)]
    cause: Option<Flag>,
    /// What to tell whoever approves it
    #[arg(long)]
    reason: String,
}

/// Which refund, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Approve {
    /// The refund's id or partner_refund_no, or the REF of a payment with one refund that waits
    #[arg(value_name = "ID|PARTNER_REFUND_NO|REF")]
    refund: String,
    /// What to remember about it
    #[arg(long)]
    reason: Option<String>,
}

/// Which refund, and why not.
#[derive(Debug, clap::Args)]
pub(crate) struct Deny {
    /// The refund's id or partner_refund_no, or the REF of a payment with one refund that waits
    #[arg(value_name = "ID|PARTNER_REFUND_NO|REF")]
    refund: String,
    /// Why not
    #[arg(long)]
    reason: String,
}

/// Whose refunds.
#[derive(Debug, clap::Args)]
pub(crate) struct Rearm {
    /// The account
    account: String,
    /// What was found, and why refunds may leave again
    #[arg(long)]
    reason: String,
}

impl Propose {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let wish = Wish { cause: self.cause, amount: self.amount, reason: self.reason };
        let refund = context.with_database(async |session| {
            let rulebook = wiring::rulebook(session.config)?;
            let by = context.actor(&session.store).await?;
            Ok(approvals::propose(&session.store, &rulebook, &by, &self.reference, &wish).await?)
        })?;
        proposed(context.out, &refund)
    }
}

impl Approve {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let refund = context.with_database(async |session| {
            let rulebook = wiring::rulebook(session.config)?;
            let by = context.actor(&session.store).await?;
            let note = self.reason.as_deref();
            Ok(approvals::approve(&session.store, &rulebook, &by, self.refund.as_str(), note).await?)
        })?;
        said(context.out, &refund, "is approved; it leaves when two answers still say PAID")
    }
}

impl Deny {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let refund = context.with_database(async |session| {
            let rulebook = wiring::rulebook(session.config)?;
            let by = context.actor(&session.store).await?;
            Ok(approvals::deny(&session.store, &rulebook, &by, self.refund.as_str(), &self.reason).await?)
        })?;
        said(context.out, &refund, "is denied")
    }
}

impl Rearm {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let said = context.with_database(async |session| {
            let rulebook = wiring::rulebook(session.config)?;
            let by = context.actor(&session.store).await?;
            Ok(control::rearm(&session.store, &rulebook, &by, &self.account, &self.reason).await?)
        })?;
        context.out.document(&said, || match &said.confirmed {
            Some(who) => format!("Refunds of {} may leave again, as {who} asked.", self.account),
            None => format!(
                "Asked for. Refunds of {} leave again when another checker or admin says the same within an hour.",
                self.account
            ),
        })?;
        Ok(Exit::Clean)
    }
}

/// Says that a refund waits, and for whom.
pub(crate) fn proposed(out: Output, refund: &RefundRow) -> Result<Exit, Failure> {
    let words = format!("is proposed; somebody else approves it by `rekon refunds approve {}`", refund.refund_id);
    said(out, refund, &words)
}

fn said(out: Output, refund: &RefundRow, words: &str) -> Result<Exit, Failure> {
    out.document(refund, || {
        format!(
            "Refund {} of {} for {} ({}) {words}.",
            refund.refund_id, refund.amount, refund.partner_reference_no, refund.cause
        )
    })?;
    Ok(Exit::Clean)
}

/// An amount in rupiah.
pub(crate) fn amount(text: &str) -> Result<Sen, String> {
    if text.split_once('.').is_some_and(|(_, decimals)| decimals.len() > 2) {
        // Twelve thousand to one reader and twelve to another: neither is guessed.
        return Err("at most two decimals and no separators: 12000.00".to_owned());
    }
    Sen::parse(text).map_err(|error| error.to_string())
}

fn cause(word: &str) -> Result<Flag, String> {
    let causes = || Flag::ALL.into_iter().filter(|flag| flag.is_cause());
    causes()
        .find(|flag| flag.as_str() == word)
        .ok_or_else(|| format!("known causes: {}", causes().map(Flag::as_str).collect::<Vec<_>>().join(", ")))
}
