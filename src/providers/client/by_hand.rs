//! A person's calls on an account's line, and the end of a cancelled order's QR: each made once, counted like all others, and
//! never repeated from here.

use super::{
    AccountClient, CallError, CallKind, Denied, Failure, Meta, NO_TOKEN, Permit, failure, meta, redact, response_code,
    token_failure,
};
use crate::providers::{
    BuildError, ByHand, ByHandReply, Call, CustomerGrant, CustomerToken, Service, by_hand::Cancel, token::TokenError,
};

/// The end of a call by hand.
#[derive(Debug, Clone)]
pub struct ByHandResult {
    /// What was said.
    pub reply: ByHandReply,
    /// The body as it came, with our secrets out.
    pub raw: Vec<u8>,
    /// What stood around it.
    pub meta: Meta,
    /// For the breaker.
    pub failure: Option<Failure>,
}

impl AccountClient {
    /// Makes one call for a person, once. What pays or cancels is refused outside the sandbox before anything leaves.
    pub async fn by_hand<P: Permit>(&self, asked: &ByHand<'_>, permit: &P) -> Result<ByHandResult, CallError> {
        self.account.endpoint(asked.service())?;
        if asked.is_risky() && !self.account.is_sandbox() {
            return Err(BuildError::NotSandbox(asked.service()).into());
        }
        self.once(asked, permit).await
    }

    /// Ends an unpaid QR, once. Whether that is wanted, the profile and the order have said.
    pub async fn cancel_qr<P: Permit>(&self, asked: Cancel<'_>, permit: &P) -> Result<ByHandResult, CallError> {
        self.once(&ByHand::Cancel(asked), permit).await
    }

    async fn once<P: Permit>(&self, asked: &ByHand<'_>, permit: &P) -> Result<ByHandResult, CallError> {
        let (account, provider) = (&*self.account, self.account.provider);
        account.endpoint(asked.service())?;
        // Written once for nobody: what cannot be built costs neither a token nor a call.
        let customer_token = asked.customer_token();
        let nobodys = Call { token: Some("-"), customer_token, external_id: "1", at: (self.clock)() };
        provider.by_hand_request(account, asked, &nobodys)?;
        let unanswered = |doubt: &str, meta, failure| ByHandResult {
            reply: ByHandReply::unknown(doubt),
            raw: Vec::new(),
            meta,
            failure,
        };
        let token = match self.token(permit).await {
            Ok(token) => token,
            Err(TokenError::Denied) => return Err(Denied.into()),
            Err(error) => return Ok(unanswered(NO_TOKEN, Meta::default(), token_failure(&error))),
        };
        let sent = self
            .send(token.as_ref(), CallKind::ByHand, permit, |call| {
                provider.by_hand_request(account, asked, &Call { customer_token, ..*call })
            })
            .await?;
        let response = match sent.response {
            Ok(response) => response,
            Err(error) => {
                let meta = Meta { call_id: Some(sent.call_id), ..Meta::default() };
                return Ok(unanswered(error.as_str(), meta, Some(Failure::Transport(error))));
            }
        };
        let reply = provider.read_by_hand(asked, &response);
        let secrets: Vec<&str> = customer_token.into_iter().collect();
        Ok(ByHandResult {
            failure: failure(response.status, response_code(reply.response_code.as_ref())),
            meta: meta(&response, Vec::new(), sent.call_id),
            raw: redact(self.without_secrets(response.body, token.as_ref()), &secrets),
            reply,
        })
    }

    /// Asks for a customer's token, once. Nothing keeps it here.
    pub async fn customer_token<P: Permit>(
        &self,
        grant: CustomerGrant<'_>,
        permit: &P,
    ) -> Result<CustomerToken, TokenError> {
        let provider = self.account.provider;
        let unbuildable = |error: BuildError| TokenError::Unbuildable(error.to_string());
        self.account.endpoint(Service::CustomerToken).map_err(unbuildable)?;
        permit.call(CallKind::Token).await.map_err(|Denied| TokenError::Denied)?;
        let request = provider.customer_token_request(&self.account, grant, (self.clock)()).map_err(unbuildable)?;
        let response = self.transport.send(request, self.account.timeout).await.map_err(TokenError::Transport)?;
        provider.read_customer_token(&response)
    }
}
