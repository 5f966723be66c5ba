//! SIGHUP to the real process: it asks faster, says more, and refuses what is wrong, all without a restart.

use rekon::{engine::reload::RELOADABLE, sim::SimPayment};

use crate::support::{process::Daemon, shop::Shop};

const SLOW: &str = "rate = { per_second = 1, burst = 1 }\n[accounts.doku-main.ladder]\ndefault = [\"1m\"]\n";
const SECTIONS: &str = "[jobs.sweep]\nevery = \"50ms\"\n[log]\nlevel = \"info\"\n";
const ROWS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rate_and_level_hold_at_once_and_a_wrong_file_changes_nothing() {
    let shop = Shop::open(SLOW, SECTIONS).await;
    for n in 0..ROWS {
        let reference = format!("INV-{n}");
        let payment = SimPayment { reference_no: format!("R-{n}"), ..SimPayment::exact(&reference, 5_000_000) };
        shop.expect(payment, &[]).await;
    }
    let mut daemon = Daemon::spawn(&shop.config_text, &shop.env());
    daemon.wait_for("at work").await;
    // Wrong in two places: both are named, and it works on as before.
    daemon.reload(&shop.config_text.replace("per_second = 1,", "per_second = 0,").replace("\"info\"", "\"loud\""));
    daemon.wait_for("the old configuration stays").await;
    let said = daemon.said();
    assert!(said.contains("rate.per_second = 0") && said.contains("log.level = \"loud\""), "{said}");
    daemon.reload("this is not TOML");
    daemon.wait_for("this is not TOML: ").await;
    assert!(!daemon.said().contains("the configuration was reloaded"));
    // At one call a second this takes a minute, and `until` waits for half of one.
    let faster = shop.config_text.replace("per_second = 1, burst = 1", "per_second = 500, burst = 50");
    daemon.reload(&format!("{}\n[settle]\nlinger = \"30ms\"\n", faster.replace("\"info\"", "\"debug\"")));
    daemon.wait_for("the configuration was reloaded").await;
    let taken_up = "accounts.doku-main.rate.burst accounts.doku-main.rate.per_second log.level";
    let said = daemon.said();
    assert!(
        said.contains(&format!("taken_up=\"{taken_up}\"")) && said.contains("restart_needed=\"settle.linger\""),
        "{said}"
    );
    shop.until("select count(*) from rekon.transactions where state = 'paid'", &ROWS.to_string()).await;
    assert_eq!(daemon.terminate().await.code, Some(0));
}

#[test]
fn the_manual_names_what_is_taken_up_without_a_restart_and_nothing_else() {
    let manual = include_str!("../../docs/config.md");
    let section = manual.split("## Without a restart").nth(1).expect("it has that section");
    let named: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(key, _)| key).collect();
    assert_eq!(named, RELOADABLE);
}
