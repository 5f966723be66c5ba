//! The readers of what providers answer to a refund and to the demand for a token.

use rekon::{
    domain::reply::ReplyClass,
    providers::{Asked, providers, wire::HttpResponse},
};
use serde_json::value::RawValue;

use super::{Dice, fuzz, sen_of_token};
use crate::providers::account;

#[derive(serde::Deserialize)]
struct RefundBody<'a> {
    #[serde(borrow, rename = "refundAmount")]
    refund_amount: RefundAmount<'a>,
}

#[derive(serde::Deserialize)]
struct RefundAmount<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An answer to a refund, mostly about the payment that was asked for.
fn refund_body(dice: &mut Dice) -> String {
    const CODES: [&str; 10] = [
        "\"2007800\"",
        "\"2007800\"",
        "2007800",
        "\"2027800\"",
        "\"4037814\"",
        "\"4037800\"",
        "\"4097801\"",
        "\"4047818\"",
        "\"4037899\"",
        "\"5007800\"",
    ];
    let value = match dice.below(3) {
        0 => text(&dice.amount()),
        1 => format!("{}e{}", 1 + dice.below(9_999), dice.below(6)),
        _ => format!("{}.{}", 1 + dice.below(90_000_000), dice.digits(2)),
    };
    let mut fields = vec![
        format!("\"responseCode\":{}", dice.pick(&CODES)),
        format!(
            "\"refundAmount\":{{\"value\":{value},\"currency\":{}}}",
            dice.pick(&["\"IDR\"", "\"IDR\"", "\"USD\""])
        ),
        format!("\"originalPartnerReferenceNo\":{}", dice.pick(&["\"INV-1\"", "\"INV-1\"", "\"INV-2\"", "null"])),
        format!("\"partnerRefundNo\":{}", dice.pick(&["\"RF1\"", "\"RF1\"", "7", "\"\""])),
    ];
    if dice.once_in(2) {
        fields.push(format!("\"originalReferenceNo\":{}", dice.pick(&["\"R-1\"", "\"R-1\"", "\"R-2\""])));
    }
    if dice.once_in(3) {
        fields.push(format!("\"refundNo\":{}", text(&dice.word(40))));
    }
    if dice.once_in(4) {
        fields.push(format!("{}:{}", text(&dice.word(12)), text(&dice.word(40))));
    }
    let turn = dice.below(fields.len());
    fields.rotate_left(turn);
    format!("{{{}}}", fields.join(","))
}

#[test]
fn the_refund_reader_survives_reads_no_other_amount_and_hears_no_success_in_anything_else() {
    let accounts: Vec<_> = providers().iter().map(|known| account(*known, toml::Table::new())).collect();
    fuzz("refund answer", |dice| {
        let account = &accounts[dice.below(accounts.len())];
        let asked = Asked {
            partner_reference_no: "INV-1",
            reference_no: Some("R-1"),
            external_id: None,
            merchant_id: "2997",
            is_payout: false,
        };
        let body = refund_body(dice).into_bytes();
        let body = if dice.once_in(6) { dice.bent(body) } else { body };
        let status = match dice.below(8) {
            0 => 500,
            1 => 403,
            2 => 409,
            _ => 200,
        };
        let response = HttpResponse { status, headers: Vec::new(), body: body.clone() };
        let reply = account.provider.read_refund(account, &asked, &response).reply;
        if let (Some(amount), Ok(said)) = (reply.amount, serde_json::from_slice::<RefundBody<'_>>(&body)) {
            let token = said.refund_amount.value.get();
            assert_eq!(Some(i128::from(amount.sen())), sen_of_token(token), "{amount} was read from {token}");
        }
        let told = || String::from_utf8_lossy(&body).into_owned();
        let code = reply.response_code.as_deref().unwrap_or_default();
        if reply.class == ReplyClass::Success {
            assert!(code.starts_with("200") && code.ends_with("00"), "{code} is no success: {}", told());
            assert!(matches!(status, 200 | 409), "HTTP {status} is no success: {}", told());
        }
        if matches!(reply.class, ReplyClass::Refusal | ReplyClass::Closed) {
            assert!(code.starts_with("403") || code.starts_with("404"), "{code} is no definite no: {}", told());
        }
        if let Ok(serde_json::Value::Object(said)) = serde_json::from_slice(&body) {
            let names = |key: &str, wrong: &str| said.get(key).and_then(|v| v.as_str()) == Some(wrong);
            let is_other = names("originalPartnerReferenceNo", "INV-2") || names("originalReferenceNo", "R-2");
            assert!(!is_other || reply.class != ReplyClass::Success, "of another payment: {}", told());
        }
        reply.class != ReplyClass::Unknown
    });
}

#[test]
fn the_token_reader_survives_and_takes_no_token_that_is_not_there() {
    let accounts: Vec<_> = providers().iter().map(|known| account(*known, toml::Table::new())).collect();
    fuzz("token answer", |dice| {
        let account = &accounts[dice.below(accounts.len())];
        let token = if dice.once_in(6) { dice.word(60) } else { format!("eyJ{}", dice.digits(60)) };
        let life = dice.pick(&["\"900\"", "900", "\"900\"", "0", "-1", "\"x\"", "99999999999", "null", "1e3"]);
        let code = dice.pick(&["\"2007300\"", "\"2007300\"", "\"4017300\"", "null"]);
        let token_text = if dice.once_in(12) { "7".to_owned() } else { text(&token) };
        let body = format!(
            "{{\"responseCode\":{code},\"accessToken\":{token_text},\"tokenType\":\"Bearer\",\"expiresIn\":{life}}}"
        );
        let body = if dice.once_in(6) { dice.bent(body.into_bytes()) } else { body.into_bytes() };
        let status = if dice.once_in(8) { 401 } else { 200 };
        let response = HttpResponse { status, headers: Vec::new(), body: body.clone() };
        let Ok(granted) = account.provider.read_token(&response) else { return false };
        assert_eq!(status, 200);
        assert!(granted.life_secs > 0 && !granted.token.is_empty());
        assert!(granted.token.bytes().all(|b| b.is_ascii_graphic()), "a header cannot carry it");
        // A bent key may still be read: names are looked for in another case, too.
        let said = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        match said.get("accessToken") {
            Some(serde_json::Value::String(there)) => assert_eq!(granted.token, there.trim()),
            Some(other) => assert_eq!(granted.token, other.to_string()),
            None => {}
        }
        true
    });
}
