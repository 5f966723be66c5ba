//! A merchant with one DOKU account at the simulator: the database, the provider and the configuration of a test, and
//! rekon's own engine running on them in this process.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rekon::{
    config::Config,
    engine::{Ctx, Engine, EngineError, rulebook::Rulebook, runtime},
    jobs::{self, Roles},
    sim::{DEMO_PRIVATE_KEY_PEM, Sim, SimClient, SimHandle, SimOptions, SimPayment},
    store::{Store, limits::CallClass},
};
use tokio::task::JoinHandle;

use super::TestDb;

/// What the simulator and the configuration call the account.
pub(crate) const ACCOUNT: &str = "doku-main";
pub(crate) const CLIENT: &str = "BRN-0240-1657686175289";
pub(crate) const SECRET: &str = "SK-simulated-secret";
pub(crate) const MERCHANT: &str = "2115";
/// What webhooks are signed with, and the one that comes after it.
pub(crate) const HOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const HOOK_SECRET_NEW: &str = "whsec_c2VjcmV0IHRoYXQgaXMgYXMgbmV3IGFzIGNhbiBiZQ==";

/// The shop.
pub(crate) struct Shop {
    pub(crate) db: TestDb,
    pub(crate) sim: SimHandle,
    pub(crate) config_text: String,
    _keys: tempfile::TempDir,
}

/// rekon at work in this process.
pub(crate) struct Working {
    pub(crate) ctx: Arc<Ctx>,
    engine: Engine,
    workers: JoinHandle<Result<(), jobs::JobsError>>,
}

/// Settings of a test that cannot wait for minutes: the same clock and code, shorter times. `{account}` keys and whole
/// sections may follow.
pub(crate) const SHORT_TIMES: &str = r#"
[policy]
confirm_after = "1s"
watch = "1h"
close_spread = "2s"
[refunds]
mode = "auto"
[jobs.sweep]
every = "50ms"
"#;

impl Shop {
    /// A shop whose account has these extra lines, with these extra sections.
    pub(crate) async fn open(account_lines: &str, sections: &str) -> Self {
        let client = SimClient::demo(CLIENT, SECRET, MERCHANT);
        let mut options = SimOptions::loopback(vec![client]);
        options.arrival_log = true;
        Self::open_with(options, account_lines, sections).await
    }

    /// The same with a simulator of one's own.
    pub(crate) async fn open_with(options: SimOptions, account_lines: &str, sections: &str) -> Self {
        let db = TestDb::new().await;
        let sim = Sim::start(options).await.expect("the simulator starts");
        let keys = tempfile::tempdir().expect("a folder for the key");
        let key = keys.path().join("doku.pem");
        std::fs::write(&key, DEMO_PRIVATE_KEY_PEM).expect("the key is written");
        let config_text = format!(
            "[accounts.{ACCOUNT}]\nprovider = \"doku\"\nbase_url = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret = {{ env = \"DOKU_SECRET\" }}\n\
             private_key = {{ file = \"{}\" }}\nmerchant_id = \"{MERCHANT}\"\nchannel_id = \"H2H\"\n{account_lines}\n{sections}",
            sim.base_url(),
            key.display(),
        );
        Self { db, sim, config_text, _keys: keys }
    }

