//! The published samples, the checksum's check vector, and what no reader may forgive.

use proptest::prelude::*;

use super::*;

/// DOKU's "generate QRIS" and "decode QRIS" sample; its amount is 1200.25 and its tip 500.52.
const GENERATED: &str = "00020101021226530012COM.DOKU.WWW0118936008990000002997020429970303UMI51440014ID.CO.QRIS.WWW0215ID20200622029970303UMI52045411530336054071200.255502025606500.525802ID5911Green Pages6007Jakarta61051312062430703K455032a98757c8dbc6434ab5dd4c55d9092d9a6304F6EA";
/// DOKU's "payment" sample exactly as printed in its documents: the first zero is lost.
const PAYMENT_AS_PRINTED: &str = "0020101021226530012COM.DOKU.WWW0118936008990000002997020429970303UBE51440014ID.CO.QRIS.WWW0215ID20200622029970303UBE52045411530336054071200.005502025606500.005802ID5911Green Pages6007Jakarta61051312062430703K455032072435673f53496a9db872c8caa148996304F8EF";

fn payload(fields: &[(&str, &str)]) -> String {
    let fields: Vec<Field> = fields.iter().map(|(tag, value)| Field::new(*tag, *value)).collect();
    encode(&fields).unwrap()
}

/// A minimal payload with `extra` fields after the currency.
fn with(extra: &[(&str, &str)]) -> Result<Qris, QrisError> {
    Qris::parse(&payload(&[&[("00", "01"), ("01", "12"), ("53", "360")], extra].concat()))
}

#[test]
fn the_checksum_meets_its_published_check_vector() {
    assert_eq!(crc16("123456789".bytes()), 0x29B1);
}

#[test]
fn the_generated_sample_reads_to_the_sen() {
    let qris = Qris::parse(GENERATED).unwrap();
    assert_eq!(qris.initiation(), Some(Initiation::Dynamic));
    assert_eq!(qris.amount(), Some(Sen::new(120_025)));
    assert_eq!(qris.tip(), Some(Tip::Fixed(Sen::new(50_052))));
    assert_eq!(qris.expected_total(), Ok(ExpectedTotal::Exact(Sen::new(170_077))));
    assert_eq!(qris.field("59"), Some("Green Pages"));
    assert_eq!(qris.additional_field("07"), Some("K45"));
    assert_eq!(qris.additional_field("50"), Some("a98757c8dbc6434ab5dd4c55d9092d9a"));
    assert_eq!(qris.additional_field("01"), None);
}

#[test]
fn the_payment_sample_is_refused_as_printed_and_right_with_its_zero_restored() {
    // Without its zero the text still splits into two fields before it falls apart: `00` then claims 20 characters.
    assert!(matches!(Qris::parse(PAYMENT_AS_PRINTED), Err(QrisError::Broken { at: 24, .. })));
    let restored = format!("0{PAYMENT_AS_PRINTED}");
    assert_eq!(restored.chars().count(), 255);
    let qris = Qris::parse(&restored).unwrap();
    assert_eq!(qris.expected_total(), Ok(ExpectedTotal::Exact(Sen::new(170_000))));
    assert_eq!(qris.additional_field("50"), Some("072435673f53496a9db872c8caa14899"));
}

#[test]
fn a_static_code_states_no_amount_and_so_no_total() {
    let qris = Qris::parse(&payload(&[("00", "01"), ("01", "11"), ("53", "360"), ("58", "ID")])).unwrap();
    assert_eq!(qris.initiation(), Some(Initiation::Static));
    assert_eq!(qris.expected_total(), Ok(ExpectedTotal::Unstated));
}

#[test]
fn a_prompted_tip_makes_the_amount_a_lower_bound() {
    let qris = with(&[("54", "10000"), ("55", "01")]).unwrap();
    assert_eq!(qris.expected_total(), Ok(ExpectedTotal::AtLeast(Sen::new(1_000_000))));
}

