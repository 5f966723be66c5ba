//! Does an account work, and what about its provider is only believed? One harmless question about a payment that does not
//! exist tells whether a token can be had, a signature is accepted, and the clocks agree.

use std::time::Duration;

use serde::Serialize;

use crate::{
    domain::{observation::Observation, order::secs_between, profile::RefundRepeat},
    engine::{
        Ctx, EngineError,
        ask_raw::{self, RawQuestion, RawReply},
        runtime::AccountRuntime,
    },
    providers::{self, ProviderProfile, profile::TokenUse},
    store::limits::CallClass,
};

/// Clocks further apart than this are a finding: SNAP gateways refuse timestamps that are some minutes off.
const CLOCK_OFF_SECS: i64 = 60;

/// How a step of the check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// This provider has no such step.
    NoneNeeded,
    /// The configuration or the provider's records must be mended.
    Wrong,
    /// The provider is not there, or not well.
    Unavailable,
    /// Not reached, or the answer does not tell.
    Unknown,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `token`, `signature`, `clock` or `query`.
    pub step: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; empty where nothing is to be done.
    pub fix: &'static str,
}

/// The whole check.
#[derive(Debug, Clone, Serialize)]
pub struct AccountCheck {
    /// The account.
    pub account: String,
    /// Its provider.
    pub provider: String,
    /// Where it was asked.
    pub host: String,
    /// A host of the sandbox, or this machine.
    pub is_sandbox: bool,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// What no document and no test of ours proves.
    pub unproven: Vec<String>,
    /// The answer that the steps were read from.
    pub reply: RawReply,
}

impl AccountCheck {
    /// Is there a step with this verdict?
    pub fn has(&self, verdict: Verdict) -> bool {
        self.steps.iter().any(|step| step.verdict == verdict)
    }
}

/// Checks an account. `None`: no call was granted in `patience`.
///
/// # Errors
/// The database.
pub async fn check(
    ctx: &Ctx,
    account: &AccountRuntime,
    patience: Duration,
) -> Result<Option<AccountCheck>, EngineError> {
    // Letters and digits alone, within every provider's lengths; the time makes it nobody's.
    let nobody = format!("REKONCHECK{}", ctx.clock.now().timestamp());
    let question = RawQuestion {
        reference_no: Some(nobody.clone()),
        external_id: Some(nobody.clone()),
        partner_reference_no: nobody,
        by_status: false,
    };
    let Some(reply) = ask_raw::ask(ctx, account, &question, CallClass::Adhoc, patience).await? else {
        return Ok(None);
    };
    let known = account.client.account();
    Ok(Some(AccountCheck {
        account: account.name.clone(),
        provider: known.profile.rules.provider.clone(),
        host: known.host.clone(),
        is_sandbox: known.is_sandbox(),
        steps: vec![token(known.profile.tokens, &reply), signature(&reply), clock(&reply), query(&reply)],
        unproven: unproven(&known.profile),
        reply,
    }))
}

fn said(reply: &RawReply) -> String {
    let code = reply.answer.response_code.as_deref().unwrap_or("none");
    match (reply.http_status, reply.failure) {
        (Some(status), _) => format!("HTTP {status}, responseCode {code}"),
        (None, Some(failure)) => format!("no answer: {failure}"),
        (None, None) => "an answer that could not be read".to_owned(),
    }
}

const CALL_PROVIDER: &str = "see the provider's status page and the network to its host; run it again";

fn token(tokens: TokenUse, reply: &RawReply) -> Step {
    let step = |verdict, seen: String, fix| Step { step: "token", verdict, seen, fix };
    if tokens == TokenUse::None {
        return step(Verdict::NoneNeeded, "this provider has none: every call is signed by itself".to_owned(), "");
    }
    if reply.external_id.is_some() {
        return step(Verdict::Fine, "a token was granted".to_owned(), "");
    }
    match (reply.is_unauthorised, reply.failure) {
        (true, _) => step(
            Verdict::Wrong,
            "the provider refused a token".to_owned(),
            "compare client_id and private_key with the public key registered at the provider, and this machine's clock",
        ),
        (false, Some(_)) => step(Verdict::Unavailable, said(reply), CALL_PROVIDER),
        (false, None) => step(
            Verdict::Wrong,
            "the provider's answer grants no token".to_owned(),
            "compare base_url, the profile's operations.token.path, client_id and private_key with the provider's papers",
        ),
    }
}

