//! The report of a run on real Postgres: what the engine made of a day at the simulator adds up to the sen, a lie in one table
//! shows, and every row is streamed.

use std::time::Duration;

use rekon::{
    domain::{
        money::Sen,
        refund::RefundState,
        state::{Flag, State},
    },
    engine::day_report::{self, Outcome},
    report::{
        Format,
        day::{DayReport, Stop, Unfinished},
        table::Layout,
        verdict::Verdict,
    },
    sim::{Answer, Service, SimPayment},
    store::{Store, runs::Run},
};

use crate::support::{TestDb, shop::Shop};

/// Excesses of up to Rp 30.000 go back alone, more waits for an approval.
const SECTIONS: &str = r#"
[policy]
confirm_after = "1s"
watch = "1h"
close_spread = "2s"
[refunds]
mode = "auto"
auto_limit = "30000.00"
[jobs.sweep]
every = "50ms"
"#;

const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"1s\", \"1s\", \"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

fn outcome() -> Outcome {
    Outcome {
        first: "2026-11-19".parse().unwrap(),
        last: "2026-11-19".parse().unwrap(),
        with_open_rows: true,
        accounts: vec!["doku-main".to_owned()],
        filter: "--date 2026-11-19".to_owned(),
        is_dry_run: false,
        duration: Duration::from_secs(90),
        unfinished: None,
    }
}

/// A run over every row there is.
async fn run_over_everything(db: &TestDb) -> Run {
    let id: i64 =
        db.value("insert into rekon.runs (job, slot, state) values ('reconcile', 'test', 'queued') returning id").await;
    db.run(&format!(
        "insert into rekon.run_items (run_id, transaction_id, must_ask) select {id}, id, true from rekon.transactions"
    ))
    .await;
    db.store.take_run(id, Duration::from_mins(1)).await.unwrap().unwrap()
}

