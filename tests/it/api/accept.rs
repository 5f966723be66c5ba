//! Payments come in: new, the same again, different, wrong; one or many; with and without a key.

use serde_json::{Value, json};

use super::rig::{Api, WATI, problem};

const PATH: &str = "/api/v1/transactions";

fn payment(reference: &str, amount: &str) -> Value {
    json!({"account": "doku-main", "partner_reference_no": reference, "reference_no": format!("R-{reference}"), "amount": amount})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_payment_is_created_the_same_again_is_unchanged_and_another_is_refused() {
    let api = Api::open().await;
    let answer = api.post(WATI, PATH, &payment("INV/1 a", "12000.00")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers["location"], "/api/v1/transactions/doku-main/INV%2F1%20a");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.json();
    assert_eq!((&body["created"], &body["unchanged"]), (&json!(1), &json!(0)));
    assert_eq!(body["transactions"][0]["amount"], "12000.00");
    assert_eq!(body["transactions"][0]["state"], "pending");

    let again = api.post(WATI, PATH, &payment("INV/1 a", "12000")).await;
    assert_eq!((again.status, &again.json()["unchanged"]), (200, &json!(1)), "{again:?}");

    let other = api.post(WATI, PATH, &payment("INV/1 a", "13000.00")).await;
    problem(&other, 409, "stand in the ledger with other values: amount 13000.00 here, 12000.00 there");
    assert_eq!(api.shop.db.text("select amount from rekon.transactions").await, "12000.00");

    let shown = api.get(WATI, &answer.headers["location"]).await;
    assert_eq!((shown.status, &shown.json()), (200, &body["transactions"][0]), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_imported_line_may_not_be_a_posted_payment_may_not_be_either() {
    let api = Api::open().await;
    let with = |key: &str, value: &str| {
        let mut item = payment("INV-1", "12000.00");
        item[key] = json!(value);
        item
    };
    let static_qr = "00020101021126570011ID.DANA.WWW011893600915302259148102090225914810303UMI51440014ID.CO.QRIS.WWW0215ID10200176114730303UMI5204581253033605802ID5922Warung Sayur Bu Sugeng6010Kab. Demak610559567630458C7";
    for (item, words) in [
        (with("account", "nobody"), "account \\\"nobody\\\" is not configured; known: doku-main, kiosk"),
        (with("account", ""), "account is empty"),
        (with("amount", "12.000"), "more than two decimals"),
        (with("amount", "0"), "not more than zero"),
        (with("amount", "-1"), "not a plain decimal number"),
        (with("currency", "USD"), "only IDR is known"),
        (with("direction", "sideways"), "write in or out"),
        (with("created_at", "2026-11-19 14:05"), "write a time with its offset"),
        (with("partner_reference_no", "a\u{0}b"), "control character"),
        (with("partner_reference_no", &"x".repeat(65)), "the limit is 64"),
        (with("qr_content", static_qr), "static QR"),
    ] {
        let answer = api.post(WATI, PATH, &item).await;
        problem(&answer, 422, words);
        assert_eq!(answer.json()["errors"][0]["index"], 0);
    }
    for (body, words) in [
        (json!({"amuont": "1"}).to_string(), "unknown field `amuont`"),
        (payment("A", "1").to_string().replace("\"1\"", "12000"), "expected a string"),
        (payment("A", "1").to_string().replace('}', ",\"amount\":\"2\"}"), "duplicate field `amount`"),
        ("{".to_owned(), "the body: EOF"),
        ("[]".to_owned(), "send 1 to 1000"),
    ] {
        let answer = api.send(WATI, "POST", PATH, "", Some(&body)).await;
        problem(&answer, 422, words);
    }
    let text = "content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}";
    problem(&api.send(WATI, "POST", PATH, text, None).await, 415, "application/json");
    assert_eq!(api.shop.db.text("select count(*) from rekon.transactions").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_payments_all_stand_or_none() {
    let api = Api::open_with("", "", |limits| rekon::config::ApiLimits { batch_max: 3, ..limits }).await;
    let batch = json!([payment("A", "1.00"), payment("B", "2.00"), payment("A", "1.00")]);
    let answer = api.post(WATI, PATH, &batch).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["created"], &body["unchanged"]), (&json!(2), &json!(1)));
    let names: Vec<_> = body["transactions"].as_array().unwrap().iter().map(|t| &t["partner_reference_no"]).collect();
    assert_eq!(names, ["A", "B", "A"], "item by item, in the order of the request");

    let bad = json!([payment("C", "3.00"), payment("D", "x"), payment("E", "0")]);
    let answer = api.post(WATI, PATH, &bad).await;
    problem(&answer, 422, "2 of the items");
    assert_eq!((&answer.json()["errors"][0]["index"], &answer.json()["errors"][1]["index"]), (&json!(1), &json!(2)));

    let differs = json!([payment("C", "3.00"), payment("B", "2.50"), payment("C", "3.50")]);
    let answer = api.post(WATI, PATH, &differs).await;
    problem(&answer, 409, "stand on item 0 with other values: amount 3.50 here, 3.00 there");
    assert_eq!(answer.json()["errors"][0]["index"], 1);
    assert_eq!(api.shop.db.text("select count(*) from rekon.transactions").await, "2", "C was taken back");

    let misspelt = json!([payment("C", "3.00"), {"amuont": "1"}]);
    let answer = api.post(WATI, PATH, &misspelt).await;
    problem(&answer, 422, "unknown field `amuont`");
    assert_eq!(answer.json()["errors"][0]["index"], 1);

    let four = json!([payment("F", "1"), payment("G", "1"), payment("H", "1"), payment("I", "1")]);
    problem(&api.post(WATI, PATH, &four).await, 422, "send 1 to 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_answers_once_and_belongs_to_one_request_of_one_person() {
    let mut api = Api::open().await;
    let first = api.post_once(WATI, PATH, "k-1", &payment("A", "1.00")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    // Without the key it would be 200 and unchanged.
    let again = api.post_once(WATI, PATH, "k-1", &payment("A", "1.00")).await;
    assert_eq!((again.status, &again.body), (201, &first.body), "{again:?}");
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["location"], first.headers["location"]);
    problem(&api.post_once(WATI, PATH, "k-1", &payment("B", "1.00")).await, 422, "belongs to another request");
    problem(&api.post_once(WATI, PATH, &"k".repeat(256), &payment("B", "1.00")).await, 400, "1 to 255");

    // Somebody else's key is another key.
    api.shop.db.run("insert into rekon.people (name, roles, changed_by) values ('dewi', '{operator}', 'agus')").await;
    api.give("dewi", "dewi", rekon::domain::person::Role::Operator, &[]).await;
    assert_eq!(api.post_once("dewi", PATH, "k-1", &payment("B", "1.00")).await.status, 201);

    // What failed did nothing and keeps no key.
    problem(&api.post_once(WATI, PATH, "k-2", &payment("C", "x")).await, 422, "plain decimal");
    assert_eq!(api.post_once(WATI, PATH, "k-2", &payment("C", "1.00")).await.status, 201);

    // A day later the key is anybody's, and the nightly job forgets it.
    api.shop
        .db
        .run("update rekon.idempotency_keys set claimed_at = now() - interval '25 hours' where key = 'k-1'")
        .await;
    assert_eq!(api.post_once(WATI, PATH, "k-1", &payment("D", "1.00")).await.status, 201);
    let kept = std::time::Duration::from_hours(24);
    assert_eq!(api.shop.db.store.prune_keys(kept, 10).await.unwrap(), 1, "dewi's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_not_begun_twice_and_one_that_died_begins_again() {
    let api = Api::open().await;
    let body = payment("A", "1.00");
    assert_eq!(api.post_once(WATI, PATH, "k", &body).await.status, 201);
    api.shop.db.run("update rekon.idempotency_keys set status = null, location = null, body = null").await;
    let busy = api.post_once(WATI, PATH, "k", &body).await;
    problem(&busy, 409, "being worked on");
    assert_eq!(busy.headers["retry-after"], "1");
    api.shop.db.run("update rekon.idempotency_keys set claimed_at = now() - interval '1 minute'").await;
    problem(&api.post_once(WATI, PATH, "k", &payment("B", "1.00")).await, 422, "another request");
    let again = api.post_once(WATI, PATH, "k", &body).await;
    assert_eq!((again.status, &again.json()["unchanged"]), (200, &json!(1)), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_payment_from_many_at_once_is_created_once() {
    let api = Api::open().await;
    let body = payment("A", "1.00");
    let calls = (0..12).map(|_| api.post(WATI, PATH, &body));
    let mut statuses: Vec<u16> = futures::future::join_all(calls).await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 201].contains(status)), "{statuses:?}");
}
