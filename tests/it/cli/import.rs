//! `rekon import` line by line: what each refusal says, that a refused file writes nothing, and that saying the same twice
//! changes nothing.

use std::fmt::Write as _;

use rekon::domain::qris::{Field, encode};
use serde_json::json;

use super::rig::Rig;

const MINIMAL: &str = "account,partner_reference_no,amount";

/// A payload with these fields besides format and currency.
fn qris(fields: &[(&str, &str)]) -> String {
    let mut all = vec![Field::new("00", "01")];
    all.extend(fields.iter().map(|(tag, value)| Field::new(*tag, *value)));
    all.push(Field::new("53", "360"));
    all.sort_by(|one, other| one.tag.cmp(&other.tag));
    encode(&all).expect("the fields are well formed")
}

#[tokio::test]
async fn every_kind_of_bad_line_is_refused_with_its_number_and_reason_and_nothing_is_written() {
    let rig = Rig::new().await;
    let long = "x".repeat(65);
    let long_id = "1".repeat(37);
    let columns = "account,partner_reference_no,amount,reference_no,external_id,direction,currency,order_status,created_at,expires_at,qr_content";
    let static_qr = qris(&[("01", "11"), ("54", "5")]);
    let other_amount = qris(&[("01", "12"), ("54", "6")]);
    let broken = qris(&[("01", "12"), ("54", "5")]).replace("5303360", "5303840");
    let cases = [
        (",A,5,,,,,,,,", "account is empty"),
        ("shoe,A,5,,,,,,,,", "account \"shoe\" is not configured; known: shop, till"),
        ("shop,,5,,,,,,,,", "partner_reference_no is empty"),
        (&format!("shop,{long},5,,,,,,,,"), "partner_reference_no has 65 characters, the limit is 64"),
        ("shop, A,5,,,,,,,,", "partner_reference_no begins or ends with a blank"),
        ("shop,\"A\tB\",5,,,,,,,,", "partner_reference_no holds a control character"),
        ("shop,A,,,,,,,,,", "amount is empty"),
        ("shop,A,0,,,,,,,,", "amount \"0\" is not more than zero"),
        ("shop,A,0.00,,,,,,,,", "amount \"0.00\" is not more than zero"),
        ("shop,A,-5,,,,,,,,", "amount \"-5\" is not a plain decimal number"),
        ("shop,A,1e3,,,,,,,,", "amount \"1e3\" is not a plain decimal number"),
        ("shop,A,\"1,200\",,,,,,,,", "amount \"1,200\" is not a plain decimal number"),
        ("shop,A,5.001,,,,,,,,", "amount \"5.001\" has more than two decimals"),
        (
            "shop,A,12.000,,,,,,,,",
            "amount \"12.000\" has more than two decimals: write rupiah without thousands separators",
        ),
        ("shop,A,99999999999999999,,,,,,,,", "the amount is too large"),
        (&format!("shop,A,5,{long},,,,,,,"), "reference_no has 65 characters, the limit is 64"),
        (&format!("shop,A,5,,{long_id},,,,,,"), "external_id has 37 characters, the limit is 36"),
        ("shop,A,5,,,IN,,,,,", "direction is \"IN\": write in or out"),
        ("shop,A,5,,,,USD,,,,", "currency is \"USD\": only IDR is known"),
        ("shop,A,5,,,,,done,,,", "order_status is \"done\": write open, fulfilled or cancelled"),
        ("shop,A,5,,,,,,2026-11-19 14:05:09,,", "created_at is \"2026-11-19 14:05:09\": write a time with its offset"),
        ("shop,A,5,,,,,,,2026-11-19T14:05:09,", "expires_at is \"2026-11-19T14:05:09\": write a time with its offset"),
        ("shop,A,5,,,,,,,1969-12-31T00:00:00Z,", "a year from 1970 to 9999 is expected"),
        (&format!("shop,A,5,,,,,,,,{static_qr}"), "qr_content is a static QR (tag 01 = 11)"),
        (&format!("shop,A,5,,,,,,,,{other_amount}"), "qr_content asks for 6.00, but amount is 5.00"),
        (&format!("shop,A,5,,,,,,,,{broken}"), "qr_content: the QRIS checksum is"),
        ("shop,A,5,,,,,,,,hello", "qr_content: the QRIS payload"),
        ("shop,A,5", "3 fields, but the header names 11 columns"),
    ];
    for (line, reason) in cases {
        let run = rig.import(columns, &["shop,GOOD,5,,,,,,,,", line], &[]).ends(1).says("line 3: ").says(reason);
        assert!(run.stdout.contains("nothing written: 1 of 2 lines are bad"), "{run:#?}");
    }
    let mut not_utf8 = format!("{MINIMAL}\nshop,GOOD,5\nshop,").into_bytes();
    not_utf8.extend([0xFF, 0xFE]);
    not_utf8.extend(b",5\n");
    rig.pipe(&["import", "-"], &not_utf8).ends(1).says("line 3: partner_reference_no is not UTF-8");
    assert_eq!(rig.rows().await, "");
}

