//! Refunds, exceptions, runs and accounts over HTTP, on rows that rekon has really worked on: the same four eyes as at the
//! command line.

use rekon::{
    engine::verify,
    sim::{Answer, SimPayment},
};
use serde_json::json;

use super::rig::{Api, BUDI, SARI, WATI, problem};
use crate::support::shop::{SHORT_TIMES, Shop};

const QUICK: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

async fn open() -> Api {
    Api::open_with(QUICK, &SHORT_TIMES.replace("mode = \"auto\"", "mode = \"propose\""), |limits| limits).await
}

async fn pays(api: &Api, reference: &str, expected: i64, paid: i64) -> i64 {
    let payment = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, expected * 100) };
    let payment = SimPayment { taken_sen: Some(paid * 100), ..payment.answering([Answer::paid_amount(paid * 100)]) };
    api.shop.expect(payment, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_goes_back_once_two_people_agreed_over_http() {
    let api = open().await;
    let id = pays(&api, "INV-1", 100_000, 100_000).await;
    let work = api.shop.work().await;
    api.shop.until(&Shop::end_of(id), "paid{}").await;
    let wish = |amount: &str| json!({"account": "doku-main", "partner_reference_no": "INV-1", "amount": amount, "reason": "goods came back"});
    problem(&api.post(SARI, "/api/v1/refunds", &wish("30000")).await, 403, "refunds:propose");
    problem(&api.post(BUDI, "/api/v1/refunds", &wish("12.000")).await, 422, "two decimals");
    problem(&api.post(BUDI, "/api/v1/refunds", &wish("100000.01")).await, 409, "from 1.00 to 100000.00");
    problem(
        &api.post(
            BUDI,
            "/api/v1/refunds",
            &json!({"account": "doku-main", "partner_reference_no": "INV-1", "reason": " "}),
        )
        .await,
        422,
        "must say something",
    );
    let proposed = api.post_once(BUDI, "/api/v1/refunds", "r-1", &wish("30000")).await;
    assert_eq!(proposed.status, 201, "{proposed:?}");
    let refund = proposed.json();
    assert_eq!(
        (&refund["state"], &refund["amount"], &refund["proposed_by"]),
        (&json!("proposed"), &json!("30000.00"), &json!("budi"))
    );
    // The answer was lost: the same request again is the same refund, and without the key it is refused.
    assert_eq!(api.post_once(BUDI, "/api/v1/refunds", "r-1", &wish("30000")).await.body, proposed.body);
    problem(&api.post(BUDI, "/api/v1/refunds", &wish("30000")).await, 409, "one refund per cause");
    let place = proposed.headers["location"].clone();
    assert_eq!(api.get(WATI, &place).await.json()["refund_id"], refund["refund_id"]);

    let approve = format!("{place}/approve");
    problem(&api.send(BUDI, "POST", &approve, "", None).await, 403, "budi proposed it: somebody else approves");
    problem(&api.send(WATI, "POST", &approve, "", None).await, 403, "refunds:approve");
    problem(&api.send(SARI, "POST", "/api/v1/refunds/999/approve", "", None).await, 404, "no refund 999");
    let approved = api.post(SARI, &approve, &json!({"note": "receipt seen"})).await;
    assert_eq!((approved.status, &approved.json()["approved_by"]), (200, &json!("sari")), "{approved:?}");
    api.shop.until(&Shop::end_of(id), "partly_refunded{requested}").await;
    work.stop().await;
    assert_eq!(api.shop.sim.world().book().returned_sen, 3_000_000);
    let listed = api.get(WATI, "/api/v1/refunds?state=confirmed&account=doku-main").await.json();
    assert_eq!(listed["items"][0]["refund_id"], refund["refund_id"]);
    assert_eq!(api.get(WATI, "/api/v1/refunds?state=proposed").await.json()["items"], json!([]));
    problem(&api.post(SARI, &format!("{place}/deny"), &json!({"reason": "no"})).await, 409, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_is_listed_given_to_somebody_and_settled_by_two() {
    let api = open().await;
    let id = pays(&api, "INV-2", 100_000, 90_000).await;
    let work = api.shop.work().await;
    api.shop.until(&Shop::end_of(id), "held{underpaid}").await;
    let listed = api.get(WATI, "/api/v1/exceptions?flag=underpaid").await.json();
    let item = &listed["items"][0];
    assert_eq!((&item["partner_reference_no"], &item["value_at_risk"]), (&json!("INV-2"), &json!("90000.00")));
    assert!(item["next_step"].as_str().unwrap().contains("collect the rest"));
    let path = "/api/v1/exceptions/doku-main/INV-2";
    let given = api.post(WATI, &format!("{path}/assign"), &json!({"to": "budi", "note": "call them"})).await;
    assert_eq!((given.status, &given.json()["assignee"]), (200, &json!("budi")), "{given:?}");
    problem(
        &api.post(WATI, &format!("{path}/assign"), &json!({"to": "nobody"})).await,
        409,
        "active operators, makers and checkers",
    );
    problem(&api.post(WATI, "/api/v1/exceptions/kiosk/INV-2/assign", &json!({"to": null})).await, 404, "no payment");

    let decision = json!({"with": "accept_as_paid", "flag": "underpaid", "reason": "discount"});
    let asked = api.post(BUDI, &format!("{path}/resolve"), &decision).await;
    assert_eq!((asked.status, &asked.json()["effective"]), (202, &json!(false)), "{asked:?}");
    assert_eq!(
        api.get(WATI, "/api/v1/exceptions").await.json()["items"][0]["waiting"],
        json!(["accept_as_paid by budi"])
    );
    let done = api.post(SARI, &format!("{path}/resolve"), &decision).await;
    assert_eq!((done.status, &done.json()["confirmed"]), (200, &json!("budi")), "{done:?}");
    api.shop.until(&format!("select state from rekon.transactions where id = {id}"), "paid").await;
    work.stop().await;
    problem(
        &api.post(BUDI, &format!("{path}/resolve"), &json!({"with": "magic", "reason": "x"})).await,
        400,
        "write one of accept_as_paid",
    );
    let proved = verify::verify(&api.shop.db.store, |_| {}).await.expect("it can be read");
    assert!(proved.breaks.is_empty(), "{proved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_asked_for_over_http_is_done_by_the_daemon_and_not_begun_twice() {
    let api = open().await;
    let id = pays(&api, "INV-3", 100_000, 100_000).await;
    api.shop.db.run("update rekon.transactions set next_check_at = now() + interval '1 hour'").await;
    problem(&api.post(BUDI, "/api/v1/runs", &json!({})).await, 403, "runs:write");
    problem(&api.post(WATI, "/api/v1/runs", &json!({"accounts": ["nobody"]})).await, 422, "known: doku-main, kiosk");
    for wrong in [
        json!({"date": "19-11-2026"}),
        json!({"from": "2026-11-19"}),
        json!({"from": "2026-11-20", "to": "2026-11-19"}),
    ] {
        problem(&api.post(WATI, "/api/v1/runs", &wrong).await, 422, "");
    }
    let wish = json!({"accounts": ["doku-main"]});
    let asked = api.post(WATI, "/api/v1/runs", &wish).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert_eq!((&asked.json()["state"], &asked.json()["requested_by"]), (&json!("queued"), &json!("wati")));
    problem(&api.post(WATI, "/api/v1/runs", &wish).await, 409, "with the same request");
    let work = api.shop.work_with_calendar().await;
    api.shop.until(&Shop::end_of(id), "paid{}").await;
    let place = &asked.headers["location"];
    api.shop.until("select state from rekon.runs where job = 'reconcile'", "done").await;
    work.stop().await;
    let run = api.get(WATI, place).await.json();
    assert_eq!(
        (&run["state"], &run["report"]["asked"], &run["attempts"]),
        (&json!("done"), &json!(1), &json!(1)),
        "{run}"
    );
    assert_eq!(api.get(WATI, "/api/v1/runs?job=reconcile&state=done").await.json()["items"][0]["id"], run["id"]);
    problem(&api.get(WATI, "/api/v1/runs/999999").await, 404, "no run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_command_was_lost_is_found_by_the_calendar() {
    let api = open().await;
    assert_eq!(api.post(WATI, "/api/v1/runs", &json!({})).await.status, 202);
    // Whoever started one at the command line keeps it to himself.
    api.shop.db.run("update rekon.runs set heartbeat_at = now() - interval '1 hour';
        insert into rekon.runs (job, slot, state, requested_by, heartbeat_at) values ('reconcile', '2026', 'running', 'cli', now() - interval '1 hour')").await;
    let patience = rekon::store::slots::Patience {
        queued: std::time::Duration::from_mins(1),
        running: std::time::Duration::from_mins(2),
        attempts_max: 20,
    };
    let mut tx = api.shop.db.store.begin().await.unwrap();
    let lost = rekon::store::slots::find_lost(&mut tx, &["reconcile"], patience).await.unwrap();
    tx.commit().await.unwrap();
    let asked = api.shop.db.value::<i64>("select id from rekon.runs where requested_by = 'wati'").await;
    assert_eq!(lost.iter().map(|run| run.id).collect::<Vec<_>>(), [asked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_says_what_keeps_it_from_working() {
    let api = open().await;
    let well = api.get(WATI, "/api/v1/accounts").await.json();
    let names: Vec<_> = well["items"].as_array().unwrap().iter().map(|item| &item["account"]).collect();
    assert_eq!(names, ["doku-main", "kiosk"]);
    assert_eq!((&well["items"][0]["healthy"], &well["items"][0]["calls_per_second"]), (&json!(true), &json!(1000)));
    pays(&api, "INV-4", 100_000, 100_000).await;
    api.shop.db.run("insert into rekon.breakers (account, opened_at, probe_at, reason) values ('doku-main', now(), now(), '5 of 5 calls failed');
        insert into rekon.account_controls (account, refunds_stopped, stopped_at) values ('doku-main', 'a rule of money is broken', now())
          on conflict (account) do update set refunds_stopped = excluded.refunds_stopped, stopped_at = excluded.stopped_at").await;
    let ill = &api.get(WATI, "/api/v1/accounts").await.json()["items"][0];
    assert_eq!((&ill["healthy"], &ill["due"]), (&json!(false), &json!(1)), "{ill}");
    assert_eq!(ill["breaker"]["reason"], "5 of 5 calls failed");
    assert_eq!(ill["refunds_stopped"][0]["reason"], "a rule of money is broken");
    assert!(ill["oldest_due_at"].is_string());
}
