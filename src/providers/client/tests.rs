//! An account against a provider of a few lines: it answers each request with the next of its answers, in order.

use std::sync::Mutex;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    domain::{fact::Echo, money::Sen, observation::Observation},
    providers::{AccountSettings, ByHand, by_hand::Decode, fixture},
};

/// A status and a body, or a closed connection.
type Reply = Option<(u16, String)>;

/// Requests as they came, and the answers still to give.
#[derive(Default)]
struct Script {
    seen: Mutex<Vec<String>>,
    answers: Mutex<Vec<Reply>>,
}

impl Script {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Counts calls by kind and refuses one kind, if any.
#[derive(Default)]
struct Counting {
    calls: Mutex<Vec<CallKind>>,
    ends: Mutex<Vec<(CallKind, Option<Failure>)>>,
    refuses: Option<CallKind>,
}

impl Permit for Counting {
    async fn call(&self, kind: CallKind) -> Result<(), Denied> {
        if self.refuses == Some(kind) {
            return Err(Denied);
        }
        self.calls.lock().unwrap().push(kind);
        Ok(())
    }

    fn ended(&self, kind: CallKind, failure: Option<Failure>) {
        self.ends.lock().unwrap().push((kind, failure));
    }
}

impl Counting {
    fn calls(&self) -> Vec<CallKind> {
        self.calls.lock().unwrap().clone()
    }

    fn ends(&self) -> Vec<(CallKind, Option<Failure>)> {
        self.ends.lock().unwrap().clone()
    }
}

async fn provider_answering(answers: Vec<Reply>) -> (AccountClient, Arc<Script>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(Script { answers: Mutex::new(answers.into_iter().rev().collect()), ..Script::default() });
    let served = Arc::clone(&script);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let request = read_request(&mut socket).await;
            served.seen.lock().unwrap().push(request);
            let answer = served.answers.lock().unwrap().pop().flatten();
            if let Some((status, body)) = answer {
                let head =
                    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            }
        }
    });
    let account = Account::try_new(AccountSettings { base_url, ..fixture::settings() }).unwrap();
    let clock: Clock = Arc::new(|| "2026-11-20T10:00:00Z".parse().unwrap());
    let transport = Arc::new(Transport::try_new().unwrap());
    (AccountClient::new(Arc::new(account), transport, Arc::new(ExternalIds::new(7)), clock), script)
}

async fn read_request(socket: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let n = socket.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if n == 0 || body.len() >= length {
            return text;
        }
    }
}

