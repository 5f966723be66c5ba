//! How much of a call budget is used, as `/metrics` of the real process shows it.

use rekon::sim::SimPayment;

use crate::support::{process::Daemon, shop::Shop};

/// A burst of one cannot pay for a slot that is used late: the budget spaces its slots wider, 235 ms instead of 200.
const RATE: &str = "rate = { per_second = 5, burst = 1 }\n[accounts.doku-main.ladder]\ndefault = [\"1m\"]\n";
const SECTIONS: &str = "[jobs.sweep]\nevery = \"50ms\"\n";

async fn shown(daemon: &mut Daemon, sample: &str) -> String {
    let (status, scrape) = daemon.get("/metrics").await;
    assert_eq!(status, 200);
    let line = scrape.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in\n{scrape}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_calls_take_and_what_the_budget_grants_is_shown_and_follows_a_new_rate() {
    const GRANTED: &str = "rekon_budget_per_second{account=\"doku-main\"}";
    const TAKEN: &str = "rekon_budget_slots_total{account=\"doku-main\",class=\"due\"}";
    let shop = Shop::open(RATE, SECTIONS).await;
    let mut daemon = Daemon::spawn(&shop.config_text, &shop.env());
    daemon.wait_for("at work").await;
    assert!(shown(&mut daemon, GRANTED).await.starts_with("4.25"), "less than was configured");
    assert_eq!(shown(&mut daemon, TAKEN).await, "0");
    daemon.reload(&shop.config_text.replace("per_second = 5, burst = 1", "per_second = 50, burst = 50"));
    daemon.wait_for("the configuration was reloaded").await;
    assert_eq!(shown(&mut daemon, GRANTED).await, "50");
    for n in 0..7 {
        let reference = format!("INV-{n}");
        shop.expect(SimPayment { reference_no: format!("R-{n}"), ..SimPayment::exact(&reference, 5_000_000) }, &[])
            .await;
    }
    shop.until("select count(*) from rekon.transactions where state = 'paid'", "7").await;
    // A token takes a slot as well.
    let taken: u32 = shown(&mut daemon, TAKEN).await.parse().expect("a number");
    let arrived = u32::try_from(shop.sim.world().arrivals().len()).expect("few");
    assert!(taken >= 7 && taken >= arrived, "{taken} slots for {arrived} calls");
    assert_eq!(daemon.terminate().await.code, Some(0));
}
