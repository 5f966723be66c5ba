//! What a person does at a provider for support and in the sandbox: a new QR, what a QR says, a payment, the end of a QR, a
//! raw refund. Each call is made once, under the account's budget, and weighed like any other; no row is touched and no fact
//! is written.
//!
//! What pays, cancels or returns money goes to a sandbox alone. Absent on purpose: a way around that rule, and real refunds:
//! those are the saga's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    domain::{
        money::{Sen, as_rupiah_opt},
        reply::{RefundReply, ReplyClass},
    },
    engine::{
        Ctx, EngineError,
        check::{SlotPermit, slow_down},
        explain,
        runtime::AccountRuntime,
    },
    providers::{
        Account, ByHand, ByHandReply, CallError, CustomerGrant, CustomerToken, Ended, Failure, RefundOrder, Service,
        client::Meta, token::TokenError,
    },
    store::limits::CallClass,
};

/// What came back.
#[derive(Debug, Clone, Serialize)]
pub struct HandReply<T> {
    /// The account that was used.
    pub account: String,
    /// What was said.
    #[serde(flatten)]
    pub said: T,
    /// The HTTP status; `None`: no answer.
    pub http_status: Option<u16>,
    /// The X-EXTERNAL-ID of the call; `None`: not even a token could be had.
    pub external_id: Option<String>,
    /// Why the call counts as failed.
    pub failure: Option<&'static str>,
    /// Database time when the answer was there.
    pub at: DateTime<Utc>,
    /// The start of the body, without secrets and personal data.
    pub body: String,
}

/// A raw refund.
#[derive(Debug, Clone, Copy)]
pub struct RawRefund<'a> {
    /// Our reference of the payment.
    pub partner_reference_no: &'a str,
    /// The provider's.
    pub reference_no: Option<&'a str>,
    /// The number under which it is returned.
    pub partner_refund_no: &'a str,
    /// How much.
    pub amount: Sen,
    /// Why; printable ASCII.
    pub reason: &'a str,
    /// The approval code of the payment, as a query gave it.
    pub approval_code: Option<&'a str>,
}

/// What the answer to a raw refund says.
#[derive(Debug, Clone, Serialize)]
pub struct RawRefundReply {
    /// How it ended.
    pub ended: Ended,
    /// The class of its code, as the saga would see it.
    pub class: ReplyClass,
    /// The number that was sent.
    pub partner_refund_no: String,
    /// The seven digits.
    pub response_code: Option<String>,
    /// The provider's number.
    pub refund_no: Option<String>,
    /// The echoed amount.
    #[serde(serialize_with = "as_rupiah_opt")]
    pub amount: Option<Sen>,
    /// Why nobody knows.
    pub doubt: Option<String>,
}

/// Makes a call. `None`: none was granted in `patience`.
///
/// # Errors
/// [`EngineError::NotSandbox`], or [`EngineError::Unaskable`] where this provider has no such call or would refuse its fields.
pub async fn call(
    ctx: &Ctx,
    account: &AccountRuntime,
    asked: &ByHand<'_>,
    patience: Duration,
) -> Result<Option<HandReply<ByHandReply>>, EngineError> {
    if asked.is_risky() {
        check_sandbox(account.client.account(), asked.service())?;
    }
    let bad_weather = account.weather.is_bad();
    let permit = SlotPermit::new(ctx, account, CallClass::Cashier, Instant::now() + patience);
    let Some(result) = granted(account.client.by_hand(asked, &permit).await)? else { return Ok(None) };
    weigh(ctx, account, &result.meta, result.failure, bad_weather).await;
    Ok(Some(reply(ctx, account, result.reply, result.meta, result.failure, &result.raw)))
}

/// Sends one raw refund. `None`: no call was granted in `patience`.
///
/// # Errors
/// As [`call`].
pub async fn refund(
    ctx: &Ctx,
    account: &AccountRuntime,
    asked: &RawRefund<'_>,
    patience: Duration,
) -> Result<Option<HandReply<RawRefundReply>>, EngineError> {
    let line = account.client.account();
    line.endpoint(Service::Refund).map_err(|error| EngineError::Unaskable(error.to_string()))?;
    check_sandbox(line, Service::Refund)?;
    let payment = account.client.asked(asked.partner_reference_no, asked.reference_no, None);
    let order = RefundOrder {
        asked: payment,
        partner_refund_no: asked.partner_refund_no,
        amount: asked.amount,
        currency: "IDR",
        reason: asked.reason,
        approval_code: asked.approval_code,
    };
    let body = line.provider.refund_body(line, &order).map_err(|error| EngineError::Unaskable(error.to_string()))?;
    let bad_weather = account.weather.is_bad();
    let permit = SlotPermit::new(ctx, account, CallClass::Cashier, Instant::now() + patience);
    let Some(result) = granted(account.client.refund(&payment, &body, &permit).await)? else { return Ok(None) };
    weigh(ctx, account, &result.meta, result.failure, bad_weather).await;
    let said = RawRefundReply {
        ended: end_of_refund(asked, &result.reply),
        class: result.reply.class,
        partner_refund_no: asked.partner_refund_no.to_owned(),
        response_code: result.reply.response_code,
        refund_no: result.reply.refund_no,
        amount: result.reply.amount,
        doubt: result.reply.doubt,
    };
    Ok(Some(reply(ctx, account, said, result.meta, result.failure, &result.raw)))
}

