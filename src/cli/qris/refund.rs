//! `rekon qris refund`: one raw refund in a sandbox, past the saga, to see what a provider does with one. Real money goes back
//! through the saga alone.

use serde_json::{Value, json};

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        qris::{PATIENCE, Subject, amount, hand, with_subject},
    },
    domain::money::Sen,
    engine::by_hand::{self, RawRefund},
    providers::{Ended, Service},
};

/// A raw refund.
#[derive(Debug, clap::Args)]
pub(crate) struct RefundCommand {
    #[command(flatten)]
    subject: Subject,
    /// How much goes back
    #[arg(long, value_name = "RUPIAH", value_parser = amount)]
    amount: Sen,
    /// Why, for the provider; plain ASCII
    #[arg(long, value_name = "TEXT", default_value = "sandbox")]
    reason: String,
    /// The partner_refund_no: give the same again to see what a repeat does; without it a new one
    #[arg(long, value_name = "NO")]
    partner_refund_no: Option<String>,
    /// The approval code that a query of the payment gave
    #[arg(long, value_name = "CODE")]
    approval_code: Option<String>,
}

impl RefundCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { subject, amount, reason, partner_refund_no, approval_code } = self;
        with_subject(context, subject, async |session, ctx, runtime, found| {
            by_hand::check_sandbox(runtime.client.account(), Service::Refund)?;
            // Letters that no number of the saga begins with: the two can never be taken for one another.
            let number = partner_refund_no.unwrap_or_else(|| format!("RAW{}", ctx.ids.next(ctx.clock.now())));
            // Said before it leaves: whoever is cut off here must be able to ask for it, or to repeat it.
            session.out.say(&format!("rekon: returning {amount} under partner_refund_no {number}"));
            let asked = RawRefund {
                partner_reference_no: &found.partner_reference_no,
                reference_no: found.reference_no.as_deref(),
                partner_refund_no: &number,
                amount,
                reason: &reason,
                approval_code: approval_code.as_deref(),
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
        })
    }
}