fn signature(reply: &RawReply) -> Step {
    let step = |verdict, seen: String, fix| Step { step: "signature", verdict, seen, fix };
    match (reply.external_id.is_some(), reply.is_unauthorised, reply.failure) {
        (false, ..) => step(Verdict::Unknown, "no request was signed: there is no token".to_owned(), ""),
        (true, true, _) => step(
            Verdict::Wrong,
            said(reply),
            "compare client_secret (symmetric) or private_key (asymmetric) and the profile's auth and paths with the provider's papers",
        ),
        (true, false, Some(_)) => step(Verdict::Unknown, said(reply), CALL_PROVIDER),
        (true, false, None) => step(Verdict::Fine, "the provider did not refuse it".to_owned(), ""),
    }
}

fn clock(reply: &RawReply) -> Step {
    let step = |verdict, seen: String, fix| Step { step: "clock", verdict, seen, fix };
    let Some(theirs) = reply.provider_time else {
        return step(Verdict::Unknown, "the answer has no Date header".to_owned(), "");
    };
    let ahead = secs_between(theirs, reply.at);
    let seen = format!("ours is {ahead} s ahead of the provider's");
    if ahead.abs() > CLOCK_OFF_SECS {
        step(Verdict::Wrong, seen, "set the clock of the database's machine by NTP: signatures carry its time")
    } else {
        step(Verdict::Fine, seen, "")
    }
}

fn query(reply: &RawReply) -> Step {
    let step = |verdict, seen: String, fix| Step { step: "query", verdict, seen, fix };
    let doubt = reply.answer.doubt.as_deref().unwrap_or("none");
    match (reply.answer.observation, reply.failure) {
        _ if reply.external_id.is_none() => step(Verdict::Unknown, "not asked: there is no token".to_owned(), ""),
        (Observation::Absent, _) => step(Verdict::Fine, format!("{}: no such payment, as expected", said(reply)), ""),
        (_, Some(_)) if reply.is_unauthorised => step(Verdict::Unknown, said(reply), ""),
        (_, Some(_)) => step(Verdict::Unavailable, said(reply), CALL_PROVIDER),
        (Observation::Indeterminate, None) => step(
            Verdict::Unknown,
            format!("{}, doubt {doubt}", said(reply)),
            "a payment that does not exist is not answered as documented: read the body, and ask the provider what it means",
        ),
        (other, None) => step(
            Verdict::Wrong,
            format!("{} for a payment that does not exist", other.as_str()),
            "do not use this account: its answers are not about the payment that was asked about",
        ),
    }
}

/// What a profile only assumes: no document says it, or nobody has tried it.
pub fn unproven(profile: &ProviderProfile) -> Vec<String> {
    let assumed = profile.rules.status.iter().filter(|(_, meaning)| meaning.note.starts_with("assumed"));
    let mut unproven: Vec<String> = assumed
        .map(|(code, meaning)| format!("status {code} is {}: {}", meaning.means.as_str(), meaning.note))
        .collect();
    match &profile.rules.refund {
        None => unproven.push("refunds: not by API here; a person returns money by the provider's own way".to_owned()),
        Some(refund) if refund.repeat == RefundRepeat::Unproven => unproven.push(
            "refund_repeat: no document says what a repeated partnerRefundNo does, so a refund of unknown fate is never sent \
             again; prove it in the sandbox, then set refund_repeat = \"safe\" for the account"
                .to_owned(),
        ),
        Some(_) => {}
    }
    let adapter = providers::provider(&profile.rules.provider);
    unproven.extend(adapter.map_or(&[][..], |known| known.unproven()).iter().map(|text| (*text).to_owned()));
    if !profile.rules.paid_time_trusted {
        unproven.push("paidTime: its zone is in doubt, so it never dates money".to_owned());
    }
    unproven
}
