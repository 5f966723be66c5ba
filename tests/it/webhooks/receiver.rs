//! A merchant's endpoint: a real HTTP server that keeps what came and answers as it was told to.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::Value;
use tokio::sync::watch;

/// Longest wait for a message.
const PATIENCE: Duration = Duration::from_mins(1);

/// How it answers one message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Say {
    /// With a status.
    Status(u16),
    /// With a status and a header.
    With(u16, &'static str, &'static str),
    /// Not before it is let go.
    Hang,
}

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

impl Letter {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a message is JSON")
    }

    /// Would a receiver with this secret take it? By another library than rekon's.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("base64");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let mut given = self.signature.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        given.any(|tag| hmac::verify(&key, signed.as_bytes(), &tag).is_ok())
    }
}

#[derive(Debug)]
struct Shared {
    letters: Mutex<Vec<Letter>>,
    script: Mutex<VecDeque<Say>>,
    usual: Mutex<Say>,
    let_go: watch::Sender<bool>,
}

/// The endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    pub(crate) async fn open(usual: Say) -> Self {
        let shared = Arc::new(Shared {
            letters: Mutex::default(),
            script: Mutex::default(),
            usual: Mutex::new(usual),
            let_go: watch::Sender::new(false),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// Answers the next messages so, and then as before.
    pub(crate) fn script(&self, says: &[Say]) {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner).extend(says);
    }

    /// Answers every message so from now on.
    pub(crate) fn usually(&self, say: Say) {
        *self.shared.usual.lock().unwrap_or_else(PoisonError::into_inner) = say;
    }

    /// Answers what hangs, and hangs no more.
    pub(crate) fn let_go(&self) {
        self.shared.let_go.send_replace(true);
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.shared.letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many messages have come.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Letter> {
        let waiting = async {
            while self.letters().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        let letters = self.letters();
        assert!(waited.is_ok(), "{count} messages wanted, {} came: {letters:#?}", letters.len());
        letters
    }

    /// `[webhooks.NAME]` for it; more lines may follow.
    pub(crate) fn section(&self, name: &str, lines: &str) -> String {
        let url = format!("http://{}/hooks", self.address);
        format!("[webhooks.{name}]\nurl = \"{url}\"\nsecret = {{ env = \"HOOK_SECRET\" }}\n{lines}\n")
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let letter = Letter {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    shared.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    let scripted = shared.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let usual = *shared.usual.lock().unwrap_or_else(PoisonError::into_inner);
    let status = |code: u16| StatusCode::from_u16(code).expect("a status");
    match scripted.unwrap_or(usual) {
        Say::Status(code) => status(code).into_response(),
        Say::With(code, name, value) => (status(code), [(name, value)]).into_response(),
        Say::Hang => {
            let mut let_go = shared.let_go.subscribe();
            drop(let_go.wait_for(|is_free| *is_free).await);
            StatusCode::OK.into_response()
        }
    }
}
