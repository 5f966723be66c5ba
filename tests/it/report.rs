//! One fixed day in every format: what finance reads, what programs read, and that the figures tie everywhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rekon::{
    domain::{
        money::Sen,
        order::{Direction, OrderStatus},
        refund::RefundState,
        state::{Flag, State},
    },
    report::{
        Format, ReportWriter,
        day::{
            DayReport, ExceptionRow, FlagTotal, LedgerFigures, PaymentRow, PayoutTotal, RefundTotal, RunFigures,
            StateTotal, Stop, Unfinished,
        },
        table::Layout,
        verdict::Verdict,
    },
};
use serde_json::Value;

/// Puts one lie into a day.
type Spoiler = fn(&mut DayReport);

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn total(account: &str, state: State, count: u64, [expected, paid, refunded, suspense]: [i64; 4]) -> StateTotal {
    StateTotal {
        account: account.to_owned(),
        state,
        count,
        expected: Sen::rupiah(expected),
        paid: Sen::rupiah(paid),
        refunded: Sen::rupiah(refunded),
        outside: Sen::ZERO,
        suspense: Sen::rupiah(suspense),
    }
}

fn exception(reference: &str, state: State, flags: &[Flag]) -> ExceptionRow {
    ExceptionRow {
        account: "doku-main".to_owned(),
        partner_reference_no: reference.to_owned(),
        reference_no: Some("2026111900000000000000000000001234".to_owned()),
        state,
        flags: flags.to_vec(),
        expected: Sen::rupiah(50_000),
        paid: Some(Sen::rupiah(40_000)),
        refunded: Sen::ZERO,
        at_risk: Sen::rupiah(40_000),
        since: at("2026-11-19T07:05:09Z"),
        rule: "amount.under".to_owned(),
        why: "The provider says Rp 40.000 where Rp 50.000 was expected <b>today</b>.".to_owned(),
        next_step: "Ask the customer for the rest, or propose a refund with `rekon refunds propose`.".to_owned(),
    }
}

/// 19 November: 1.000 paid exactly, 20 overpaid and returned but one under way, two held, five still pending, one payout.
fn the_day() -> DayReport {
    let refund = |state, count, rupiah| RefundTotal { state, count, amount: Sen::rupiah(rupiah) };
    let flag = |flag, open, resolved, rupiah| FlagTotal { flag, open, resolved, at_risk: Sen::rupiah(rupiah) };
    DayReport {
        first: "2026-11-19".parse().unwrap(),
        last: "2026-11-19".parse().unwrap(),
        with_open_rows: false,
        generated_at: at("2026-11-19T23:01:40.5Z"),
        accounts: vec!["doku-main".to_owned(), "paydia".to_owned()],
        filter: "--date 2026-11-19".to_owned(),
        run: Some(RunFigures {
            id: "4217".to_owned(),
            started_at: at("2026-11-19T23:00:00Z"),
            duration: Duration::from_secs(100),
            selected: 1_028,
            calls: 1_234,
            refunds_confirmed: 19,
            is_dry_run: false,
            unfinished: None,
        }),
        totals: vec![
            total("paydia", State::Pending, 5, [100_000, 0, 0, 0]),
            total("doku-main", State::Held, 2, [100_000, 80_000, 0, 80_000]),
            total("doku-main", State::Paid, 1_020, [51_000_000, 51_020_000, 19_000, 0]),
        ],
        payouts: vec![PayoutTotal {
            account: "doku-main".to_owned(),
            state: State::Paid,
            count: 1,
            expected: Sen::rupiah(700_000),
        }],
        flags: vec![flag(Flag::Overpaid, 1, 19, 0), flag(Flag::Underpaid, 2, 0, 80_000)],
        refunds: vec![refund(RefundState::Sending, 1, 1_000), refund(RefundState::Confirmed, 19, 19_000)],
        ledger: LedgerFigures {
            provider_clearing: Sen::rupiah(51_081_000),
            merchant_payable: Sen::rupiah(51_000_000),
            suspense: Sen::rupiah(80_000),
            refund_in_flight: Sen::rupiah(1_000),
        },
        exceptions_total: 0,
        exceptions: vec![
            exception("INV-0001", State::Held, &[Flag::Underpaid]),
            exception("INV-0002", State::Held, &[Flag::Underpaid, Flag::PaidLate]),
        ],
        provenance: vec![("profile doku".to_owned(), "b3c1".to_owned())],
    }
}

