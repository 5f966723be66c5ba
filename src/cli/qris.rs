//! `rekon qris`: what a QRIS payload says, offline; and one raw question to the provider. Neither touches the ledger.

use std::{io::Read as _, time::Duration};

use serde_json::{Value, json};

use crate::{
    cli::{
        context::{Context, OnSignal, Schema},
        exit::{Exit, Failure},
        output::{or_dash, table},
    },
    domain::{
        observation::Observation,
        qris::{ExpectedTotal, Field, Initiation, MAX_CHARS, Qris, Tip},
    },
    engine::{
        Engine, EngineError,
        ask_raw::{self, RawQuestion, RawReply},
        lookup,
    },
    store::limits::CallClass,
    telemetry::heartbeat::Heartbeats,
};

/// How long a person waits for a call slot.
const PATIENCE: Duration = Duration::from_secs(10);

/// Read QRIS payloads and ask providers by hand
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon qris decode -")]
pub(crate) enum QrisCommand {
    /// Read a QRIS payload and check it, without network or database
    #[command(after_help = "Example: rekon qris decode -")]
    Decode {
        /// The payload as scanned, or - for stdin
        #[arg(value_name = "PAYLOAD")]
        payload: String,
    },
    /// Ask the provider about one reference and print what it says; nothing is recorded
    #[command(
        after_help = "Example: rekon qris query INV-20261119-0042 --account doku-main --reference-no 17etne368279"
    )]
    Query(Query),
}

/// What is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    /// A partner_reference_no, or ACCOUNT/REF; need not stand in the ledger
    #[arg(value_name = "REF")]
    reference: String,
    /// The account, for a reference that is not in the ledger
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The provider's reference instead of the row's
    #[arg(long, value_name = "NO")]
    reference_no: Option<String>,
    /// X-EXTERNAL-ID of the original request instead of the row's
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
}

impl QrisCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Decode { payload } => decode(context, payload),
            Self::Query(query) => query.run(context),
        }
    }
}

fn decode(context: &Context, payload: String) -> Result<Exit, Failure> {
    let text = if payload == "-" { from_stdin()? } else { payload };
    let qris = Qris::parse(&text).map_err(|error| Failure::NotFound(error.to_string()))?;
    context.out.document(&said(&qris), || page(&qris))?;
    Ok(Exit::Clean)
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

impl Query {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let place = context.place()?;
        context.session(place, Schema::Current, OnSignal::Drain, async |session, _stop| {
            let (account, question) = self.question(&session.store).await?;
            let engine = Engine::start(
                session.store.clone(),
                session.config,
                CallClass::Cashier,
                std::slice::from_ref(&account),
                Heartbeats::new(),
            )
            .await?;
            let asked = match engine.ctx.account(&account).cloned() {
                Ok(runtime) => ask_raw::ask(&engine.ctx, &runtime, &question, CallClass::Cashier, PATIENCE).await,
                Err(error) => Err(error),
            };
            engine.finish().await?;
            let Some(reply) = asked? else {
                session.out.say("rekon: the call budget grants no call now; nothing was asked");
                return Ok(Exit::TryAgain);
            };
            session.out.document(&reply, || told(&reply))?;
            Ok(if reply.answer.observation == Observation::Indeterminate { Exit::Unavailable } else { Exit::Clean })
        })
    }

    /// The row's references, with what the person says in their place.
    async fn question(&self, store: &crate::store::Store) -> Result<(String, RawQuestion), Failure> {
        let named = match &self.account {
            Some(account) => format!("{account}/{}", self.reference),
            None => self.reference.clone(),
        };
        let own = |of_row: Option<String>, given: &Option<String>| given.clone().or(of_row);
        match lookup::transaction(store, &named).await {
            Ok(row) => {
                let question = RawQuestion {
                    partner_reference_no: row.partner_reference_no,
                    reference_no: own(row.reference_no, &self.reference_no),
                    external_id: own(row.external_id, &self.external_id),
                };
                Ok((row.account, question))
            }
            Err(EngineError::NotFound(_)) => {
                let unknown = || {
                    Failure::Usage(format!(
                        "{:?} is not in the ledger: say by --account NAME whose provider is to be asked",
                        self.reference
                    ))
                };
                let account = self.account.clone().ok_or_else(unknown)?;
                let question = RawQuestion {
                    partner_reference_no: self.reference.clone(),
                    reference_no: self.reference_no.clone(),
                    external_id: self.external_id.clone(),
                };
                Ok((account, question))
            }
            Err(error) => Err(error.into()),
        }
    }
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
