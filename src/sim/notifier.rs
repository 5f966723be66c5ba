//! Hands notifications over as a provider does: by POST to the merchant's URL, and again, three times in all, until he answers
//! `CONTINUE`. What is told stands in each provider's own file, when it is told in the caller's story.

use std::time::Duration;

use reqwest::{Client, StatusCode, header::CONTENT_TYPE};

use super::doku::notify::Notice;
use super::server::SimError;

/// How often one notification is sent at most.
const DELIVERIES_MAX: u32 = 3;
/// The pause before it is sent again. DOKU does not say how long it waits.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How long the merchant may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// DOKU's word for a notification that arrived.
const CONTINUE: &str = "CONTINUE";

/// The sender cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the sender of notifications cannot be built")]
pub struct NotifierError(#[source] reqwest::Error);

/// A sender to one merchant.
#[derive(Debug, Clone)]
pub struct Notifier {
    client: Client,
    url: String,
}

impl Notifier {
    /// A sender to this URL. The process must have chosen its TLS provider before, as for every `reqwest` client.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(url: String) -> Result<Self, SimError> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().map_err(NotifierError)?;
        Ok(Self { client, url })
    }

    /// Sends a notification until it is taken; false when it never was.
    pub async fn deliver(&self, notice: &Notice) -> bool {
        for delivery in 1..=DELIVERIES_MAX {
            if self.is_taken(notice).await {
                return true;
            }
            if delivery < DELIVERIES_MAX {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
        false
    }

    async fn is_taken(&self, notice: &Notice) -> bool {
        let url = format!("{}?{}", self.url, notice.query());
        let sent = self.client.post(url).header(CONTENT_TYPE, "application/json").body(notice.body()).send().await;
        let Ok(answer) = sent else { return false };
        let status = answer.status();
        status == StatusCode::OK && answer.text().await.is_ok_and(|text| text.trim() == CONTINUE)
    }
}
