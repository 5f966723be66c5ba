//! `rekon qris query` and `rekon qris status`: one raw question about one reference. Nothing is recorded: what the ledger is
//! to know goes through `rekon recheck`.

use serde_json::{Value, json};

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{or_dash, table},
        qris::{PATIENCE, Subject, with_subject},
    },
    domain::{observation::Observation, order::Direction},
    engine::ask_raw::{self, RawQuestion, RawReply},
    store::limits::CallClass,
};

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a payment, the way that the account inquires payments.
    Query,
    /// By the status service, which alone knows payouts.
    Status,
}

/// What is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    #[command(flatten)]
    subject: Subject,
    /// X-EXTERNAL-ID of the original request instead of the row's
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
}

impl Question {
    pub(crate) fn run(self, way: Way, context: &Context) -> Result<Exit, Failure> {
        let Self { subject, external_id } = self;
        with_subject(context, subject, async |session, ctx, runtime, found| {
            // Money out is not money in: an answer about the one is no answer about the other.
            if way == Way::Query && found.row.as_ref().is_some_and(|row| row.direction == Direction::Out) {
                return Err(Failure::Usage(format!(
                    "{} is a payout: ask with `rekon qris status`",
                    found.partner_reference_no
                )));
            }
            let of_row = found.row.as_ref().and_then(|row| row.external_id.clone());
            let question = RawQuestion {
                partner_reference_no: found.partner_reference_no.clone(),
                reference_no: found.reference_no.clone(),
                external_id: external_id.or(of_row),
                by_status: way == Way::Status,
            };
            let asked = ask_raw::ask(ctx, runtime, &question, CallClass::Cashier, PATIENCE).await?;
            let Some(reply) = asked else { return Ok(None) };
            session.out.document(&document(&reply), || told(&reply))?;
            let is_silent = reply.answer.observation == Observation::Indeterminate;
            Ok(Some(if is_silent { Exit::Unavailable } else { Exit::Clean }))
        })
    }
}

/// The reply with its amounts in rupiah, as everywhere in rekon's output; facts are kept in sen.
fn document(reply: &RawReply) -> Value {
    let mut document = json!(reply);
    for (name, amount) in [("amount", reply.answer.amount), ("fee_amount", reply.answer.fee_amount)] {
        if let Some(field) = document.pointer_mut(&format!("/answer/{name}")) {
            *field = json!(amount.map(|sen| sen.to_string()));
        }
    }
    document
}

fn told(reply: &RawReply) -> String {
    let answer = &reply.answer;
    let amount = answer.amount.map(|sen| format!("{sen} {}", answer.currency.as_deref().unwrap_or("?")));
    let mut rows = vec![
        ("observation", answer.observation.as_str().to_owned()),
        ("HTTP status", or_dash(reply.http_status)),
        ("responseCode", or_dash(answer.response_code.as_ref())),
        ("latestTransactionStatus", or_dash(answer.latest_transaction_status.as_ref())),
        ("amount", or_dash(amount)),
        ("fee", or_dash(answer.fee_amount)),
        ("paidTime", or_dash(answer.paid_time_raw.as_ref())),
        ("references", answer.echo.as_str().to_owned()),
        ("X-EXTERNAL-ID", or_dash(reply.external_id.as_ref())),
    ];
    let doubts: Vec<&str> =
        answer.doubt.iter().map(String::as_str).chain(answer.warnings.iter().map(|w| w.as_str())).collect();
    rows.extend((!doubts.is_empty()).then(|| ("doubt", doubts.join(", "))));
    rows.extend((!reply.drift.is_empty()).then(|| ("drift", reply.drift.join(", "))));
    let card = table(&["", ""], &[], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    format!(
        "{}/{}\n{}\n\nBody, without personal data\n  {}",
        reply.account,
        reply.partner_reference_no,
        card.trim(),
        reply.body
    )
}
