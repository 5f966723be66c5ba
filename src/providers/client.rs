//! An account on the line: signs, waits for leave, sends, reads. Every HTTP call, the token's too, goes through
//! [`Permit`] first, so that whoever counts calls counts all of them.
//!
//! A query whose token was refused is asked once more with a new one. A refund is never sent twice from here: its
//! repeats belong to the saga. Absent on purpose: waiting and trying again.

use std::{fmt, future::Future, sync::Arc};

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use super::{
    Account, Asked, BuildError, Call, Drift, ExternalIds, Service, Transport, TransportError,
    profile::TokenUse,
    seal::Seal,
    shelf::Shelf,
    token::{GrantedToken, Token, TokenCache, TokenError},
    wire::{HttpRequest, HttpResponse},
};
use crate::domain::{
    fact::Answer,
    reply::{RefundReply, ReplyClass},
    snap_code::{QueryClass, ResponseCode},
};

mod by_hand;

pub use by_hand::ByHandResult;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// A B2B token.
    Token,
    /// A payment's status.
    Query,
    /// A refund.
    Refund,
    /// A call that a person makes.
    ByHand,
}

impl CallKind {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Query => "query",
            Self::Refund => "refund",
            Self::ByHand => "by_hand",
        }
    }
}

/// No call is granted now; nothing has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call budget grants no call now")]
pub struct Denied;

/// Leave to make one call. Awaited right before each HTTP call, once for each.
pub trait Permit: Sync {
    /// Waits for, or refuses, one call of that kind.
    fn call(&self, kind: CallKind) -> impl Future<Output = Result<(), Denied>> + Send;

    /// How a call ended, once for each that says something about the provider. A query that was asked again, because its
    /// token was refused, is told by its second end alone; a token that was granted, by the call that it was fetched for.
    fn ended(&self, kind: CallKind, failure: Option<Failure>);
}

/// The wall clock, handed in by whoever owns time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How a call failed, as far as a circuit breaker cares: not 429, not a doubt, not an unknown code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer.
    Transport(TransportError),
    /// HTTP or response code 5xx.
    ServerError,
    /// HTTP or response code 401.
    Unauthorized,
}

impl Failure {
    /// The word for logs, metrics and the breaker's reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport(error) => error.as_str(),
            Self::ServerError => "server_error",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// What stood around a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The HTTP status; `None`: no answer.
    pub http_status: Option<u16>,
    /// Seconds to leave the provider alone: `Retry-After`, or a rate-limit header that says nothing is left.
    pub retry_after_secs: Option<i64>,
    /// The provider's clock.
    pub date: Option<DateTime<Utc>>,
    /// Harmless oddities of the body.
    pub drift: Vec<Drift>,
    /// The id of the last call, and its X-EXTERNAL-ID unless the account's is fixed; `None`: none was made.
    pub call_id: Option<String>,
}

/// The end of a query.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// What was said.
    pub answer: Answer,
    /// The body as it came, with our secrets out: the evidence. Empty where there was none.
    pub raw: Vec<u8>,
    /// What stood around it.
    pub meta: Meta,
    /// What went wrong on the way to an answer. The breaker goes by [`Permit::ended`], because one failed call for a token
    /// fails many queries.
    pub failure: Option<Failure>,
}

/// The end of one attempt of a refund.
#[derive(Debug, Clone)]
pub struct RefundResult {
    /// What was said.
    pub reply: RefundReply,
    /// The body as it came, with our secrets out.
    pub raw: Vec<u8>,
    /// What stood around it.
    pub meta: Meta,
    /// What went wrong on the way to an answer. The breaker goes by [`Permit::ended`], because one failed call for a token
    /// fails many queries.
    pub failure: Option<Failure>,
    /// The refund's request surely never reached the provider.
    pub is_unsent: bool,
}