/// Asks for a customer's token with the code of his consent. `None`: no call was granted in `patience`.
///
/// # Errors
/// [`EngineError::CustomerToken`] where none was given.
pub async fn customer_token(
    ctx: &Ctx,
    account: &AccountRuntime,
    auth_code: &str,
    patience: Duration,
) -> Result<Option<CustomerToken>, EngineError> {
    let permit = SlotPermit::new(ctx, account, CallClass::Cashier, Instant::now() + patience);
    match account.client.customer_token(CustomerGrant::AuthCode(auth_code), &permit).await {
        Ok(token) => Ok(Some(token)),
        Err(TokenError::Denied) => Ok(None),
        Err(error) => Err(EngineError::CustomerToken(error)),
    }
}

fn granted<T>(result: Result<T, CallError>) -> Result<Option<T>, EngineError> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(CallError::Denied(_)) => Ok(None),
        Err(CallError::Build(error)) => Err(EngineError::Unaskable(error.to_string())),
    }
}

/// Refuses what moves real money.
///
/// # Errors
/// [`EngineError::NotSandbox`], with what to do instead.
pub fn check_sandbox(account: &Account, service: Service) -> Result<(), EngineError> {
    if account.is_sandbox() {
        return Ok(());
    }
    let instead = match service {
        Service::Refund => {
            "propose it: `rekon qris refund REF --reason TEXT` without --raw, of a payment in the ledger, so that it gets one number, an approval and its share of the budget"
        }
        Service::Payment => "a customer pays with his own application",
        Service::Cancel => {
            "let the QR expire or end it in the provider's dashboard, and set order_status to cancelled on the row"
        }
        Service::Token
        | Service::CustomerToken
        | Service::Generate
        | Service::Decode
        | Service::Query
        | Service::Status => "ask without moving anything",
    };
    Err(EngineError::NotSandbox {
        account: account.name.clone(),
        host: account.host.clone(),
        service: service.as_str(),
        instead,
        sandbox_hosts: account.profile.sandbox_hosts.clone(),
    })
}

/// Done only if number and amount are echoed; refused only if the code says that nothing was done.
fn end_of_refund(asked: &RawRefund<'_>, reply: &RefundReply) -> Ended {
    match reply.class {
        ReplyClass::Success => {
            let is_ours = reply.partner_refund_no.as_deref() == Some(asked.partner_refund_no);
            if is_ours && reply.amount == Some(asked.amount) { Ended::Done } else { Ended::Unknown }
        }
        ReplyClass::Refusal | ReplyClass::Closed | ReplyClass::Later => Ended::Refused,
        ReplyClass::AlreadyDone | ReplyClass::Inconsistent | ReplyClass::Stop | ReplyClass::Unknown => Ended::Unknown,
    }
}

async fn weigh(ctx: &Ctx, account: &AccountRuntime, meta: &Meta, failure: Option<Failure>, bad_weather: bool) {
    slow_down(ctx, account, meta.http_status, meta.retry_after_secs).await;
    if let Err(error) = account.weather.count(&ctx.store, failure.map(Failure::as_str), bad_weather).await {
        tracing::warn!(account = %account.name, %error, "the breaker could not be moved");
    }
}

fn reply<T>(
    ctx: &Ctx,
    account: &AccountRuntime,
    said: T,
    meta: Meta,
    failure: Option<Failure>,
    raw: &[u8],
) -> HandReply<T> {
    HandReply {
        account: account.name.clone(),
        said,
        http_status: meta.http_status,
        external_id: meta.call_id,
        failure: failure.map(Failure::as_str),
        at: ctx.clock.now(),
        body: explain::excerpt(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_refund_is_done_only_by_an_answer_about_this_number_and_amount() {
        let asked = RawRefund {
            partner_reference_no: "INV-1",
            reference_no: None,
            partner_refund_no: "R1",
            amount: Sen::new(100_000),
            reason: "sandbox",
            approval_code: None,
        };
        let said = |class, number: Option<&str>, sen: Option<i64>| RefundReply {
            class,
            partner_refund_no: number.map(str::to_owned),
            amount: sen.map(Sen::new),
            ..RefundReply::unknown("")
        };
        let end = |class, number, sen| end_of_refund(&asked, &said(class, number, sen));
        assert_eq!(end(ReplyClass::Success, Some("R1"), Some(100_000)), Ended::Done);
        assert_eq!(end(ReplyClass::Success, Some("R2"), Some(100_000)), Ended::Unknown);
        assert_eq!(end(ReplyClass::Success, Some("R1"), Some(1_000)), Ended::Unknown);
        assert_eq!(end(ReplyClass::Success, Some("R1"), None), Ended::Unknown);
        assert_eq!(end(ReplyClass::Refusal, None, None), Ended::Refused);
        for class in [ReplyClass::AlreadyDone, ReplyClass::Inconsistent, ReplyClass::Stop, ReplyClass::Unknown] {
            assert_eq!(end(class, Some("R1"), Some(100_000)), Ended::Unknown);
        }
    }
}
