//! DOKU's own sample, the ways it reaches us, and what is refused. Whatever anybody else may send: `tests/it/fuzz.rs`.

use super::*;

/// The archived page's example values.
const SAMPLE: [(&str, &str); 16] = [
    ("WORDS", "fce4964b179b0d4ee1393613d0e1017860831fef"),
    ("ACQUIRER", "DOKU"),
    ("CUSTOMERPAN", "9360050110001187249"),
    ("INVOICE", "10093868"),
    ("TRANSACTIONID", "INVtestaccount07"),
    ("CONVENIENCEFEE", "C00000000"),
    ("TERMINALID", "A01"),
    ("ORIGIN", "INBOUND"),
    ("AMOUNT", "2000.00"),
    ("TXNDATE", "20241107195933"),
    ("MERCHANTPAN", "936008990000047435"),
    ("REFERENCEID", "17etne368279"),
    ("CUSTOMERNAME", "YURI+PRAMANA"),
    ("TXNSTATUS", "S"),
    ("ISSUERNAME", "QRIS+BCAD"),
    ("ISSUERID", "9360050110001187249"),
];
const BODY: &str = r#"{"transactionId":"DK0018353","activityCode":"200","message":"Transaction is Success","processDate":"2024-01-12'T'07:30:12"}"#;
const FORM: Option<&str> = Some("application/x-www-form-urlencoded; charset=utf-8");
const JSON: Option<&str> = Some("application/json");

fn encoded(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn sample_with(name: &str, value: &str) -> String {
    let pairs: Vec<_> = SAMPLE.iter().map(|pair| if pair.0 == name { (name, value) } else { *pair }).collect();
    encoded(&pairs)
}

#[test]
fn the_documents_sample_is_read_from_query_form_and_both() {
    let sample = encoded(&SAMPLE);
    let by_query = read(&sample, JSON, BODY.as_bytes()).unwrap();
    assert_eq!(by_query.partner_reference_no(), "INVtestaccount07");
    assert_eq!(by_query.value(Field::CustomerName), "YURI PRAMANA");
    let paid = Claim { observation: Observation::Paid, doubt: None, amount: Some(Sen::rupiah(2_000)) };
    assert_eq!(by_query.claim(), paid);
    let by_form = read("", FORM, sample.as_bytes()).unwrap();
    assert_eq!(by_form.claim(), paid);
    assert_eq!(read(&sample, FORM, sample.as_bytes()).unwrap(), by_form);
    assert_eq!(read("", None, sample.as_bytes()).unwrap(), by_form, "without a content type");
    assert_eq!(read(&sample, None, BODY.as_bytes()).unwrap(), by_query);
    assert_eq!(read(&sample, None, b"").unwrap(), by_form);
    assert_ne!(by_form.canonical(), by_query.canonical());
}

#[test]
fn what_is_no_notification_is_refused_with_its_reason() {
    let sample = encoded(&SAMPLE);
    let other = sample_with("AMOUNT", "1.00");
    for (query, kind, body, why) in [
        (sample.as_str(), FORM, other.as_bytes(), NotificationError::Conflict(Field::Amount)),
        ("TRANSACTIONID=a&transactionid=b", None, b"", NotificationError::Conflict(Field::TransactionId)),
        (sample.as_str(), Some("text/xml"), b"<a/>", NotificationError::ContentType),
        (sample.as_str(), Some("multipart/form-data; boundary=x"), b"--x", NotificationError::ContentType),
        (sample.as_str(), JSON, b"{\"message\":", NotificationError::Json),
        (sample.as_str(), JSON, b"[\"a\",\"b\",\"c\",\"d\"]", NotificationError::Json),
        (sample.as_str(), JSON, b"{\"message\":1,\"message\":2}", NotificationError::Json),
        (sample.as_str(), JSON, b"{\"message\":{}}", NotificationError::Json),
        ("AMOUNT=1", None, b"", NotificationError::Reference("TRANSACTIONID")),
        ("TRANSACTIONID=+", None, b"", NotificationError::Reference("TRANSACTIONID")),
        ("TRANSACTIONID=a%00b", None, b"", NotificationError::Reference("TRANSACTIONID")),
        ("TRANSACTIONID=%ff", None, b"", NotificationError::Encoding),
        ("TRANSACTIONID=a", FORM, &[0xff], NotificationError::Encoding),
    ] {
        assert_eq!(read(query, kind, body), Err(why), "{query} {kind:?}");
    }
    let long = format!("TRANSACTIONID=a&CUSTOMERNAME={}", "x".repeat(VALUE_MAX + 1));
    assert_eq!(read(&long, None, b""), Err(NotificationError::TooLong(Field::CustomerName)));
    let deep = format!("{{\"message\":{}", "[".repeat(100_000));
    assert_eq!(read(&sample, JSON, deep.as_bytes()), Err(NotificationError::Json));
}

#[test]
fn a_success_that_contradicts_itself_claims_nothing() {
    let claim = |status: &str, message: &str| {
        let body = json!({"activityCode": "200", "message": message}).to_string();
        let read = read(&sample_with("TXNSTATUS", status), JSON, body.as_bytes()).unwrap().claim();
        (read.observation, read.doubt)
    };
    assert_eq!(claim("S", "Transaction is Success"), (Observation::Paid, None));
    assert_eq!(claim("F", "Transaction is Failed"), (Observation::Failed, None));
    for (status, message) in [
        ("S", "Transaction is Refunded"),
        ("S", "Transaction is Failed"),
        ("S", "Success after Failure"),
        ("F", "Transaction is Success"),
    ] {
        assert_eq!(claim(status, message), (Observation::Indeterminate, Some(doubt::CONTRADICTION)), "{message}");
    }
    for status in ["", "s", "P", "00"] {
        assert_eq!(claim(status, ""), (Observation::Indeterminate, Some(doubt::UNKNOWN_STATUS)), "{status}");
    }
    for amount in ["", "0", "-1", "2.000,00", "1e3", "9999999999999999999"] {
        let read = read(&sample_with("AMOUNT", amount), None, b"").unwrap().claim();
        assert_eq!((read.observation, read.amount), (Observation::Indeterminate, None), "{amount}");
    }
}

#[test]
fn what_is_stored_names_no_customer() {
    let stored = read(&encoded(&SAMPLE), JSON, BODY.as_bytes()).unwrap();
    let text = format!("{} {stored:?}", stored.redacted());
    for hidden in ["YURI", "PRAMANA", "9360050110001187249", "fce4964b179b0d4ee1393613d0e1017860831fef"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    for kept in ["INVtestaccount07", "2000.00", "936008990000047435", "93600501***7249", "Transaction is Success"] {
        assert!(text.contains(kept), "no {kept} in {text}");
    }
    assert_eq!([masked("", 8, 4), masked("A", 1, 0), masked("Al", 1, 0)], ["***", "***", "A***"]);
}

#[test]
fn a_formula_names_fields_once_and_never_the_signature() {
    let documented = formula("issuer_id, txn_date,merchant_pan,invoice").unwrap();
    assert_eq!(documented, [Field::IssuerId, Field::TxnDate, Field::MerchantPan, Field::Invoice]);
    for refused in ["", "invoice,", "invoice,invoice", "INVOICE", "words", "invoice;amount"] {
        assert_eq!(formula(refused), None, "{refused}");
    }
}
