//! The cron job's way of running, by the real program and without any daemon that works: runs with a short deadline, one after the
//! other, each going on where the one before ended, and beside them a process that only answers HTTP.

use rekon::sim::{Answer, Fault, RefundBehaviour, Service, SimPayment};

use crate::support::{
    process::Daemon,
    shop::{SHORT_TIMES, Shop},
};

const LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 8 }\ntimeout = \"1s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"2s\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
/// More than this and something stands still.
const RUNS_MAX: usize = 30;

fn payment(reference: &str, script: Vec<Answer>) -> SimPayment {
    let exact = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, 5_000_000) };
    exact.answering(script)
}

fn overpaid(reference: &str, refunds: Vec<RefundBehaviour>) -> SimPayment {
    let payment = payment(reference, vec![Answer::paid_amount(5_700_000)]).refunding(refunds);
    SimPayment { taken_sen: Some(5_700_000), ..payment }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_alone_bring_every_row_to_its_end_over_second_looks_and_lost_answers_of_refunds() {
    // The second look that a refund stands on comes three seconds after the first, when the run that made that is over.
    let times = SHORT_TIMES.replace("confirm_after = \"1s\"", "confirm_after = \"3s\"");
    let shop = Shop::open(LINES, &format!("{times}[reconcile]\ndeadline = \"1s\"\n")).await;
    let env = shop.env();
    let mut answering = Daemon::spawn_roles("http", &shop.config_text, &env);
    answering.wait_for_status("/readyz", 200).await;
    shop.expect(payment("EXACT", vec![Answer::paid()]), &[]).await;
    shop.expect(payment("LATER", vec![Answer::status("03"), Answer::status("03"), Answer::paid()]), &[]).await;
    shop.expect(payment("LESS", vec![Answer::paid_amount(4_000_000)]), &[]).await;
    shop.expect(overpaid("MORE", vec![]), &[]).await;
    let lost = RefundBehaviour::AfterEffect { fault: Fault::http(504, "00") };
    shop.expect(overpaid("LOST", vec![lost, RefundBehaviour::Ok]), &[]).await;
    let ends = "select string_agg(partner_reference_no || ' ' || state || ' ' || refunded_amount, ', ' order by partner_reference_no) from rekon.transactions";
    let wanted = "EXACT paid 0.00, LATER paid 0.00, LESS held 0.00, LOST paid 7000.00, MORE paid 7000.00";
    let gauge = "rekon_open_rows{account=\"doku-main\",state=\"pending\"} 5";
    assert!(answering.wait_for_status("/metrics", 200).await.contains(gauge), "it shows what the database knows");
    let mut stories = Vec::new();
    while stories.last().is_none_or(|story| story != wanted) {
        assert!(stories.len() < RUNS_MAX, "it does not come to its end: {stories:#?}");
        let ended = Daemon::command("reconcile", &shop.config_text, &env).end().await;
        // 3: something is open for a person. 4: the deadline came first.
        assert!(matches!(ended.code, Some(3 | 4)), "{:?} {}", ended.code, ended.said);
        let leases = "select count(*) from rekon.transactions where lease_until is not null";
        assert_eq!(shop.db.text(leases).await, "0", "a run that ended holds nothing");
        stories.push(shop.db.text(ends).await);
    }
    assert!(stories.len() > 1, "it took more than one run: {stories:#?}");
    assert!(stories[0].contains("MORE paid 0.00"), "its refund is for a later run: {stories:#?}");
    for reference in ["MORE", "LOST"] {
        let returned = shop.sim.world().book_entry("", reference).expect("it is there").returned.len();
        assert_eq!(returned, 1, "{reference} went back once");
        assert!(
            shop.sim.world().times_asked(Service::Query, reference).len() > 1,
            "{reference} was looked at twice before"
        );
    }
    let by_runs = "select bool_and(requested_by <> 'schedule') from rekon.runs";
    assert_eq!(shop.db.text(by_runs).await, "true", "no calendar was at work");
    assert_eq!(answering.terminate().await.code, Some(0));
    let mut again = Daemon::spawn_roles("http", &shop.config_text, &env);
    again.wait_for_status("/readyz", 200).await;
    let shown = again.wait_for_status("/metrics", 200).await;
    let of = |name: &str, rest: &str| format!("{name}{{account=\"doku-main\",{rest}");
    for line in [
        "rekon_database_up 1".to_owned(),
        of("rekon_open_rows", "state=\"pending\"} 0"),
        of("rekon_open_rows", "state=\"held\"} 1"),
        of("rekon_exceptions", "flag=\"underpaid\"} 1"),
    ] {
        assert!(shown.contains(&line), "{line}\n{shown}");
    }
    assert_eq!(again.terminate().await.code, Some(0));
}