async fn build(store: &Store, run: &Run) -> DayReport {
    day_report::build(store, run, &outcome()).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn csv(store: &Store, run: &Run, report: &DayReport) -> String {
    let out = day_report::write(store, run, report, Format::Csv, Layout::default(), Vec::new()).await;
    String::from_utf8(out.unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

#[track_caller]
fn assert_ties(report: &DayReport) {
    let checks = report.checks();
    assert_eq!(checks.len(), 7);
    for check in checks {
        assert!(check.ties(), "{check:?}");
    }
}

fn paid(reference: &str, expected: i64, paid: i64) -> SimPayment {
    let payment = SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, expected * 100) };
    SimPayment { taken_sen: Some(paid * 100), ..payment.answering([Answer::paid_amount(paid * 100)]) }
}

fn total(report: &DayReport, state: State) -> (u64, i64, i64, i64, i64) {
    let found = report.totals.iter().find(|t| t.state == state).unwrap_or_else(|| panic!("{:#?}", report.totals));
    assert_eq!(found.account, "doku-main");
    let rupiah = |amount: Sen| amount.sen() / 100;
    (found.count, rupiah(found.expected), rupiah(found.paid), rupiah(found.refunded), rupiah(found.suspense))
}

fn flag(report: &DayReport, flag: Flag) -> (u64, u64, Sen) {
    let found = report.flags.iter().find(|f| f.flag == flag).unwrap_or_else(|| panic!("{:#?}", report.flags));
    (found.open, found.resolved, found.at_risk)
}

fn refunds(report: &DayReport, state: RefundState) -> (u64, Sen) {
    let found = report.refunds.iter().find(|r| r.state == state).unwrap_or_else(|| panic!("{:#?}", report.refunds));
    (found.count, found.amount)
}

/// One day of everything: exact, two excesses (one goes back, one waits), too little, cancelled, still open, a payout.
async fn worked_day() -> (Shop, Run) {
    let shop = Shop::open(ACCOUNT_LINES, SECTIONS).await;
    let cancelled: &[(&str, &str)] = &[("order_status", "'cancelled'")];
    let open = SimPayment { reference_no: "R-OPEN".into(), ..SimPayment::exact("OPEN", 1_000_000) };
    let rows = [
        (paid("EXACT", 100_000, 100_000), &[][..], "paid{}"),
        (paid("EXCESS", 100_000, 120_000), &[], "paid{overpaid}"),
        (paid("MUCH", 100_000, 180_000), &[], "paid{overpaid}"),
        (paid("LESS", 50_000, 40_000), &[], "held{underpaid}"),
        (paid("CANCELLED", 20_000, 20_000), cancelled, "refunded{paid_after_cancel}"),
        (open.answering([Answer::status("03")]), &[], "pending{}"),
        (paid("PAYOUT", 700_000, 700_000), &[("direction", "'out'")], "paid{}"),
    ];
    let mut ends = Vec::new();
    for (payment, columns, end) in rows {
        ends.push((shop.expect(payment, columns).await, end));
    }
    let run = run_over_everything(&shop.db).await;
    let work = shop.work().await;
    shop.until("select count(*) from rekon.refund_saga where state = 'confirmed'", "2").await;
    shop.until("select count(*) from rekon.refund_saga where state = 'proposed'", "1").await;
    shop.until("select count(*) from rekon.transactions where checks = 0", "0").await;
    for (id, end) in ends {
        shop.until(&Shop::end_of(id), end).await;
    }
    work.stop().await;
    (shop, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worked_day_ties_and_its_figures_are_those_of_the_rows() {
    let (shop, run) = worked_day().await;
    let report = build(&shop.db.store, &run).await;
    assert_ties(&report);

    assert_eq!(total(&report, State::Paid), (3, 300_000, 400_000, 20_000, 80_000));
    assert_eq!(total(&report, State::Held), (1, 50_000, 40_000, 0, 40_000));
    assert_eq!(total(&report, State::Refunded), (1, 20_000, 20_000, 20_000, 0));
    assert_eq!(total(&report, State::Pending), (1, 10_000, 0, 0, 0));
    let payouts: Vec<_> = report.payouts.iter().map(|p| (p.state, p.count, p.expected)).collect();
    assert_eq!(payouts, [(State::Paid, 1, Sen::rupiah(700_000))]);

    assert_eq!(flag(&report, Flag::Overpaid), (1, 1, Sen::rupiah(80_000)));
    assert_eq!(flag(&report, Flag::Underpaid), (1, 0, Sen::rupiah(40_000)));
    assert_eq!(flag(&report, Flag::PaidAfterCancel), (0, 1, Sen::ZERO));
    assert_eq!(refunds(&report, RefundState::Confirmed), (2, Sen::rupiah(40_000)));
    assert_eq!(refunds(&report, RefundState::Proposed), (1, Sen::rupiah(80_000)));
    assert_eq!(report.ledger.merchant_payable, Sen::rupiah(300_000));
    assert_eq!(report.ledger.provider_clearing, Sen::rupiah(420_000));

    let doings = report.run.as_ref().unwrap();
    assert_eq!((doings.selected, doings.refunds_confirmed), (7, 2));
    // As many as came to the provider's door, without those for a token.
    let arrivals = shop.sim.world().arrivals();
    let calls = arrivals.iter().filter(|call| call.service != Service::Token).count();
    assert_eq!(doings.calls, u64::try_from(calls).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_stand_by_money_with_rule_and_next_step() {
    let (shop, run) = worked_day().await;
    let report = build(&shop.db.store, &run).await;
    let waiting: Vec<_> = report.exceptions.iter().map(|e| (e.partner_reference_no.as_str(), e.state)).collect();
    assert_eq!(waiting, [("MUCH", State::Paid), ("LESS", State::Held)]);
    let [much, less] = &report.exceptions[..] else { unreachable!() };
    assert_eq!((much.at_risk, less.at_risk), (Sen::rupiah(80_000), Sen::rupiah(40_000)));
    assert!(much.why.contains("80.000") && much.next_step.contains("rekon refunds show"), "{much:?}");
    assert_eq!((less.rule.as_str(), less.why.as_str()), ("amount.under", "Less than expected was paid."));
    let held_at = "select min(j.at) from rekon.journal j join rekon.transactions t on t.id = j.transaction_id where partner_reference_no = 'LESS'";
    assert_eq!(less.since, shop.db.value::<chrono::DateTime<chrono::Utc>>(held_at).await);
    assert!(matches!(report.verdict(), Verdict::Exceptions { exceptions: 2, .. }), "{:?}", report.verdict());

    let proof = |name: &str| report.provenance.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let entries = shop.db.text("select count(*) from rekon.journal").await;
    assert_eq!(proof("journal entries"), Some(entries));
    let stored = "select content::jsonb ->> 'policy' from rekon.journal limit 1";
    assert_eq!(proof("policy"), Some(shop.db.text(stored).await));
    assert!(proof("profile of doku-main").is_some_and(|hash| hash.len() == 16), "{:?}", report.provenance);
    let head = "select encode(sha256(string_agg(int8send(id) || journal_hash, ''::bytea order by id)), 'hex')
        from rekon.transactions where journal_no > 0";
    assert_eq!(proof("journal head"), Some(shop.db.text(head).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_and_a_table_come_from_the_same_run() {
    let (shop, run) = worked_day().await;
    let mut report = build(&shop.db.store, &run).await;
    let unfinished = Unfinished { rows: 3, stopped_by: Stop::Deadline };
    report.run.as_mut().unwrap().unfinished = Some(unfinished);
    let store = &shop.db.store;
    let book = day_report::write(store, &run, &report, Format::Xlsx, Layout::default(), Vec::new()).await.unwrap();
    assert!(book.starts_with(b"PK"));
    let table = day_report::write(store, &run, &report, Format::Table, Layout::default(), Vec::new()).await.unwrap();
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("is incomplete: 3 rows left when the deadline came"), "{table}");
    let rows = csv(store, &run, &report).await;
    let held: Vec<_> = rows.lines().filter(|line| line.contains(",held,")).collect();
    assert!(
        matches!(held[..], [line] if line.starts_with("doku-main,LESS,R-LESS,") && line.contains(",40000.00,")),
        "{rows}"
    );
    assert_eq!(rows.lines().count(), 1 + 7);
}

/// A held row of Rp 40.000 with its journal and postings, by plain SQL; the row's id.
async fn held_row(db: &TestDb) -> i64 {
    let id = db.insert_payment("shop", "INV-1", "50000").await;
    db.run(&format!(
        "update rekon.transactions set state = 'held', flags = '{{underpaid}}', flags_open = '{{underpaid}}', paid_amount = 40000,
                journal_no = 1, journal_hash = sha256('x') where id = {id};
         insert into rekon.journal (transaction_id, entry_no, at, upto_seq, kind, state, content, prev_hash, hash)
         values ({id}, 1, now(), 1, 'decision', 'held', '{{}}', sha256('w'), sha256('x'));
         insert into rekon.postings (transaction_id, entry_no, line, account, debit, credit)
         values ({id}, 1, 1, 'provider_clearing', 40000, 0), ({id}, 1, 2, 'suspense:underpaid', 0, 40000)"
    ))
    .await;
    id
}

#[tokio::test]
async fn a_row_that_its_ledger_does_not_back_shows_in_the_control_figures() {
    let db = TestDb::new().await;
    let id = held_row(&db).await;
    let run = run_over_everything(&db).await;
    assert_ties(&build(&db.store, &run).await);
    // More paid than was ever posted.
    db.run(&format!("update rekon.transactions set paid_amount = 45000 where id = {id}")).await;
    let report = build(&db.store, &run).await;
    let differing: Vec<_> = report.checks().into_iter().filter(|c| !c.ties()).map(|c| c.name).collect();
    assert_eq!(differing, ["paid: rows = accounted for", "clearing: rows = ledger", "suspense: rows = ledger"]);
    assert!(matches!(report.verdict(), Verdict::DoesNotTie { failed: 3 }), "{:?}", report.verdict());
}

#[tokio::test]
async fn suspense_under_another_rows_flag_is_found_by_flag() {
    let db = TestDb::new().await;
    let id = held_row(&db).await;
    db.run(&format!(
        "insert into rekon.postings (transaction_id, entry_no, line, account, debit, credit)
         values ({id}, 1, 3, 'suspense:underpaid', 15000, 0), ({id}, 1, 4, 'suspense:paid_late', 0, 15000)"
    ))
    .await;
    let run = run_over_everything(&db).await;
    let report = build(&db.store, &run).await;
    assert_ties(&report);
    assert_eq!(flag(&report, Flag::Underpaid), (1, 0, Sen::rupiah(25_000)));
    assert_eq!(flag(&report, Flag::PaidLate), (0, 0, Sen::rupiah(15_000)));
}

#[tokio::test]
async fn figures_and_rows_are_of_the_moment_in_which_it_was_opened() {
    let db = TestDb::new().await;
    let id = held_row(&db).await;
    let run = run_over_everything(&db).await;
    let mut day = db.store.day(run.id).await.unwrap();
    db.run(&format!("update rekon.transactions set state = 'review', paid_amount = 45000 where id = {id}")).await;
    let figures = day.figures(run.started_at).await.unwrap();
    let rows = day.rows_after(0).await.unwrap();
    let [total] = &figures.totals[..] else { panic!("{figures:?}") };
    assert_eq!((total.state, total.paid), (State::Held, Sen::rupiah(40_000)));
    assert!(matches!(&rows[..], [row] if row.state == State::Held && row.paid_amount == Some(Sen::rupiah(40_000))));
    assert!(day.rows_after(rows[0].id).await.unwrap().is_empty());
    assert_eq!(day.waiting(10).await.unwrap().rows[0].state, State::Held);
}

#[tokio::test]
async fn calls_from_before_the_run_are_not_its_own() {
    let db = TestDb::new().await;
    let id = db.insert_payment("shop", "INV-1", "50000").await;
    let run = run_over_everything(&db).await;
    // Seen five times before and again during the run; three times during it; once before it; never sent.
    db.run(&format!(
        "insert into rekon.facts (transaction_id, seq, source, call_id, observation, echo, doubt, sent_at, answered_at, profile_hash)
         select {id}, seq, 'query', 'call-' || seq, 'OPEN', 'right', doubt, r.started_at + away, r.started_at + away, 'p'
           from rekon.runs r, (values (1, interval '-2h', null), (2, interval '1s', null), (3, interval '-1h', null), (4, interval '2s', 'no_token'))
             as f (seq, away, doubt) where r.id = {run};
         insert into rekon.sightings (transaction_id, seq, n, first_at, last_at, last_sent_at)
         select {id}, seq, n, r.started_at, r.started_at, r.started_at + interval '5s' from rekon.runs r, (values (1, 6), (2, 3)) as s (seq, n)
          where r.id = {run}",
        run = run.id
    ))
    .await;
    let report = build(&db.store, &run).await;
    assert_eq!(report.run.unwrap().calls, 1 + 3);
}

#[tokio::test]
async fn rows_of_other_runs_are_not_in_it() {
    let db = TestDb::new().await;
    held_row(&db).await;
    let run = run_over_everything(&db).await;
    let before = build(&db.store, &run).await;
    db.insert_payment("shop", "LATER", "70000").await;
    let after = build(&db.store, &run).await;
    assert_eq!(before.sums(None), after.sums(None));
    assert!(!csv(&db.store, &run, &after).await.contains("LATER"));
}

#[tokio::test]
async fn every_row_is_streamed_once_over_many_pages() {
    let db = TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount)
         select 'shop', 'INV-' || n, n from generate_series(1, 4500) as n",
    )
    .await;
    let run = run_over_everything(&db).await;
    let report = build(&db.store, &run).await;
    assert_eq!(report.sums(None).count, 4_500);
    let text = csv(&db.store, &run, &report).await;
    let references: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    let wanted: Vec<String> = (1..=4_500).map(|n| format!("INV-{n}")).collect();
    assert!(references == wanted, "{} rows, the last {:?}", references.len(), references.last());
}

#[tokio::test]
async fn a_long_list_of_waiting_rows_is_cut_and_says_so() {
    let db = TestDb::new().await;
    let most = usize::try_from(day_report::MOST_EXCEPTIONS).unwrap();
    db.run(&format!(
        "insert into rekon.transactions (account, partner_reference_no, amount) select 'shop', 'INV-' || n, n from generate_series(1, {most} + 3) as n;
         update rekon.transactions set state = 'review', flags = '{{unknown_account}}', flags_open = '{{unknown_account}}'"
    ))
    .await;
    let run = run_over_everything(&db).await;
    let report = build(&db.store, &run).await;
    assert_eq!(report.exceptions.len(), most);
    assert_eq!(report.exception_count(), day_report::MOST_EXCEPTIONS.unsigned_abs() + 3);
    let said = report.provenance.iter().find(|(name, _)| name == "rows that wait for a person");
    assert!(said.is_some_and(|(_, value)| value.starts_with("503 in all")), "{:?}", report.provenance);
}
