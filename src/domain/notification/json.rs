//! The two notifications that DOKU sends as one JSON body: the one of its own API ("non-SNAP") and SNAP BI's service 52. What
//! they say is a hint to ask, as all that is told unasked; both are signed over the whole body, elsewhere.
//!
//! Sources: DOKU's documentation of HTTP notifications (service, order, transaction) and its list of non-SNAP statuses (FAILED
//! is not final there); ASPI, MPM, "payment notify" (`originalPartnerReferenceNo` is optional there and needed here). Refunds
//! may come in SNAP's shape with status 00: they are no payment.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Claim, NotificationError, Told, VALUE_MAX, check_reference, doubt, printable, text_of};
use crate::domain::{money::Sen, observation::Observation};

/// Reads DOKU's own JSON notification.
///
/// # Errors
/// [`NotificationError`]: no JSON object, or no usable `order.invoice_number`.
pub fn read_json(body: &[u8]) -> Result<Told, NotificationError> {
    let Jokul { service, channel, order, transaction, emoney_payment } = object(body)?;
    let values = [
        &service.id,
        &channel.id,
        &order.invoice_number,
        &order.amount,
        &transaction.status,
        &transaction.date,
        &emoney_payment.approval_code,
    ];
    let [service, channel, reference, shown_amount, status, time, approval_code] = texts(values)?;
    check_reference("order.invoice_number", &reference)?;
    let amount = sen(order.amount.as_ref());
    let claim = match status.as_str() {
        _ if service != "QRIS" => Claim::doubtful(doubt::OTHER_SERVICE, amount),
        "SUCCESS" => Claim::paid(amount),
        "PENDING" => Claim::of(Observation::Open, amount),
        "FAILED" => Claim::of(Observation::Failed, amount),
        "EXPIRED" => Claim::of(Observation::Expired, amount),
        "REFUNDED" => Claim::of(Observation::Reversed, amount),
        _ => Claim::doubtful(doubt::UNKNOWN_STATUS, amount),
    };
    let redacted = json!({
        "service": service, "channel": channel, "invoice_number": reference, "amount": shown_amount, "status": status,
        "date": time, "approval_code": approval_code,
    });
    let currency = claim.amount.map(|_| "IDR".to_owned());
    Ok(Told { partner_reference_no: reference, claim, currency, status, time, redacted })
}

/// Reads SNAP BI's payment notification, service 52.
///
/// # Errors
/// [`NotificationError`]: no JSON object, or no usable `originalPartnerReferenceNo`.
pub fn read_snap(body: &[u8]) -> Result<Told, NotificationError> {
    let snap: Snap = object(body)?;
    let values = [
        &snap.original_partner_reference_no,
        &snap.original_reference_no,
        &snap.latest_transaction_status,
        &snap.transaction_status_desc,
        &snap.amount.value,
        &snap.amount.currency,
        &snap.additional_info.paid_time,
    ];
    let [reference, reference_no, status, description, shown_amount, currency, time] = texts(values)?;
    check_reference("originalPartnerReferenceNo", &reference)?;
    let amount = sen(snap.amount.value.as_ref());
    let refund = [
        &snap.refund_no,
        &snap.refund_amount,
        &snap.refund_reference_no,
        &snap.additional_info.refund_amount,
        &snap.additional_info.refund_reference_no,
    ];
    let is_refund = refund.into_iter().any(|value| !matches!(value, None | Some(Value::Null)));
    let claim = match status.as_str() {
        _ if is_refund => Claim::doubtful(doubt::CONTRADICTION, amount),
        "00" => Claim::paid(amount),
        "01" => Claim::of(Observation::Open, amount),
        "02" | "03" => Claim::of(Observation::InFlight, amount),
        "04" => Claim::of(Observation::Reversed, amount),
        "05" => Claim::of(Observation::Cancelled, amount),
        "06" => Claim::of(Observation::Failed, amount),
        "07" => Claim::of(Observation::Absent, amount),
        _ => Claim::doubtful(doubt::UNKNOWN_STATUS, amount),
    };
    let redacted = json!({
        "originalPartnerReferenceNo": reference, "originalReferenceNo": reference_no, "latestTransactionStatus": status,
        "transactionStatusDesc": description, "amount": {"value": shown_amount, "currency": currency}, "paidTime": time,
        "isRefund": is_refund,
    });
    let currency = Some(currency).filter(|text| !text.is_empty());
    Ok(Told { partner_reference_no: reference, claim, currency, status, time, redacted })
}

impl Claim {
    const fn of(observation: Observation, amount: Option<Sen>) -> Self {
        Self { observation, doubt: None, amount }
    }

    const fn doubtful(why: &'static str, amount: Option<Sen>) -> Self {
        Self { observation: Observation::Indeterminate, doubt: Some(why), amount }
    }