#[test]
fn a_percent_tip_is_rounded_half_up_to_the_sen() {
    for (amount, percent, total) in [
        ("10000.00", "5", 1_050_000),
        ("10000.00", "2.5", 1_025_000),
        ("0.50", "1", 51), // half a sen goes up
        ("0.49", "1", 49), // 0.49 sen goes down
        ("333.33", "00.01", 33_336),
        ("9999999999.99", "99.99", 1_999_899_999_998),
        ("9999999999999", "99.99", 1_999_899_999_999_800),
    ] {
        let qris = with(&[("54", amount), ("55", "03"), ("57", percent)]).unwrap();
        assert_eq!(qris.expected_total(), Ok(ExpectedTotal::Exact(Sen::new(total))), "{amount} + {percent} %");
    }
}

#[test]
fn amounts_are_read_as_written_or_not_at_all() {
    for (text, sen) in
        [("1", 100), ("0.01", 1), ("1200.2", 120_020), ("0001.00", 100), ("9999999999.99", 999_999_999_999)]
    {
        assert_eq!(with(&[("54", text)]).unwrap().amount(), Some(Sen::new(sen)), "{text}");
    }
    for text in [
        "0",
        "0.00",
        "-1",
        "+1",
        "1,00",
        "1.000",
        "1.",
        ".5",
        "1e3",
        "1 000",
        "12345678901234",
        "99999999999.99",
        "１",
        "1.0.0",
    ] {
        assert!(matches!(with(&[("54", text)]), Err(QrisError::Value { tag: "54", .. })), "{text}");
    }
}

#[test]
fn a_tip_percentage_lies_strictly_between_0_and_100() {
    for text in ["0", "0.00", "100", "99.999", "100.0", "-5", "5%", "0.001"] {
        assert!(
            matches!(with(&[("54", "1"), ("55", "03"), ("57", text)]), Err(QrisError::Value { tag: "57", .. })),
            "{text}"
        );
    }
    let qris = with(&[("54", "1"), ("55", "03"), ("57", "99.99")]).unwrap();
    assert!(matches!(qris.tip(), Some(Tip::Percent(p)) if p.hundredths() == 9_999));
}

#[test]
fn tip_fields_that_contradict_each_other_are_refused() {
    for fields in [
        &[("56", "1")][..],
        &[("57", "1")],
        &[("55", "01"), ("56", "1")],
        &[("55", "02")],
        &[("55", "02"), ("57", "1")],
        &[("55", "02"), ("56", "1"), ("57", "1")],
        &[("55", "03"), ("56", "1")],
    ] {
        assert!(matches!(with(fields), Err(QrisError::Tip { .. })), "{fields:?}");
    }
    assert!(matches!(with(&[("55", "04")]), Err(QrisError::Value { tag: "55", .. })));
    assert_eq!(with(&[("55", "02"), ("56", "0.00")]).unwrap().tip(), Some(Tip::Fixed(Sen::ZERO)));
}

#[test]
fn doubled_ids_are_refused_on_both_levels_and_unknown_ones_are_kept() {
    assert_eq!(with(&[("54", "1"), ("54", "2")]), Err(QrisError::Duplicate { tag: "54".into() }));
    assert_eq!(with(&[("62", "0701A0701B")]), Err(QrisError::Duplicate { tag: "07".into() }));
    assert_eq!(with(&[("85", "anything")]).unwrap().field("85"), Some("anything"));
}

