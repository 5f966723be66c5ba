//! The readers of what strangers send, against structure-aware random inputs: most begin honest and are then bent, so that
//! many reach acceptance. None may panic, and no accepted amount may differ from its text.
//!
//! `REKON_FUZZ_CASES` sets the cases of each reader; `REKON_FUZZ_SEED` the seed. A failure names both.

mod replies;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use rekon::{
    domain::{
        fact::Echo,
        money::Sen,
        notification::{self, Field as Parameter},
        observation::Observation,
        profile::{Demands, RequiredReferences},
        qris::{self, Field, Qris},
    },
    engine::import::{self, Column, ImportRules},
    providers::{Asked, providers, wire::HttpResponse},
};
use serde_json::value::RawValue;

use crate::providers::account;

const CASES: u64 = 20_000;

/// SplitMix64: small, fast, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn digits(&mut self, most: usize) -> String {
        (0..=self.below(most)).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap())).collect()
    }

    /// A text of letters with now and then something that breaks a reader.
    fn word(&mut self, most: usize) -> String {
        const ODD: [char; 14] = ['\0', '\n', '"', ',', '%', '&', '=', '+', 'é', '€', '\u{202e}', '🦀', ' ', '\u{7f}'];
        (0..=self.below(most))
            .map(|_| {
                if self.once_in(80) {
                    ODD[self.below(ODD.len())]
                } else {
                    char::from(b'A' + u8::try_from(self.below(26)).unwrap())
                }
            })
            .collect()
    }

    /// An amount as somebody might write it; more often right than not.
    fn amount(&mut self) -> String {
        match self.below(12) {
            0..=3 => format!("{}.{:02}", 1 + self.below(5_000_000), self.below(100)),
            4..=6 => (1 + self.below(90_000_000)).to_string(),
            7 => format!("{}.{}", self.digits(4), self.digits(3)),
            8 => format!("0{}.{}0", self.digits(3), self.below(10)),
            9 => self.digits(24),
            10 => self
                .pick(&[
                    "", "-1", "+1", "1e3", "1E-2", "NaN", ".5", "1.", "1,000", "1.000,00", " 7 ", "١٢", "0", "0.00",
                ])
                .to_owned(),
            _ => self.word(6),
        }
    }

    /// The same bytes, a few of them changed, lost, doubled or cut off.
    fn bent(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, bytes[at]),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }
}

/// Runs a reader over its cases; the closure says whether it accepted. At least a fifth must be.
fn fuzz(name: &str, case: impl Fn(&mut Dice) -> bool) {
    let knob = |variable: &str| {
        #[expect(clippy::disallowed_methods, reason = "a test's own knob; nothing of rekon reads it")]
        let text = std::env::var(variable);
        text.ok().map(|text| text.parse::<u64>().expect("a whole number"))
    };
    let (cases, seed) = (knob("REKON_FUZZ_CASES").unwrap_or(CASES), knob("REKON_FUZZ_SEED").unwrap_or(20_261_120));
    let mut accepted = 0_u64;
    for n in 0..cases {
        let mut dice = Dice(seed.wrapping_add(n.wrapping_mul(0x5851_F42D_4C95_7F2D)));
        match catch_unwind(AssertUnwindSafe(|| case(&mut dice))) {
            Ok(taken) => accepted += u64::from(taken),
            Err(panic) => {
                println!("{name}: case {n} of seed {seed}");
                resume_unwind(panic);
            }
        }
    }
    println!("{name}: {accepted} of {cases} accepted");
    assert!(accepted * 5 >= cases, "{name}: only {accepted} of {cases} inputs reach acceptance");
}

/// What a decimal text means in sen, by another way than the reader's: digit by digit, in 128 bits.
fn sen_of(text: &str) -> Option<i128> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let cut = decimals.trim_end_matches('0');
    if !is_digits(whole) || !is_digits(decimals) || cut.len() > 2 || whole.len() > 30 {
        return None;
    }
    let hundredths = format!("{cut:0<2}");
    Some(whole.parse::<i128>().ok()? * 100 + hundredths.parse::<i128>().ok()?)
}

fn assert_same(amount: Sen, text: &str) {
    assert_eq!(Some(i128::from(amount.sen())), sen_of(text.trim()), "{amount} was read from {text:?}");
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'.' {
            all.push(char::from(byte));
        } else {
            write!(all, "%{byte:02X}").unwrap();
        }
        all
    })
}