    /// Only with an amount is it a yes.
    const fn paid(amount: Option<Sen>) -> Self {
        match amount {
            Some(_) => Self::of(Observation::Paid, amount),
            None => Self::doubtful(doubt::AMOUNT, None),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Jokul {
    service: Named,
    channel: Named,
    order: Order,
    transaction: Transaction,
    emoney_payment: EmoneyPayment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    id: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Order {
    invoice_number: Option<Value>,
    amount: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transaction {
    status: Option<Value>,
    date: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EmoneyPayment {
    approval_code: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Snap {
    original_partner_reference_no: Option<Value>,
    original_reference_no: Option<Value>,
    latest_transaction_status: Option<Value>,
    transaction_status_desc: Option<Value>,
    amount: Amount,
    refund_no: Option<Value>,
    refund_amount: Option<Value>,
    refund_reference_no: Option<Value>,
    additional_info: AdditionalInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amount {
    value: Option<Value>,
    currency: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AdditionalInfo {
    paid_time: Option<Value>,
    refund_amount: Option<Value>,
    refund_reference_no: Option<Value>,
}

fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, NotificationError> {
    // A derived reader would take a JSON array for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotificationError::Json);
    }
    serde_json::from_slice(body).map_err(|_| NotificationError::Json)
}

/// The texts of values, without blanks around and without characters that no table should hold.
fn texts<const N: usize>(values: [&Option<Value>; N]) -> Result<[String; N], NotificationError> {
    let is_flat = |value: &Option<Value>| {
        !matches!(value, Some(Value::Array(_) | Value::Object(_)))
            && text_of(value.as_ref()).chars().count() <= VALUE_MAX
    };
    if !values.iter().all(|value| is_flat(value)) {
        return Err(NotificationError::Json);
    }
    Ok(values.map(|value| printable(text_of(value.as_ref()).trim())))
}

/// An amount from its token; a number may carry an exponent, a text may not.
fn sen(value: Option<&Value>) -> Option<Sen> {
    let amount = match value? {
        Value::String(text) => Sen::parse(text).ok(),
        Value::Number(number) => Sen::parse_number_token(&number.to_string()).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    amount.filter(|amount| amount.is_positive())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DOKU's documentation, "HTTP notification", as an e-money payment has it.
    const DOCUMENTED: &str = r#"{"service":{"id":"QRIS"},"acquirer":{"id":"DOKU"},"channel":{"id":"QRIS_DOKU"},
        "order":{"invoice_number":"INV-1","amount":20000},
        "transaction":{"status":"SUCCESS","date":"2026-11-20T03:24:23Z","original_request_id":"15022aab"},
        "emoney_payment":{"account_id":"93600911","approval_code":"328591"}}"#;
    /// Midtrans' published sample of a verified SNAP notification, with our reference.
    const SNAP: &str = r#"{"originalPartnerReferenceNo":"GP24043015193402809","originalReferenceNo":"A120240430081940S9vu8gSjaRID","merchantId":"G099333790","amount":{"value":"102800.00","currency":"IDR"},"latestTransactionStatus":"00","transactionStatusDesc":"SUCCESS","additionalInfo":{"refundHistory":[]}}"#;

    #[test]
    fn the_documented_samples_are_read() {
        let told = read_json(DOCUMENTED.as_bytes()).unwrap();
        assert_eq!(told.claim, Claim::paid(Some(Sen::rupiah(20_000))));
        assert_eq!((told.partner_reference_no.as_str(), told.status.as_str()), ("INV-1", "SUCCESS"));
        let told = read_snap(SNAP.as_bytes()).unwrap();
        assert_eq!(told.claim, Claim::paid(Some(Sen::rupiah(102_800))));
        assert_eq!(
            (told.partner_reference_no.as_str(), told.currency.as_deref()),
            ("GP24043015193402809", Some("IDR"))
        );
    }

    #[test]
    fn only_a_plain_yes_about_a_qris_payment_is_a_yes() {
        let json = |from: &str, to: &str| read_json(DOCUMENTED.replace(from, to).as_bytes()).unwrap().claim;
        assert_eq!(json("\"QRIS\"", "\"VIRTUAL_ACCOUNT\"").doubt, Some(doubt::OTHER_SERVICE));
        assert_eq!(json("20000", "\"20.000,00\"").doubt, Some(doubt::AMOUNT));
        assert_eq!(json("20000", "2e4").amount, Some(Sen::rupiah(20_000)));
        assert_eq!(json("20000", "\"2e4\"").amount, None);
        assert_eq!(json("SUCCESS", "REFUNDED").observation, Observation::Reversed);
        assert_eq!(json("SUCCESS", "TIMEOUT").doubt, Some(doubt::UNKNOWN_STATUS));
        let snap = |from: &str, to: &str| read_snap(SNAP.replace(from, to).as_bytes()).unwrap().claim;
        assert_eq!(snap("\"00\"", "\"08\"").doubt, Some(doubt::UNKNOWN_STATUS));
        assert_eq!(snap("\"00\"", "\"06\"").observation, Observation::Failed);
        assert_eq!(
            snap("\"refundHistory\":[]", "\"refundAmount\":{\"value\":\"1.00\"}").doubt,
            Some(doubt::CONTRADICTION)
        );
    }

    #[test]
    fn what_is_no_notification_is_refused_with_its_reason() {
        let no = |body: &str| (read_json(body.as_bytes()).unwrap_err(), read_snap(body.as_bytes()).unwrap_err());
        let (json, snap) = no("{}");
        assert_eq!(json, NotificationError::Reference("order.invoice_number"));
        assert_eq!(snap, NotificationError::Reference("originalPartnerReferenceNo"));
        for body in ["", "[]", "{\"order\":[]}x", "{\"order\":{\"amount\":1,\"amount\":2},\"amount\":{},\"amount\":{}}"]
        {
            assert_eq!(no(body), (NotificationError::Json, NotificationError::Json), "{body}");
        }
    }
}