/// The same day when all of it went well.
fn a_clean_day() -> DayReport {
    let mut day = the_day();
    day.totals = vec![total("doku-main", State::Paid, 1_000, [50_000_000, 50_000_000, 0, 0])];
    day.ledger = LedgerFigures {
        provider_clearing: Sen::rupiah(50_000_000),
        merchant_payable: Sen::rupiah(50_000_000),
        ..LedgerFigures::default()
    };
    (day.flags, day.refunds, day.exceptions) = (vec![], vec![], vec![]);
    day
}

fn row(reference: &str) -> PaymentRow {
    PaymentRow {
        account: "doku-main".to_owned(),
        partner_reference_no: reference.to_owned(),
        reference_no: Some("20261119000012345678901234567890".to_owned()),
        external_id: None,
        direction: Direction::In,
        amount: Sen::new(5_000_050),
        currency: "IDR".to_owned(),
        order_status: OrderStatus::Fulfilled,
        created_at: at("2026-11-19T07:00:00Z"),
        expires_at: Some(at("2026-11-19T17:30:00.25Z")),
        qr_content: None,
        state: State::Paid,
        flags: vec![Flag::Overpaid, Flag::Currency],
        paid_amount: Some(Sen::rupiah(60_000)),
        fee_amount: None,
        refunded_amount: Sen::rupiah(9_999),
        refunded_outside: Sen::ZERO,
        paid_at: Some(at("2026-11-19T07:05:09Z")),
        checks: 2,
        last_checked_at: Some(at("2026-11-19T07:06:09Z")),
        next_check_at: None,
    }
}

fn write(format: Format, width: usize, rows: &[PaymentRow], report: &DayReport) -> Vec<u8> {
    let layout = Layout { width, ..Layout::default() };
    let mut writer = ReportWriter::new(format, layout, Vec::new()).unwrap();
    for row in rows {
        writer.row(row).unwrap();
    }
    writer.finish(report).unwrap()
}

fn text(format: Format, report: &DayReport) -> String {
    String::from_utf8(write(format, 120, &[], report)).unwrap()
}

#[test]
fn every_sen_of_the_day_is_somewhere_and_a_lost_one_is_the_first_thing_said() {
    assert!(the_day().checks().into_iter().all(rekon::report::verdict::Check::ties), "{:?}", the_day().checks());

    let spoilers: [(&str, Spoiler); 7] = [
        ("a lost payable", |d| d.ledger.merchant_payable = d.ledger.merchant_payable.minus(Sen::new(1))),
        ("a clearing that lags", |d| d.ledger.provider_clearing = Sen::rupiah(51_100_000)),
        ("suspense of a row", |d| d.totals[1].suspense = Sen::ZERO),
        ("suspense without a flag", |d| d.flags[1].at_risk = Sen::ZERO),
        ("a refund too many", |d| d.refunds[1].amount = Sen::rupiah(20_000)),
        ("a refund out of sight", |d| d.refunds[0].state = RefundState::Denied),
        ("an outside refund the ledger does not know", |d| d.totals[1].outside = Sen::rupiah(1)),
    ];
    for (what, spoil) in spoilers {
        let mut day = the_day();
        spoil(&mut day);
        assert!(matches!(day.verdict(), Verdict::DoesNotTie { .. }), "{what}");
        assert!(day.headline().starts_with("19 November 2026 does not tie: "), "{what}: {}", day.headline());
        assert!(text(Format::Table, &day).contains("DIFFERS"), "{what}");
    }
}

