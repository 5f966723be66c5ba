//! `/healthz`, `/readyz`, the bounds of every request, and the end.

use std::{net::SocketAddr, time::Duration};

use rekon::{store::Store, web};

use super::house::{House, Postgres, ask};
use crate::support::{TestDb, connect_options};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database_and_health_does_not() {
    let postgres = Postgres::start();
    let house = House::open(None).await;
    let answer = house.get("/readyz").await;
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (503, Some("the database is not connected yet")));

    let store = Store::connect(&connect_options(&postgres.url)).await.unwrap();
    store.migrate().await.unwrap();
    house.store.send(Some(store)).unwrap();
    house.wait_for("/readyz", 200).await;
    assert_eq!(house.scrape().await.value("rekon_database_up"), "1");

    postgres.stop();
    let answer = house.wait_for("/readyz", 503).await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("database"), "{}", answer.body);
    assert_eq!(house.get("/healthz").await.status, 200);
    let other = House::open(house.store.borrow().clone()).await;
    let scrape = other.scrape().await;
    assert_eq!(scrape.value("rekon_database_up"), "0");
    assert!(scrape.samples.contains_key("rekon_poisoned_rows_total"), "the process's counters need no database");
    assert!(!scrape.types.contains_key("rekon_open_rows"), "an old gauge is worse than none");

    postgres.start_again();
    house.wait_for("/readyz", 200).await;
    let _ended = house.heartbeats.register("sweep", Duration::ZERO);
    assert_eq!(house.get("/healthz").await.status, 503);
    house.draining.cancel();
    let answer = house.get("/readyz").await;
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (503, Some("draining: this process is ending")));
    assert_eq!(house.get("/healthz").await.status, 200, "a loop that ends because of the drain is not ill");
}

#[tokio::test]
async fn a_database_without_our_schema_is_not_ready_and_says_what_to_do() {
    let db = TestDb::new().await;
    db.run("drop schema rekon cascade").await;
    let house = House::open(Some(db.store.clone())).await;
    let answer = house.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("rekon migrate"), "{}", answer.body);
}

#[tokio::test]
async fn a_loop_that_stopped_beating_makes_the_process_unhealthy_until_it_beats_again() {
    let house = House::open(None).await;
    let _beating = house.heartbeats.register("command", Duration::from_mins(10));
    let stopped = house.heartbeats.register("sweep", Duration::ZERO);
    let answer = house.get("/healthz").await;
    assert_eq!(answer.status, 503);
    let detail = answer.json()["detail"].to_string();
    assert!(detail.contains("loop sweep") && !detail.contains("command"), "{detail}");
    assert!(house.scrape().await.whole("rekon_loop_age_seconds{loop=\"command\"}") < 600);

    stopped.retire();
    let answer = house.get("/healthz").await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["loop_age_ms"]["command"].is_u64(), "{}", answer.body);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_document_that_tells_nothing_of_the_inside() {
    let house = House::open(None).await;
    let big = format!(
        "POST /nowhere HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\ncontent-length: 2000\r\n\r\n{}",
        "x".repeat(2_000)
    );
    let wrong = "POST /metrics HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    for (answer, status) in
        [(house.get("/nowhere?token=secret").await, 404), (house.send(wrong).await, 405), (house.send(&big).await, 413)]
    {
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(!answer.headers.contains_key("server") && !answer.headers.contains_key("x-powered-by"));
        assert_eq!(answer.json()["status"], status);
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let db = TestDb::new().await;
    let store = db.store.clone();
    let house = House::open_with(Some(store.clone()), Duration::from_millis(200)).await;
    let mut lock = store.begin().await.unwrap();
    sqlx::query("lock table rekon._migrations in access exclusive mode").execute(&mut *lock).await.unwrap();
    let answer = house.get("/readyz").await;
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (503, Some("the answer took too long; try again")));
    lock.rollback().await.unwrap();
    house.wait_for("/readyz", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_the_request_in_flight_end_and_takes_no_new_one() {
    let db = TestDb::new().await;
    let store = db.store.clone();
    let mut house = House::open(Some(store.clone())).await;
    let mut lock = store.begin().await.unwrap();
    sqlx::query("lock table rekon._migrations in access exclusive mode").execute(&mut *lock).await.unwrap();
    let address = house.address;
    let asking =
        tokio::spawn(
            async move { ask(address, "GET /readyz HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\n\r\n").await },
        );
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(store.pool()).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.shutdown.cancel();
    lock.rollback().await.unwrap();
    assert_eq!(asking.await.unwrap().status, 200);
    (&mut house.server).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_said_with_what_to_do() {
    let house = House::open(None).await;
    let said = web::bind(house.address).await.unwrap_err().to_string();
    assert!(said.contains(&house.address.to_string()) && said.contains("[server] listen"), "{said}");
    let elsewhere = SocketAddr::from(([203, 0, 113, 1], 8080));
    let said = web::bind(elsewhere).await.unwrap_err().to_string();
    assert!(said.contains("no such address"), "{said}");
}

#[tokio::test]
async fn a_probe_asks_the_database_at_most_once_at_a_time() {
    let db = TestDb::new().await;
    let store = db.store.clone();
    let house = House::open(Some(store.clone())).await;
    let mut lock = store.begin().await.unwrap();
    sqlx::query("lock table rekon._migrations in access exclusive mode").execute(&mut *lock).await.unwrap();
    let probes = futures::future::join_all((0..8).map(|_| house.get("/readyz")));
    let looking = async {
        let waits =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        let mut most = 0;
        for _ in 0..20 {
            most = most.max(sqlx::query_scalar::<_, i64>(waits).fetch_one(store.pool()).await.unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lock.rollback().await.unwrap();
        most
    };
    let (answers, most) = tokio::join!(probes, looking);
    assert_eq!(most, 1);
    assert!(answers.iter().all(|answer| answer.status == 200));
}