#[test]
fn the_notification_reader_survives_and_reads_no_other_amount() {
    fuzz("notification", |dice| {
        let amount = dice.amount();
        let mut pairs = vec![format!("TRANSACTIONID={}", percent_encoded(&dice.word(20)))];
        pairs.push(format!("AMOUNT={}", percent_encoded(&amount)));
        pairs.push(format!("TXNSTATUS={}", dice.pick(&["S", "S", "F", "", "00"])));
        for _ in 0..dice.below(6) {
            let name = Parameter::ALL[dice.below(Parameter::ALL.len())].wire();
            let value = if dice.once_in(8) { dice.word(300) } else { dice.word(20) };
            pairs.push(format!("{name}={}", percent_encoded(&value)));
        }
        let form = pairs.join("&");
        let message = *["Transaction is Success", "Transaction is Refunded", ""].get(dice.below(3)).unwrap();
        let json =
            serde_json::json!({"transactionId": dice.word(16), "activityCode": 200, "message": message}).to_string();
        let (query, kind, body) = match dice.below(4) {
            0 => (form, Some("application/json"), json.into_bytes()),
            1 => (String::new(), Some("application/x-www-form-urlencoded"), form.into_bytes()),
            2 => (form, None, json.into_bytes()),
            _ => (form, Some("application/x-www-form-urlencoded"), Vec::new()),
        };
        let bend = dice.below(5);
        let body = if bend == 0 { dice.bent(body) } else { body };
        let query =
            if bend == 1 { String::from_utf8_lossy(&dice.bent(query.into_bytes())).into_owned() } else { query };
        let Ok(read) = notification::read(&query, kind, &body) else { return false };
        let claim = read.claim();
        if let Some(amount) = claim.amount {
            assert_same(amount, read.value(Parameter::Amount));
        }
        assert!(claim.observation != Observation::Paid || claim.amount.is_some_and(Sen::is_positive));
        assert!(!read.partner_reference_no().is_empty());
        assert!(!read.redacted().to_string().contains(char::is_control));
        assert!(!read.canonical().is_empty());
        true
    });
}

/// Reads one of the two JSON notifications: mostly as documented, each value bent now and then.
fn fuzz_json_notification(
    name: &str,
    documented: impl Fn(&mut Dice, &str, &str) -> String,
    read: impl Fn(&[u8]) -> Result<notification::Told, notification::NotificationError>,
) {
    fuzz(name, |dice| {
        let amount = dice.amount();
        // A JSON text, or as it stands: often no JSON at all.
        let written = if dice.once_in(3) { amount.clone() } else { serde_json::json!(amount).to_string() };
        let reference = serde_json::json!(dice.word(20)).to_string();
        let body = documented(dice, &reference, &written).into_bytes();
        let is_bent = dice.once_in(4);
        let Ok(told) = read(&if is_bent { dice.bent(body) } else { body }) else { return false };
        if let Some(read) = told.claim.amount
            && !is_bent
            && !amount.contains(['e', 'E'])
        {
            assert_same(read, &amount);
        }
        assert!(told.claim.observation != Observation::Paid || told.claim.amount.is_some_and(Sen::is_positive));
        assert!(!told.partner_reference_no.is_empty());
        assert!(!told.redacted.to_string().contains(char::is_control));
        true
    });
}

#[test]
fn the_json_notification_reader_survives_and_reads_no_other_amount() {
    let documented = |dice: &mut Dice, reference: &str, amount: &str| {
        let status = dice.pick(&["SUCCESS", "SUCCESS", "FAILED", "REFUNDED", "", "?"]).to_owned();
        format!(
            r#"{{"service":{{"id":"QRIS"}},"order":{{"invoice_number":{reference},"amount":{amount}}},"transaction":{{"status":"{status}"}}}}"#
        )
    };
    fuzz_json_notification("notification-json", documented, notification::read_json);
}

#[test]
fn the_snap_notification_reader_survives_and_reads_no_other_amount() {
    let documented = |dice: &mut Dice, reference: &str, amount: &str| {
        let status = dice.pick(&["\"00\"", "\"00\"", "0", "\"06\"", "null", "[]"]).to_owned();
        format!(
            r#"{{"originalPartnerReferenceNo":{reference},"latestTransactionStatus":{status},"amount":{{"value":{amount},"currency":"IDR"}}}}"#
        )
    };
    fuzz_json_notification("notification-snap", documented, notification::read_snap);
}

