//! Every commit of a payment's life, from the notification over two answers to the refund and its end: the process dies right
//! before the commit took effect, and right after. It is started again, and everything ends as if it had never died. The same
//! for the end of a QR, the record of a transfer by hand, and a day's seal. What else people decide: `people`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use rekon::{
    domain::person::{Actor, PersonKind, Role, Scope},
    engine::{
        transfer::{self, Deed},
        verify,
    },
    sim::{Answer, Service, SimPayment},
    store::Store,
};

use crate::{
    engine::{SAFE, payment},
    notify::door::Knock,
    support::{
        connect_options,
        process::Daemon,
        proxy::Proxy,
        shop::{SHORT_TIMES, Shop},
    },
    web::house,
};

/// As in `day`, with a key for notifications.
const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"1s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n\
    [accounts.doku-main.notify]\nshared_key = { env = \"SHARED_KEY\" }\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [database]\nmax_connections = 8\n[jobs.sweep]\nevery = \"50ms\"\nlease = \"3s\"\nchunk_span = \"1s\"\n";
/// Commits of a payment's life that nothing disturbs, and some to spare; past the last one nobody dies.
const OF_A_PAYMENT: u64 = 14;
/// The least of them that a run must come to: the notification, two answers with what they cause, the refund's steps.
const AT_LEAST: u64 = 9;
/// Commits until a QR is ended, and some to spare, and the least of them.
const OF_A_QR: u64 = 7;
const AT_LEAST_OF_A_QR: u64 = 4;
/// Lives at a time.
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(8);

/// The commit at which a process is to die, right before it takes effect or right after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    nth: u64,
    pub(super) takes_effect: bool,
}

impl Point {
    /// Lets a door shut there.
    pub(super) fn arm(self, door: &Proxy) {
        door.shut_at_commit(self.nth, self.takes_effect);
    }

    pub(super) fn up_to(commits: u64) -> Vec<Self> {
        (1..=commits).flat_map(|nth| [false, true].map(|takes_effect| Self { nth, takes_effect })).collect()
    }

    pub(super) fn told(self) -> String {
        let Self { nth, takes_effect } = self;
        format!("death at commit {nth}, which {}", if takes_effect { "took effect" } else { "did not take effect" })
    }
}

