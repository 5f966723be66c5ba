//! Clients that are slow, silent or many, on raw sockets.

use std::time::Duration;

use rekon::web::WebLimits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::house::{House, LIMITS};

/// Longer than any bound that is tested here and shorter than none at all.
const PATIENCE: Duration = Duration::from_mins(1);

/// Connections beside the places, as `web::connections` has them.
const HALL: usize = 16;

async fn client(house: &House) -> TcpStream {
    TcpStream::connect(house.address).await.unwrap()
}

/// A connection that has a place: it was answered once and stays open.
async fn guest(house: &House) -> TcpStream {
    let mut stream = client(house).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: rekon\r\n\r\n").await.unwrap();
    let mut answer = [0_u8; 4_096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"), "{answer}");
    stream
}

/// Waits until the server has closed it.
async fn cut_off(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well.
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it is open still: {:?}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_client_that_sends_half_a_head_or_nothing_is_cut_off_and_so_is_one_that_asks_no_more() {
    let short = WebLimits { header_timeout: Duration::from_millis(300), ..LIMITS };
    let house = House::open_within(None, short).await;
    let silent = client(&house).await;
    let asked_once = guest(&house).await;
    let mut half = client(&house).await;
    half.write_all(b"GET /healthz HTTP/1.1\r\nhost: re").await.unwrap();
    for stream in [silent, half, asked_once] {
        cut_off(stream).await;
    }
    // A byte now and then wins no time.
    let mut dripping = client(&house).await;
    let drip = async {
        while dripping.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, drip).await.is_ok(), "it may drip for ever");
}

#[tokio::test]
async fn when_every_place_is_taken_probes_are_answered_and_others_are_told_to_come_again() {
    let house = House::open_within(None, WebLimits { max_connections: 2, ..LIMITS }).await;
    let guests = [guest(&house).await, guest(&house).await];
    for path in ["/healthz", "/metrics"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"), "{path}");
    }
    let answer = house.get("/nowhere").await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "1"), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    drop(guests);
    house.wait_for("/nowhere", 404).await;
}

#[tokio::test]
async fn more_silent_clients_than_there_is_room_for_keep_no_probe_out_for_ever() {
    let house = House::open_within(None, WebLimits { max_connections: 2, ..LIMITS }).await;
    let _guests = [guest(&house).await, guest(&house).await];
    let mut silent = Vec::new();
    for _ in 0..HALL * 2 {
        silent.push(client(&house).await);
    }
    let probed = timeout(PATIENCE, house.get("/healthz")).await;
    assert_eq!(probed.map(|answer| answer.status), Ok(200));
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_cut_off() {
    let short = WebLimits { request_timeout: Duration::from_millis(300), max_connections: 1, ..LIMITS };
    let house = House::open_within(None, short).await;
    let mut deaf = guest(&house).await;
    // Questions until the server, whose answers nobody takes, takes no more of them.
    let question = "GET /metrics HTTP/1.1\r\nhost: rekon\r\n\r\n".repeat(64);
    let asking = async { while deaf.write_all(question.as_bytes()).await.is_ok() {} };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "its place is taken for ever");
    house.wait_for("/nowhere", 404).await;
}

#[tokio::test]
async fn silent_clients_do_not_hold_up_the_end() {
    let house = House::open_within(None, LIMITS).await;
    let _clients = [client(&house).await, guest(&house).await];
    assert_eq!(house.get("/healthz").await.status, 200);
    house.shutdown.cancel();
    let mut house = house;
    let ended = timeout(LIMITS.header_timeout / 2, &mut house.server).await;
    assert!(ended.expect("it ends before its clients do").unwrap().is_ok());
}
