//! `rekon qris refund`: money of a payment that rekon knows goes back through the saga, so this proposes it there, as
//! `rekon refunds propose` does. Past the saga goes one raw refund, in a sandbox alone, to see what a provider does with one.

use serde_json::{Value, json};

use crate::{
    cli::{
        context::{Context, OnSignal, Schema, Session},
        exit::{Exit, Failure},
        qris::{Found, PATIENCE, Subject, amount, hand, on_the_line},
        refunds, wiring,
    },
    domain::money::Sen,
    engine::{
        Ctx,
        approvals::{self, Wish},
        by_hand::{self, RawRefund},
        runtime::AccountRuntime,
    },
    providers::{Ended, Service},
    store::reads::TransactionRow,
};

/// Why, where nobody says it of a raw refund.
const RAW_REASON: &str = "sandbox";

/// A refund: of a row a proposal, else a raw one.
#[derive(Debug, clap::Args)]
pub(crate) struct RefundCommand {
    #[command(flatten)]
    subject: Subject,
    /// How much goes back; of a row, without it all that is left
    #[arg(long, value_name = "RUPIAH", value_parser = amount)]
    amount: Option<Sen>,
    /// Why: for whoever approves it; of a raw refund for the provider, in plain ASCII
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Sandbox only: send it past the saga, although rekon knows the payment
    #[arg(long)]
    raw: bool,
    /// The raw refund's partner_refund_no: give the same again to see what a repeat does; without it a new one
    #[arg(long, value_name = "NO", requires = "raw")]
    partner_refund_no: Option<String>,
    /// The approval code that a query of the payment gave
    #[arg(long, value_name = "CODE", requires = "raw")]
    approval_code: Option<String>,
}

impl RefundCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let place = context.place()?;
        context.session(place, Schema::Current, OnSignal::Drain, async |session, _stop| {
            let is_another_number = self.subject.reference_no.is_some();
            let (account, found) = self.subject.clone().find(&session.store).await?;
            match &found.row {
                Some(_) if is_another_number && !self.raw => Err(Failure::Usage(
                    "the saga takes the row's own reference_no: leave --reference-no out, or say --raw in a sandbox"
                        .to_owned(),
                )),
                Some(row) if !self.raw => self.propose(context, &session, row).await,
                Some(_) | None => {
                    on_the_line(&session, account, async |ctx, runtime| self.send(&session, ctx, runtime, &found).await)
                        .await
                }
            }
        })
    }

    /// Into the saga: approval, one number, its share of the budget and the two observations come after it.
    async fn propose(&self, context: &Context, session: &Session<'_>, row: &TransactionRow) -> Result<Exit, Failure> {
        let reason = self.reason.clone().ok_or_else(|| {
            Failure::Usage(format!(
                "{} is in the ledger, so this proposes a refund: say by --reason TEXT why money is owed",
                row.partner_reference_no
            ))
        })?;
        let wish = Wish { cause: None, amount: self.amount, reason };
        let rulebook = wiring::rulebook(session.config)?;
        let by = context.actor(&session.store).await?;
        let reference = format!("{}/{}", row.account, row.partner_reference_no);
        let refund = approvals::propose(&session.store, &rulebook, &by, &reference, &wish).await?;
        refunds::proposed(session.out, &refund)
    }

    async fn send(
        &self,
        session: &Session<'_>,
        ctx: &Ctx,
        runtime: &AccountRuntime,
        found: &Found,
    ) -> Result<Option<Exit>, Failure> {
        by_hand::check_sandbox(runtime.client.account(), Service::Refund)?;
        let amount = self.amount.ok_or_else(|| {
            Failure::Usage("a raw refund knows no row: say by --amount RUPIAH how much goes back".to_owned())
        })?;
        // Letters that no number of the saga begins with: the two can never be taken for one another.
        let number = self.partner_refund_no.clone().unwrap_or_else(|| format!("RAW{}", ctx.ids.next(ctx.clock.now())));
        // Said before it leaves: whoever is cut off here must be able to ask for it, or to repeat it.
        session.out.say(&format!("rekon: returning {amount} under partner_refund_no {number}"));
        let asked = RawRefund {
            partner_reference_no: &found.partner_reference_no,
            reference_no: found.reference_no.as_deref(),
            partner_refund_no: &number,
            amount,
            reason: self.reason.as_deref().unwrap_or(RAW_REASON),
            approval_code: self.approval_code.as_deref(),
        };
        let Some(reply) = by_hand::refund(ctx, runtime, &asked, PATIENCE).await? else { return Ok(None) };
        let mut document = json!(reply);
        if let Value::Object(fields) = &mut document {
            fields.insert("partner_reference_no".to_owned(), json!(found.partner_reference_no));
        }
        session.out.document(&document, || hand::told_refund(&reply))?;
        if found.row.is_some() && reply.said.ended != Ended::Refused {
            session
                .out
                .say("rekon: the saga knows nothing of this refund: the row will come to review{refunded_outside}");
        }
        Ok(Some(hand::exit(reply.said.ended)))
    }
}