#[tokio::test]
async fn a_reference_that_the_provider_cannot_be_asked_without_is_demanded() {
    let rig = Rig::new().await;
    let config = std::fs::read_to_string(rig.path("jobs.toml")).unwrap();
    let (shop, till) = config.split_at(config.find("[accounts.till]").unwrap());
    let till = till.replace("reference_no = false", "reference_no = true\nexternal_id = true");
    rig.file("jobs.toml", format!("{shop}{till}"));
    let columns = "account,partner_reference_no,amount,reference_no,external_id";
    let lines = ["till,A,5,,1", "till,B,5,R,", "till,C,5,R,1", "shop,D,5,R,1"];
    rig.import(columns, &lines, &[])
        .ends(1)
        .says("line 2: reference_no is empty, and this account's provider cannot be asked without it")
        .says("line 3: external_id is empty, and this account's provider cannot be asked without it");
}

#[tokio::test]
async fn a_payout_is_taken_by_its_own_demands_and_only_where_somebody_knows_payouts() {
    let rig = Rig::new().await;
    let config = std::fs::read_to_string(rig.path("jobs.toml")).unwrap();
    let (shop, till) = config.split_at(config.find("[accounts.till]").unwrap());
    let shop = shop.replace(
        "reference_no = false",
        "reference_no = true\n[accounts.shop.profile.required_by_status]\nexternal_id = true",
    );
    let till = till
        .replace("provider = \"doku\"", "provider = \"paydia\"\ncustomer_token = { env = \"SECRET\" }")
        .replace("[accounts.till.profile.required]\nreference_no = false\n", "");
    rig.file("jobs.toml", format!("{shop}{till}"));
    let columns = "account,partner_reference_no,amount,external_id,direction";
    let lines = ["shop,A,5,1,out", "shop,B,5,,out", "shop,C,5,1,in", "till,D,5,,in", "till,E,5,,out"];
    let run = rig
        .import(columns, &lines, &["--skip-bad"])
        .ends(0)
        .says("line 3: external_id is empty, and this account's provider cannot be asked without it")
        .says("line 4: reference_no is empty, and this account's provider cannot be asked without it")
        .says("line 6: direction is out, and nobody can be asked about a payout at account \"till\"")
        .says("name the account that the payout was made with");
    assert!(run.stdout.starts_with("2 inserted"), "{run:?}");
    assert_eq!(rig.rows().await, "shop/A 5.00, till/D 5.00");
}

