//! `rekon qris generate`, `pay` and `cancel`: a QR from its making to its end, for support and in the sandbox.

use std::io::Read as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        qris::{PATIENCE, Subject, amount, decode, hand, with_account, with_subject},
    },
    domain::{
        money::Sen,
        qris::{Qris, Tip},
    },
    engine::by_hand,
    providers::{
        ByHand, Ended, Service,
        by_hand::{Cancel, Generate, Payment},
    },
};

/// The longest authorisation code (SNAP BI).
const AUTH_CODE_MAX: u64 = 256;

/// A new QR.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateCommand {
    /// The new payment's partner_reference_no
    #[arg(value_name = "REF")]
    reference: String,
    /// The account whose provider makes it
    #[arg(long, value_name = "NAME")]
    account: String,
    /// What is to be paid, in rupiah, without a tip
    #[arg(long, value_name = "RUPIAH", value_parser = amount)]
    amount: Sen,
    /// A fixed tip
    #[arg(long, value_name = "RUPIAH", value_parser = amount)]
    fee: Option<Sen>,
    /// The terminal instead of the account's
    #[arg(long, value_name = "ID")]
    terminal_id: Option<String>,
    /// The end of its validity, RFC 3339 with offset; without it the provider's default
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires_at: Option<DateTime<Utc>>,
    /// The merchant's postal code
    #[arg(long, value_name = "CODE")]
    postal_code: Option<String>,
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let read = DateTime::parse_from_rfc3339(text);
    read.map(|at| at.with_timezone(&Utc))
        .map_err(|_| "write a time with its offset, as 2026-11-19T14:05:09+07:00".to_owned())
}

impl GenerateCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let account = self.account.clone();
        with_account(context, account, async |session, ctx, runtime| {
            let asked = ByHand::Generate(Generate {
                partner_reference_no: &self.reference,
                amount: self.amount,
                fee_amount: self.fee,
                terminal_id: self.terminal_id.as_deref(),
                expires_at: self.expires_at,
                postal_code: self.postal_code.as_deref(),
            });
            let Some(reply) = by_hand::call(ctx, runtime, &asked, PATIENCE).await? else { return Ok(None) };
            let doubt = reply.said.qr_content.as_deref().and_then(|qr| self.doubt(qr));
            let mut document = json!(reply);
            if let Value::Object(fields) = &mut document {
                fields.insert("partner_reference_no".to_owned(), json!(self.reference));
                fields.insert("qr_doubt".to_owned(), json!(doubt));
            }
            session.out.document(&document, || hand::told(&reply))?;
            if let Some(doubt) = doubt {
                session.out.say(&format!("rekon: do not show this QR to anybody: {doubt}"));
            }
            if reply.said.ended == Ended::Done {
                session.out.say(&format!(
                    "rekon: nothing expects this payment: write a row {}/{} to rekon.transactions, or import one, if it is to \
                     be reconciled",
                    runtime.name, self.reference
                ));
            }
            Ok(Some(hand::exit(reply.said.ended)))
        })
    }

    /// What is wrong with the QR that came back.
    fn doubt(&self, content: &str) -> Option<String> {
        let qris = match Qris::parse(content) {
            Ok(qris) => qris,
            Err(error) => return Some(error.to_string()),
        };
        let asked = qris.amount().filter(|asked| *asked != self.amount)?;
        Some(format!("it asks for {asked}, not for {}", self.amount))
    }
}

/// A customer's payment.
#[derive(Debug, clap::Args)]
pub(crate) struct PayCommand {
    /// The QR's payload as scanned, or - for stdin
    #[arg(value_name = "PAYLOAD")]
    payload: String,
    /// The account whose sandbox it is paid in
    #[arg(long, value_name = "NAME")]
    account: String,
    /// The partner_reference_no of this payment; without it a new one
    #[arg(long, value_name = "NO")]
    partner_reference_no: Option<String>,
    /// What is paid, for a QR that names no amount
    #[arg(long, value_name = "RUPIAH", value_parser = amount)]
    amount: Option<Sen>,
    /// A file with the authorisation code of the customer's consent, for which a customer's token is fetched first; without
    /// it the account's customer_token pays
    #[arg(long, value_name = "FILE")]
    auth_code_file: Option<String>,
}

impl PayCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let content = decode::payload(self.payload)?;
        let qris = decode::read(&content)?;
        let paid = self
            .amount
            .or(qris.amount())
            .ok_or_else(|| Failure::Usage("the QR names no amount: say by --amount RUPIAH what is paid".to_owned()))?;
        let tip = match qris.tip() {
            Some(Tip::Fixed(tip)) => Some(tip),
            Some(Tip::Prompted | Tip::Percent(_)) | None => None,
        };
        let auth_code = self.auth_code_file.as_deref().map(secret_of).transpose()?;
        with_account(context, self.account, async |session, ctx, runtime| {
            // Before a consent is spent on a token.
            by_hand::check_sandbox(runtime.client.account(), Service::Payment)?;
            let token = match &auth_code {
                None => None,
                Some(code) => match by_hand::customer_token(ctx, runtime, code, PATIENCE).await? {
                    None => return Ok(None),
                    given => given,
                },
            };
            let number = self.partner_reference_no.unwrap_or_else(|| ctx.ids.next(ctx.clock.now()));
            session.out.say(&format!("rekon: paying {paid} as {number}"));
            let asked = ByHand::Payment(Payment {
                partner_reference_no: &number,
                amount: paid,
                fee_amount: tip,
                qr_content: &content,
                customer_token: token.as_ref().map(|given| given.token.as_str()),
            });
            let Some(reply) = by_hand::call(ctx, runtime, &asked, PATIENCE).await? else { return Ok(None) };
            let mut document = json!(reply);
            if let Value::Object(fields) = &mut document {
                fields.insert("partner_reference_no".to_owned(), json!(number));
            }
            session.out.document(&document, || hand::told(&reply))?;
            Ok(Some(hand::exit(reply.said.ended)))
        })
    }
}

/// What a file holds, without the line end that an editor leaves. A secret on the command line would be in everybody's `ps`.
fn secret_of(path: &str) -> Result<String, Failure> {
    let failed = |source| Failure::Input { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(AUTH_CODE_MAX.saturating_add(2)).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The end of an unpaid QR.
#[derive(Debug, clap::Args)]
pub(crate) struct CancelCommand {
    #[command(flatten)]
    subject: Subject,
    /// Why, for the provider; plain ASCII
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl CancelCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { subject, reason } = self;
        with_subject(context, subject, async |session, ctx, runtime, found| {
            let asked = ByHand::Cancel(Cancel {
                partner_reference_no: &found.partner_reference_no,
                reference_no: found.reference_no.as_deref(),
                reason: &reason,
            });
            let Some(reply) = by_hand::call(ctx, runtime, &asked, PATIENCE).await? else { return Ok(None) };
            let mut document = json!(reply);
            if let Value::Object(fields) = &mut document {
                fields.insert("partner_reference_no".to_owned(), json!(found.partner_reference_no));
            }
            session.out.document(&document, || hand::told(&reply))?;
            if found.row.is_some() && reply.said.ended == Ended::Done {
                session.out.say("rekon: the row knows nothing of it: set its order_status to cancelled too");
            }
            Ok(Some(hand::exit(reply.said.ended)))
        })
    }
}
