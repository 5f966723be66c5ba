//! DOKU's notification "Notify QRIS" from the side that sends it (its successors: `sealed`): sixteen values in the URL, four in a JSON body, and WORDS,
//! the SHA-1 of four of the values and the shared key. Written from the document, apart from rekon's reader. Here are also
//! the notifications that DOKU would never send: a forger's, and a right signature that was copied to another payment.

use chrono::{DateTime, FixedOffset, Utc};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::json;

use super::super::script::SimPayment;
use super::super::snap::{self, WIB_OFFSET_SECS};

/// What a notification claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// `S`, and the words of success.
    Paid,
    /// `F`, and the words of failure.
    Failed,
    /// `S`, and the words of a refund: DOKU's own document shows such a pair.
    Contradiction,
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    partner_reference_no: String,
    reference_no: String,
    amount_sen: i64,
    says: Says,
    /// The four values that are signed.
    signed: [(&'static str, String); 4],
    words: String,
    /// By the provider, about this payment.
    is_genuine: bool,
}

impl Notice {
    /// What DOKU tells about a payment that happened at `at`, signed with the key that it shares with the merchant.
    pub fn about(payment: &SimPayment, says: Says, at: DateTime<Utc>, shared_key: &str) -> Self {
        let amount_sen = payment.script.last().and_then(|answer| answer.amount_sen).unwrap_or(payment.expected_sen);
        let invoice = payment.reference_no.get(..8).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(1);
        let signed = [
            ("ISSUERID", "93600014".to_owned()),
            ("TXNDATE", compact_wib(at)),
            ("MERCHANTPAN", "936008990000047435".to_owned()),
            ("INVOICE", invoice.to_string()),
        ];
        Self {
            partner_reference_no: payment.partner_reference_no.clone(),
            reference_no: payment.reference_no.clone(),
            amount_sen,
            says,
            words: words(&signed, shared_key),
            signed,
            is_genuine: true,
        }
    }

    /// The same by somebody who does not know the key.
    #[must_use]
    pub fn forged(self) -> Self {
        Self { words: words(&self.signed, "a key that nobody shares"), is_genuine: false, ..self }
    }

    /// This one's signature under another payment's name: WORDS covers neither reference nor amount nor status, so it
    /// stays right.
    #[must_use]
    pub fn copied_to(self, other: &SimPayment) -> Self {
        Self {
            partner_reference_no: other.partner_reference_no.clone(),
            reference_no: other.reference_no.clone(),
            amount_sen: other.expected_sen,
            is_genuine: false,
            ..self
        }
    }

    pub(super) fn partner_reference_no(&self) -> &str {
        &self.partner_reference_no
    }

    pub(super) fn reference_no(&self) -> &str {
        &self.reference_no
    }

    pub(super) const fn amount_sen(&self) -> i64 {
        self.amount_sen
    }

    pub(super) const fn says(&self) -> Says {
        self.says
    }

    pub(super) const fn is_genuine(&self) -> bool {
        self.is_genuine
    }

    /// When it happened, `yyyyMMddHHmmss`.
    pub(super) fn date(&self) -> &str {
        let [_, (_, date), ..] = &self.signed;
        date
    }

    /// Its number: the same however often it is sent.
    pub(super) fn number(&self) -> String {
        let said = format!("{} {:?} {} {}", self.partner_reference_no, self.says, self.date(), self.words);
        hex::encode(digest(&SHA256, said.as_bytes())).chars().take(32).collect()
    }

    /// The query string.
    pub fn query(&self) -> String {
        let status = if self.says == Says::Failed { "F" } else { "S" };
        let mut amount = String::new();
        snap::push_amount(&mut amount, self.amount_sen);
        let [issuer_id, txn_date, merchant_pan, invoice] = &self.signed;
        let pair = |(name, value): &(&'static str, String)| format!("{name}={}", escaped(value));
        let plain = |name: &'static str, value: &str| (name, value.to_owned());
        [
            &plain("WORDS", &self.words),
            &plain("ACQUIRER", "DOKU"),
            &plain("CUSTOMERPAN", "9360001430001187249"),
            invoice,
            &plain("TRANSACTIONID", &self.partner_reference_no),
            &plain("CONVENIENCEFEE", "C00000000"),
            &plain("TERMINALID", "A01"),
            &plain("ORIGIN", "INBOUND"),
            &plain("AMOUNT", &amount),
            txn_date,
            merchant_pan,
            &plain("REFERENCEID", &self.reference_no),
            &plain("CUSTOMERNAME", "JOHN DOE"),
            &plain("TXNSTATUS", status),
            &plain("ISSUERNAME", "BCA"),
            issuer_id,
        ]
        .map(pair)
        .join("&")
    }

    /// The JSON body.
    pub fn body(&self) -> String {
        let message = match self.says {
            Says::Paid => "Transaction is Success",
            Says::Failed => "Transaction is Failed",
            Says::Contradiction => "Transaction is Refunded",
        };
        json!({"transactionId": self.reference_no, "activityCode": "200", "message": message, "processDate": self.date()})
            .to_string()
    }
}

fn words(signed: &[(&'static str, String)], shared_key: &str) -> String {
    let text: String = signed.iter().map(|(_, value)| value.as_str()).chain([shared_key]).collect();
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// `yyyyMMddHHmmss` in WIB, without a zone.
fn compact_wib(at: DateTime<Utc>) -> String {
    let Some(wib) = FixedOffset::east_opt(WIB_OFFSET_SECS) else { return String::new() };
    at.with_timezone(&wib).format("%Y%m%d%H%M%S").to_string()
}

/// Percent-encoded as a form is: a blank is a plus.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paid(reference: &str, key: &str) -> Notice {
        let payment =
            SimPayment { reference_no: "2fad011b0450b4e7".to_owned(), ..SimPayment::exact(reference, 120_050) };
        let at = snap::parse_timestamp("2026-11-20T16:05:09+07:00").unwrap();
        Notice::about(&payment, Says::Paid, at, key)
    }

    #[test]
    fn words_is_the_sha1_that_sha1sum_prints() {
        // printf %s ISSUERID TXNDATE MERCHANTPAN INVOICE SHAREDKEY: sha1sum of coreutils, not this program.
        let signed = [("", "9360050110001187249".to_owned()), ("", "20241107195933".to_owned())];
        let signed = [&signed[..], &[("", "936008990000047435".to_owned()), ("", "10093868".to_owned())]].concat();
        assert_eq!(words(&signed, "SHAREDKEY"), "dd45527f418fd2438d6f19eba33bff492c3b110f");
    }

    #[test]
    fn values_are_escaped_and_the_date_is_wib() {
        let query = paid("INV 1/é&", "K").query();
        assert!(query.contains("TRANSACTIONID=INV+1%2F%C3%A9%26&"), "{query}");
        assert!(query.contains("AMOUNT=1200.50&TXNDATE=20261120160509&"), "{query}");
        assert_eq!(query.matches('=').count(), 16, "{query}");
    }

    #[test]
    fn a_forger_has_another_signature_and_a_copier_the_same() {
        let genuine = paid("INV-1", "K");
        assert_ne!(genuine.clone().forged().words, genuine.words);
        let copied = genuine.clone().copied_to(&SimPayment::exact("INV-2", 7));
        assert_eq!((copied.words.as_str(), copied.signed.clone()), (genuine.words.as_str(), genuine.signed));
        assert!(copied.query().contains("TRANSACTIONID=INV-2&") && copied.query().contains("AMOUNT=0.07&"));
    }
}
