//! What the real process writes to its log at its most talkative: JSON, one trace for one piece of work, and neither a secret nor
//! anything about the person who paid.

use rekon::sim::{Answer, DEMO_PRIVATE_KEY_PEM, Fault, Service, SimPayment};
use serde_json::Value;

use crate::{
    support::{
        process::Daemon,
        shop::{HOOK_SECRET, SECRET, SHORT_TIMES, Shop},
    },
    webhooks::receiver::{Receiver, Say},
};

const LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 8 }\ntimeout = \"2s\"\n\
    customer_token = { env = \"CUSTOMER_TOKEN\" }\n\
    [accounts.doku-main.notify]\nshared_key = { env = \"SHARED_KEY\" }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
const CUSTOMER_TOKEN: &str = "customer-token-of-a-person";
const SHARED_KEY: &str = "a-shared-key-of-notifications";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// What a notification may say of its payer, as it is sent and as it reads.
const PERSON: &str = "CUSTOMERNAME=Siti+Rahma&EMAIL=siti%40example.com&MOBILEPHONE=081234567890";

fn payment(reference: &str, script: Vec<Answer>) -> SimPayment {
    let exact = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 5_000_000) };
    exact.answering(script)
}

/// The trace of every line that says this.
fn traces(lines: &[Value], message: &str, span: &str) -> Vec<String> {
    let of = |line: &&Value| line["message"] == message && line["span"]["name"] == span;
    lines.iter().filter(of).map(|line| line["span"]["trace_id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_most_talkative_it_says_no_secret_and_nothing_about_a_person() {
    let receiver = Receiver::open(Say::Status(200)).await;
    receiver.script(&[Say::Status(500), Say::Status(401)]);
    let hooks = receiver.section("shop", "");
    let sections = format!("{SHORT_TIMES}{hooks}\n[log]\nlevel = \"trace\"\nformat = \"json\"\n");
    let shop = Shop::open(LINES, &sections).await;
    let mut env = shop.env();
    env.insert("CUSTOMER_TOKEN".to_owned(), CUSTOMER_TOKEN.to_owned());
    env.insert("SHARED_KEY".to_owned(), SHARED_KEY.to_owned());
    // Paid, too much, and whatever goes wrong on the way: refused tokens, broken bodies, 5xx, silence.
    let mut ids = vec![shop.expect(payment("PAID", vec![Answer::paid()]), &[]).await];
    let fault = |fault: Fault| vec![Answer::fault(fault), Answer::paid()];
    let more = payment("MORE", vec![Answer::paid_amount(5_700_000)]);
    ids.push(shop.expect(SimPayment { taken_sen: Some(5_700_000), ..more }, &[]).await);
    ids.push(shop.expect(payment("HTTP", fault(Fault::http(500, "00"))), &[]).await);
    ids.push(shop.expect(payment("HTML", fault(Fault::Html { http_status: 502 })), &[]).await);
    ids.push(shop.expect(payment("TORN", fault(Fault::TruncatedJson)), &[]).await);
    let mut daemon = Daemon::spawn(&shop.config_text, &env);
    for id in &ids {
        shop.until(&format!("select paid_amount is not null from rekon.transactions where id = {id}"), "true").await;
    }
    shop.until("select string_agg(state, ',') from rekon.refunds", "confirmed").await;
    shop.sim.world().expire_tokens();
    shop.expect(payment("LATE", vec![Answer::paid()]), &[]).await;
    shop.until("select count(*) from rekon.transactions where paid_amount is not null", "6").await;
    let head = format!(
        "POST /notify/doku/doku-main HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n"
    );
    daemon.send(&head, &format!("AMOUNT=50000.00&TRANSIDMERCHANT=PAID&{PERSON}")).await;
    daemon.send(&head, &format!("{PERSON}&%%%")).await;
    daemon.send(&head.replace("doku-main", "nobody"), PERSON).await;
    daemon.get("/metrics").await;
    let letters = receiver.wait_for(6).await;
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);

    let said = ended.said;
    let key: Vec<&str> = DEMO_PRIVATE_KEY_PEM.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut hidden = vec![SECRET, CUSTOMER_TOKEN, SHARED_KEY, "PRIVATE KEY", "Bearer", "JOHN DOE"];
    hidden.extend(["Siti", "siti%40", "siti@", "081234567890"]);
    hidden.extend(key);
    // What a message is signed with, and the path that may be a secret in itself.
    hidden.extend([HOOK_SECRET, HOOK_SECRET.trim_start_matches("whsec_"), "/hooks"]);
    hidden.extend(letters.iter().map(|letter| letter.signature.trim_start_matches("v1,")));
    for secret in hidden {
        assert!(!said.contains(secret), "the log says {secret:?}");
    }
    // An access token of the simulator is 64 hexadecimal digits.
    let word = said.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64);
    assert_eq!(word, None, "the log says what looks like an access token");
    assert!(!shop.sim.world().times_asked(Service::Query, "LATE").is_empty(), "it has really asked");

    let json: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(json.len() + 1, said.lines().count(), "all but the line that names the address is JSON");
    let checks = traces(&json, "answered", "check");
    let mut distinct = checks.clone();
    distinct.sort();
    distinct.dedup();
    assert!(checks.len() >= 6 && distinct.len() == checks.len(), "a trace for each check: {checks:?}");
    assert!(checks.iter().all(|id| id.len() == 32), "{checks:?}");
    assert!(!traces(&json, "saga", "refund").is_empty(), "a refund's steps are traced");
    assert_eq!(traces(&json, "answered", "request").iter().filter(|id| *id == TRACE).count(), 3);
}
