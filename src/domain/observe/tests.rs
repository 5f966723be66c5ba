//! Answers as readings, and what they must mean. How a body becomes a reading is tested in `providers`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    observation::{StatusMap, StatusMeaning},
    profile::{Ladder, RequiredReferences},
};

const ASKED: Asked<'static> = Asked {
    partner_reference_no: "INV-1",
    reference_no: Some("DK1"),
    external_id: None,
    merchant_id: "2115",
    is_payout: false,
};

fn profile() -> Profile {
    use Observation::{Absent, Cancelled, Failed, InFlight, Open, Paid, Reversed};
    let status = [Paid, Open, InFlight, Open, Reversed, Cancelled, Failed, Absent]
        .into_iter()
        .enumerate()
        .map(|(n, means)| (format!("{n:02}"), StatusMeaning { means, is_final: false, note: String::new() }))
        .collect();
    Profile {
        provider: "doku".into(),
        status: StatusMap::try_new(status).unwrap(),
        required: RequiredReferences::default(),
        required_out: Some(RequiredReferences::default()),
        default_validity_secs: 60,
        paid_time_trusted: true,
        payment_id_is_unique: true,
        cancel_qr: false,
        refund: None,
        ladder: Ladder { default: vec![60], by_observation: BTreeMap::new() },
    }
}

fn text(text: &str) -> Said<'_> {
    Said::Text(text.into())
}

fn paid() -> Reading<'static> {
    Reading {
        http_status: 200,
        response_code: text("2005100"),
        latest_transaction_status: text("00"),
        partner_reference_no: text("INV-1"),
        reference_no: text("DK1"),
        amount: Said::Number("1200"),
        currency: text("IDR"),
        fee_amount: Said::Number("500"),
        payment_id: text("328591"),
        approval_code: text("328591"),
        paid_time: text("2023-08-18T23:12:21+07:00"),
        ..Reading::default()
    }
}

fn seen(reading: &Reading<'_>) -> Answer {
    observe(&ASKED, reading, &profile())
}

/// What an answer that is not believed must be: no verdict, and why.
fn assert_doubted(reading: &Reading<'_>, doubt: &str, warnings: &[Warning]) {
    let answer = seen(reading);
    assert_eq!(answer.observation, Observation::Indeterminate, "{reading:?}");
    assert_eq!(answer.doubt.as_deref(), Some(doubt), "{reading:?}");
    assert_eq!(answer.warnings, warnings, "{reading:?}");
}

#[test]
fn a_success_with_everything_in_place_is_paid() {
    let answer = seen(&paid());
    assert_eq!(answer.observation, Observation::Paid);
    assert_eq!(answer.echo, Echo::Right);
    assert_eq!(answer.amount, Some(Sen::rupiah(1200)));
    assert_eq!(answer.fee_amount, Some(Sen::rupiah(500)));
    assert_eq!(answer.paid_time_raw.as_deref(), Some("2023-08-18T23:12:21+07:00"));
    assert!(answer.paid_time.is_some());
    assert_eq!((answer.warnings, answer.doubt), (Vec::new(), None));
}

#[test]
fn a_missing_or_unknown_status_is_never_paid_and_never_failed() {
    for said in [Said::Nothing, text(""), text("  ")] {
        assert_doubted(&Reading { latest_transaction_status: said, ..paid() }, doubt::NO_STATUS, &[]);
    }
    for said in [text("08"), text("14"), text("0"), text("paid"), Said::Number("8"), Said::Nonsense] {
        assert_doubted(&Reading { latest_transaction_status: said, ..paid() }, doubt::UNKNOWN_CODE, &[]);
    }
}

#[test]
fn paid_without_a_readable_amount_or_currency_is_no_verdict() {
    for said in
        [Said::Nothing, text("1.200,00"), text("-1200"), Said::Number("1200.001"), Said::Number("0"), Said::Nonsense]
    {
        assert_doubted(&Reading { amount: said, ..paid() }, doubt::AMOUNT, &[Warning::Amount]);
    }
    for said in [Said::Nothing, text("Rupiah"), text(""), Said::Number("360")] {
        assert_doubted(&Reading { currency: said, ..paid() }, doubt::CURRENCY, &[Warning::Currency]);
    }
}

#[test]
fn another_readable_currency_stays_paid_for_decide_to_hold() {
    let answer = seen(&Reading { currency: text("USD"), ..paid() });
    assert_eq!((answer.observation, answer.currency.as_deref()), (Observation::Paid, Some("USD")));
    assert_eq!(seen(&Reading { currency: text("idr"), ..paid() }).currency.as_deref(), Some("IDR"));
}

#[test]
fn an_unreadable_fee_stays_paid_and_keeps_money_from_leaving() {
    let answer = seen(&Reading { fee_amount: text("5,00"), ..paid() });
    assert_eq!((answer.observation, answer.warnings), (Observation::Paid, vec![Warning::Amount]));
    assert_eq!(answer.fee_amount, None);
}

#[test]
fn one_right_reference_and_none_wrong_is_enough() {
    for reading in [
        Reading { reference_no: Said::Nothing, ..paid() },
        Reading { partner_reference_no: text(""), ..paid() },
        Reading { merchant_id: Said::Number("2115"), ..paid() },
        Reading { partner_reference_no: text("INV-1   "), ..paid() },
    ] {
        let answer = seen(&reading);
        assert_eq!((answer.observation, answer.echo), (Observation::Paid, Echo::Right), "{reading:?}");
    }
}

#[test]
fn no_reference_at_all_is_no_verdict() {
    let silent = Reading { reference_no: Said::Nothing, partner_reference_no: Said::Nothing, ..paid() };
    assert_doubted(&silent, doubt::NO_ECHO, &[]);
    // The merchant stands on every payment: it proves nothing.
    assert_doubted(&Reading { merchant_id: text("2115"), ..silent }, doubt::NO_ECHO, &[]);
}

