//! A process's HTTP side, on a free port, over a database of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{OnceLock, mpsc},
    thread,
    time::Duration,
};

use rekon::{
    config::Config,
    engine::{
        ingest::{self, Door, Intake},
        rulebook::Rulebook,
    },
    store::{
        Store,
        embedded::{EmbeddedOptions, EmbeddedPostgres},
    },
    telemetry::{
        heartbeat::Heartbeats,
        metrics::{ProcessMetrics, install},
    },
    web::{self, WebError, WebLimits, WebParts},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub(super) const LIMITS: WebLimits = WebLimits {
    request_timeout: Duration::from_secs(20),
    header_timeout: Duration::from_secs(20),
    max_connections: 512,
    body_max: 1_024,
    drain_timeout: Duration::from_secs(20),
};

pub(super) const ACCOUNTS: [&str; 2] = ["kiosk", "shop"];

/// A private server on a thread of its own, because it ends with the thread that starts it.
pub(super) struct Postgres {
    pub(super) url: String,
    orders: mpsc::Sender<Order>,
    done: mpsc::Receiver<()>,
}

enum Order {
    Stop,
    Start,
}

impl Postgres {
    pub(super) fn start() -> Self {
        let (orders, told) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        let (tell_url, url) = mpsc::channel();
        thread::spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            let options = EmbeddedOptions {
                data_dir: folder.path().to_owned(),
                bin_dir: None,
                settings: vec![
                    ("fsync".to_owned(), "off".to_owned()),
                    ("shared_buffers".to_owned(), "32MB".to_owned()),
                ],
            };
            let mut running = Some(EmbeddedPostgres::start(&options).unwrap());
            tell_url.send(running.as_ref().unwrap().url().to_owned()).unwrap();
            // Ends with its owner: then the server is dropped and the folder removed.
            for order in told {
                match order {
                    Order::Stop => running.take().unwrap().stop().unwrap(),
                    Order::Start => running = Some(EmbeddedPostgres::start(&options).unwrap()),
                }
                tell.send(()).unwrap();
            }
        });
        Self { url: url.recv().unwrap(), orders, done }
    }

    pub(super) fn stop(&self) {
        self.order(Order::Stop);
    }

    pub(super) fn start_again(&self) {
        self.order(Order::Start);
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
        self.done.recv().unwrap();
    }
}

/// The recorder of this process; there can only be one.
pub(crate) fn process_metrics() -> ProcessMetrics {
    static METRICS: OnceLock<ProcessMetrics> = OnceLock::new();
    METRICS.get_or_init(|| install(&vocabulary()).unwrap()).clone()
}

pub(crate) fn vocabulary() -> rekon::telemetry::catalogue::Vocabulary {
    web::vocabulary(ACCOUNTS.map(str::to_owned).to_vec(), vec!["shop".to_owned()])
}

/// A door behind which no account stands.
fn no_door(store: watch::Receiver<Option<Store>>) -> Intake {
    let config = Config::from_toml("", &BTreeMap::new(), &[]).unwrap();
    let (intake, taking) = ingest::intake(Door::new(&config, &Rulebook::new(config.policy, [])), store);
    tokio::spawn(taking);
    intake
}

/// The HTTP side.
pub(super) struct House {
    pub(super) address: SocketAddr,
    pub(super) store: watch::Sender<Option<Store>>,
    pub(super) heartbeats: Heartbeats,
    pub(super) draining: CancellationToken,
    pub(super) shutdown: CancellationToken,
    pub(super) server: JoinHandle<Result<(), WebError>>,
}

impl House {
    pub(super) async fn open(store: Option<Store>) -> Self {
        Self::open_within(store, LIMITS).await
    }

    pub(super) async fn open_with(store: Option<Store>, request_timeout: Duration) -> Self {
        Self::open_within(store, WebLimits { request_timeout, ..LIMITS }).await
    }

