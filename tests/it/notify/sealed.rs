//! DOKU's two notifications that are signed over their whole body, over real HTTP: the simulator signs, rekon checks.

use chrono::{DateTime, TimeDelta, Utc};
use rekon::sim::{Answer, DEMO_PUBLIC_KEY_PEM, Envelope, Notice, NoticeForm, Notifier, Says, Sealer, SimPayment};

use super::{PATIENT, door::Doorway, only_when_woken, paid_when_asked_again};
use crate::{
    support::shop::{CLIENT, SECRET, Shop},
    web::house,
};

const PATH: &str = "/notify/doku/doku-main";
const TOKEN: &str = "/authorization/v1/access-token/b2b";

/// A shop whose provider notifies in this form; the key's file lives as long as it.
async fn shop(form: &str, sections: &str) -> (Shop, Doorway, tempfile::NamedTempFile) {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), DEMO_PUBLIC_KEY_PEM).unwrap();
    let terms = form.replace("PUBLIC_PEM", &key.path().display().to_string());
    let lines = PATIENT.replace("shared_key = { env = \"SHARED_KEY\" }", &terms);
    let shop = Shop::open(&lines, &format!("{}{sections}", only_when_woken())).await;
    let door = Doorway::open(&shop).await;
    (shop, door, key)
}

const JSON: &str = "form = \"json\"";
const SNAP: &str = "form = \"snap\"\npublic_key = { file = \"PUBLIC_PEM\" }";

fn sealer() -> Sealer {
    Sealer { client_id: CLIENT.to_owned(), client_secret: SECRET.to_owned(), path: PATH.to_owned() }
}

fn notice(reference: &str, says: Says) -> Notice {
    let payment = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 15_000_000) };
    Notice::about(&payment, says, DateTime::from_timestamp(1_795_160_000, 0).unwrap(), "unused")
}

async fn now(shop: &Shop) -> DateTime<Utc> {
    shop.db.store.now().await.unwrap()
}

/// The same with another value of one header; without it where there is none.
fn with(letter: &Envelope, name: &str, value: Option<&str>) -> Envelope {
    let mut letter = letter.clone();
    letter.headers.retain(|(header, _)| *header != name || value.is_some());
    for (header, old) in &mut letter.headers {
        if *header == name {
            *old = value.unwrap_or_default().to_owned();
        }
    }
    letter
}

async fn code(door: &Doorway, below: &str, letter: &Envelope) -> (u16, String) {
    let answer = door.send(below, letter).await;
    (answer.status, answer.json()["responseCode"].as_str().unwrap_or_default().to_owned())
}

async fn token(shop: &Shop, door: &Doorway) -> String {
    let answer = door.send(TOKEN, &sealer().token_request(now(shop).await)).await;
    let given = answer.json();
    assert_eq!(
        (answer.status, &given["responseCode"], &given["tokenType"]),
        (200, &"2007300".into(), &"Bearer".into())
    );
    assert_eq!(given["expiresIn"], "900", "a text, as the standard has it");
    given["accessToken"].as_str().unwrap().to_owned()
}

async fn facts(shop: &Shop) -> String {
    let facts = "select coalesce(string_agg(observation || ' ' || coalesce(doubt, '-') || ' ' || coalesce(amount::text, '-'), ', ' order by seq), '')
                   from rekon.facts where source = 'notification'";
    shop.db.text(facts).await
}

