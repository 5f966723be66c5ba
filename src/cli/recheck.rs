//! `rekon recheck REF`: the customer says he paid. Asks the provider now, under the cashier's own share of the budget, and
//! says what came of it.

use std::time::Duration;

use crate::{
    cli::{
        context::{Context, OnSignal, Schema},
        exit::{Exit, Failure},
    },
    engine::{Engine, check, lookup},
    store::limits::CallClass,
    telemetry::heartbeat::Heartbeats,
};

/// How long a person at the till waits for a call slot.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ask the provider about one payment now
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: rekon recheck INV-20261119-0042")]
pub(crate) struct Recheck {
    /// The payment's reference, or ACCOUNT/REF
    #[arg(value_name = "REF")]
    reference: String,
}

impl Recheck {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let place = context.place()?;
        context.session(place, Schema::Current, OnSignal::Drain, async |session, _stop| {
            let found = lookup::transaction(&session.store, &self.reference).await?;
            let engine = Engine::start(
                session.store.clone(),
                session.config,
                CallClass::Cashier,
                std::slice::from_ref(&found.account),
                Heartbeats::new(),
            )
            .await?;
            let account = engine.ctx.account(&found.account).cloned();
            let asked = match &account {
                Ok(account) => check::one(&engine.ctx, account, found.id, CallClass::Cashier, PATIENCE).await,
                Err(_) => Ok(None),
            };
            engine.finish().await?;
            account?;
            let Some(answer) = asked? else {
                let row = lookup::transaction(&session.store, &self.reference).await?;
                if row.flags_open.iter().any(|flag| flag == "missing_reference") {
                    session.out.say("rekon: the row lacks a reference without which the provider cannot be asked: set reference_no or external_id");
                    return Ok(Exit::Failed);
                }
                if row.flags_open.iter().any(|flag| flag == "unknown_account") {
                    session.out.say("rekon: the row is a payout, and its account's provider has no service that knows payouts");
                    return Ok(Exit::Failed);
                }
                session
                    .out
                    .say("rekon: the provider could not be asked in time (budget or breaker); nothing was changed");
                return Ok(Exit::TryAgain);
            };
            let row = lookup::transaction(&session.store, &self.reference).await?;
            session.out.document(&row, || {
                let flags = if row.flags.is_empty() { String::new() } else { format!(" ({})", row.flags.join(", ")) };
                let paid = row.paid_amount.map(|a| format!(", paid Rp {a}")).unwrap_or_default();
                format!(
                    "{}: {}{flags}{paid}; the provider said {} just now",
                    found.partner_reference_no,
                    row.state.as_str(),
                    answer.observation.as_str()
                )
            })?;
            Ok(if answer.observation == crate::domain::observation::Observation::Indeterminate {
                Exit::Unavailable
            } else {
                Exit::Clean
            })
        })
    }
}
