//! Lists and single rows: filters, pages, references that mean nothing or too much.

use super::rig::{Api, WATI, problem};

const PATH: &str = "/api/v1/transactions";

fn names(body: &serde_json::Value) -> Vec<String> {
    let items = body["items"].as_array().expect("items");
    items.iter().map(|item| item["partner_reference_no"].as_str().expect("a reference").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_row_once_newest_first_while_new_ones_come_in() {
    let api = Api::open().await;
    for number in 1..=5 {
        api.shop.db.insert_payment("doku-main", &format!("P-{number}"), "1000").await;
    }
    let first = api.get(WATI, &format!("{PATH}?limit=2")).await.json();
    assert_eq!(names(&first), ["P-5", "P-4"]);
    api.shop.db.insert_payment("doku-main", "P-6", "1000").await;
    let cursor = |body: &serde_json::Value| body["next"].as_str().expect("there is more").to_owned();
    let second = api.get(WATI, &format!("{PATH}?limit=2&cursor={}", cursor(&first))).await.json();
    assert_eq!(names(&second), ["P-3", "P-2"]);
    let third = api.get(WATI, &format!("{PATH}?limit=2&cursor={}", cursor(&second))).await.json();
    assert_eq!((names(&third), third["next"].is_null()), (vec!["P-1".to_owned()], true));
    problem(&api.get(WATI, &format!("{PATH}?cursor=7")).await, 400, "`next` of the page before");
    problem(&api.get(WATI, &format!("{PATH}?limit=1001")).await, 400, "from 1 to 1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_and_what_is_no_filter_is_refused() {
    let api = Api::open().await;
    let db = &api.shop.db;
    db.insert_payment("doku-main", "OLD", "1000").await;
    db.insert_payment("kiosk", "SAME", "1000").await;
    db.insert_payment("doku-main", "SAME", "2000").await;
    db.run("update rekon.transactions set state = 'review', flags = '{stuck}', flags_open = '{stuck}' where partner_reference_no = 'OLD'").await;
    let when = db.text("select to_char(max(created_at) at time zone 'UTC' + interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from rekon.transactions").await;
    for (query, wanted) in [
        ("account=kiosk".to_owned(), vec!["SAME"]),
        ("state=review".to_owned(), vec!["OLD"]),
        ("flag=stuck".to_owned(), vec!["OLD"]),
        ("partner_reference_no=SAME".to_owned(), vec!["SAME", "SAME"]),
        ("state=pending&account=doku-main".to_owned(), vec!["SAME"]),
        (format!("created_from={when}"), vec![]),
        (format!("created_to={when}"), vec!["SAME", "SAME", "OLD"]),
        ("created_from=2026-01-01T00:00:00%2B07:00&created_to=2026-01-02T00:00:00Z".to_owned(), vec![]),
    ] {
        let answer = api.get(WATI, &format!("{PATH}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert_eq!(names(&answer.json()), wanted, "{query}");
    }
    for (query, words) in [
        ("stat=review", "unknown field `stat`"),
        ("state=lost", "write one of pending"),
        ("flag=x", "write one of currency"),
        ("created_from=2026-01-01", "a time with its offset"),
        ("account=%00", "without control characters"),
        ("account=a&account=b", "duplicate field"),
    ] {
        problem(&api.get(WATI, &format!("{PATH}?{query}")).await, 400, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_finds_its_row_and_one_that_stands_twice_is_not_guessed() {
    let api = Api::open().await;
    let db = &api.shop.db;
    db.insert_payment("kiosk", "SAME", "1000").await;
    db.insert_payment("doku-main", "SAME", "2000").await;
    db.insert_payment("kiosk", "doku-main/X", "3000").await;
    problem(&api.get(WATI, &format!("{PATH}/SAME")).await, 409, "several accounts (doku-main, kiosk)");
    assert_eq!(api.get(WATI, &format!("{PATH}/kiosk/SAME")).await.json()["amount"], "1000.00");
    assert_eq!(api.get(WATI, &format!("{PATH}/doku-main%2FX")).await.json()["amount"], "3000.00");
    // A reference of another account that looks like this path is not found by it.
    problem(&api.get(WATI, &format!("{PATH}/doku-main/X")).await, 404, "no payment");
    for path in ["/nothing", "/kiosk/nothing", "/%00", "/kiosk/%00"] {
        problem(&api.get(WATI, &format!("{PATH}{path}")).await, 404, "no payment");
    }
    problem(&api.get(WATI, &format!("{PATH}/%FF")).await, 400, "the path");
    problem(&api.send(WATI, "DELETE", PATH, "", None).await, 405, "does not answer DELETE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recheck_makes_the_row_due_before_all_others_and_leaves_the_asking_to_the_sweeper() {
    let api = Api::open().await;
    let db = &api.shop.db;
    let id = db.insert_payment("doku-main", "A", "1000").await;
    db.run("update rekon.transactions set next_check_at = now() + interval '1 hour'").await;
    let path = format!("{PATH}/doku-main/A/recheck");
    let answer = api.send(WATI, "POST", &path, "", None).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(db.text("select next_check_at <= now() from rekon.transactions").await, "true");
    assert_eq!(db.text("select transaction_id from rekon.pulled").await, id.to_string());
    problem(&api.send(WATI, "POST", &format!("{PATH}/doku-main/B/recheck"), "", None).await, 404, "no payment");
    db.run("update rekon.transactions set state = 'review', flags = '{missing_reference}', flags_open = '{missing_reference}'").await;
    problem(&api.send(WATI, "POST", &path, "", None).await, 409, "set reference_no or external_id");
}
