//! What the door refuses, and with which code.

use rekon::sim::{CallBudget, Service, SimClient, SimOptions};
use serde_json::json;

use super::merchant::{
    CLIENT_ID, MERCHANT_ID, Merchant, QUERY_PATH, REFUND_PATH, SECRET, code, options, payment, query_body, refund_body,
    stage, timestamp,
};

#[tokio::test]
async fn a_well_signed_query_is_answered_with_numbers_and_padding_as_doku_prints_them() {
    let (_sim, merchant) = stage(options(), [payment("A1", 120_000)]).await;
    let letter = merchant.query_letter("A1");
    let sent_at = letter.headers.iter().find(|(name, _)| *name == "X-TIMESTAMP").unwrap().1.clone();
    let response = merchant.send_raw(letter).await.unwrap();
    assert_eq!(response.headers()["X-TIMESTAMP"], sent_at.as_str());
    let text = response.text().await.unwrap();
    assert!(text.contains(r#""amount":{"value":1200,"currency":"IDR"}"#), "{text}");
    assert!(
        text.contains(r#""approvalCode":"328591""#) && text.contains(r#""terminalId":"A01             ""#),
        "{text}"
    );
    assert!(
        text.contains(r#""responseCode":"2005100""#) && text.contains(r#""latestTransactionStatus":"00""#),
        "{text}"
    );
}

#[tokio::test]
async fn the_token_says_its_validity_as_a_string_and_needs_the_right_rsa_signature() {
    let (_sim, mut merchant) = stage(options(), []).await;
    let body = merchant.fetch_token().await;
    assert_eq!((&body["responseCode"], &body["expiresIn"]), (&json!("2007300"), &json!("900")));
    assert_eq!(body["tokenType"], "Bearer");

    let good = Merchant::token_letter(&timestamp(0));
    let stale = Merchant::token_letter(&timestamp(-16 * 60));
    let moved = good.clone().with("X-TIMESTAMP", timestamp(1));
    for letter in [stale, moved, good.clone().with("X-CLIENT-KEY", "somebody")] {
        assert_eq!(code(&merchant.send(letter).await.unwrap()), (401, "4017300"));
    }
    let mut unnamed = good.clone();
    unnamed.body = "{}".to_owned();
    assert_eq!(code(&merchant.send(unnamed).await.unwrap()), (400, "4007302"));
    assert_eq!(code(&merchant.send(good.without("X-SIGNATURE")).await.unwrap()), (400, "4007302"));
}

#[tokio::test]
async fn every_missing_header_is_a_missing_mandatory_field() {
    let clients = vec![SimClient { requires_channel_id: true, ..SimClient::demo(CLIENT_ID, SECRET, MERCHANT_ID) }];
    let (_sim, merchant) = stage(SimOptions { clients, ..options() }, [payment("A1", 100)]).await;
    let complete = || merchant.query_letter("A1").with("CHANNEL-ID", "H2H");
    assert_eq!(code(&merchant.send(complete()).await.unwrap()), (200, "2005100"));
    for header in ["X-PARTNER-ID", "X-EXTERNAL-ID", "X-TIMESTAMP", "X-SIGNATURE", "Authorization", "CHANNEL-ID"] {
        let answered = merchant.send(complete().without(header)).await.unwrap();
        assert_eq!(code(&answered), (400, "4005102"), "{header}");
        assert_eq!(answered.1["responseMessage"], format!("Invalid Mandatory Field {header}"));
    }
}

#[tokio::test]
async fn every_malformed_header_is_an_invalid_field_format() {
    let (_sim, merchant) = stage(options(), [payment("A1", 100)]).await;
    let thirty_seven_digits = "1".repeat(37);
    for (header, value) in [
        ("X-EXTERNAL-ID", "12a"),
        ("X-EXTERNAL-ID", thirty_seven_digits.as_str()),
        ("X-TIMESTAMP", "2026-11-20T09:05:09Z"),
        ("X-TIMESTAMP", "2026-11-20 09:05:09+07:00"),
        ("X-PARTNER-ID", thirty_seven_digits.as_str()),
        ("Authorization", merchant.token.as_str()),
    ] {
        let answered = merchant.send(merchant.query_letter("A1").with(header, value)).await.unwrap();
        assert_eq!(code(&answered), (400, "4005101"), "{header}: {value}");
    }
}

#[tokio::test]
async fn a_field_longer_than_the_document_allows_is_an_invalid_field_format() {
    let (_sim, merchant) = stage(options(), [payment("A1", 100)]).await;
    for (field, length) in [("originalReferenceNo", 65), ("originalPartnerReferenceNo", 65), ("serviceCode", 3)] {
        let mut body = query_body("A1");
        body[field] = "1".repeat(length).into();
        let letter = merchant.letter_at(QUERY_PATH, body.to_string(), &timestamp(0));
        assert_eq!(code(&merchant.send(letter).await.unwrap()), (400, "4005101"), "{field} of {length} characters");
    }
}

#[tokio::test]
async fn a_wrong_signature_an_unknown_client_and_a_clock_far_off_are_unauthorized() {
    let (sim, merchant) = stage(options(), [payment("A1", 100)]).await;
    let mut impostor = merchant.clone();
    impostor.secret = "guessed";
    let mut tampered = merchant.query_letter("A1");
    tampered.body = tampered.body.replace("A1", "A2");
    let late = merchant.letter_at(QUERY_PATH, query_body("A1").to_string(), &timestamp(-16 * 60));
    let early = merchant.letter_at(QUERY_PATH, query_body("A1").to_string(), &timestamp(16 * 60));
    let stranger = merchant.query_letter("A1").with("X-PARTNER-ID", "BRN-0");
    for letter in [impostor.query_letter("A1"), tampered, late, early, stranger] {
        assert_eq!(code(&merchant.send(letter).await.unwrap()), (401, "4015100"));
    }
    let a_little_late = merchant.letter_at(QUERY_PATH, query_body("A1").to_string(), &timestamp(-14 * 60));
    assert_eq!(code(&merchant.send(a_little_late).await.unwrap()), (200, "2005100"));
    assert_eq!(sim.world().book_entry(CLIENT_ID, "A1").unwrap().queries, 1);
}

#[tokio::test]
async fn unknown_and_expired_tokens_are_invalid_tokens_until_a_new_one_is_fetched() {
    let (sim, mut merchant) = stage(options(), [payment("A1", 100)]).await;
    sim.world().expire_tokens();
    assert_eq!(code(&merchant.query("A1").await), (401, "4015101"));
    merchant.fetch_token().await;
    assert_eq!(code(&merchant.query("A1").await), (200, "2005100"));

    let (_sim, merchant) = stage(SimOptions { token_ttl_secs: 0, ..options() }, [payment("A1", 100)]).await;
    assert_eq!(code(&merchant.query("A1").await), (401, "4015101"));
}

#[tokio::test]
async fn a_new_token_kills_the_old_one_only_where_the_provider_does_so() {
    for (new_token_kills_old, expected) in [(false, (200, "2005100")), (true, (401, "4015101"))] {
        let (_sim, mut merchant) = stage(SimOptions { new_token_kills_old, ..options() }, [payment("A1", 100)]).await;
        let old = merchant.clone();
        merchant.fetch_token().await;
        assert_eq!(code(&old.query("A1").await), expected);
        assert_eq!(code(&merchant.query("A1").await), (200, "2005100"));
    }
}

#[tokio::test]
async fn a_reused_external_id_is_a_conflict_and_is_counted() {
    let (sim, merchant) = stage(options(), [payment("A1", 100)]).await;
    let letter = merchant.query_letter("A1");
    assert_eq!(code(&merchant.send(letter.clone()).await.unwrap()), (200, "2005100"));
    assert_eq!(code(&merchant.send(letter).await.unwrap()), (409, "4095100"));
    let world = sim.world();
    assert_eq!((world.external_id_reuses(CLIENT_ID), world.count_of(Service::Query, "4095100")), (1, 1));
    assert_eq!(world.book_entry(CLIENT_ID, "A1").unwrap().queries, 1);
}

#[tokio::test]
async fn a_query_without_a_required_field_is_refused_and_numbers_are_welcome() {
    let (_sim, merchant) = stage(options(), [payment("A1", 100)]).await;
    for field in ["originalReferenceNo", "originalPartnerReferenceNo", "serviceCode", "merchantId"] {
        let mut body = query_body("A1");
        body.as_object_mut().unwrap().remove(field);
        let answered = merchant.send(merchant.letter(QUERY_PATH, &body)).await.unwrap();
        assert_eq!(code(&answered), (400, "4005102"), "{field}");
    }
    let mut numbers = query_body("A1");
    (numbers["serviceCode"], numbers["merchantId"]) = (json!(51), json!(2997));
    assert_eq!(code(&merchant.send(merchant.letter(QUERY_PATH, &numbers)).await.unwrap()), (200, "2005100"));
    let torn = merchant.letter_at(QUERY_PATH, "{\"originalReferenceNo\":".to_owned(), &timestamp(0));
    assert_eq!(code(&merchant.send(torn).await.unwrap()), (400, "4005102"));
}

#[tokio::test]
async fn a_refund_without_a_required_field_or_with_a_strange_amount_is_refused() {
    let (sim, merchant) = stage(options(), [payment("A1", 120_000)]).await;
    merchant.query("A1").await;
    for field in ["merchantId", "originalPartnerReferenceNo", "partnerRefundNo", "reason"] {
        let mut body = refund_body("A1", "R1", "10.00");
        body.as_object_mut().unwrap().remove(field);
        let answered = merchant.send(merchant.letter(REFUND_PATH, &body)).await.unwrap();
        assert_eq!(code(&answered), (400, "4007802"), "{field}");
    }
    for amount in ["10.000,00", "-5", "1e3", "1.234"] {
        assert_eq!(code(&merchant.refund("A1", "R1", amount).await), (400, "4007801"), "{amount}");
    }
    assert_eq!(sim.world().book().returned_sen, 0);
}

#[tokio::test]
async fn a_wrong_reference_or_merchant_finds_nothing() {
    let (_sim, merchant) = stage(options(), [payment("A1", 100)]).await;
    assert_eq!(code(&merchant.query("A2").await), (404, "4045101"));
    for (field, value, expected) in [("originalReferenceNo", "other", "4045101"), ("merchantId", "1", "4045108")] {
        let mut body = query_body("A1");
        body[field] = json!(value);
        assert_eq!(code(&merchant.send(merchant.letter(QUERY_PATH, &body)).await.unwrap()), (404, expected));
    }
}

#[tokio::test]
async fn calls_beyond_the_clients_budget_get_429_with_retry_after() {
    let rate = Some(CallBudget { per_second: 1, burst: 2 });
    let clients = vec![SimClient { rate, ..SimClient::demo(CLIENT_ID, SECRET, MERCHANT_ID) }];
    let (sim, merchant) = stage(SimOptions { clients, ..options() }, [payment("A1", 100)]).await;
    // The token took one of the two at once; of thirty more at most some can pass while they are being sent.
    let calls = (0..30).map(|_| merchant.send_raw(merchant.query_letter("A1")));
    let responses = futures::future::join_all(calls).await;
    let refused: Vec<_> =
        responses.into_iter().map(Result::unwrap).filter(|response| response.status() == 429).collect();
    assert!(!refused.is_empty());
    for response in refused {
        let seconds: u64 = response.headers()["Retry-After"].to_str().unwrap().parse().unwrap();
        assert!(seconds >= 1);
        assert!(response.text().await.unwrap().contains("4295100"));
    }
    assert!(sim.world().max_excess(CLIENT_ID, CallBudget { per_second: 1, burst: 2 }, 5) > 0);
    assert_eq!(sim.world().arrivals().len(), 31);
}

/// Every call of DOKU's documents, with its service code.
const CALLS: [(&str, &str); 7] = [
    ("/snap-adapter/b2b/v1.0/qr/qr-mpm-generate", "47"),
    ("/snap-adapter/b2b/v1.0/qr/qr-mpm-decode", "48"),
    ("/snap-adapter/b2b2c/v1.0/qr/qr-mpm-payment", "50"),
    (QUERY_PATH, "51"),
    ("/snap/v1.1/qr/qr-mpm-status", "53"),
    ("/snap-adapter/b2b/v1.0/qr/qr-mpm-cancel", "77"),
    (REFUND_PATH, "78"),
];

#[tokio::test]
async fn every_call_is_stopped_at_the_door_for_what_the_documents_refuse() {
    for (path, service) in CALLS {
        // Only a payment looks at the customer's token.
        let customer_token = Some("somebody".to_owned());
        let clients = vec![SimClient { customer_token, ..SimClient::demo(CLIENT_ID, SECRET, MERCHANT_ID) }];
        let (sim, merchant) = stage(SimOptions { clients, ..options() }, [payment("A1", 100)]).await;
        let letter = |merchant: &Merchant| {
            let letter = merchant.letter(path, &query_body("A1")).with("CHANNEL-ID", "H2H");
            letter.with("Authorization-Customer", "Bearer somebody")
        };
        let send = async |letter| {
            let (status, body) = merchant.send(letter).await.unwrap();
            format!("{status} {}", body["responseCode"].as_str().unwrap_or_default())
        };
        let refused = |http: u16, case: &str| format!("{http} {http}{service}{case}");
        for header in ["X-PARTNER-ID", "X-EXTERNAL-ID", "X-TIMESTAMP", "X-SIGNATURE", "Authorization"] {
            assert_eq!(send(letter(&merchant).without(header)).await, refused(400, "02"), "{path} without {header}");
        }
        let long = "1".repeat(37);
        assert_eq!(send(letter(&merchant).with("X-EXTERNAL-ID", long)).await, refused(400, "01"), "{path}");
        let impostor = Merchant { secret: "guessed", ..merchant.clone() };
        assert_eq!(send(letter(&impostor)).await, refused(401, "00"), "{path}");
        let used = letter(&merchant);
        drop(send(used.clone()).await);
        assert_eq!(send(used).await, refused(409, "00"), "{path}");
        sim.world().expire_tokens();
        assert_eq!(send(letter(&merchant)).await, refused(401, "01"), "{path}");
    }
}
