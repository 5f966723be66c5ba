//! Every commit of a payment's life, from the notification over two answers to the refund and its end: the process dies right
//! before the commit took effect, and right after. It is started again, and everything ends as if it had never died.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use rekon::sim::{Answer, SimPayment};

use crate::{
    notify::door::Knock,
    support::{process::Daemon, proxy::Proxy, shop::Shop},
    web::house,
};

/// As in `day`, with a key for notifications.
const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"1s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n\
    [accounts.doku-main.notify]\nshared_key = { env = \"SHARED_KEY\" }\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [database]\nmax_connections = 8\n[jobs.sweep]\nevery = \"50ms\"\nlease = \"3s\"\nchunk_span = \"1s\"\n";
/// Commits of a life that nothing disturbs, and some to spare; past the last one nobody dies, and that is said.
const COMMITS: u64 = 9;
/// Lives at a time.
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_commit_changes_nothing() {
    let points = (1..=COMMITS).flat_map(|nth| [(nth, false), (nth, true)]);
    let deaths: Vec<bool> =
        stream::iter(points).map(|(nth, after)| life(nth, after)).buffer_unordered(AT_ONCE).collect().await;
    let died = deaths.iter().filter(|died| **died).count();
    println!("{died} of {} lives met their death at a commit", deaths.len());
    assert!(died >= 10, "only {died} commits were reached");
}

/// One life with one death, at the `nth` commit, before or after it took effect; false where there were not so many.
async fn life(nth: u64, takes_effect: bool) -> bool {
    let shop = Shop::open(ACCOUNT_LINES, SECTIONS).await;
    let proxy = Proxy::open(&shop.db.url).await;
    let mut env = shop.env();
    env.insert("DATABASE_URL".to_owned(), proxy.url.clone());
    let mut daemon = Daemon::spawn(&shop.config_text, &env);
    daemon.wait_for("at work").await;
    proxy.shut_at_commit(nth, takes_effect);
    let more = SimPayment::exact("INV-1", 5_000_000).answering([Answer::status("01"), Answer::paid_amount(5_700_000)]);
    let id = shop.expect(SimPayment { reference_no: "R-INV-1".into(), ..more }, &[]).await;
    notify(&mut daemon).await;
    let begun = Instant::now();
    let confirmed = "select count(*) from rekon.refund_saga where state = 'confirmed'";
    while !proxy.is_shut() && shop.db.value::<i64>(confirmed).await == 0 && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let died = proxy.is_shut();
    daemon.kill_9();
    proxy.reopen();
    let mut daemon = Daemon::spawn(&shop.config_text, &env);
    daemon.wait_for("at work").await;
    // What the provider could not hand over it delivers again, and what it could, too.
    notify(&mut daemon).await;
    shop.until(&format!("select refunded_amount from rekon.transactions where id = {id}"), "7000.00").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    assert_eq!(daemon.terminate().await.code, Some(0));
    let story =
        format!("death at commit {nth}, which {}", if takes_effect { "took effect" } else { "did not take effect" });
    let entry = shop.sim.world().book_entry("", "INV-1").expect("the provider knows it");
    assert_eq!((entry.returned.len(), entry.returned_sen()), (1, 700_000), "{story}");
    let told = "select count(*) from rekon.facts where source = 'notification'";
    assert_eq!(shop.db.text(told).await, "1", "{story}: a notification was lost or counted twice");
    let books = "select string_agg(account || ' ' || sen, '; ' order by account) from
        (select account, sum(debit - credit) as sen from rekon.postings group by account having sum(debit - credit) <> 0) b";
    assert_eq!(shop.db.text(books).await, "merchant_payable -50000.00; provider_clearing 50000.00", "{story}");
    let verified = Daemon::command("verify", &shop.config_text, &shop.env()).end().await;
    assert_eq!(verified.code, Some(0), "{story}: {}", verified.said);
    died
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
