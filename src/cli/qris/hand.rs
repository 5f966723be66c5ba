//! What the commands by hand print, and how they end.

use serde::Serialize;

use crate::{
    cli::{
        exit::Exit,
        output::{or_dash, table},
    },
    engine::by_hand::{HandReply, RawRefundReply},
    providers::{ByHandReply, Ended},
};

/// A call whose end nobody knows is the provider's silence; a refusal is a failure.
pub(super) const fn exit(ended: Ended) -> Exit {
    match ended {
        Ended::Done => Exit::Clean,
        Ended::Refused => Exit::Failed,
        Ended::Unknown => Exit::Unavailable,
    }
}

const fn word(ended: Ended) -> &'static str {
    match ended {
        Ended::Done => "done",
        Ended::Refused => "refused; nothing was done",
        Ended::Unknown => "UNKNOWN: query before you try again",
    }
}

/// A call's answer as a card.
pub(super) fn told(reply: &HandReply<ByHandReply>) -> String {
    let said = &reply.said;
    let rows = [
        ("referenceNo", said.reference_no.clone()),
        ("qrContent", said.qr_content.clone()),
        ("merchantName", said.merchant_name.clone()),
        ("amount", said.amount.map(|sen| sen.to_string())),
        ("fee", said.fee_amount.map(|sen| sen.to_string())),
        ("approvalCode", said.approval_code.clone()),
        ("cancelTime", said.cancel_time.clone()),
        ("doubt", said.doubt.clone()),
    ];
    card(reply, said.ended, said.response_code.as_ref(), rows.into_iter())
}

/// A raw refund's answer as a card.
pub(super) fn told_refund(reply: &HandReply<RawRefundReply>) -> String {
    let said = &reply.said;
    let rows = [
        ("partnerRefundNo", Some(said.partner_refund_no.clone())),
        ("refundNo", said.refund_no.clone()),
        ("amount", said.amount.map(|sen| sen.to_string())),
        ("doubt", said.doubt.clone()),
    ];
    card(reply, said.ended, said.response_code.as_ref(), rows.into_iter())
}

fn card<T: Serialize>(
    reply: &HandReply<T>,
    ended: Ended,
    response_code: Option<&String>,
    rows: impl Iterator<Item = (&'static str, Option<String>)>,
) -> String {
    let head = [
        ("end", Some(word(ended).to_owned())),
        ("HTTP status", Some(or_dash(reply.http_status))),
        ("responseCode", Some(or_dash(response_code))),
        ("X-EXTERNAL-ID", Some(or_dash(reply.external_id.as_ref()))),
    ];
    // A field that the service has not is not shown.
    let rows = head.into_iter().chain(rows).filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    let card = table(&["", ""], &[], rows);
    format!("{}\n{}\n\nBody, without personal data\n  {}", reply.account, card.trim(), reply.body)
}
