//! A shop's HTTP side, and people with tokens who call it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use rekon::{
    config::{ApiLimits, Config},
    domain::{
        person::{Actor, PersonKind, Role, Scope},
        token::TokenKind,
    },
    engine::{
        health::AccountTerms,
        import::ImportRules,
        ingest::{self, Door},
        people::{self, TokenWish},
        rulebook::Rulebook,
        runtime,
    },
    store::Store,
    telemetry::heartbeat::Heartbeats,
    web::{self, ApiParts, WebLimits, WebParts},
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    support::shop::Shop,
    web::house::{self, Answer},
};

pub(super) const BUDI: &str = "budi";
pub(super) const SARI: &str = "sari";
pub(super) const WATI: &str = "wati";

/// A second account, so that one reference can stand twice.
const KIOSK: &str = "[accounts.kiosk]\nprovider = \"doku\"\nbase_url = \"https://api-sandbox.doku.com\"\nclient_id = \"BRN-2\"\n\
    client_secret = { env = \"DOKU_SECRET\" }\nprivate_key = { file = \"KEY\" }\nmerchant_id = \"2116\"\nchannel_id = \"H2H\"\n";

/// What a process's API needs, from its configuration.
pub(crate) fn parts(config: &Config) -> ApiParts {
    let accounts = runtime::accounts(config).expect("the accounts fit together");
    let demands: BTreeMap<_, _> = accounts.iter().map(|a| (a.name.clone(), a.profile.rules.demands())).collect();
    let terms = |a: &rekon::providers::Account| AccountTerms {
        account: a.name.clone(),
        provider: "doku".to_owned(),
        calls_per_second: a.limits.per_second,
        burst: a.limits.burst,
    };
    let known = accounts.iter().map(terms).collect();
    let rulebook = Rulebook::new(config.policy, accounts.into_iter().map(|a| (a.name, a.profile.rules)));
    ApiParts {
        rules: ImportRules {
            accounts: demands.keys().cloned().collect(),
            demands: Box::new(move |account| demands.get(account).copied()),
        },
        rulebook: Arc::new(rulebook),
        limits: config.server.api,
        accounts: known,
        bus: rekon::jobs::commands::bus(),
        fresh: config.reconcile.fresh,
    }
}

/// The API; it ends with the test.
pub(super) struct Api {
    pub(super) shop: Shop,
    pub(super) address: SocketAddr,
    pub(super) store: watch::Sender<Option<Store>>,
    tokens: BTreeMap<String, String>,
    shutdown: CancellationToken,
}

impl Api {
    pub(super) async fn open() -> Self {
        Self::open_with("", "", |limits| limits).await
    }

    pub(super) async fn open_with(account: &str, sections: &str, limit: impl Fn(ApiLimits) -> ApiLimits) -> Self {
        let mut shop = Shop::open(account, sections).await;
        let key = shop.config_text.split_once("file = \"").expect("a key").1.split_once('"').expect("its end").0;
        shop.config_text = format!("{}\n{}", shop.config_text, KIOSK.replace("KEY", key));
        let config = shop.config();
        let (store, seen) = watch::channel(Some(shop.db.another_store().await));
        let mut api = parts(&config);
        api.limits = limit(api.limits);
        let (intake, taking) = ingest::intake(Door::new(&config, &api.rulebook), seen.clone());
        tokio::spawn(taking);
        let listener = web::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let parts = WebParts {
            store: seen,
            heartbeats: Heartbeats::new(),
            metrics: house::process_metrics(),
            vocabulary: house::vocabulary(),
            customer_token_ends: BTreeMap::new(),
            draining: CancellationToken::new(),
            intake,
            api,
            limits: WebLimits {
                request_timeout: Duration::from_secs(20),
                header_timeout: config.server.header_timeout,
                max_connections: config.server.max_connections,
                body_max: config.server.body_max,
                drain_timeout: Duration::from_secs(1),
            },
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(web::serve(listener, parts, shutdown.clone()));
        let mut house = Self { shop, address, store, tokens: BTreeMap::new(), shutdown };
        house.shop.db.people().await;
        for (name, role) in [(BUDI, Role::Maker), (SARI, Role::Checker), (WATI, Role::Operator)] {
            house.give(name, name, role, &[]).await;
        }
        house
    }

    /// Makes a token of somebody, kept under a label; without scopes it allows what the role does.
    pub(super) async fn give(&mut self, label: &str, person: &str, role: Role, scopes: &[Scope]) {
        let by = Actor {
            name: person.to_owned(),
            kind: PersonKind::Person,
            roles: [role].into(),
            scopes: Scope::ALL.into(),
            token_id: 0,
        };
        let wish = TokenWish {
            person: person.to_owned(),
            kind: TokenKind::Personal,
            label: label.to_owned(),
            scopes: scopes.to_vec(),
            days: None,
        };
        let fresh = people::create_token(&self.shop.db.store, &by, wish).await.expect("a token");
        self.tokens.insert(label.to_owned(), fresh.token.expose_secret().to_owned());
    }

    /// The token kept under a label.
    pub(super) fn token(&self, label: &str) -> &str {
        self.tokens.get(label).expect("somebody has it")
    }

    pub(super) async fn get(&self, who: &str, path: &str) -> Answer {
        self.send(who, "GET", path, "", None).await
    }

    pub(super) async fn post(&self, who: &str, path: &str, body: &Value) -> Answer {
        self.send(who, "POST", path, "", Some(&body.to_string())).await
    }

    /// The same under an Idempotency-Key.
    pub(super) async fn post_once(&self, who: &str, path: &str, key: &str, body: &Value) -> Answer {
        self.send(who, "POST", path, &format!("idempotency-key: {key}\r\n"), Some(&body.to_string())).await
    }

    /// One request; `headers` end with line ends.
    pub(super) async fn send(&self, who: &str, method: &str, path: &str, headers: &str, body: Option<&str>) -> Answer {
        let token =
            if who.is_empty() { String::new() } else { format!("authorization: Bearer {}\r\n", self.token(who)) };
        let body = body.map_or_else(String::new, |body| {
            format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        });
        let end = if body.is_empty() { "\r\n" } else { "" };
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\n{token}{headers}{body}{end}");
        house::ask(self.address, &request).await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Checks a problem: its status, its form, and words in it.
#[track_caller]
pub(super) fn problem(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{answer:?}");
    let body = answer.json();
    assert_eq!(body["status"], status, "{body}");
    assert!(answer.body.contains(words), "{words:?} is missing in {}", answer.body);
}