/// The query or the refund was not sent; at most a token was fetched.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not now.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Not like this.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// An account with its token, ids and clock. One per account and process.
pub struct AccountClient {
    account: Arc<Account>,
    transport: Arc<Transport>,
    ids: Arc<ExternalIds>,
    clock: Clock,
    tokens: TokenCache,
}

impl fmt::Debug for AccountClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountClient").field("account", &self.account.name).finish_non_exhaustive()
    }
}

/// One HTTP call's end, before anybody reads it.
struct Sent {
    call_id: String,
    response: Result<HttpResponse, TransportError>,
}

impl AccountClient {
    /// Puts an account on the line.
    pub fn new(account: Arc<Account>, transport: Arc<Transport>, ids: Arc<ExternalIds>, clock: Clock) -> Self {
        Self { account, transport, ids, clock, tokens: TokenCache::default() }
    }

    /// Shares its token with other processes of the account by way of `shelf`. An account without a client secret, or whose
    /// tokens are good for one call, has nothing to share.
    #[must_use]
    pub fn sharing(mut self, shelf: Arc<dyn Shelf>) -> Self {
        let seal = Seal::of(&self.account).filter(|_| self.account.profile.tokens == TokenUse::Cached);
        if let Some(seal) = seal {
            self.tokens = TokenCache::shared(shelf, seal);
        }
        self
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// What is asked about one payment, with this account's merchant. For a payout, set `is_payout`.
    pub fn asked<'a>(
        &'a self,
        partner_reference_no: &'a str,
        reference_no: Option<&'a str>,
        external_id: Option<&'a str>,
    ) -> Asked<'a> {
        let merchant_id = &self.account.merchant_id;
        Asked { partner_reference_no, reference_no, external_id, merchant_id, is_payout: false }
    }

    /// Asks about one payment. An answer that could not be had or believed is INDETERMINATE, never an error.
    pub async fn query<P: Permit>(&self, asked: &Asked<'_>, permit: &P) -> Result<QueryResult, CallError> {
        // No token is fetched for what cannot be asked.
        self.account.endpoint(self.account.inquiry_of(asked))?;
        let token = match self.token(permit).await {
            Ok(token) => token,
            Err(TokenError::Denied) => return Err(Denied.into()),
            Err(error) => return Ok(without_token(&error)),
        };
        let first = self.query_once(asked, token.as_ref(), permit).await?;
        let is_token_refused = response_code(first.answer.response_code.as_ref())
            .is_some_and(|code| code.query_class() == QueryClass::TokenInvalid);
        let Some(refused) = token.filter(|_| is_token_refused) else {
            permit.ended(CallKind::Query, first.failure);
            return Ok(first);
        };
        self.tokens.drop_refused(&refused).await;
        let Ok(fresh) = self.token(permit).await else { return Ok(first) };
        match self.query_once(asked, fresh.as_ref(), permit).await {
            Err(CallError::Denied(Denied)) => Ok(first),
            Ok(second) => {
                permit.ended(CallKind::Query, second.failure);
                Ok(second)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends one attempt of a refund: `body` is what `refund_body` gave when its number was minted. A refused token is
    /// dropped and the attempt is over; nothing was done, so the saga sends the same number again.
    pub async fn refund<P: Permit>(
        &self,
        asked: &Asked<'_>,
        body: &str,
        permit: &P,
    ) -> Result<RefundResult, CallError> {
        self.account.endpoint(Service::Refund)?;
        let token = match self.token(permit).await {
            Ok(token) => token,
            Err(TokenError::Denied) => return Err(Denied.into()),
            Err(error) => return Ok(refund_without_token(&error)),
        };
        let sent = self
            .send(token.as_ref(), CallKind::Refund, permit, |call| {
                self.account.provider.refund_request(&self.account, body, call)
            })
            .await?;
        let response = match sent.response {
            Ok(response) => response,
            Err(error) => {
                permit.ended(CallKind::Refund, Some(Failure::Transport(error)));
                return Ok(refund_unanswered(error, sent.call_id));
            }
        };
        let reading = self.account.provider.read_refund(&self.account, asked, &response);
        let code = response_code(reading.reply.response_code.as_ref());
        if let Some(token) = &token
            && code.is_some_and(|code| code.query_class() == QueryClass::TokenInvalid)
        {
            self.tokens.drop_refused(token).await;
        }
        let failure = failure(response.status, code);
        permit.ended(CallKind::Refund, failure);
        Ok(RefundResult {
            failure,
            meta: meta(&response, reading.drift, sent.call_id),
            raw: self.without_secrets(response.body, token.as_ref()),
            reply: reading.reply,
            is_unsent: false,
        })
    }

    async fn query_once<P: Permit>(
        &self,
        asked: &Asked<'_>,
        token: Option<&Arc<Token>>,
        permit: &P,
    ) -> Result<QueryResult, CallError> {
        let sent = self
            .send(token, CallKind::Query, permit, |call| {
                self.account.provider.query_request(&self.account, asked, call)
            })
            .await?;
        let response = match sent.response {
            Ok(response) => response,
            Err(error) => {
                return Ok(QueryResult {
                    answer: Answer::indeterminate(error.as_str()),
                    raw: Vec::new(),
                    meta: Meta { call_id: Some(sent.call_id), ..Meta::default() },
                    failure: Some(Failure::Transport(error)),
                });
            }
        };
        let reading = self.account.provider.read_query(&self.account, asked, &response);
        Ok(QueryResult {
            failure: failure(response.status, response_code(reading.answer.response_code.as_ref())),
            meta: meta(&response, reading.drift, sent.call_id),
            raw: self.without_secrets(response.body, token),
            answer: reading.answer,
        })
    }

    /// Waits for leave, then builds and sends: the timestamp is that of the call, not of the wait.
    async fn send<P: Permit>(
        &self,
        token: Option<&Arc<Token>>,
        kind: CallKind,
        permit: &P,
        build: impl Fn(&Call<'_>) -> Result<HttpRequest, BuildError>,
    ) -> Result<Sent, CallError> {
        let make = || {
            let at = (self.clock)();
            let call_id = self.ids.next(at);
            let external_id = self.account.profile.fixed_external_id.as_ref().unwrap_or(&call_id);
            let token = token.map(|token| token.text.as_str());
            let request = build(&Call { token, customer_token: None, external_id, at })?;
            Ok::<_, BuildError>((request, call_id))
        };
        permit.call(kind).await?;
        let (request, call_id) = make()?;
        let response = self.transport.send(request, self.account.timeout).await;
        Ok(Sent { call_id, response })
    }

    async fn token<P: Permit>(&self, permit: &P) -> Result<Option<Arc<Token>>, TokenError> {
        match self.account.profile.tokens {
            TokenUse::Cached => self.tokens.get(|| self.fetch_token(permit)).await.map(Some),
            TokenUse::OneTime => Ok(Some(Token::one_time(self.fetch_token(permit).await?))),
            TokenUse::None => Ok(None),
        }
    }

    async fn fetch_token<P: Permit>(&self, permit: &P) -> Result<GrantedToken, TokenError> {
        permit.call(CallKind::Token).await.map_err(|Denied| TokenError::Denied)?;
        let provider = self.account.provider;
        let request = provider
            .token_request(&self.account, (self.clock)())
            .map_err(|error| TokenError::Unbuildable(error.to_string()))?;
        let response = self.transport.send(request, self.account.timeout).await.map_err(TokenError::Transport);
        let granted = response.and_then(|response| provider.read_token(&response));
        if let Err(error) = &granted {
            permit.ended(CallKind::Token, token_failure(error));
        }
        granted
    }

    /// The body without the tokens and the client secret, should the provider repeat them.
    fn without_secrets(&self, body: Vec<u8>, token: Option<&Arc<Token>>) -> Vec<u8> {
        let customer_token = self.account.customer_token.as_ref().map(ExposeSecret::expose_secret);
        let token = token.map(|token| token.text.as_str());
        let secrets: Vec<&str> =
            [Some(self.account.client_secret.expose_secret()), token, customer_token].into_iter().flatten().collect();
        redact(body, &secrets)
    }
}

/// A secret shorter than this could be part of any number; cutting it out would damage evidence.
const SHORTEST_SECRET: usize = 8;

fn redact(body: Vec<u8>, secrets: &[&str]) -> Vec<u8> {
    let holds = |text: &str| secrets.iter().any(|s| s.len() >= SHORTEST_SECRET && text.contains(s));
    match String::from_utf8(body) {
        Ok(text) if !holds(&text) => text.into_bytes(),
        Ok(text) => secrets
            .iter()
            .filter(|s| s.len() >= SHORTEST_SECRET)
            .fold(text, |text, secret| text.replace(secret, "***"))
            .into_bytes(),
        // No UTF-8 is no JSON: kept only as far as it reads, so that nothing can hide between broken bytes.
        Err(broken) => redact(String::from_utf8_lossy(broken.as_bytes()).into_owned().into_bytes(), secrets),
    }
}

fn response_code(digits: Option<&String>) -> Option<ResponseCode> {
    digits.and_then(|digits| ResponseCode::parse(digits))
}

fn failure(http_status: u16, code: Option<ResponseCode>) -> Option<Failure> {
    let is = |wanted: fn(u16) -> bool| wanted(http_status) || code.is_some_and(|code| wanted(code.http()));
    if is(|status| status >= 500) {
        Some(Failure::ServerError)
    } else if is(|status| status == 401) {
        Some(Failure::Unauthorized)
    } else {
        None
    }
}

fn meta(response: &HttpResponse, drift: Vec<Drift>, call_id: String) -> Meta {
    Meta {
        http_status: Some(response.status),
        retry_after_secs: response.retry_after_secs().or_else(|| response.exhausted_for_secs()),
        date: response.date(),
        drift,
        call_id: Some(call_id),
    }
}

/// The doubt of an answer that was never asked for, for want of a token.
const NO_TOKEN: &str = "no_token";

fn token_failure(error: &TokenError) -> Option<Failure> {
    match error {
        TokenError::Transport(error) => Some(Failure::Transport(*error)),
        TokenError::Refused { http_status, .. } if *http_status >= 500 => Some(Failure::ServerError),
        TokenError::Refused { http_status, response_code } => {
            let code = response_code.as_deref().and_then(ResponseCode::parse);
            failure(*http_status, code)
        }
        TokenError::Unreadable | TokenError::Denied | TokenError::Elsewhere | TokenError::Unbuildable(_) => None,
    }
}

fn without_token(error: &TokenError) -> QueryResult {
    QueryResult {
        answer: Answer::indeterminate(NO_TOKEN),
        raw: Vec::new(),
        meta: Meta::default(),
        failure: token_failure(error),
    }
}

fn refund_without_token(error: &TokenError) -> RefundResult {
    RefundResult {
        reply: RefundReply { class: ReplyClass::Later, ..RefundReply::unknown(NO_TOKEN) },
        raw: Vec::new(),
        meta: Meta::default(),
        failure: token_failure(error),
        is_unsent: true,
    }
}

/// A refund without an answer is unknown, unless the request surely never left: then it is for later.
fn refund_unanswered(error: TransportError, call_id: String) -> RefundResult {
    let class = if error.is_surely_unsent() { ReplyClass::Later } else { ReplyClass::Unknown };
    RefundResult {
        reply: RefundReply { class, ..RefundReply::unknown(error.as_str()) },
        raw: Vec::new(),
        meta: Meta { call_id: Some(call_id), ..Meta::default() },
        failure: Some(Failure::Transport(error)),
        is_unsent: error.is_surely_unsent(),
    }
}

#[cfg(test)]
mod tests;