/// The provider's own sender: paid by a query, whatever is told, and each thing told is one fact.
async fn is_asked_at_once(form: &str, spelt: NoticeForm) {
    let (shop, door, _key) = shop(form, "").await;
    let id = shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let work = shop.work().await;
    shop.until("select checks from rekon.transactions", "1").await;
    let notifier = Notifier::new(format!("http://{}{PATH}", door.address)).unwrap().in_form(spelt);
    assert!(!notifier.deliver(&notice("INV-1", Says::Paid).forged()).await, "the forger is told so");
    assert!(notifier.deliver(&notice("INV-1", Says::Paid)).await);
    assert!(notifier.deliver(&notice("INV-1", Says::Paid)).await, "again");
    assert!(notifier.deliver(&notice("INV-1", Says::Contradiction)).await);
    shop.until(&Shop::end_of(id), "paid{}").await;
    work.stop().await;
    let doubtful = if form == JSON { "REVERSED -" } else { "INDETERMINATE contradiction" };
    let told = format!("INDETERMINATE unverified 150000.00, PAID - 150000.00, {doubtful} 150000.00");
    assert_eq!(facts(&shop).await, told);
    assert_eq!(shop.db.text("select paid_amount from rekon.transactions").await, "150000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_notification_has_its_row_asked_at_once_and_the_answer_decides() {
    is_asked_at_once(JSON, NoticeForm::Json(sealer())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snap_notification_has_its_row_asked_at_once_and_the_answer_decides() {
    is_asked_at_once(SNAP, NoticeForm::Snap(sealer())).await;
}

#[tokio::test]
async fn a_json_notification_that_is_wrong_in_one_thing_is_no_verified_one() {
    let (shop, door, _key) = shop(JSON, "[server.notify]\nunverified_burst = 100\n").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let at = now(&shop).await;
    let right = sealer().json(&notice("INV-1", Says::Paid), at);
    let old = sealer().json(&notice("INV-1", Says::Paid), at - TimeDelta::minutes(6));
    let early = sealer().json(&notice("INV-1", Says::Paid), at + TimeDelta::minutes(6));
    let elsewhere = Sealer { path: "/notify/doku/other".to_owned(), ..sealer() }.json(&notice("INV-1", Says::Paid), at);
    let other_body = Envelope { body: right.body.replace("150000", "150001"), ..right.clone() };
    let lower = right.headers[3].1.replace("HMACSHA256=", "").to_lowercase();
    for (letter, says) in [
        (&old, "too far"),
        (&early, "too far"),
        (&elsewhere, "signature is wrong"),
        (&other_body, "signature is wrong"),
        (&with(&right, "Signature", Some(&format!("HMACSHA256={lower}"))), "signature is wrong"),
        (&with(&right, "Signature", Some("abc")), "Signature is missing or malformed"),
        (&with(&right, "Signature", None), "Signature is missing"),
        (&with(&right, "Request-Id", Some("another")), "signature is wrong"),
        (&with(&right, "Request-Timestamp", Some("yesterday")), "too far"),
        (&with(&right, "Client-Id", Some("BRN-1")), "another's"),
    ] {
        let answer = door.send("", letter).await;
        assert_eq!(answer.status, 401, "{letter:?} {}", answer.body);
        assert!(answer.body.contains(says), "{says}: {}", answer.body);
    }
    assert_eq!(shop.db.text("select count(*) from rekon.facts where doubt is distinct from 'unverified'").await, "0");
    assert_eq!(
        shop.db.text("select count(*) from rekon.facts").await,
        "3",
        "each body and number is written down once"
    );
    // None of them stands in the way of the true one, which comes again later under another signature.
    for minutes in [0, 2] {
        let again = sealer().json(&notice("INV-1", Says::Paid), at + TimeDelta::minutes(minutes));
        let answer = door.send("", &again).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "CONTINUE"));
    }
    assert_eq!(shop.db.text("select count(*) from rekon.facts where doubt is null").await, "1");
    // What is none at all.
    for (body, status) in [("{}", 400), ("[]", 400), ("", 400)] {
        assert_eq!(door.send("", &Envelope { body: body.to_owned(), ..right.clone() }).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_snap_notification_that_is_wrong_in_one_thing_gets_the_standards_code() {
    let (shop, door, _key) = shop(SNAP, "[server.notify]\nunverified_burst = 100\n").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let (at, token) = (now(&shop).await, token(&shop, &door).await);
    let right = sealer().snap(&notice("INV-1", Says::Paid), at, &token);
    let old = sealer().snap(&notice("INV-1", Says::Paid), at - TimeDelta::minutes(6), &token);
    let other_body = Envelope { body: right.body.replace("150000", "150001"), ..right.clone() };
    let other = if &token[20..21] == "A" { "B" } else { "A" };
    let other_token = format!("{}{other}{}", &token[..20], &token[21..]);
    let other_signature = right.headers[5].1.to_uppercase();
    let refused = |code: &str| (code[..3].parse::<u16>().unwrap(), code.to_owned());
    for (letter, expected) in [
        (&old, "4015200"),
        (&other_body, "4015200"),
        (&with(&right, "X-SIGNATURE", Some(&other_signature)), "4015200"),
        (&with(&right, "X-PARTNER-ID", Some("BRN-1")), "4015200"),
        (&sealer().snap(&notice("INV-1", Says::Paid), at, &other_token), "4015201"),
        (&sealer().snap(&notice("INV-1", Says::Paid), at, "a.jwt.of-somebody"), "4015201"),
        (&with(&right, "Authorization", Some("Basic abc")), "4015201"),
        (&with(&right, "X-EXTERNAL-ID", None), "4005202"),
        (&with(&right, "X-SIGNATURE", None), "4005202"),
    ] {
        assert_eq!(code(&door, "", letter).await, refused(expected), "{letter:?}");
    }
    assert_eq!(shop.db.text("select count(*) || ' ' || max(doubt) from rekon.facts").await, "3 unverified");
    assert_eq!(code(&door, "", &right).await, (200, "2005200".to_owned()));
    // Replayed with another number, and sent again with another signature: one fact.
    assert_eq!(code(&door, "", &with(&right, "X-EXTERNAL-ID", Some("1"))).await, (200, "2005200".to_owned()));
    let again = sealer().snap(&notice("INV-1", Says::Paid), at + TimeDelta::minutes(1), &token);
    assert_eq!(code(&door, "", &again).await, (200, "2005200".to_owned()));
    assert_eq!(shop.db.text("select count(*) from rekon.facts where doubt is null").await, "1");
    for (body, expected) in [("{", "4005200"), ("[]", "4005200"), ("{}", "4005202")] {
        let letter = Envelope { body: body.to_owned(), ..right.clone() };
        assert_eq!(code(&door, "", &letter).await, refused(expected), "{body}");
    }
    let large = Envelope { body: "x".repeat(64 * 1024 + 1), ..right.clone() };
    assert_eq!(code(&door, "", &large).await, refused("4005200"));
    door.store.send_replace(None);
    assert_eq!(code(&door, "", &right).await, refused("5005201"));
}

#[tokio::test]
async fn a_captured_snap_notification_is_news_once_whatever_is_done_to_its_blanks_and_number() {
    let (shop, door, _key) = shop(SNAP, "").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let (at, token) = (now(&shop).await, token(&shop, &door).await);
    let right = sealer().snap(&notice("INV-1", Says::Paid), at, &token);
    assert_eq!(code(&door, "", &right).await, (200, "2005200".to_owned()));
    for n in 1..=3 {
        let body = right.body.replacen('{', &format!("{{{}", " \n".repeat(n)), 1);
        let again = Envelope { body, ..with(&right, "X-EXTERNAL-ID", Some(&format!("4400{n}"))) };
        assert_eq!(code(&door, "", &again).await, (200, "2005200".to_owned()), "its signature covers no blanks");
    }
    assert_eq!(facts(&shop).await, "PAID - 150000.00", "one fact, and nobody is asked again for it");
}

#[tokio::test]
async fn a_guessed_number_does_not_make_the_true_snap_notification_a_redelivery() {
    let (shop, door, _key) = shop(SNAP, "").await;
    shop.expect(paid_when_asked_again("INV-1"), &[]).await;
    let (at, token) = (now(&shop).await, token(&shop, &door).await);
    let pending = sealer().snap(&notice("INV-1", Says::Failed), at, &token);
    let paid = sealer().snap(&notice("INV-1", Says::Paid), at, &token);
    let number = &paid.headers.iter().find(|(name, _)| *name == "X-EXTERNAL-ID").unwrap().1;
    // The number is no part of what is signed: whoever captured the earlier one can send it under the next one's.
    assert_eq!(code(&door, "", &with(&pending, "X-EXTERNAL-ID", Some(number))).await.0, 200);
    assert_eq!(code(&door, "", &paid).await.0, 200);
    assert_eq!(facts(&shop).await, "FAILED - 150000.00, PAID - 150000.00");
}

#[tokio::test]
async fn only_the_provider_gets_a_token() {
    let (shop, door, _key) = shop(SNAP, "").await;
    let at = now(&shop).await;
    let right = sealer().token_request(at);
    assert_eq!(code(&door, TOKEN, &right).await, (200, "2007300".to_owned()));
    for (letter, expected) in [
        (sealer().token_request(at - TimeDelta::minutes(6)), "4017300"),
        (with(&right, "X-SIGNATURE", Some("bm8=")), "4017300"),
        (with(&right, "X-TIMESTAMP", Some("2026-11-20T10:00:00.000Z")), "4017300"),
        (with(&right, "X-CLIENT-KEY", Some("BRN-1")), "4017300"),
        (with(&right, "X-CLIENT-KEY", None), "4007302"),
    ] {
        assert_eq!(
            code(&door, TOKEN, &letter).await,
            (expected[..3].parse().unwrap(), expected.to_owned()),
            "{letter:?}"
        );
    }
    // Elsewhere there is none: another account, an account that notifies otherwise.
    let ask = |account: &str| {
        format!(
            "POST /notify/doku/{account}{TOKEN} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
    };
    assert_eq!(house::ask(door.address, &ask("nobody")).await.status, 404);
    let (_legacy, legacy_door, _) = self::shop("shared_key = { env = \"SHARED_KEY\" }", "").await;
    assert_eq!(house::ask(legacy_door.address, &ask("doku-main")).await.status, 404);
}

#[tokio::test]
async fn behind_a_proxy_the_path_that_the_provider_signs_is_the_registered_one() {
    let outside = Sealer { path: "/pay/hooks/doku".to_owned(), ..sealer() };
    let (shop, door, _key) = shop(&format!("{SNAP}\nsigned_path = \"/pay/hooks/doku\""), "").await;
    shop.expect(SimPayment { script: vec![Answer::paid()], ..paid_when_asked_again("INV-1") }, &[]).await;
    let (at, token) = (now(&shop).await, token(&shop, &door).await);
    assert_eq!(code(&door, "", &outside.snap(&notice("INV-1", Says::Paid), at, &token)).await.0, 200);
    assert_eq!(code(&door, "", &sealer().snap(&notice("INV-1", Says::Failed), at, &token)).await.0, 401);
}
