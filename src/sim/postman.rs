//! The provider's own messenger: notifications to the merchant, signed as merchants found them to be, or lost, tripled, out of
//! order and forged, as a script has it. What a notification claims changes nothing in this world.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::lock;
use super::grammar::FaultKind;
use super::payment::Given;
use super::snap;
use super::world::World;

/// Attempts to hand over one notification, as DOKU documents them.
const ATTEMPTS: usize = 3;
/// Longest wait for the merchant's answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What no merchant's key signs.
const NO_SIGNATURE: &str = "0000000000000000000000000000000000000000";
const ISSUER_ID: &str = "9360050110001187249";
const MERCHANT_PAN: &str = "936008990000047435";

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
    partner_reference_no: String,
    amount_sen: i64,
}

impl Notice {
    /// The notification that this answer brings along, if it plays one.
    pub(super) fn of(given: &Given<'_>) -> Option<Self> {
        let kind = given.answer.plays?;
        let is_noticed = matches!(
            kind,
            FaultKind::NotificationBeforeResponse
                | FaultKind::NotificationThrice
                | FaultKind::NotificationReordered
                | FaultKind::NotificationForged
        );
        is_noticed.then(|| Self {
            kind,
            partner_reference_no: given.payment.partner_reference_no.clone(),
            amount_sen: given.payment.expected_sen,
        })
    }
}

/// Delivers what leaves with an answer. Only the notification that comes before the response is waited for.
pub(super) async fn deliver(world: &Arc<World>, client_id: &str, notice: Option<Notice>) {
    let Some((notice, postbox)) =
        notice.and_then(|notice| Some((notice, lock(&world.postboxes).get(client_id)?.clone())))
    else {
        return;
    };
    if notice.kind == FaultKind::NotificationBeforeResponse {
        hand_over(&postbox, &said(&postbox, &notice, "S", true), 0).await;
        return;
    }
    tokio::spawn(async move {
        let success = said(&postbox, &notice, "S", notice.kind != FaultKind::NotificationForged);
        hand_over(&postbox, &success, 0).await;
        if notice.kind == FaultKind::NotificationThrice {
            hand_over(&postbox, &success, 1).await;
            hand_over(&postbox, &success, 2).await;
        }
        if notice.kind == FaultKind::NotificationReordered {
            hand_over(&postbox, &said(&postbox, &notice, "F", true), 0).await;
        }
    });
}

/// The query string of a notification. A forged one claims ten times the amount.
fn said(postbox: &Postbox, notice: &Notice, status: &str, is_signed: bool) -> String {
    // Whoever fails first was tried first: the older notification bears the earlier time.
    let (txn_date, invoice) = (if status == "S" { "20261120100001" } else { "20261120100000" }, "10093868");
    let mut amount = String::new();
    snap::push_amount(&mut amount, if is_signed { notice.amount_sen } else { notice.amount_sen.saturating_mul(10) });
    let words = if is_signed {
        let text = [ISSUER_ID, txn_date, MERCHANT_PAN, invoice, &postbox.shared_key].concat();
        hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
    } else {
        NO_SIGNATURE.to_owned()
    };
    let mut query = String::with_capacity(256);
    for (name, value) in [
        ("WORDS", words.as_str()),
        ("INVOICE", invoice),
        ("TRANSACTIONID", &notice.partner_reference_no),
        ("AMOUNT", &amount),
        ("TXNDATE", txn_date),
        ("MERCHANTPAN", MERCHANT_PAN),
        ("CUSTOMERNAME", "YURI+PRAMANA"),
        ("TXNSTATUS", status),
        ("ISSUERID", ISSUER_ID),
    ] {
        let separator = if query.is_empty() { "" } else { "&" };
        write!(query, "{separator}{name}={value}").unwrap_or_default();
    }
    query
}

/// Tries one merchant's address after the other, from the `first` on, until somebody took it.
async fn hand_over(postbox: &Postbox, query: &str, first: usize) {
    let addresses = postbox.addresses.iter().copied().cycle().skip(first);
    for address in addresses.take(ATTEMPTS) {
        let taken = tokio::time::timeout(PATIENCE, post(address, &postbox.path, query)).await;
        if matches!(taken, Ok(Ok(true))) {
            return;
        }
    }
    tracing::debug!("a simulated notification was not taken");
}

async fn post(address: SocketAddr, path: &str, query: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("POST {path}?{query} HTTP/1.1\r\nhost: merchant\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