    /// The environment of the configuration.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("DOKU_SECRET".to_owned(), SECRET.to_owned()),
            ("SHARED_KEY".to_owned(), "SHAREDKEY".to_owned()),
            ("HOOK_SECRET".to_owned(), HOOK_SECRET.to_owned()),
            ("HOOK_SECRET_NEW".to_owned(), HOOK_SECRET_NEW.to_owned()),
            ("DATABASE_URL".to_owned(), self.db.url.clone()),
        ])
    }

    /// The checked configuration.
    pub(crate) fn config(&self) -> Config {
        match Config::from_toml(&self.config_text, &self.env(), &["doku", "paydia"]) {
            Ok(config) => config,
            Err(errors) => panic!("{errors}\n{}", self.config_text),
        }
    }

    /// The terms in force.
    pub(crate) fn rulebook(&self) -> Rulebook {
        let config = self.config();
        let accounts = runtime::accounts(&config).expect("the accounts are whole");
        Rulebook::new(config.policy, accounts.into_iter().map(|account| (account.name, account.profile.rules)))
    }

    /// The merchant expects a payment and the provider knows it.
    pub(crate) async fn expect(&self, payment: SimPayment, extra_columns: &[(&str, &str)]) -> i64 {
        let mut columns = String::from("account, partner_reference_no, reference_no, amount");
        let amount = format!("{}.{:02}", payment.expected_sen / 100, payment.expected_sen % 100);
        let mut values =
            format!("'{ACCOUNT}', '{}', '{}', {amount}", payment.partner_reference_no, payment.reference_no);
        for (column, value) in extra_columns {
            columns.push_str(", ");
            columns.push_str(column);
            values.push_str(", ");
            values.push_str(value);
        }
        self.sim.world().add_payment(payment).expect("the simulator takes the payment");
        self.db
            .value::<i64>(&format!("insert into rekon.transactions ({columns}) values ({values}) returning id"))
            .await
    }

    /// Puts rekon to work.
    pub(crate) async fn work(&self) -> Working {
        self.work_on(self.db.another_store().await).await.expect("the engine starts")
    }

    /// The same with the calendar and the command bus.
    pub(crate) async fn work_with_calendar(&self) -> Working {
        let store = self.db.another_store().await;
        self.work_as(store, Roles { commands: true }).await.expect("the engine starts")
    }

    /// The same on a store of one's own.
    pub(crate) async fn work_on(&self, store: Store) -> Result<Working, EngineError> {
        self.work_as(store, Roles { commands: false }).await
    }

    async fn work_as(&self, store: Store, roles: Roles) -> Result<Working, EngineError> {
        let engine =
            Engine::start(store, &self.config(), CallClass::Due, &[], rekon::telemetry::heartbeat::Heartbeats::new())
                .await?;
        let ctx = Arc::clone(&engine.ctx);
        let workers = tokio::spawn(jobs::run(Arc::clone(&ctx), roles));
        Ok(Working { ctx, engine, workers })
    }

    /// Waits until a query gives `wanted`, at most half a minute; panics with what it gave last.
    #[track_caller]
    pub(crate) fn until(&self, sql: &str, wanted: &str) -> impl Future<Output = ()> {
        let (caller, sql, wanted) = (std::panic::Location::caller(), sql.to_owned(), wanted.to_owned());
        async move {
            let mut last = String::new();
            for _ in 0..600 {
                last = self.db.text(&format!("select ({sql})")).await;
                if last == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let refunds = "select string_agg(to_jsonb(r)::text, e'\n') from rekon.refund_saga r";
            let facts = "select string_agg(concat_ws(' ', transaction_id, seq, observation, amount, doubt, sent_at), e'\n' order by answered_at) from rekon.facts";
            let rows = "select string_agg(concat_ws(' ', id, state, next_check_at, lease_owner, lease_until, now()), e'\n') from rekon.transactions";
            let cancels = "select string_agg(to_jsonb(c)::text, e'\n') from rekon.qr_cancels c";
            let (refunds, facts) = (self.db.text(refunds).await, self.db.text(facts).await);
            let (rows, cancels) = (self.db.text(rows).await, self.db.text(cancels).await);
            panic!("{caller}: {sql}\n  wanted {wanted}\n  got    {last}\n{refunds}\n{facts}\n{rows}\n{cancels}");
        }
    }

    /// State and flags of a row, as `paid{overpaid}`.
    pub(crate) fn end_of(id: i64) -> String {
        format!("select state || '{{' || array_to_string(flags, ',') || '}}' from rekon.transactions where id = {id}")
    }
}

impl Working {
    /// SIGTERM, in this process.
    pub(crate) async fn stop(self) {
        self.ctx.stop.cancel();
        self.workers.await.expect("the workers do not panic").expect("the workers end in order");
        self.engine.finish().await.expect("the engine ends in order");
    }
}