    pub(super) async fn open_within(store: Option<Store>, limits: WebLimits) -> Self {
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(store);
        let store = receiver.clone();
        let (heartbeats, draining, shutdown) = (Heartbeats::new(), CancellationToken::new(), CancellationToken::new());
        let parts = WebParts {
            store,
            heartbeats: heartbeats.clone(),
            metrics: process_metrics(),
            vocabulary: vocabulary(),
            customer_token_ends: std::collections::BTreeMap::new(),
            draining: draining.clone(),
            intake: no_door(receiver),
            api: crate::api::rig::parts(&Config::from_toml("", &BTreeMap::new(), &[]).unwrap()),
            limits,
        };
        let server = tokio::spawn(web::serve(listener, parts, shutdown.clone()));
        Self { address, store: sender, heartbeats, draining, shutdown, server }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\n\r\n")).await
    }

    /// One request as written, on a connection of its own.
    pub(super) async fn send(&self, request: &str) -> Answer {
        ask(self.address, request).await
    }

    /// Asks until the status is the expected one.
    pub(super) async fn wait_for(&self, path: &str, status: u16) -> Answer {
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if answer.status == status {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), asking)
            .await
            .unwrap_or_else(|_| panic!("{path} never said {status}"))
    }

    pub(super) async fn scrape(&self) -> Scrape {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Scrape::parse(&answer.body)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) async fn ask(address: SocketAddr, request: &str) -> Answer {
    ask_bytes(address, request.as_bytes()).await
}

/// A server may answer and close before it has read everything: then the rest cannot be written, and that is no error.
pub(crate) async fn ask_bytes(address: SocketAddr, request: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let request = request.to_vec();
    let writing = tokio::spawn(async move {
        let written = to.write_all(&request).await;
        (to, written)
    });
    let mut bytes = Vec::new();
    let read = from.read_to_end(&mut bytes).await;
    let (_to, written) = writing.await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.is_empty(), "no answer: {read:?} {written:?}");
    Answer::parse(&text)
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Prometheus's text format, read strictly.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    /// Family to its type.
    pub(super) types: BTreeMap<String, String>,
    /// Family to its help.
    pub(super) helps: BTreeMap<String, String>,
    /// Name with labels in the order of their names, as written, to value.
    pub(super) samples: BTreeMap<String, String>,
}

impl Scrape {
    pub(super) fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let twice = if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                scrape.helps.insert(name.to_owned(), help.to_owned())
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                scrape.types.insert(name.to_owned(), kind.to_owned())
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(is_number(value), "no number: {line}");
                let family = scrape.family(name);
                assert!(scrape.types.contains_key(&family), "no TYPE before {line}");
                scrape.samples.insert(sorted(name), value.to_owned())
            };
            assert_eq!(twice, None, "twice: {line}");
        }
        scrape
    }

    /// The family of a sample: a histogram's samples bear a suffix.
    pub(super) fn family(&self, sample: &str) -> String {
        let name = sample.split('{').next().unwrap();
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        stem.filter(|stem| self.types.get(*stem).is_some_and(|kind| kind == "histogram")).unwrap_or(name).to_owned()
    }

    /// The whole part of a sample's value.
    #[track_caller]
    pub(super) fn whole(&self, sample: &str) -> i64 {
        self.value(sample).split('.').next().unwrap().parse().unwrap()
    }

    /// The value of a sample, with its labels in the order of their names.
    #[track_caller]
    pub(super) fn value(&self, sample: &str) -> &str {
        self.samples.get(sample).unwrap_or_else(|| panic!("no {sample}"))
    }
}

/// `name{b="2",a="1"}` as `name{a="1",b="2"}`; checks the form on the way. Test labels hold no commas.
fn sorted(sample: &str) -> String {
    let Some((name, labels)) = sample.split_once('{') else {
        assert!(is_name(sample), "no metric name: {sample}");
        return sample.to_owned();
    };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("an open brace: {sample}"));
    let mut pairs: Vec<&str> = labels.split(',').collect();
    for pair in &pairs {
        let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("no pair: {pair}"));
        assert!(
            is_name(label) && value.len() >= 2 && value.starts_with('"') && value.ends_with('"'),
            "no pair: {pair}"
        );
    }
    pairs.sort_unstable();
    assert!(is_name(name), "no metric name: {sample}");
    format!("{name}{{{}}}", pairs.join(","))
}

/// Digits with at most one point between them.
fn is_number(text: &str) -> bool {
    text.split('.').count() <= 2
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