/// A table of the deaths; each of the commits that every life has must have been died at on both sides.
pub(super) fn assert_each_was_met(what: &str, at_least: u64, deaths: &BTreeMap<Point, bool>) {
    let met = |nth, takes_effect| deaths.get(&Point { nth, takes_effect }).copied().unwrap_or_default();
    println!("{what}: commit, died before it took effect, died after");
    for Point { nth, .. } in deaths.keys().filter(|point| point.takes_effect) {
        println!("  {nth}  {}  {}", met(*nth, false), met(*nth, true));
    }
    let last = deaths.iter().filter(|(_, died)| **died).map(|(point, _)| point.nth).max().unwrap_or_default();
    assert!(last >= at_least, "{what}: nobody came further than to commit {last}");
    // Those that come in every life, on both sides; the last one may come on the one side only. Beyond them how often an idle sweep
    // looks is a matter of time.
    for nth in 1..last.min(at_least + 1) {
        assert!(met(nth, false) && met(nth, true), "{what}: nobody died at commit {nth} on both sides");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_commit_changes_nothing() {
    let lives = stream::iter(Point::up_to(OF_A_PAYMENT)).map(|at| async move { (at, life(at).await) });
    let deaths: BTreeMap<Point, bool> = lives.buffer_unordered(AT_ONCE).collect().await;
    assert_each_was_met("a payment", AT_LEAST, &deaths);
}

/// A shop, and a door between it and its database that a process may die at.
struct Rig {
    shop: Shop,
    proxy: Proxy,
    env: BTreeMap<String, String>,
}

impl Rig {
    async fn open(account_lines: &str) -> Self {
        let shop = Shop::open(account_lines, SECTIONS).await;
        let proxy = Proxy::open(&shop.db.url).await;
        let mut env = shop.env();
        env.insert("DATABASE_URL".to_owned(), proxy.url.clone());
        Self { shop, proxy, env }
    }

    async fn spawn(&self) -> Daemon {
        let mut daemon = Daemon::spawn(&self.shop.config_text, &self.env);
        daemon.wait_for("at work").await;
        daemon
    }

    /// Kills it when it came to its commit, or when the query gives true: then there were not so many. Says which, and starts
    /// another.
    async fn die(&self, daemon: Daemon, ended: &str) -> (bool, Daemon) {
        let begun = Instant::now();
        while !self.proxy.is_shut() && self.shop.db.text(ended).await != "true" && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A commit that has not come by now must not shut the door on the next one.
        let died = self.proxy.disarm().await;
        daemon.kill_9();
        self.proxy.reopen();
        (died, self.spawn().await)
    }

    /// It ends in order, and its journal proves itself.
    async fn end(&self, daemon: Daemon, story: &str) {
        assert_eq!(daemon.terminate().await.code, Some(0), "{story}");
        let verified = Daemon::command("verify", &self.shop.config_text, &self.shop.env()).end().await;
        assert_eq!(verified.code, Some(0), "{story}: {}", verified.said);
    }
}

/// One life with one death; false where there were not so many commits.
async fn life(at: Point) -> bool {
    let (rig, story) = (Rig::open(ACCOUNT_LINES).await, at.told());
    let shop = &rig.shop;
    let mut daemon = rig.spawn().await;
    rig.proxy.shut_at_commit(at.nth, at.takes_effect);
    let more = SimPayment::exact("INV-1", 5_000_000).answering([Answer::status("01"), Answer::paid_amount(5_700_000)]);
    let id = shop.expect(SimPayment { reference_no: "R-INV-1".into(), ..more }, &[]).await;
    notify(&mut daemon).await;
    let (died, mut daemon) =
        rig.die(daemon, "select count(*) > 0 from rekon.refund_saga where state = 'confirmed'").await;
    // What the provider could not hand over it delivers again, and what it could, too.
    notify(&mut daemon).await;
    shop.until(&format!("select refunded_amount from rekon.transactions where id = {id}"), "7000.00").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    let entry = shop.sim.world().book_entry("", "INV-1").expect("the provider knows it");
    assert_eq!((entry.returned.len(), entry.returned_sen()), (1, 700_000), "{story}");
    let told = "select count(*) from rekon.facts where source = 'notification'";
    assert_eq!(shop.db.text(told).await, "1", "{story}: a notification was lost or counted twice");
    assert_eq!(shop.db.text(BOOKS).await, "merchant_payable -50000.00; provider_clearing 50000.00", "{story}");
    rig.end(daemon, &story).await;
    died
}

const BOOKS: &str = "select string_agg(account || ' ' || sen, '; ' order by account) from
    (select account, sum(debit - credit) as sen from rekon.postings group by account having sum(debit - credit) <> 0) b";

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_commit_of_a_qrs_end_decides_nothing_and_repeats_it_without_harm() {
    let lives = stream::iter(Point::up_to(OF_A_QR)).map(|at| async move { (at, end_of_a_qr(at).await) });
    let deaths: BTreeMap<Point, bool> = lives.buffer_unordered(AT_ONCE).collect().await;
    assert_each_was_met("the end of a QR", AT_LEAST_OF_A_QR, &deaths);
}

async fn end_of_a_qr(at: Point) -> bool {
    let (rig, story) = (Rig::open(&format!("{ACCOUNT_LINES}cancel_qr = true\n")).await, at.told());
    let shop = &rig.shop;
    let daemon = rig.spawn().await;
    rig.proxy.shut_at_commit(at.nth, at.takes_effect);
    let open = SimPayment::exact("INV-1", 5_000_000).answering([Answer::status("01")]);
    let open = SimPayment { reference_no: "R-INV-1".into(), ..open };
    let id = shop.expect(open, &[("order_status", "'cancelled'")]).await;
    let ended = "select count(*) > 0 from rekon.qr_cancels where state = 'done'";
    let (died, daemon) = rig.die(daemon, ended).await;
    // Whoever asks again about a QR that has ended may be told so.
    shop.until("select state in ('done', 'refused') from rekon.qr_cancels", "true").await;
    shop.until("select count(*) > 0 from rekon.facts where observation = 'CANCELLED'", "true").await;
    rig.end(daemon, &story).await;
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "pending{}", "{story}: a dead QR closes nothing");
    let asked = shop.sim.world().arrivals().iter().filter(|a| a.service == Service::Cancel).count();
    assert!((1..=2).contains(&asked), "{story}: asked {asked} times");
    assert_eq!(shop.sim.world().book().returned_sen, 0, "{story}");
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_the_commit_of_a_transfers_record_leaves_it_recorded_once_or_not_at_all() {
    let mut deaths = BTreeMap::new();
    for at in Point::up_to(1) {
        let (story, shop) = (at.told(), Shop::open(&format!("{SAFE}refund_by_api = false\n"), SHORT_TIMES).await);
        let id = shop.expect(payment("INV-1", 150_000), &[("order_status", "'cancelled'")]).await;
        let work = shop.work().await;
        shop.until("select state || ' ' || channel from rekon.refund_saga", "proposed manual").await;
        shop.db.people().await;
        shop.db
            .run("update rekon.refund_saga set state = 'approved', approved_by = 'sari', approved_at = now(), next_at = now()")
            .await;
        shop.until("select state from rekon.refund_saga", "sending").await;
        shop.until(&Shop::end_of(id), "refunding{paid_after_cancel,refund_blocked}").await;
        let rulebook = Arc::clone(&work.ctx);
        work.stop().await;
        let proxy = Proxy::open(&shop.db.url).await;
        let behind = Store::connect(&connect_options(&proxy.url)).await.expect("the door is open");
        let by = joko();
        let deed = || Deed::Transferred("FT26324XYZ");
        proxy.shut_at_commit(at.nth, at.takes_effect);
        let first = transfer::record(&behind, &rulebook.rulebook, &by, "1", deed()).await;
        deaths.insert(at, proxy.is_shut());
        assert!(first.is_err(), "{story}: nobody heard that it was recorded");
        // Who does not know records it again, as people do.
        let again = transfer::record(&shop.db.store, &rulebook.rulebook, &by, "1", deed()).await;
        assert_eq!(again.is_ok(), !at.takes_effect, "{story}: {again:?}");
        let told = "select state || ' ' || bank_reference || ' ' || transferred_by from rekon.refund_saga";
        assert_eq!(shop.db.text(told).await, "confirmed FT26324XYZ joko", "{story}");
        assert_eq!(shop.db.text(BOOKS).await, "bank -150000.00; provider_clearing 150000.00", "{story}");
        let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
        assert_eq!(proof.breaks, [], "{story}");
    }
    assert_each_was_met("the record of a transfer", 1, &deaths);
}

fn joko() -> Actor {
    Actor {
        name: "joko".to_owned(),
        kind: PersonKind::Person,
        roles: [Role::Checker].into(),
        scopes: [Scope::RefundsApprove].into(),
        token_id: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_the_commit_of_a_seal_leaves_one_seal_that_holds() {
    let mut deaths = BTreeMap::new();
    for at in Point::up_to(1) {
        let (story, shop) = (at.told(), Shop::open(SAFE, SHORT_TIMES).await);
        let id = shop.expect(payment("INV-1", 150_000), &[]).await;
        let work = shop.work().await;
        shop.until(&Shop::end_of(id), "paid{}").await;
        work.stop().await;
        let proxy = Proxy::open(&shop.db.url).await;
        let behind = Store::connect(&connect_options(&proxy.url)).await.expect("the door is open");
        let day = "2026-11-19".parse().expect("a day");
        proxy.shut_at_commit(at.nth, at.takes_effect);
        let first = behind.seal(day).await;
        deaths.insert(at, proxy.is_shut());
        assert!(first.is_err(), "{story}: nobody heard that it was sealed");
        let again = shop.db.store.seal(day).await.expect("the database answers");
        assert_eq!(again, !at.takes_effect, "{story}");
        let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
        assert_eq!((proof.breaks.len(), proof.seals), (0, 1), "{story}");
    }
    assert_each_was_met("a seal", 1, &deaths);
}

/// The provider tells the process; whether it is there to hear is another matter.
async fn notify(daemon: &mut Daemon) {
    let address = daemon.address().await;
    let knock = Knock::paid("INV-1", "50000.00").signed();
    let head = format!(
        "POST /notify/doku/doku-main?{} HTTP/1.1\r\nhost: rekon\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        knock.query(),
        knock.body().len()
    );
    let request = [head.as_bytes(), knock.body().as_bytes()].concat();
    drop(tokio::time::timeout(Duration::from_secs(2), house::ask_bytes(address, &request)).await);
}