fn token(text: &str) -> (u16, String) {
    (200, format!(r#"{{"responseCode":"2007300","accessToken":"{text}","expiresIn":"900"}}"#))
}

fn paid() -> (u16, String) {
    (
        200,
        r#"{"responseCode":"2005100","originalPartnerReferenceNo":"INV-1","latestTransactionStatus":"00","amount":{"value":1200,"currency":"IDR"}}"#
            .to_owned(),
    )
}

fn coded(status: u16, code: &str) -> (u16, String) {
    (status, format!(r#"{{"responseCode":"{code}"}}"#))
}

/// None of them closes the connection.
fn all(answers: Vec<(u16, String)>) -> Vec<Reply> {
    answers.into_iter().map(Some).collect()
}

async fn query(client: &AccountClient, permit: &Counting) -> QueryResult {
    client.query(&client.asked("INV-1", Some("DK1"), None), permit).await.unwrap()
}

fn external_id(request: &str) -> &str {
    request.lines().find_map(|line| line.strip_prefix("x-external-id: ")).unwrap()
}

#[tokio::test]
async fn the_first_query_fetches_a_token_and_the_second_uses_it_and_each_call_is_counted() {
    let (client, script) = provider_answering(all(vec![token("t-one-long"), paid(), paid()])).await;
    let permit = Counting::default();
    for _ in 0..2 {
        let result = query(&client, &permit).await;
        assert_eq!((result.answer.observation, result.answer.echo), (Observation::Paid, Echo::Right));
        assert_eq!((result.meta.http_status, result.failure), (Some(200), None));
        assert!(String::from_utf8(result.raw).unwrap().contains("2005100"));
    }
    assert_eq!(permit.calls(), [CallKind::Token, CallKind::Query, CallKind::Query]);
    let seen = script.seen();
    assert!(seen[0].starts_with("POST /authorization/v1/access-token/b2b ") && seen[0].contains("x-client-key: BRN-"));
    assert!(seen[1].contains("authorization: Bearer t-one-long"));
    assert_ne!(external_id(&seen[1]), external_id(&seen[2]));
}

#[tokio::test]
async fn a_refused_token_is_fetched_once_and_the_query_asked_once_more_under_a_new_id() {
    let answers = all(vec![token("t-one"), coded(401, "4015101"), token("t-two"), paid()]);
    let (client, script) = provider_answering(answers).await;
    let permit = Counting::default();
    assert_eq!(query(&client, &permit).await.answer.observation, Observation::Paid);
    assert_eq!(permit.calls(), [CallKind::Token, CallKind::Query, CallKind::Token, CallKind::Query]);
    assert_eq!(permit.ends(), [(CallKind::Query, None)], "a token that somebody else replaced is nobody's failure");
    let seen = script.seen();
    assert!(seen[3].contains("Bearer t-two"));
    assert_ne!(external_id(&seen[1]), external_id(&seen[3]));
}

#[tokio::test]
async fn a_token_refused_twice_is_not_asked_for_a_third_time() {
    let answers = all(vec![token("t-one"), coded(401, "4015101"), token("t-two"), coded(401, "4015101")]);
    let (client, script) = provider_answering(answers).await;
    let result = query(&client, &Counting::default()).await;
    assert_eq!(result.answer.observation, Observation::Indeterminate);
    assert_eq!(result.failure, Some(Failure::Unauthorized));
    assert_eq!(script.seen().len(), 4);
}

#[tokio::test]
async fn one_failed_call_for_a_token_counts_once_however_many_queries_waited_for_it() {
    let (client, script) = provider_answering(vec![Some((503, String::new()))]).await;
    let permit = Counting::default();
    let results = futures::future::join_all((0..30).map(|_| query(&client, &permit))).await;
    assert!(results.iter().all(|r| r.failure == Some(Failure::ServerError) && r.meta.call_id.is_none()));
    assert_eq!(script.seen().len(), 1);
    assert_eq!(permit.ends(), [(CallKind::Token, Some(Failure::ServerError))]);
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let (client, script) = provider_answering(vec![Some(coded(401, "4017300")), None]).await;
    let permit = Counting::default();
    let result = query(&client, &permit).await;
    assert_eq!(result.answer, Answer::indeterminate(NO_TOKEN));
    assert_eq!(result.failure, Some(Failure::Unauthorized));
    let result = query(&client, &permit).await;
    assert_eq!(result.failure, Some(Failure::Transport(TransportError::Reset)));
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test]
async fn a_denied_call_is_no_call() {
    let (client, script) = provider_answering(vec![Some(token("t"))]).await;
    for refuses in [CallKind::Token, CallKind::Query, CallKind::Refund, CallKind::ByHand] {
        let permit = Counting { refuses: Some(refuses), ..Counting::default() };
        let asked = client.asked("INV-1", Some("DK1"), None);
        let is_denied = match refuses {
            CallKind::Refund => matches!(client.refund(&asked, "{}", &permit).await, Err(CallError::Denied(Denied))),
            CallKind::ByHand => {
                let decode =
                    Decode { partner_reference_no: "D1", qr_content: "0002", scanned_at: DateTime::UNIX_EPOCH };
                matches!(client.by_hand(&ByHand::Decode(decode), &permit).await, Err(CallError::Denied(Denied)))
            }
            CallKind::Token | CallKind::Query => {
                matches!(client.query(&asked, &permit).await, Err(CallError::Denied(Denied)))
            }
        };
        assert!(is_denied, "{refuses:?}");
    }
    assert_eq!(script.seen().len(), 1, "only the token of the second round was asked for");
}

#[tokio::test]
async fn an_outage_is_a_failure_and_a_refusal_or_a_doubt_is_none() {
    for (answer, failure) in [
        (None, Some(Failure::Transport(TransportError::Reset))),
        (Some((502, "<html>".to_owned())), Some(Failure::ServerError)),
        (Some(coded(200, "5005101")), Some(Failure::ServerError)),
        (Some(coded(401, "4015100")), Some(Failure::Unauthorized)),
        (Some(coded(429, "4295100")), None),
        (Some(coded(400, "4005101")), None),
        (Some(coded(200, "9")), None),
    ] {
        let (client, _script) = provider_answering(vec![Some(token("t")), answer.clone()]).await;
        let result = query(&client, &Counting::default()).await;
        assert_eq!(result.failure, failure, "{answer:?}");
        assert_eq!(result.answer.observation, Observation::Indeterminate, "{answer:?}");
    }
}

#[tokio::test]
async fn a_refund_goes_out_once_with_the_stored_bytes() {
    let body = r#"{"partnerRefundNo":"R1","reason":"stored"}"#;
    let done = r#"{"responseCode":"2007800","partnerRefundNo":"R1","refundNo":"Q1","refundAmount":{"value":"12.50","currency":"IDR"}}"#;
    let (client, script) = provider_answering(all(vec![token("t"), (200, done.to_owned())])).await;
    let asked = client.asked("INV-1", Some("DK1"), None);
    let result = client.refund(&asked, body, &Counting::default()).await.unwrap();
    assert_eq!((result.reply.class, result.reply.amount), (ReplyClass::Success, Some(Sen::new(1250))));
    assert!(script.seen()[1].ends_with(body));
}

#[tokio::test]
async fn a_refund_is_never_repeated_from_here() {
    for (answer, class, is_unsent) in [
        (Some(coded(401, "4017801")), ReplyClass::Later, false),
        (None, ReplyClass::Unknown, false),
        (Some((504, String::new())), ReplyClass::Unknown, false),
    ] {
        let (client, script) = provider_answering(vec![Some(token("t")), answer]).await;
        let result =
            client.refund(&client.asked("INV-1", Some("DK1"), None), "{}", &Counting::default()).await.unwrap();
        assert_eq!((result.reply.class, result.is_unsent), (class, is_unsent));
        assert_eq!(script.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_refund_that_surely_never_left_is_for_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let account = Account::try_new(AccountSettings { base_url, ..fixture::settings() }).unwrap();
    let clock: Clock = Arc::new(|| "2026-11-20T10:00:00Z".parse().unwrap());
    let client = AccountClient::new(
        Arc::new(account),
        Arc::new(Transport::try_new().unwrap()),
        Arc::new(ExternalIds::new(7)),
        clock,
    );
    let result = client.refund(&client.asked("INV-1", Some("DK1"), None), "{}", &Counting::default()).await.unwrap();
    assert_eq!((result.reply.class, result.is_unsent), (ReplyClass::Later, true));
    assert_eq!(refund_unanswered(TransportError::Connect, String::new()).reply.class, ReplyClass::Later);
    assert_eq!(refund_unanswered(TransportError::Timeout, String::new()).reply.class, ReplyClass::Unknown);
}

#[test]
fn evidence_is_kept_to_the_byte_but_for_our_secrets() {
    let secrets = ["token-token", "client-secret", "short"];
    assert_eq!(redact(b"{\"a\":\"short\"}\n ".to_vec(), &secrets), b"{\"a\":\"short\"}\n ");
    assert_eq!(redact(b"x token-token y client-secret".to_vec(), &secrets), b"x *** y ***");
    let broken = redact([&b"\xff token-token"[..], b"\xfe"].concat(), &secrets);
    assert!(!String::from_utf8_lossy(&broken).contains("token-token"));
}