#[test]
fn the_frame_must_be_whole() {
    let currency = QrisError::Currency { found: "840".into() };
    assert_eq!(Qris::parse(&payload(&[("00", "01"), ("53", "840")])), Err(currency));
    assert_eq!(Qris::parse(&payload(&[("00", "01")])), Err(QrisError::Currency { found: String::new() }));
    assert_eq!(Qris::parse(&payload(&[("53", "360"), ("00", "01")])), Err(QrisError::Format));
    assert_eq!(Qris::parse(&payload(&[("00", "02"), ("53", "360")])), Err(QrisError::Format));
    assert!(matches!(with(&[("01", "13")]), Err(QrisError::Duplicate { .. })));
    assert!(matches!(
        Qris::parse(&payload(&[("00", "01"), ("01", "13"), ("53", "360")])),
        Err(QrisError::Value { tag: "01", .. })
    ));
    assert_eq!(Qris::parse("0002015303360"), Err(QrisError::ChecksumMissing));
    assert_eq!(Qris::parse(""), Err(QrisError::Format));
    assert!(matches!(Qris::parse("000201530336"), Err(QrisError::Broken { at: 6, .. })));
    assert!(matches!(Qris::parse("0002015300"), Err(QrisError::Broken { at: 6, .. })));
    assert_eq!(Qris::parse(&"0".repeat(513)), Err(QrisError::TooLong { found: 513 }));
}

#[test]
fn the_checksum_must_be_last_and_in_capitals() {
    let whole = payload(&[("00", "01"), ("53", "360")]);
    assert_eq!(Qris::parse(&format!("{whole}5802ID")), Err(QrisError::ChecksumMissing));
    let small = GENERATED.replace("6304F6EA", "6304f6ea");
    assert!(matches!(Qris::parse(&small), Err(QrisError::Checksum { computed, .. }) if computed == "F6EA"));
    assert!(Qris::parse(&format!("{GENERATED}\n")).is_err());
}

#[test]
fn lengths_count_characters_not_bytes() {
    assert_eq!(with(&[("59", "Café Séhati")]).unwrap().field("59"), Some("Café Séhati"));
    assert!(Qris::parse(&payload(&[("00", "01"), ("53", "360"), ("59", "é")])).is_ok());
}

#[test]
fn what_cannot_be_written_is_refused_by_the_writer() {
    for field in [Field::new("5", "x"), Field::new("5a", "x"), Field::new("54", ""), Field::new("54", "x".repeat(100))]
    {
        assert!(matches!(encode(&[field]), Err(QrisError::Broken { at: 0, .. })));
    }
    let long: Vec<Field> = (10..16).map(|tag| Field::new(tag.to_string(), "x".repeat(99))).collect();
    assert!(matches!(encode(&long), Err(QrisError::TooLong { .. })));
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(
        rupiah in 0_i64..9_999_999_999, sen in 1_i64..100, tip in 0_i64..1_000_000,
        name in "[ -~é]{1,25}", reference in "[A-Za-z0-9]{1,64}",
    ) {
        let amount = format!("{rupiah}.{sen:02}");
        let tip_text = format!("{}.{:02}", tip / 100, tip % 100);
        let more = write_fields(&[Field::new("07", "K45"), Field::new("50", reference.as_str())]).unwrap();
        let fields = [("54", amount.as_str()), ("55", "02"), ("56", &tip_text), ("59", &name), ("62", &more)];
        let qris = with(&fields).unwrap();
        let total = Sen::rupiah(rupiah).plus(Sen::new(sen)).plus(Sen::new(tip));
        prop_assert_eq!(qris.expected_total(), Ok(ExpectedTotal::Exact(total)));
        prop_assert_eq!(qris.field("59"), Some(name.as_str()));
        prop_assert_eq!(qris.additional_field("50"), Some(reference.as_str()));
        let (checksum, body) = qris.fields().split_last().unwrap();
        prop_assert_eq!(&checksum.tag, "63");
        prop_assert_eq!(Qris::parse(&encode(body).unwrap()), Ok(qris.clone()));
    }

    #[test]
    fn any_single_flipped_character_is_refused(at in 0..GENERATED.len(), to in b' '..=b'~') {
        let mut bytes = GENERATED.as_bytes().to_vec();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        prop_assert!(Qris::parse(std::str::from_utf8(&bytes).unwrap()).is_err());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}", digits in "[0-9é]{0,60}") {
        prop_assert!(Qris::parse(&text).is_err());
        prop_assert!(Qris::parse(&digits).is_err());
    }
}