#[tokio::test]
async fn what_the_contract_allows_is_taken_as_it_is_written() {
    let rig = Rig::new().await;
    let qr = qris(&[("01", "12"), ("54", "12000"), ("55", "02"), ("56", "500"), ("59", "Kopi \u{e9}")]);
    let header = "qr_content,amount,expires_at,created_at,order_status,currency,direction,external_id,reference_no,account,partner_reference_no";
    let line = format!(
        "{qr},12000.5,2026-11-19T15:05:09+07:00,2026-11-19T14:05:09.123456789+07:00,cancelled,IDR,out,2026,R-1,shop,\"INV,\"\"1\"\"\\N\""
    );
    // As Excel on Windows writes it: a byte-order mark and CRLF.
    let text = format!("\u{feff}{header}\r\n{line}\r\n");
    let run = rig.pipe(&["import", "-"], text.as_bytes()).ends(0);
    assert_eq!(run.stdout, "1 inserted, 0 unchanged, 0 bad (skipped), of 1 lines\n");
    let row = "select concat_ws('|', account, partner_reference_no, reference_no, external_id, direction, amount, order_status, \
               created_at at time zone 'UTC', expires_at at time zone 'UTC', state, checks, next_check_at is not null) from rekon.transactions";
    assert_eq!(
        rig.db.text(row).await,
        "shop|INV,\"1\"\\N|R-1|2026|out|12000.50|cancelled|2026-11-19 07:05:09.123456|2026-11-19 08:05:09|pending|0|t"
    );
    assert_eq!(rig.db.text("select qr_content from rekon.transactions").await, qr);
}

#[tokio::test]
async fn a_header_that_is_not_the_contracts_is_refused_with_all_that_is_wrong() {
    let rig = Rig::new().await;
    rig.import("acount,Partner Reference No,amount,amount,colour", &["shop,A,5,5,red"], &[])
        .ends(1)
        .says("unknown column \"acount\"; did you mean \"account\"?")
        .says("unknown column \"Partner Reference No\"; did you mean \"partner_reference_no\"?")
        .says("column amount stands there twice")
        .says("unknown column \"colour\"; known: account, partner_reference_no")
        .says("required and missing: account, partner_reference_no");
    rig.import("account;partner_reference_no;amount", &["shop;A;5"], &[]).ends(1).says("separated by commas");
    rig.pipe(&["import", "-"], b"").ends(1).says("the file is empty");
    rig.run(&["import", "/nowhere/x.csv"]).ends(1).says("cannot open /nowhere/x.csv").says("No such file");
    rig.run(&["import", "/tmp"]).ends(1).says("cannot open /tmp");
    let run = rig.import(MINIMAL, &[], &[]).ends(0);
    assert_eq!(run.stdout, "0 inserted, 0 unchanged, 0 bad (skipped), of 0 lines\n");
}

#[tokio::test]
async fn a_quote_that_never_closes_is_said_and_does_not_fill_the_memory() {
    let rig = Rig::new().await;
    let mut text = format!("{MINIMAL}\nshop,A,5\nshop,\"B,5\n");
    text.extend(std::iter::repeat_n("shop,C,5\n", 400_000));
    rig.pipe(&["import", "-"], text.as_bytes()).ends(1).says("line 3 is longer than").says("never closed");
    assert_eq!(rig.rows().await, "");
}

#[tokio::test]
async fn skip_bad_imports_the_rest_and_says_how_many() {
    let rig = Rig::new().await;
    let lines = ["shop,A,5", "shoe,B,5", "shop,C,x", "till,A,7"];
    let run = rig.import(MINIMAL, &lines, &["--skip-bad"]).ends(0).says("line 3: account").says("line 4: amount");
    assert_eq!(run.stdout, "2 inserted, 0 unchanged, 2 bad (skipped), of 4 lines\n");
    assert_eq!(rig.rows().await, "shop/A 5.00, till/A 7.00");
    let report = rig.import(MINIMAL, &lines, &["--skip-bad", "--json"]).ends(0).json();
    assert_eq!(report["inserted"], json!(0));
    assert_eq!(report["unchanged"], json!(2));
    assert_eq!(report["bad"], json!(2));
    assert_eq!(report["bad_lines"][1]["line"], json!(4));
}

#[tokio::test]
async fn bad_lines_are_all_counted_and_shown_up_to_the_limit() {
    let rig = Rig::new().await;
    let lines = ["shop,A,0"; 7];
    let run = rig.import(MINIMAL, &lines, &["--show-bad", "3"]).ends(1).says("line 4: ").says("and 4 bad lines more");
    assert!(!run.stderr.contains("line 5: "), "{run:#?}");
    assert!(run.stdout.contains("7 of 7 lines are bad"), "{run:#?}");
}

