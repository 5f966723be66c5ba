//! `[policy]`, `[policy.flags]`, `[refunds]` and `[refunds.breaker]` become one `domain::Policy`. What would lose money or
//! return it twice is refused here.

use crate::domain::policy::{
    ByCause, CauseTerms, CounterEvidence, FlagAction, FlagActions, Policy, RefundBreaker, RefundMode, RefundPolicy,
};

use super::reader::Section;

const SEN_PER_RUPIAH: i64 = 100;

pub(crate) fn read(section: &mut Section<'_>, refunds: Option<&RefundPolicy>) -> Option<Policy> {
    // Two answers a second apart are the least that still are two observations.
    let confirm_after_secs = section.seconds("confirm_after", "1s", "1d");
    let watch_secs = section.seconds("watch", "0s", "400d");
    // One negative answer never closes.
    let close_answers = section.number("close_answers", 2, 100);
    let close_spread_secs = section.seconds("close_spread", "1s", "30d");
    let stuck_after_secs = section.seconds("stuck_after", "1s", "400d");
    let flags = read_flags(&mut section.section("flags"));
    section.finish();
    Some(Policy {
        close_answers: close_answers?,
        close_spread_secs: close_spread_secs?,
        confirm_after_secs: confirm_after_secs?,
        flags: flags?,
        refunds: *refunds?,
        stuck_after_secs: stuck_after_secs?,
        watch_secs: watch_secs?,
    })
}

fn read_flags(section: &mut Section<'_>) -> Option<FlagActions> {
    let duplicate_payment = read_flag(section, "duplicate_payment");
    let overpaid = read_flag(section, "overpaid");
    let paid_after_cancel = read_flag(section, "paid_after_cancel");
    let paid_after_close = read_flag(section, "paid_after_close");
    let paid_late = read_flag(section, "paid_late");
    let underpaid = read_flag(section, "underpaid");
    let holds: Vec<_> = FlagActions::ALWAYS_HOLD.into_iter().map(|flag| read_holding_flag(section, flag)).collect();
    section.finish();
    holds.into_iter().collect::<Option<Vec<_>>>()?;
    Some(FlagActions {
        duplicate_payment: duplicate_payment?,
        overpaid: overpaid?,
        paid_after_cancel: paid_after_cancel?,
        paid_after_close: paid_after_close?,
        paid_late: paid_late?,
        underpaid: underpaid?,
    })
}

fn read_flag(section: &mut Section<'_>, flag: &str) -> Option<FlagAction> {
    let action = section.choice(flag, &FlagAction::ALL.map(|action| (action.as_str(), action)))?;
    match (flag, action) {
        ("overpaid", FlagAction::RefundFull) => section.refuse(
            flag,
            "an overpaid order keeps its own money: only \"refund_difference\", \"hold\" or \"accept\" are allowed",
        ),
        ("overpaid", _) => Some(action),
        (_, FlagAction::RefundDifference) => section.refuse(
            flag,
            "there is no excess to return under this flag: only \"hold\", \"refund_full\" or \"accept\" are allowed",
        ),
        _ => Some(action),
    }
}

/// Such a flag may be written down, but only as what it is.
fn read_holding_flag(section: &mut Section<'_>, flag: &str) -> Option<()> {
    let read = section.optional(flag, |section, key| {
        section.parsed(key, "\"hold\": under this flag no money leaves without a person", |text| {
            (text == FlagAction::Hold.as_str()).then_some(())
        })
    });
    read.map(|_| ())
}

pub(crate) fn read_refunds(section: &mut Section<'_>) -> Option<RefundPolicy> {
    let mode = section.choice("mode", &RefundMode::ALL.map(|mode| (mode.as_str(), mode)));
    // Shorter than a minute nobody could keep; longer than a week nobody remembers what he agreed to.
    let approval_ttl_secs = section.seconds("approval_ttl", "1m", "7d");
    let auto_limit_sen = section.money_sen("auto_limit", 0);
    let daily_budget_sen = section.money_sen("daily_budget", 0);
    let min_refund_sen = section.money_sen("min_refund", 1);
    let resends = section.number("resends", 0, 100);
    let breaker = read_breaker(&mut section.section("breaker"));
    let counter_evidence = read_counter_evidence(&mut section.section("counter_evidence"));
    let by_cause = read_causes(&mut section.section("flags"));
    section.finish();
    Some(RefundPolicy {
        approval_ttl_secs: approval_ttl_secs?,
        auto_limit_sen: auto_limit_sen?,
        breaker: breaker?,
        counter_evidence: counter_evidence?,
        by_cause: by_cause?,
        daily_budget_sen: daily_budget_sen?,
        min_refund_sen: min_refund_sen?,
        mode: mode?,
        resends: resends?,
    })
}

fn read_counter_evidence(section: &mut Section<'_>) -> Option<CounterEvidence> {
    let same_amount = section.boolean("same_amount");
    let same_id_and_amount = section.boolean("same_id_and_amount");
    let same_payment = section.boolean("same_payment");
    let within_secs = section.seconds("within", "1s", "1d");
    section.finish();
    Some(CounterEvidence {
        same_amount: same_amount?,
        same_id_and_amount: same_id_and_amount?,
        same_payment: same_payment?,
        within_secs: within_secs?,
    })
}

fn read_causes(section: &mut Section<'_>) -> Option<ByCause> {
    let mut of = |flag: &str| {
        let mut own = section.section(flag);
        let mode = own.optional("mode", |own, key| own.choice(key, &RefundMode::ALL.map(|mode| (mode.as_str(), mode))));
        let breaker = read_limits(&mut own);
        own.finish();
        Some(CauseTerms { breaker: breaker?, mode: mode? })
    };
    let duplicate_payment = of("duplicate_payment");
    let overpaid = of("overpaid");
    let paid_after_cancel = of("paid_after_cancel");
    let paid_after_close = of("paid_after_close");
    let paid_late = of("paid_late");
    let underpaid = of("underpaid");
    section.finish();
    Some(ByCause {
        duplicate_payment: duplicate_payment?,
        overpaid: overpaid?,
        paid_after_cancel: paid_after_cancel?,
        paid_after_close: paid_after_close?,
        paid_late: paid_late?,
        underpaid: underpaid?,
    })
}

fn read_breaker(section: &mut Section<'_>) -> Option<RefundBreaker> {
    let limits = read_limits(section);
    section.finish();
    limits
}

fn read_limits(section: &mut Section<'_>) -> Option<RefundBreaker> {
    let count = |section: &mut Section<'_>, key: &str| section.number(key, 1, 1_000_000);
    let money = |section: &mut Section<'_>, key: &str| section.money_sen(key, SEN_PER_RUPIAH);
    let percent = |section: &mut Section<'_>, key: &str| section.number(key, 1, 100);
    let count_per_hour = section.optional("count_per_hour", count);
    let count_per_day = section.optional("count_per_day", count);
    let sen_per_hour = section.optional("amount_per_hour", money);
    let sen_per_day = section.optional("amount_per_day", money);
    let ratio_per_hour_percent = section.optional("percent_per_hour", percent);
    let ratio_per_day_percent = section.optional("percent_per_day", percent);
    Some(RefundBreaker {
        count_per_day: count_per_day?,
        count_per_hour: count_per_hour?,
        ratio_per_day_percent: ratio_per_day_percent?,
        ratio_per_hour_percent: ratio_per_hour_percent?,
        sen_per_day: sen_per_day?,
        sen_per_hour: sen_per_hour?,
    })
}
