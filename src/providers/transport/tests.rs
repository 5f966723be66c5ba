//! The transport against sockets that answer, stall, cut and flood.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::providers::wire::Endpoint;

/// Answers one connection with these bytes, after reading something, and closes it.
async fn answering(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut seen = [0; 4096];
        assert!(socket.read(&mut seen).await.unwrap() > 0);
        socket.write_all(&bytes).await.unwrap();
    });
    url
}

fn request(url: &str) -> HttpRequest {
    HttpRequest {
        endpoint: Endpoint { method: Method::Post, url: url.into(), path: "/x".into() },
        headers: vec![("content-type", "application/json".into())],
        body: b"{}".to_vec(),
    }
}

async fn send(url: &str, timeout: Duration) -> Result<HttpResponse, TransportError> {
    Transport::try_new().unwrap().send(request(url), timeout).await
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_answer_comes_with_its_status_its_body_and_the_headers_that_are_read() {
    let url = answering(
        b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
    )
    .await;
    let response = send(&url, LONG).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (429, b"{}".as_slice()));
    assert_eq!(response.headers, [("retry-after", "7".to_owned())]);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let url =
        answering(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec())
            .await;
    assert_eq!(send(&url, LONG).await.unwrap().status, 307);
}

#[tokio::test]
async fn without_a_connection_the_request_surely_never_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    drop(listener);
    let error = send(&url, LONG).await.unwrap_err();
    assert_eq!(error, TransportError::Connect);
    assert!(error.is_surely_unsent());
}

#[tokio::test]
async fn a_connection_cut_before_or_within_the_answer_leaves_the_request_unknown() {
    for bytes in
        [&b""[..], b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"responseCode\""]
    {
        let error = send(&answering(bytes.to_vec()).await, LONG).await.unwrap_err();
        assert_eq!(error, TransportError::Reset, "{}", String::from_utf8_lossy(bytes));
        assert!(!error.is_surely_unsent());
    }
}

#[tokio::test]
async fn silence_ends_at_the_calls_timeout_and_leaves_the_request_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let error = send(&url, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error, TransportError::Timeout);
    assert!(!error.is_surely_unsent());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
    assert_eq!(send(&answering(announced.into_bytes()).await, LONG).await, Err(TransportError::TooLarge));
    let mut endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    endless.resize(MAX_BODY_BYTES * 2, b' ');
    assert_eq!(send(&answering(endless).await, LONG).await, Err(TransportError::TooLarge));
}

#[tokio::test]
async fn what_http_cannot_carry_is_not_sent() {
    let mut broken = request("http://127.0.0.1:1/x");
    broken.headers.push(("x-partner-id", "a\r\nb".into()));
    let transport = Transport::try_new().unwrap();
    assert_eq!(transport.send(broken, LONG).await, Err(TransportError::Invalid));
    assert_eq!(transport.send(request("no url"), LONG).await, Err(TransportError::Invalid));
}
