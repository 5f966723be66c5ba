//! Hands notifications over as a provider does: by POST to the merchant's URL, and again, three times in all, until he answers
//! `CONTINUE`. What is told stands in each provider's own file, when it is told in the caller's story.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::sync::Mutex;

use super::doku::notify::Notice;
use super::doku::sealed::{Envelope, NoticeForm, Sealer};
use super::server::SimError;

/// How often one notification is sent at most.
const DELIVERIES_MAX: u32 = 3;
/// The pause before it is sent again. DOKU does not say how long it waits.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long the merchant may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// DOKU's word for a notification that arrived.
const CONTINUE: &str = "CONTINUE";
/// SNAP BI's code for one that arrived.
const NOTIFIED: &str = "2005200";
/// SNAP BI's code for a token that is no more.
const TOKEN_REFUSED: &str = "4015201";
/// Where the merchant gives tokens, below the URL of his notifications.
const TOKEN_PATH: &str = "/authorization/v1/access-token/b2b";

/// The sender cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the sender of notifications cannot be built")]
pub struct NotifierError(#[source] reqwest::Error);

/// A sender to one merchant.
#[derive(Debug, Clone)]
pub struct Notifier {
    client: Client,
    url: String,
    form: NoticeForm,
    /// The merchant's token, for as long as he takes it.
    token: Arc<Mutex<Option<String>>>,
}

impl Notifier {
    /// A sender to this URL, in the oldest form. The process must have chosen its TLS provider before, as for every `reqwest`
    /// client.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(url: String) -> Result<Self, SimError> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().map_err(NotifierError)?;
        Ok(Self { client, url, form: NoticeForm::Legacy, token: Arc::default() })
    }

    /// The same in another form.
    #[must_use]
    pub fn in_form(self, form: NoticeForm) -> Self {
        Self { form, ..self }
    }

    /// Sends a notification until it is taken; false when it never was.
    pub async fn deliver(&self, notice: &Notice) -> bool {
        for delivery in 1..=DELIVERIES_MAX {
            if self.is_taken(notice).await.unwrap_or(false) {
                return true;
            }
            if delivery < DELIVERIES_MAX {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
        false
    }

    /// One attempt; `None` where nobody answered.
    async fn is_taken(&self, notice: &Notice) -> Option<bool> {
        let (status, answer) = match &self.form {
            NoticeForm::Legacy => {
                let letter = Envelope { headers: Vec::new(), body: notice.body() };
                self.post(&format!("{}?{}", self.url, notice.query()), letter).await?
            }
            NoticeForm::Json(sealer) => self.post(&self.url, sealer.json(notice, now())).await?,
            NoticeForm::Snap(sealer) => {
                let token = self.merchants_token(sealer).await?;
                let (status, answer) = self.post(&self.url, sealer.snap(notice, now(), &token)).await?;
                if code_of(&answer) == TOKEN_REFUSED {
                    *self.token.lock().await = None;
                }
                return Some(status == StatusCode::OK && code_of(&answer) == NOTIFIED);
            }
        };
        Some(status == StatusCode::OK && answer.trim() == CONTINUE)
    }

    async fn merchants_token(&self, sealer: &Sealer) -> Option<String> {
        let mut kept = self.token.lock().await;
        if kept.is_none() {
            let url = format!("{}{TOKEN_PATH}", self.url);
            let (_, answer) = self.post(&url, sealer.token_request(now())).await?;
            let answer: Value = serde_json::from_str(&answer).ok()?;
            *kept = answer.get("accessToken").and_then(Value::as_str).map(str::to_owned);
        }
        kept.clone()
    }

    async fn post(&self, url: &str, letter: Envelope) -> Option<(StatusCode, String)> {
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(letter.body);
        let request = letter.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?))
    }
}

fn code_of(answer: &str) -> String {
    let document: Option<Value> = serde_json::from_str(answer).ok();
    document.and_then(|d| Some(d.get("responseCode")?.as_str()?.to_owned())).unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "a provider signs by its own clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