#[test]
fn a_wrong_reference_or_merchant_is_an_identity_doubt_beside_any_right_one() {
    for reading in [
        Reading { reference_no: text("DK2"), ..paid() },
        Reading { partner_reference_no: text("INV-2"), ..paid() },
        Reading { merchant_id: text("9999"), ..paid() },
        Reading { partner_reference_no: text("inv-1"), ..paid() },
        Reading { latest_transaction_status: text("01"), reference_no: text("DK2"), ..paid() },
        Reading { response_code: text("4045101"), http_status: 404, reference_no: text("DK2"), ..paid() },
    ] {
        assert_doubted(&reading, doubt::IDENTITY, &[]);
        assert_eq!(seen(&reading).echo, Echo::Wrong, "{reading:?}");
    }
}

#[test]
fn a_reference_as_a_number_counts_only_where_no_zero_can_be_lost() {
    let asked = Asked { partner_reference_no: "0042", reference_no: None, ..ASKED };
    let reading = |said| Reading { partner_reference_no: said, reference_no: Said::Nothing, ..paid() };
    let answer = observe(&asked, &reading(Said::Number("42")), &profile());
    assert_eq!((answer.echo, answer.warnings), (Echo::Silent, vec![Warning::Reference]));
    let asked = Asked { partner_reference_no: "42", ..asked };
    assert_eq!(observe(&asked, &reading(Said::Number("42")), &profile()).echo, Echo::Right);
}

#[test]
fn not_found_is_absent_without_any_echo() {
    let answer = seen(&Reading { http_status: 404, response_code: text("4045101"), ..Reading::default() });
    assert_eq!((answer.observation, answer.echo), (Observation::Absent, Echo::Silent));
    assert_eq!((answer.warnings, answer.doubt), (Vec::new(), None));
}

#[test]
fn http_and_response_code_that_contradict_one_another_prove_nothing() {
    let with = |http_status, code| Reading { http_status, response_code: text(code), ..paid() };
    for http_status in [202, 302, 400, 404, 500, 502, 504] {
        assert_doubted(&with(http_status, "2005100"), doubt::STATUS_MISMATCH, &[Warning::Status]);
    }
    assert_doubted(&with(200, "5005101"), doubt::SERVER_ERROR, &[Warning::Status]);
    assert_doubted(&with(500, "4045101"), doubt::REFUSED, &[Warning::Status]);
    // DOKU's idempotent replay: the original answer, under 409.
    let replay = seen(&with(409, "2005100"));
    assert_eq!((replay.observation, replay.warnings), (Observation::Paid, vec![Warning::Status]));
}

#[test]
fn without_seven_digits_the_http_status_names_the_doubt() {
    for (http_status, doubt) in [(502, doubt::SERVER_ERROR), (429, doubt::RATE_LIMITED), (200, doubt::NO_RESPONSE_CODE)]
    {
        assert_doubted(&Reading { http_status, response_code: Said::Nothing, ..paid() }, doubt, &[]);
    }
}

#[test]
fn answers_about_unpaid_rows_are_equal_whatever_dummies_they_carry() {
    let unpaid = |minute: &str| {
        let paid_time = format!("2026-11-20T10:{minute}:00+07:00");
        let reading = Reading {
            latest_transaction_status: text("03"),
            paid_time: Said::Text(paid_time.into()),
            amount: Said::Number("0"),
            ..paid()
        };
        seen(&reading)
    };
    assert_eq!(unpaid("01"), unpaid("02"));
    assert_eq!(unpaid("01").observation, Observation::Open);
}

#[test]
fn paid_time_dates_money_only_where_the_profile_trusts_it() {
    let profile = Profile { paid_time_trusted: false, ..profile() };
    let answer = observe(&ASKED, &paid(), &profile);
    assert_eq!(answer.paid_time, None);
    assert!(answer.paid_time_raw.is_some());
}

fn anything() -> impl Strategy<Value = Said<'static>> {
    prop_oneof![
        Just(Said::Nothing),
        Just(Said::Nonsense),
        "\\PC{0,12}".prop_map(|t| Said::Text(t.into())),
        prop::sample::select(vec!["00", "2005100", "INV-1", "DK1", "IDR", "1200.00"]).prop_map(text),
        prop::sample::select(vec!["0", "1200", "1.2e3", "2005100"]).prop_map(Said::Number),
    ]
}

proptest! {
    #[test]
    fn paid_is_said_only_of_our_payment_with_an_amount_a_currency_and_an_agreeing_code(
        fields in prop::collection::vec(anything(), 9), http_status in prop::sample::select(vec![200_u16, 202, 404, 409, 500]),
    ) {
        let [response_code, latest_transaction_status, partner_reference_no, reference_no, merchant_id, amount, currency, fee_amount, paid_time]:
            [Said<'static>; 9] = fields.try_into().unwrap();
        let reading = Reading {
            http_status, response_code, latest_transaction_status, partner_reference_no, reference_no, merchant_id, amount,
            currency, fee_amount, paid_time, ..Reading::default()
        };
        let answer = seen(&reading);
        prop_assert_eq!(answer.doubt.is_some(), answer.observation == Observation::Indeterminate);
        if answer.observation == Observation::Paid {
            prop_assert_eq!(answer.echo, Echo::Right);
            prop_assert!(answer.amount.is_some_and(Sen::is_positive));
            prop_assert!(answer.currency.is_some());
            prop_assert!(matches!(http_status, 200 | 409));
            prop_assert_eq!(answer.latest_transaction_status.as_deref(), Some("00"));
        }
    }
}
