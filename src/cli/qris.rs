//! `rekon qris`: support and sandbox work at a provider, by hand. Nothing here touches the ledger: what it is to know goes
//! through `rekon recheck`, and money goes back through the saga. What pays, cancels or returns goes to a sandbox alone.

mod decode;
mod hand;
mod make;
mod question;
mod refund;

use std::time::Duration;

use crate::{
    cli::{
        context::{Context, OnSignal, Schema, Session},
        exit::{Exit, Failure},
    },
    domain::money::Sen,
    engine::{Ctx, Engine, EngineError, lookup, runtime::AccountRuntime},
    store::{Store, limits::CallClass, reads::TransactionRow},
    telemetry::heartbeat::Heartbeats,
};

/// How long a person waits for a call slot.
const PATIENCE: Duration = Duration::from_secs(10);

/// Read QRIS payloads, and work at providers by hand
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon qris decode -")]
pub(crate) enum QrisCommand {
    /// Have a provider make a dynamic QR and print its payload
    #[command(after_help = "Example: rekon qris generate TRY-1 --account doku-sandbox --amount 12000.00")]
    Generate(make::GenerateCommand),
    /// Read a QRIS payload and check it, without network or database
    #[command(after_help = "Example: rekon qris decode -")]
    Decode(decode::DecodeCommand),
    /// Ask the provider about one reference and print what it says; nothing is recorded
    #[command(
        after_help = "Example: rekon qris query INV-20261119-0042 --account doku-main --reference-no 17etne368279"
    )]
    Query(question::Question),
    /// Ask by the provider's status service, which is how payouts are asked about; nothing is recorded
    #[command(after_help = "Example: rekon qris status PAYOUT-20261119-0042 --account doku-main")]
    Status(question::Question),
    /// Pay a QR in a sandbox, as its customer
    #[command(after_help = "Example: rekon qris pay - --account doku-sandbox")]
    Pay(make::PayCommand),
    /// Propose to return a payment's money; `--raw` sends it past the saga, in a sandbox
    #[command(after_help = "Example: rekon qris refund INV-1 --amount 12000.00 --reason returned-goods")]
    Refund(refund::RefundCommand),
    /// End an unpaid QR in a sandbox
    #[command(after_help = "Example: rekon qris cancel TRY-1 --account doku-sandbox --reason mistyped")]
    Cancel(make::CancelCommand),
}

/// A payment that is spoken of: a row of the ledger, or what a person says.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Subject {
    /// A partner_reference_no, or ACCOUNT/REF; need not stand in the ledger
    #[arg(value_name = "REF")]
    reference: String,
    /// The account, for a reference that is not in the ledger
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The provider's reference instead of the row's
    #[arg(long, value_name = "NO")]
    reference_no: Option<String>,
}

/// The payment as far as it is known.
#[derive(Debug)]
struct Found {
    partner_reference_no: String,
    reference_no: Option<String>,
    row: Option<TransactionRow>,
}

impl QrisCommand {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Generate(command) => command.run(context),
            Self::Decode(command) => command.run(context),
            Self::Query(command) => command.run(question::Way::Query, context),
            Self::Status(command) => command.run(question::Way::Status, context),
            Self::Pay(command) => command.run(context),
            Self::Refund(command) => command.run(context),
            Self::Cancel(command) => command.run(context),
        }
    }
}

impl Subject {
    /// The account to ask through, and the row's references with what the person says in their place.
    async fn find(self, store: &Store) -> Result<(String, Found), Failure> {
        let named = match &self.account {
            Some(account) => format!("{account}/{}", self.reference),
            None => self.reference.clone(),
        };
        match lookup::transaction(store, &named).await {
            Ok(row) => {
                let account = row.account.clone();
                let found = Found {
                    partner_reference_no: row.partner_reference_no.clone(),
                    reference_no: self.reference_no.or_else(|| row.reference_no.clone()),
                    row: Some(row),
                };
                Ok((account, found))
            }
            Err(EngineError::NotFound(_)) => {
                let unknown = || {
                    Failure::Usage(format!(
                        "{:?} is not in the ledger: say by --account NAME whose provider is to be asked",
                        self.reference
                    ))
                };
                let account = self.account.clone().ok_or_else(unknown)?;
                let found = Found { partner_reference_no: self.reference, reference_no: self.reference_no, row: None };
                Ok((account, found))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Works with the account of a subject. `None` from the work: no call was granted.
fn with_subject(
    context: &Context,
    subject: Subject,
    work: impl AsyncFnOnce(&Session<'_>, &Ctx, &AccountRuntime, &Found) -> Result<Option<Exit>, Failure>,
) -> Result<Exit, Failure> {
    let place = context.place()?;
    context.session(place, Schema::Current, OnSignal::Drain, async |session, _stop| {
        let (account, found) = subject.find(&session.store).await?;
        on_the_line(&session, account, async |ctx, runtime| work(&session, ctx, runtime, &found).await).await
    })
}

/// Works with an account. `None` from the work: no call was granted.
fn with_account(
    context: &Context,
    account: String,
    work: impl AsyncFnOnce(&Session<'_>, &Ctx, &AccountRuntime) -> Result<Option<Exit>, Failure>,
) -> Result<Exit, Failure> {
    let place = context.place()?;
    context.session(place, Schema::Current, OnSignal::Drain, async |session, _stop| {
        on_the_line(&session, account, async |ctx, runtime| work(&session, ctx, runtime).await).await
    })
}

/// Puts one account to work, and ends in order whatever became of it.
async fn on_the_line(
    session: &Session<'_>,
    account: String,
    work: impl AsyncFnOnce(&Ctx, &AccountRuntime) -> Result<Option<Exit>, Failure>,
) -> Result<Exit, Failure> {
    if !session.config.accounts.contains_key(&account) {
        let known = session.config.accounts.keys().cloned().collect();
        return Err(EngineError::UnknownAccount { account, known }.into());
    }
    let only = std::slice::from_ref(&account);
    let engine =
        Engine::start(session.store.clone(), session.config, CallClass::Cashier, only, Heartbeats::new()).await?;
    let done = match engine.ctx.account(&account).cloned() {
        Ok(runtime) => work(&engine.ctx, &runtime).await,
        Err(error) => Err(error.into()),
    };
    engine.finish().await?;
    Ok(done?.unwrap_or_else(|| {
        session.out.say("rekon: the call budget grants no call now; nothing was asked");
        Exit::TryAgain
    }))
}

/// An amount of rupiah on the command line.
fn amount(text: &str) -> Result<Sen, String> {
    match Sen::parse(text) {
        Ok(amount) if amount.is_positive() => Ok(amount),
        Ok(_) => Err("write more than zero".to_owned()),
        Err(error) => Err(format!("{error}: write rupiah without separators, as 12000.00")),
    }
}
