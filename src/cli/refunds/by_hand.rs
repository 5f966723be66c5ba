//! `rekon refunds transferred|not-transferred|by-hand|again`: what people do with refunds that cannot go by API. Each names its
//! person by the personal token that is shown, never by a flag.

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        wiring,
    },
    engine::transfer::{self, Deed},
    store::reads::RefundRow,
};

/// Which transfer, and how it is found at the bank.
#[derive(Debug, clap::Args)]
pub(crate) struct Transferred {
    /// The refund's id or partner_refund_no
    #[arg(value_name = "ID|PARTNER_REFUND_NO")]
    refund: String,
    /// The bank's reference of the transfer, as it stands on the statement
    #[arg(long, value_name = "TEXT")]
    bank_reference: String,
}

/// Which refund, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Because {
    /// The refund's id or partner_refund_no
    #[arg(value_name = "ID|PARTNER_REFUND_NO")]
    refund: String,
    /// Why
    #[arg(long)]
    reason: String,
}

/// Which refund.
#[derive(Debug, clap::Args)]
pub(crate) struct Again {
    /// The refund's id or partner_refund_no
    #[arg(value_name = "ID|PARTNER_REFUND_NO")]
    refund: String,
}

impl Transferred {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        record(context, &self.refund, Deed::Transferred(&self.bank_reference))
    }
}

impl Because {
    pub(crate) fn not_transferred(self, context: &Context) -> Result<Exit, Failure> {
        record(context, &self.refund, Deed::NotTransferred(&self.reason))
    }

    pub(crate) fn by_hand(self, context: &Context) -> Result<Exit, Failure> {
        record(context, &self.refund, Deed::ByHand(&self.reason))
    }
}

impl Again {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        record(context, &self.refund, Deed::Again)
    }
}

fn record(context: &Context, which: &str, deed: Deed<'_>) -> Result<Exit, Failure> {
    let refund: RefundRow = context.with_database(async |session| {
        let rulebook = wiring::rulebook(session.config)?;
        let by = context.actor(&session.store).await?;
        Ok(transfer::record(&session.store, &rulebook, &by, which, deed).await?)
    })?;
    context.out.document(&refund, || super::card(&refund))?;
    Ok(Exit::Clean)
}