#[test]
fn the_first_line_tells_finance_how_the_day_stands() {
    let nbsp = |text: &str| text.replace("Rp ", "Rp\u{a0}");
    assert_eq!(the_day().headline(), nbsp("19 November 2026 is not clean: 2 rows, Rp 80.000 at risk."));
    assert_eq!(
        a_clean_day().headline(),
        nbsp("19 November 2026 is clean: 1.000 payments, Rp 50.000.000 paid, nothing open, nothing at risk.")
    );

    let mut open = a_clean_day();
    open.totals.push(total("doku-main", State::Pending, 1, [20_000, 0, 0, 0]));
    assert_eq!(
        open.headline(),
        nbsp("19 November 2026 is clean so far: 1.001 payments, Rp 50.000.000 paid; 1 row is still open.")
    );
    open.ledger.merchant_payable = Sen::rupiah(49_000_000);
    open.ledger.refund_in_flight = Sen::rupiah(1_000_000);
    open.refunds = vec![RefundTotal { state: RefundState::Unknown, count: 1, amount: Sen::rupiah(1_000_000) }];
    assert!(
        open.headline().ends_with(&nbsp("; 1 row is still open, Rp 1.000.000 is still to go back.")),
        "{}",
        open.headline()
    );

    let mut cut = the_day();
    cut.run.as_mut().unwrap().unfinished = Some(Unfinished { rows: 300, stopped_by: Stop::Deadline });
    assert_eq!(
        cut.headline(),
        nbsp(
            "19 November 2026 is incomplete: 300 rows left when the deadline came. So far: 2 exceptions, Rp 80.000 at risk."
        )
    );

    let mut empty = a_clean_day();
    (empty.totals, empty.payouts, empty.ledger) = (vec![], vec![], LedgerFigures::default());
    assert!(empty.headline().contains("is empty"), "{}", empty.headline());
    for format in Format::ALL {
        assert!(!write(format, 80, &[], &empty).is_empty(), "an empty day can be shown as {}", format.as_str());
    }
}

#[test]
fn a_list_cut_short_never_makes_a_day_clean() {
    let mut day = the_day();
    day.exceptions.clear();
    assert_eq!(day.verdict(), Verdict::Exceptions { exceptions: 2, at_risk: Sen::rupiah(80_000) });
    assert!(text(Format::Table, &day).contains("and 2 more"));
    assert!(text(Format::Html, &day).contains("2 more exceptions are not listed here"));
}

#[test]
fn the_table_is_aligned_and_fits_the_terminal() {
    let wide = text(Format::Table, &the_day());
    assert!(wide.starts_with("19 November 2026 is not clean: 2 rows, Rp\u{a0}80.000 at risk.\n"), "{wide}");
    for line in [
        "  doku-main  paid     1.020  Rp 51.000.000  Rp 51.020.000  Rp 19.000              Rp 0       Rp 0\n",
        "  doku-main  held         2     Rp 100.000      Rp 80.000       Rp 0              Rp 0  Rp 80.000\n",
        "  doku-main/INV-0001 (theirs 2026111900000000000000000000001234)  held {underpaid}\n",
        "  doku-main/INV-0002 (theirs 2026111900000000000000000000001234)  held {paid_late underpaid}\n",
        "    why:  The provider says",
        "    next: Ask the customer",
        "Run 4217: 1.028 rows selected, 1.234 calls made, 19 refunds confirmed, in 1 min 40 s.\n",
        "Generated 20 Nov 2026 06:01:40 WIB by rekon",
    ] {
        assert!(wide.contains(&line.replace("Rp ", "Rp\u{a0}")), "{line:?} is missing in:\n{wide}");
    }

    let narrow = String::from_utf8(write(Format::Table, 90, &[], &the_day())).unwrap();
    assert!(narrow.lines().all(|line| line.chars().count() <= 90), "{narrow}");
    assert!(!narrow.contains("refunded outside"), "an empty column gives way first:\n{narrow}");
}

#[test]
fn the_json_is_one_sorted_document_with_exact_amounts() {
    let text = text(Format::Json, &the_day());
    let document: Value = serde_json::from_str(&text).unwrap();
    let get = |pointer: &str| document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing")).clone();
    assert_eq!(get("/currency"), "IDR");
    assert_eq!(get("/generated_at"), "2026-11-20T06:01:40.500+07:00");
    assert_eq!(get("/verdict/result"), "exceptions");
    assert_eq!(get("/verdict/at_risk"), "80000.00");
    assert_eq!(get("/payments/by_state/0/state"), "paid");
    assert_eq!(get("/payments/all/paid"), "51100000.00");
    assert_eq!(get("/exceptions/1/flags"), serde_json::json!(["paid_late", "underpaid"]));
    assert_eq!(get("/run/unfinished"), Value::Null);

    let keys: Vec<&str> = text.lines().filter(|l| l.starts_with("  \"")).filter_map(|l| l.split('"').nth(1)).collect();
    assert!(keys.len() > 10 && keys.is_sorted(), "{keys:?}");
    assert!(text.ends_with("}\n"));
}