#[tokio::test]
async fn a_line_said_twice_counts_as_unchanged_and_one_that_contradicts_is_bad() {
    let rig = Rig::new().await;
    let header = "account,partner_reference_no,amount,reference_no";
    let run = rig.import(header, &["shop,A,5,R", "shop,A,5.00,R", "till,A,9,", "shop,A,5,"], &[]).ends(0);
    assert_eq!(run.stdout, "2 inserted, 2 unchanged, 0 bad (skipped), of 4 lines\n");
    let again = rig.import(header, &["shop,A,5,R", "till,A,9,"], &[]).ends(0);
    assert_eq!(again.stdout, "0 inserted, 2 unchanged, 0 bad (skipped), of 2 lines\n");
    rig.import(header, &["shop,B,5,R", "shop,B,6,R", "shop,A,8,S"], &[])
        .ends(1)
        .says("line 3: the same account and partner_reference_no stand on line 2 with other values: amount 6.00 here, 5.00 there")
        .says("line 4: the same account and partner_reference_no stand in the ledger with other values: amount 8.00 here, 5.00 there, reference_no S here, R there");
    assert_eq!(rig.rows().await, "shop/A 5.00, till/A 9.00");
    rig.import(header, &["shop,B,5,R", "shop,B,6,R", "shop,A,8,S"], &["--skip-bad"]).ends(0);
    assert_eq!(rig.rows().await, "shop/A 5.00, shop/B 5.00, till/A 9.00");
}

#[tokio::test]
async fn an_empty_field_agrees_with_what_the_merchant_wrote_since_and_a_written_one_does_not() {
    let rig = Rig::new().await;
    rig.import(MINIMAL, &["shop,A,5"], &[]).ends(0);
    rig.db
        .run("update rekon.transactions set order_status = 'fulfilled', reference_no = 'R', expires_at = now()")
        .await;
    let run = rig.import(MINIMAL, &["shop,A,5"], &[]).ends(0);
    assert_eq!(run.stdout, "0 inserted, 1 unchanged, 0 bad (skipped), of 1 lines\n");
    let header = "account,partner_reference_no,amount,order_status,direction,expires_at";
    rig.import(header, &["shop,A,5,open,out,2026-11-19T00:00:00Z"], &[])
        .ends(1)
        .says("direction out here, in there, order_status open here, fulfilled there, expires_at");
}

#[tokio::test]
async fn a_hundred_thousand_lines_are_imported_and_imported_again() {
    let rig = Rig::new().await;
    let mut text = format!("{MINIMAL},created_at\n");
    for i in 0..100_000 {
        writeln!(text, "shop,INV-{i:06},{}.50,2026-11-19T10:00:00+07:00", 10_000 + i % 997).unwrap();
    }
    let file = rig.file("big.csv", &text);
    let run = rig.run(&["import", &file]).ends(0);
    assert_eq!(run.stdout, "100000 inserted, 0 unchanged, 0 bad (skipped), of 100000 lines\n");
    assert_eq!(run.stderr, "", "no bar where there is no terminal");
    let run = rig.run(&["import", &file, "--json"]).ends(0);
    assert_eq!(run.json()["unchanged"], json!(100_000));
    assert_eq!(rig.db.text("select count(*) || ' ' || sum(amount) from rekon.transactions").await, {
        let sum: u64 = (0..100_000).map(|i| 10_000 + i % 997).sum();
        format!("100000 {}.00", sum + 50_000)
    });
}

#[tokio::test]
async fn two_imports_of_one_file_at_once_insert_each_row_once() {
    let rig = Rig::new().await;
    let mut text = format!("{MINIMAL}\n");
    for i in 0..20_000 {
        writeln!(text, "shop,INV-{i},5").unwrap();
    }
    let file = rig.file("twice.csv", &text);
    let start = || {
        let mut command = rig.command(&["import", &file, "--json"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let (one, other) = (start(), start());
    let reports = [one, other].map(|child| super::rig::Run::of(child.wait_with_output().unwrap()).ends(0).json());
    let inserted: u64 = reports.iter().map(|report| report["inserted"].as_u64().unwrap()).sum();
    let unchanged: u64 = reports.iter().map(|report| report["unchanged"].as_u64().unwrap()).sum();
    assert_eq!((inserted, unchanged), (20_000, 20_000));
}
