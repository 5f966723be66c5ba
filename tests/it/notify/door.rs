//! The HTTP side of a shop, and somebody who knocks.

use std::{net::SocketAddr, time::Duration};

use rekon::{
    engine::{
        ingest::{self, Door},
        rulebook::Rulebook,
        runtime,
    },
    sim::Envelope,
    telemetry::heartbeat::Heartbeats,
    web::{self, WebLimits, WebParts},
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    support::shop::Shop,
    web::house::{self, Answer},
};

/// The key that the provider and the account share.
pub(crate) const SHARED_KEY: &str = "SHAREDKEY";

/// The HTTP side; it ends with the test.
pub(crate) struct Doorway {
    pub(crate) address: SocketAddr,
    pub(crate) store: watch::Sender<Option<rekon::store::Store>>,
    shutdown: CancellationToken,
}

impl Doorway {
    pub(crate) async fn open(shop: &Shop) -> Self {
        let config = shop.config();
        let accounts = runtime::accounts(&config).unwrap();
        let rulebook = Rulebook::new(config.policy, accounts.into_iter().map(|a| (a.name, a.profile.rules)));
        let (sender, receiver) = watch::channel(Some(shop.db.another_store().await));
        let (intake, taking) = ingest::intake(Door::new(&config, &rulebook), receiver.clone());
        tokio::spawn(taking);
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let parts = WebParts {
            store: receiver,
            heartbeats: Heartbeats::new(),
            metrics: house::process_metrics(),
            vocabulary: house::vocabulary(),
            customer_token_ends: std::collections::BTreeMap::new(),
            draining: CancellationToken::new(),
            intake,
            api: crate::api::rig::parts(&config),
            limits: WebLimits {
                request_timeout: Duration::from_secs(20),
                header_timeout: Duration::from_secs(20),
                max_connections: 512,
                body_max: 1_048_576,
                drain_timeout: Duration::from_secs(1),
            },
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(web::serve(listener, parts, shutdown.clone()));
        Self { address, store: sender, shutdown }
    }

    pub(crate) async fn knock(&self, knock: &Knock) -> Answer {
        self.post("doku-main", &knock.query(), Some("application/json"), knock.body().as_bytes()).await
    }

    /// A signed request to a path below the account's URL.
    pub(crate) async fn send(&self, below: &str, letter: &Envelope) -> Answer {
        let headers: Vec<String> = letter.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let request = format!(
            "POST /notify/doku/doku-main{below} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{}",
            letter.body.len(),
            letter.body
        );
        house::ask(self.address, &request).await
    }

    /// Any request to the door.
    pub(crate) async fn post(&self, account: &str, query: &str, kind: Option<&str>, body: &[u8]) -> Answer {
        let kind = kind.map(|kind| format!("content-type: {kind}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /notify/doku/{account}?{query} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\n{kind}content-length: {}\r\n\r\n",
            body.len()
        );
        house::ask_bytes(self.address, &[head.as_bytes(), body].concat()).await
    }
}

impl Drop for Doorway {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A notification as DOKU sends it.
#[derive(Clone)]
pub(crate) struct Knock {
    values: Vec<(&'static str, String)>,
    message: String,
}

impl Knock {
    /// "Paid", without a signature.
    pub(crate) fn paid(reference: &str, amount: &str) -> Self {
        let values = [
            ("WORDS", "0000000000000000000000000000000000000000"),
            ("CUSTOMERPAN", "9360050110001187249"),
            ("INVOICE", "10093868"),
            ("TRANSACTIONID", reference),
            ("AMOUNT", amount),
            ("TXNDATE", "20261120100000"),
            ("MERCHANTPAN", "936008990000047435"),
            ("CUSTOMERNAME", "YURI+PRAMANA"),
            ("TXNSTATUS", "S"),
            ("ISSUERID", "9360050110001187249"),
        ];
        Self {
            values: values.map(|(name, value)| (name, value.to_owned())).to_vec(),
            message: "Transaction is Success".to_owned(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.values.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, v)| value.clone_into(v));
        self
    }

    pub(crate) fn saying(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// With the right WORDS.
    pub(crate) fn signed(self) -> Self {
        let value = |name: &str| self.values.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone()).unwrap();
        let text = ["ISSUERID", "TXNDATE", "MERCHANTPAN", "INVOICE"].map(value).concat() + SHARED_KEY;
        let words = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
        self.with("WORDS", &words)
    }

    pub(crate) fn query(&self) -> String {
        self.values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    pub(crate) fn body(&self) -> String {
        let Self { message, .. } = self;
        format!(
            r#"{{"transactionId":"DK0018353","activityCode":"200","message":"{message}","processDate":"2026-11-20T10:00:05"}}"#
        )
    }
}
