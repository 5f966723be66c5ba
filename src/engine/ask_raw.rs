//! One question to a provider for a person's eyes: under the account's budget, counted and weighed like any other, but no
//! row is touched and no fact is written. What the ledger is to know goes through `check`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    domain::fact::Answer,
    engine::{
        Ctx, EngineError,
        check::{SlotPermit, weigh},
        counted, drift, explain,
        runtime::AccountRuntime,
    },
    providers::{Asked, CallError, Failure},
    store::limits::CallClass,
};

/// What is asked about.
#[derive(Debug, Clone, Default)]
pub struct RawQuestion {
    /// Our reference.
    pub partner_reference_no: String,
    /// The provider's reference.
    pub reference_no: Option<String>,
    /// The X-EXTERNAL-ID of the original request.
    pub external_id: Option<String>,
    /// By the status service, whatever the account's inquiry is: the way of payouts.
    pub by_status: bool,
}

/// What came back.
#[derive(Debug, Clone, Serialize)]
pub struct RawReply {
    /// The account that was asked through.
    pub account: String,
    /// Our reference.
    pub partner_reference_no: String,
    /// The normalised answer.
    pub answer: Answer,
    /// The HTTP status; `None`: no answer.
    pub http_status: Option<u16>,
    /// The X-EXTERNAL-ID of the call; `None`: not even a token could be had.
    pub external_id: Option<String>,
    /// Why the call counts as failed.
    pub failure: Option<&'static str>,
    /// Harmless oddities of the body.
    pub drift: Vec<String>,
    /// The provider's clock.
    pub provider_time: Option<DateTime<Utc>>,
    /// Database time when the answer was there.
    pub at: DateTime<Utc>,
    /// The start of the body, without secrets and personal data.
    pub body: String,
    /// Was it refused for its token or signature?
    #[serde(skip)]
    pub(crate) is_unauthorised: bool,
}

/// Asks once. `None`: no call was granted in `patience`.
///
/// # Errors
/// [`EngineError::Unaskable`] where this provider's request cannot be built of these references.
pub async fn ask(
    ctx: &Ctx,
    account: &AccountRuntime,
    question: &RawQuestion,
    class: CallClass,
    patience: Duration,
) -> Result<Option<RawReply>, EngineError> {
    let permit = SlotPermit::new(ctx, account, class, Instant::now() + patience);
    let RawQuestion { partner_reference_no, reference_no, external_id, by_status } = question;
    let asked = account.client.asked(partner_reference_no, reference_no.as_deref(), external_id.as_deref());
    let asked = Asked { is_payout: *by_status, ..asked };
    let result = match account.client.query(&asked, &permit).await {
        Ok(result) => result,
        Err(CallError::Denied(_)) => return Ok(None),
        Err(CallError::Build(error)) => return Err(EngineError::Unaskable(error.to_string())),
    };
    counted::query(&account.name, &result, permit.took());
    drift::query(ctx, &account.name, &result).await;
    weigh(ctx, account, &result, &permit).await;
    Ok(Some(RawReply {
        account: account.name.clone(),
        partner_reference_no: partner_reference_no.clone(),
        http_status: result.meta.http_status,
        external_id: result.meta.call_id,
        failure: result.failure.map(Failure::as_str),
        drift: result.meta.drift.iter().map(ToString::to_string).collect(),
        provider_time: result.meta.date,
        at: ctx.clock.now(),
        body: explain::excerpt(&result.raw),
        is_unauthorised: matches!(result.failure, Some(Failure::Unauthorized)),
        answer: result.answer,
    }))
}