#[test]
fn the_qris_reader_survives_and_reads_no_other_amount() {
    fuzz("qris", |dice| {
        let mut fields = vec![Field::new("00", "01"), Field::new("01", dice.pick(&["12", "12", "11"]))];
        fields.push(Field::new("26", format!("0015COM.DOKU.WWW01{}", dice.digits(18))));
        fields.push(Field::new("53", if dice.once_in(20) { "840" } else { "360" }));
        fields.push(Field::new("54", dice.amount()));
        match dice.below(6) {
            0 => fields.extend([Field::new("55", "02"), Field::new("56", dice.amount())]),
            1 => fields.extend([Field::new("55", "03"), Field::new("57", dice.pick(&["5", "2.5", "0", "100", "x"]))]),
            2 => fields.push(Field::new("55", "01")),
            _ => {}
        }
        if dice.once_in(3) {
            fields.push(Field::new("62", format!("07{:02}{}", 3, "K45")));
        }
        if dice.once_in(10) {
            fields.push(Field::new(dice.digits(2), dice.word(90)));
        }
        let Ok(payload) = qris::encode(&fields) else { return false };
        let text = match dice.below(6) {
            0 => String::from_utf8_lossy(&dice.bent(payload.into_bytes())).into_owned(),
            _ => payload,
        };
        let Ok(read) = Qris::parse(&text) else { return false };
        if let (Some(amount), Some(said)) = (read.amount(), read.field("54")) {
            assert_same(amount, said);
        }
        if let Some(qris::Tip::Fixed(tip)) = read.tip() {
            assert_same(tip, read.field("56").unwrap());
        }
        if let (Ok(qris::ExpectedTotal::Exact(total)), Some(amount)) = (read.expected_total(), read.amount()) {
            assert!(total >= amount);
        }
        true
    });
}

/// One line of an import, mostly right, in the contract's order of columns.
fn import_line(dice: &mut Dice) -> Vec<String> {
    let mut values = vec![String::new(); Column::ALL.len()];
    values[0] = dice.pick(&["shop", "shop", "shop", "shop", "till", ""]).to_owned();
    values[1] = dice.word(30);
    values[5] = dice.amount();
    for place in &mut values[2..4] {
        if dice.once_in(6) {
            *place = dice.word(50);
        }
    }
    if dice.once_in(3) {
        values[4] = dice.pick(&["in", "out", "IN"]).to_owned();
    }
    if dice.once_in(4) {
        const TIMES: [&str; 4] =
            ["2026-11-19T14:05:09+07:00", "2026-11-19", "9999-12-31T23:59:59Z", "99999-01-01T00:00:00Z"];
        values[8] = dice.pick(&TIMES).to_owned();
    }
    values
}

#[test]
fn the_importer_reads_a_file_or_says_why_and_reads_no_other_amount() {
    let known = Demands { payout: Some(RequiredReferences::default()), ..Demands::default() };
    let rules = ImportRules {
        accounts: vec!["shop".to_owned()],
        demands: Box::new(move |account| (account == "shop").then_some(known)),
    };
    fuzz("import file", |dice| {
        // The columns stand in any order, and the lines end in any way.
        let turn = dice.below(Column::ALL.len());
        let end = dice.pick(&["\n", "\r\n"]);
        let turned = |values: &[String]| {
            let mut values: Vec<String> = values.to_vec();
            values.rotate_left(turn);
            values.join(",") + end
        };
        let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let mut file = if dice.once_in(4) { "\u{feff}".to_owned() } else { String::new() };
        file += &turned(&Column::ALL.map(|column| column.as_str().to_owned()));
        for _ in 0..=dice.below(3) {
            file += &turned(&import_line(dice).iter().map(quoted).collect::<Vec<_>>());
        }
        let file = if dice.once_in(6) { dice.bent(file.into_bytes()) } else { file.into_bytes() };
        let Ok((rows, _bad)) = import::read(Box::new(std::io::Cursor::new(file.clone())), &rules) else { return false };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file.as_slice());
        let amount_at = reader.headers().ok().and_then(|names| names.iter().position(|name| name == "amount"));
        // A bent file may end a record without beginning a line, so a line may hold several.
        let mut said: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for record in reader.byte_records().flatten() {
            if let (Some(at), Some(line)) = (amount_at, record.position().map(csv::Position::line)) {
                let amount = String::from_utf8_lossy(record.get(at).unwrap_or_default()).into_owned();
                said.entry(line).or_default().push(amount);
            }
        }
        for row in &rows {
            let texts = &said[&u64::try_from(row.line).unwrap()];
            let is_said = texts.iter().any(|text| sen_of(text) == Some(i128::from(row.amount.sen())));
            assert!(is_said, "{} was read from one of {texts:?}", row.amount);
            assert!(row.amount.is_positive() && !row.partner_reference_no.is_empty() && row.account == "shop");
        }
        !rows.is_empty()
    });
}

/// The amount of an answer, taken out by another way than the reader's: the token as it stands.
#[derive(serde::Deserialize)]
struct AnswerBody<'a> {
    #[serde(borrow)]
    amount: AnswerAmount<'a>,
}

#[derive(serde::Deserialize)]
struct AnswerAmount<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

