//! `rekon qris decode`: what a payload says, offline; and, where an account is named, what its provider reads in it.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{or_dash, table},
        qris::{PATIENCE, hand, with_account},
    },
    domain::qris::{ExpectedTotal, Field, Initiation, MAX_CHARS, Qris, Tip},
    engine::by_hand,
    providers::{ByHand, by_hand::Decode},
};

/// What is read.
#[derive(Debug, clap::Args)]
pub(crate) struct DecodeCommand {
    /// The payload as scanned, or - for stdin
    #[arg(value_name = "PAYLOAD")]
    payload: String,
    /// Let this account's provider read it too
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

impl DecodeCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let text = payload(self.payload)?;
        let qris = read(&text)?;
        let Some(account) = self.account else {
            context.out.document(&said(&qris), || page(&qris))?;
            return Ok(Exit::Clean);
        };
        with_account(context, account, async |session, ctx, runtime| {
            let scanned_at = ctx.clock.now();
            let number = ctx.ids.next(scanned_at);
            let asked = ByHand::Decode(Decode { partner_reference_no: &number, qr_content: &text, scanned_at });
            let Some(reply) = by_hand::call(ctx, runtime, &asked, PATIENCE).await? else { return Ok(None) };
            let mut both = said(&qris);
            if let Value::Object(fields) = &mut both {
                fields.insert("provider".to_owned(), json!(reply));
            }
            session.out.document(&both, || format!("{}\n\n{}", page(&qris), hand::told(&reply)))?;
            Ok(Some(hand::exit(reply.said.ended)))
        })
    }
}

/// The payload itself, or what stands on stdin.
pub(super) fn payload(given: String) -> Result<String, Failure> {
    if given == "-" { from_stdin() } else { Ok(given) }
}

/// A whole payload with the right checksum.
pub(super) fn read(text: &str) -> Result<Qris, Failure> {
    Qris::parse(text).map_err(|error| Failure::NotFound(error.to_string()))
}

/// A line end is the terminal's; anything else at either end is part of what was scanned.
fn from_stdin() -> Result<String, Failure> {
    let failed = |source| Failure::Input { path: "stdin".to_owned(), source };
    let longest = u64::try_from(MAX_CHARS.saturating_mul(4)).unwrap_or(u64::MAX).saturating_add(3);
    let mut text = String::new();
    std::io::stdin().lock().take(longest).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn said(qris: &Qris) -> Value {
    let fields = |fields: &[Field]| -> Vec<Value> {
        fields.iter().map(|f| json!({"tag": f.tag, "name": name(&f.tag), "value": f.value})).collect()
    };
    json!({
        "initiation": qris.initiation().map(initiation),
        "amount": qris.amount().map(|amount| amount.to_string()),
        "tip": qris.tip().map(tip),
        "expected_total": qris.expected_total().ok().and_then(total),
        "fields": fields(qris.fields()),
        "additional": qris.additional().iter().map(|f| json!({"tag": f.tag, "value": f.value})).collect::<Vec<_>>(),
    })
}

const fn initiation(initiation: Initiation) -> &'static str {
    match initiation {
        Initiation::Static => "static",
        Initiation::Dynamic => "dynamic",
    }
}

fn tip(tip: Tip) -> String {
    match tip {
        Tip::Prompted => "the payer is asked".to_owned(),
        Tip::Fixed(sen) => sen.to_string(),
        Tip::Percent(percent) => {
            let hundredths = percent.hundredths();
            format!("{}.{:02} %", hundredths / 100, hundredths % 100)
        }
    }
}

fn total(total: ExpectedTotal) -> Option<String> {
    match total {
        ExpectedTotal::Unstated => None,
        ExpectedTotal::Exact(sen) => Some(sen.to_string()),
        ExpectedTotal::AtLeast(sen) => Some(format!("{sen} or more")),
    }
}

fn page(qris: &Qris) -> String {
    let rows = qris.fields().iter().map(|f| vec![f.tag.clone(), name(&f.tag).to_owned(), f.value.clone()]);
    let more = qris.additional().iter().map(|f| vec![format!("62.{}", f.tag), String::new(), f.value.clone()]);
    let head = format!(
        "The payload is whole and its checksum is right.\n{} code, amount {}, tip {}, expected total {}",
        qris.initiation().map_or("unspecified", initiation),
        or_dash(qris.amount()),
        or_dash(qris.tip().map(tip)),
        or_dash(qris.expected_total().ok().and_then(total)),
    );
    format!("{head}\n\n{}", table(&["tag", "what", "value"], &[], rows.chain(more)))
}

/// What a top-level tag holds (EMVCo MPM and QRIS).
fn name(tag: &str) -> &'static str {
    match tag {
        "00" => "format",
        "01" => "initiation: 11 static, 12 dynamic",
        "26" => "merchant account",
        "51" => "national merchant id",
        "52" => "merchant category",
        "53" => "currency: 360 rupiah",
        "54" => "amount",
        "55" => "tip: 01 asked, 02 fixed, 03 percent",
        "56" => "fixed tip",
        "57" => "tip percent",
        "58" => "country",
        "59" => "merchant name",
        "60" => "city",
        "61" => "postal code",
        "62" => "additional data",
        "63" => "checksum",
        _ => "",
    }
}