#[test]
fn the_csv_keeps_every_column_and_runs_nothing() {
    let mut evil = row("=HYPERLINK(\"http://x\",\"y\")");
    evil.qr_content = Some("+1,\n2".to_owned());
    let bytes = write(Format::Csv, 0, &[row("INV-0001"), evil], &the_day());
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.split("\r\n");
    assert_eq!(
        lines.next().unwrap(),
        "account,partner_reference_no,reference_no,external_id,direction,amount,currency,order_status,created_at,expires_at,\
         qr_content,state,flags,paid_amount,fee_amount,refunded_amount,refunded_outside,paid_at,checks,last_checked_at,next_check_at"
    );
    assert_eq!(
        lines.next().unwrap(),
        "doku-main,INV-0001,20261119000012345678901234567890,,in,50000.50,IDR,fulfilled,2026-11-19T14:00:00+07:00,\
         2026-11-20T00:30:00.250+07:00,,paid,currency overpaid,60000.00,,9999.00,0.00,2026-11-19T14:05:09+07:00,2,\
         2026-11-19T14:06:09+07:00,"
    );
    let evil = lines.next().unwrap();
    assert!(evil.starts_with("doku-main,\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\","), "{evil}");
    assert!(evil.contains(",\"'+1,\n2\","), "{evil}");
    assert_eq!(lines.next(), Some(""));
    assert_eq!(lines.next(), None);
}

#[test]
fn the_page_stands_alone_and_can_be_read_aloud() {
    let page = text(Format::Html, &the_day());
    for part in [
        "<html lang=\"en\">",
        "<h1>Day report: 19 November 2026</h1>",
        "is not clean: 2 rows, Rp\u{a0}80.000 at risk.",
        "<caption>Payments by account and state</caption>",
        "<th scope=\"col\" class=\"num\">expected</th>",
        "<tr class=\"\"><th scope=\"row\">doku-main</th><td class=\"\">paid</td><td class=\"num\">1.020</td>",
        "<time datetime=\"2026-11-19T14:05:09+07:00\"",
        "@media print",
    ] {
        assert!(page.contains(part), "{part} is missing in:\n{page}");
    }
    assert!(!page.contains("<b>today</b>"), "text from outside is escaped");
    for part in ["<script", "<link", "src=", "href=", "url("] {
        assert!(!page.contains(part), "{part} would need another file");
    }
    assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
    assert_eq!(page.matches("<table").count(), page.matches("<caption>").count());
}

#[test]
fn the_workbook_has_its_four_sheets_and_is_the_same_every_time() {
    let rows = [row("INV-0001"), row("=1+1")];
    let bytes = write(Format::Xlsx, 0, &rows, &the_day());
    assert!(bytes.starts_with(b"PK\x03\x04"));
    let has = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    for sheet in 1..=4 {
        assert!(has(&format!("xl/worksheets/sheet{sheet}.xml")), "sheet {sheet} is missing");
    }
    assert!(!has("xl/worksheets/sheet5.xml"));
    assert_eq!(bytes, write(Format::Xlsx, 0, &rows, &the_day()));
    assert_ne!(bytes, write(Format::Xlsx, 0, &rows[..1], &the_day()));
}

#[test]
fn a_format_is_named_by_the_word_of_the_command_line() {
    for format in Format::ALL {
        assert_eq!(Format::from_word(format.as_str()), Some(format));
    }
    assert_eq!(Format::from_word("pdf"), None);
}

#[test]
fn a_reader_that_goes_away_is_told_from_a_disk_that_is_full() {
    struct Ends(std::io::ErrorKind);
    impl std::io::Write for Ends {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(self.0.into())
        }
    }
    for format in Format::ALL {
        for (kind, quiet) in [(std::io::ErrorKind::BrokenPipe, true), (std::io::ErrorKind::StorageFull, false)] {
            let writer = ReportWriter::new(format, Layout::default(), Ends(kind)).unwrap();
            let error = writer.finish(&the_day()).err().unwrap();
            assert_eq!(error.is_broken_pipe(), quiet, "{}: {error}", format.as_str());
        }
    }
}

/// Rows come from an asynchronous stream: a writer may have to wait in a task.
#[test]
fn a_writer_may_wait_in_a_task() {
    fn moves_between_threads<T: Send>(_: &T) {}
    for format in Format::ALL {
        moves_between_threads(&ReportWriter::new(format, Layout::default(), Vec::new()).unwrap());
    }
}
