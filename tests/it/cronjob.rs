//! The cron job's way of running, by the real program and without any daemon that works: runs with a short deadline, one after the
//! other, each going on where the one before ended, and beside them a process that only answers HTTP.

use std::time::Duration;

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
    let by_calendar = "select coalesce(string_agg(distinct job, ' '), '') from rekon.runs where requested_by = 'schedule' and job not in ('seal', 'prune')";
    assert_eq!(shop.db.text(by_calendar).await, "", "no calendar was at work");
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

/// Waits until the process shows this line; gauges are read every few seconds.
async fn shows(answering: &mut Daemon, line: &str) {
    let mut shown = String::new();
    for _ in 0..120 {
        shown = answering.wait_for_status("/metrics", 200).await;
        if shown.lines().any(|found| found == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("{line} is never shown\n{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_alone_prove_seal_and_prune_and_one_that_did_not_come_is_seen() {
    let more =
        "[jobs.sentinel]\nevery = \"100ms\"\n[jobs.seal]\ncron = \"* * * * *\"\n[jobs.prune]\ncron = \"* * * * *\"\n";
    let shop = Shop::open(LINES, &format!("{SHORT_TIMES}{more}")).await;
    let (env, db) = (shop.env(), &shop.db);
    let mut answering = Daemon::spawn_roles("http", &shop.config_text, &env);
    answering.wait_for_status("/readyz", 200).await;
    let never = |job: &str| format!("rekon_run_last_success_timestamp_seconds{{calendar_job=\"{job}\"}} 0");
    shows(&mut answering, "rekon_sentinel_pass_timestamp_seconds 0").await;
    shows(&mut answering, &never("reconcile")).await;
    db.run("insert into rekon.runs (job, slot, state, finished_at) values ('daily', 'old', 'done', now() - interval '500 days')").await;
    // A run of the calendar whose worker died long ago is taken up.
    db.run("insert into rekon.runs (job, slot, state, requested_by, params, attempts, heartbeat_at) values
            ('seal', '2026-11-01T20:00:00+00:00', 'running', 'schedule', '{\"day\": \"2026-11-01\"}', 1, now() - interval '1 day')").await;
    shop.expect(payment("EXACT", vec![Answer::paid()]), &[]).await;
    let ended = Daemon::command("reconcile", &shop.config_text, &env).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(db.text("select count(*) from rekon.seals where day = '2026-11-01'").await, "1", "{}", ended.said);
    assert_eq!(db.text("select count(*) > 1 from rekon.seals").await, "true", "and a day whose slot had come");
    assert_eq!(db.text("select count(*) from rekon.runs where slot = 'old'").await, "0", "it pruned");
    assert_eq!(db.text("select bool_and(state = 'done') from rekon.runs").await, "true");
    assert_eq!(db.text("select bool_and(attempts = 1) from rekon.runs where job = 'prune'").await, "true", "once each");
    // The last pass saw what the run had written: nothing was settled after it.
    let last = "select s.passed_at > max(j.at) from rekon.sentinel s, rekon.journal j group by s.passed_at";
    assert_eq!(db.text(last).await, "true");
    for (name, sql) in [
        ("rekon_sentinel_pass_timestamp_seconds", "select passed_at from rekon.sentinel"),
        (
            "rekon_run_last_success_timestamp_seconds{calendar_job=\"reconcile\"}",
            "select max(finished_at) from rekon.runs where job = 'reconcile'",
        ),
        (
            "rekon_run_last_success_timestamp_seconds{calendar_job=\"seal\"}",
            "select max(finished_at) from rekon.runs where job = 'seal'",
        ),
        (
            "rekon_run_last_success_timestamp_seconds{calendar_job=\"prune\"}",
            "select max(finished_at) from rekon.runs where job = 'prune'",
        ),
    ] {
        let at = db.text(&format!("select extract(epoch from ({sql}))::bigint")).await;
        shows(&mut answering, &format!("{name} {at}")).await;
    }
    // Nobody came for an hour.
    db.run("update rekon.runs set finished_at = finished_at - interval '1 hour' where job = 'reconcile'").await;
    let at =
        db.text("select extract(epoch from max(finished_at))::bigint from rekon.runs where job = 'reconcile'").await;
    shows(&mut answering, &format!("rekon_run_last_success_timestamp_seconds{{calendar_job=\"reconcile\"}} {at}"))
        .await;
    assert_eq!(answering.terminate().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_money_that_is_broken_between_two_runs_stops_the_refunds_of_the_next() {
    let shop =
        Shop::open(LINES, &format!("{SHORT_TIMES}[jobs.sentinel]\nevery = \"100ms\"\n[log]\nformat = \"json\"\n"))
            .await;
    let (env, db) = (shop.env(), &shop.db);
    shop.expect(payment("EXACT", vec![Answer::paid()]), &[]).await;
    let ended = Daemon::command("reconcile", &shop.config_text, &env).end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    db.run("set session_replication_role = replica; update rekon.facts set amount = amount + 1; set session_replication_role = default").await;
    let id = shop.expect(overpaid("MORE", vec![]), &[]).await;
    let arguments = ["reconcile", "--deadline", "5s"];
    let ended = Daemon::run(&arguments, &shop.config_text, &env).end().await;
    assert!(ended.said.contains("no refund leaves the account"), "{}", ended.said);
    assert_eq!(db.text(&Shop::end_of(id)).await, "paid{overpaid,refund_blocked}", "{}", ended.said);
    let stopped = "select refunds_stopped like 'the rule facts_as_written is broken%' from rekon.account_controls";
    assert_eq!(db.text(stopped).await, "true");
    let returned = shop.sim.world().book_entry("", "MORE").expect("it is there").returned.len();
    assert_eq!(returned, 0, "nothing left");
    let mut answering = Daemon::spawn_roles("http", &shop.config_text, &env);
    answering.wait_for_status("/readyz", 200).await;
    shows(&mut answering, "rekon_refunds_stopped{account=\"doku-main\"} 1").await;
    shows(&mut answering, "rekon_invariant_violations{invariant=\"facts_as_written\"} 1").await;
    assert_eq!(answering.terminate().await.code, Some(0));
}