/// What a JSON token means in sen: a text as it spells it, a number with its exponent; digit by digit.
fn sen_of_token(token: &str) -> Option<i128> {
    if token.starts_with('"') {
        return sen_of(serde_json::from_str::<String>(token).ok()?.trim());
    }
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let places = exponent.parse::<i32>().ok()? - i32::try_from(decimals.len()).ok()? + 2;
    let digits = format!("{whole}{decimals}").parse::<i128>().ok()?;
    let power = 10_i128.checked_pow(places.unsigned_abs())?;
    if places >= 0 { digits.checked_mul(power) } else { (digits % power == 0).then_some(digits / power) }
}

/// An answer to a query, mostly of the payment that was asked about.
fn answer_body(dice: &mut Dice) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let amount = dice.amount();
    let value = match dice.below(5) {
        0 | 1 => text(&amount),
        2 => format!("{}e{}", 1 + dice.below(9_999), dice.below(6)),
        3 if amount.parse::<u64>().is_ok() => amount,
        _ => format!("{}.{}", 1 + dice.below(90_000_000), dice.digits(2)),
    };
    let mut fields = vec![
        format!(
            "\"responseCode\":{}",
            dice.pick(&["\"2005100\"", "\"2005300\"", "2005100", "\"2005100\"", "\"4045101\"", "\"5005100\""])
        ),
        format!(
            "\"latestTransactionStatus\":{}",
            dice.pick(&["\"00\"", "\"00\"", "0", "2", "\"03\"", "\"07\"", "\"14\"", "null"])
        ),
        format!(
            "\"amount\":{{\"value\":{value},\"currency\":{}}}",
            dice.pick(&["\"IDR\"", "\"IDR\"", "\"USD\"", "null"])
        ),
        format!(
            "\"originalPartnerReferenceNo\":{}",
            dice.pick(&["\"INV-1\"", "\"INV-1\"", "\"INV-1\"", "\"INV-2\"", "null"])
        ),
    ];
    if dice.once_in(2) {
        fields.push(format!("\"originalReferenceNo\":{}", dice.pick(&["\"R-1\"", "\"R-1\"", "\"R-2\""])));
    }
    if dice.once_in(3) {
        fields.push(format!("\"feeAmount\":{{\"value\":{},\"currency\":\"IDR\"}}", text(&dice.amount())));
    }
    if dice.once_in(3) {
        fields.push(format!(
            "\"paidTime\":{}",
            dice.pick(&["\"2026-11-19T14:05:09+07:00\"", "\"2026-11-19 14:05\"", "7"])
        ));
    }
    if dice.once_in(4) {
        fields.push(format!("{}:{}", text(&dice.word(12)), text(&dice.word(40))));
    }
    let turn = dice.below(fields.len());
    fields.rotate_left(turn);
    format!("{{{}}}", fields.join(","))
}

#[test]
fn the_answer_reader_survives_and_reads_no_other_amount() {
    let accounts: Vec<_> = providers().iter().map(|known| account(*known, toml::Table::new())).collect();
    fuzz("answer", |dice| {
        let account = &accounts[dice.below(accounts.len())];
        let is_payout = account.profile.rules.required_out.is_some() && dice.once_in(4);
        let asked = Asked {
            partner_reference_no: "INV-1",
            reference_no: Some("R-1"),
            external_id: None,
            merchant_id: "2997",
            is_payout,
        };
        let body = answer_body(dice).into_bytes();
        let body = if dice.once_in(6) { dice.bent(body) } else { body };
        let status = if dice.once_in(6) { *[404, 500].get(dice.below(2)).unwrap() } else { 200 };
        let response = HttpResponse { status, headers: Vec::new(), body: body.clone() };
        let answer = account.provider.read_query(account, &asked, &response).answer;
        if let (Some(amount), Ok(said)) = (answer.amount, serde_json::from_slice::<AnswerBody<'_>>(&body)) {
            let token = said.amount.value.get();
            assert_eq!(Some(i128::from(amount.sen())), sen_of_token(token), "{amount} was read from {token}");
        }
        let heard = answer.heard();
        assert!(heard != Observation::Paid || (answer.amount.is_some() && answer.echo == Echo::Right));
        assert!(heard != Observation::Paid || status == 200);
        if let Ok(serde_json::Value::Object(said)) = serde_json::from_slice(&body) {
            let names = |key: &str, wrong: &str| said.get(key).and_then(|v| v.as_str()) == Some(wrong);
            let is_other = names("originalPartnerReferenceNo", "INV-2") || names("originalReferenceNo", "R-2");
            let told = || String::from_utf8_lossy(&body).into_owned();
            assert!(!is_other || heard == Observation::Indeterminate, "of another payment: {}", told());
        }
        heard != Observation::Indeterminate
    });
}
