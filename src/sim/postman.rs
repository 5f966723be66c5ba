//! Notifications that leave with a scripted answer: before the response, lost, tripled, out of order and forged, to whoever of
//! the merchant's processes is there. How DOKU spells one stands in `doku::notify`; `notifier` serves a caller's own story.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::lock;
use super::doku::notify::{Notice as Letter, Says};
use super::grammar::FaultKind;
use super::payment::Given;
use super::script::SimPayment;
use super::world::World;

/// Attempts to hand over one notification, as DOKU documents them.
const ATTEMPTS: usize = 3;
/// Longest wait for the merchant's answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a client's notifications go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Postbox {
    /// Those who take them in; each attempt goes to the next one.
    pub addresses: Vec<SocketAddr>,
    /// The path, such as `/notify/doku/main`.
    pub path: String,
    /// The key of WORDS.
    pub shared_key: String,
}

/// A notification that leaves with an answer.
#[derive(Debug)]
pub(super) struct Notice {
    kind: FaultKind,
    payment: SimPayment,
    at: DateTime<Utc>,
}

impl Notice {
    /// The notification that this answer, given at `at`, brings along, if it plays one.
    pub(super) fn of(given: &Given<'_>, at: DateTime<Utc>) -> Option<Box<Self>> {
        let kind = given.answer.plays?;
        let is_noticed = matches!(
            kind,
            FaultKind::NotificationBeforeResponse
                | FaultKind::NotificationThrice
                | FaultKind::NotificationReordered
                | FaultKind::NotificationForged
        );
        is_noticed.then(|| Box::new(Self { kind, payment: given.payment.clone(), at }))
    }
}

/// Delivers what leaves with an answer. Only the notification that comes before the response is waited for.
pub(super) async fn deliver(world: &Arc<World>, client_id: &str, notice: Option<Box<Notice>>) {
    let postbox = || lock(&world.postboxes).get(client_id).cloned();
    let Some((Notice { kind, payment, at }, postbox)) = notice.and_then(|notice| Some((*notice, postbox()?))) else {
        return;
    };
    let paid = Letter::about(&payment, Says::Paid, at, &postbox.shared_key);
    if kind == FaultKind::NotificationBeforeResponse {
        return hand_over(&postbox, &paid, 0).await;
    }
    tokio::spawn(async move {
        let paid = if kind == FaultKind::NotificationForged { paid.forged() } else { paid };
        hand_over(&postbox, &paid, 0).await;
        if kind == FaultKind::NotificationThrice {
            hand_over(&postbox, &paid, 1).await;
            hand_over(&postbox, &paid, 2).await;
        }
        if kind == FaultKind::NotificationReordered {
            // The customer's first, failed attempt.
            let before = at - TimeDelta::seconds(1);
            hand_over(&postbox, &Letter::about(&payment, Says::Failed, before, &postbox.shared_key), 0).await;
        }
    });
}

/// Tries one merchant's address after the other, from the `first` on, until somebody took it.
async fn hand_over(postbox: &Postbox, letter: &Letter, first: usize) {
    let addresses = postbox.addresses.iter().copied().cycle().skip(first);
    for address in addresses.take(ATTEMPTS) {
        let taken = tokio::time::timeout(PATIENCE, post(address, &postbox.path, letter)).await;
        if matches!(taken, Ok(Ok(true))) {
            return;
        }
    }
    tracing::debug!("a simulated notification was not taken");
}

async fn post(address: SocketAddr, path: &str, letter: &Letter) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let (query, body) = (letter.query(), letter.body());
    let request = format!(
        "POST {path}?{query} HTTP/1.1\r\nhost: merchant\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
