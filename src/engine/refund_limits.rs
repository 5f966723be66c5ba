//! The refund breaker's limits: how many refunds and how much money may leave an account in a while. A limit that would be
//! passed keeps the refund where it is, and the row says which limit that was.

use crate::{
    domain::{money::Sen, policy::RefundBreaker},
    store::refunds::Flow,
};

/// The first limit that one more refund of this amount would pass, as a sentence; `None` where it may go.
pub(crate) fn passed(limits: &RefundBreaker, flow: &Flow, amount: Sen) -> Option<String> {
    let count = |limit: Option<u32>, so_far: i64| limit.is_some_and(|limit| so_far >= i64::from(limit));
    let sum = |limit: Option<i64>, so_far: Sen| limit.is_some_and(|limit| so_far.plus(amount).sen() > limit);
    let ratio = |limit: Option<u32>, out: Sen, income: Sen| {
        limit.is_some_and(|percent| {
            let out = i128::from(out.plus(amount).sen()).saturating_mul(100);
            out > i128::from(income.sen()).saturating_mul(i128::from(percent))
        })
    };
    let named =
        |is_passed: bool, name: &str| is_passed.then(|| format!("the refund breaker's limit {name} is reached"));
    named(count(limits.count_per_hour, flow.hour_count), "count_per_hour")
        .or_else(|| named(count(limits.count_per_day, flow.day_count), "count_per_day"))
        .or_else(|| named(sum(limits.sen_per_hour, flow.hour_out), "amount_per_hour"))
        .or_else(|| named(sum(limits.sen_per_day, flow.day_out), "amount_per_day"))
        .or_else(|| named(ratio(limits.ratio_per_hour_percent, flow.hour_out, flow.hour_in), "percent_per_hour"))
        .or_else(|| named(ratio(limits.ratio_per_day_percent, flow.day_out, flow.day_in), "percent_per_day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let rupiah = Sen::rupiah;
        Flow {
            hour_count: 2,
            hour_out: rupiah(200),
            day_count: 5,
            day_out: rupiah(500),
            hour_in: rupiah(1_000),
            day_in: rupiah(9_000),
        }
    }

    #[test]
    fn no_limit_stops_nothing() {
        assert_eq!(passed(&RefundBreaker::default(), &flow(), Sen::rupiah(1_000_000)), None);
    }

    #[test]
    fn each_limit_stops_the_refund_that_would_pass_it_and_no_other() {
        let none = RefundBreaker::default();
        let cases = [
            (
                RefundBreaker { count_per_hour: Some(2), ..none },
                RefundBreaker { count_per_hour: Some(3), ..none },
                "count_per_hour",
            ),
            (
                RefundBreaker { count_per_day: Some(5), ..none },
                RefundBreaker { count_per_day: Some(6), ..none },
                "count_per_day",
            ),
            (
                RefundBreaker { sen_per_hour: Some(29_999), ..none },
                RefundBreaker { sen_per_hour: Some(30_000), ..none },
                "amount_per_hour",
            ),
            (
                RefundBreaker { sen_per_day: Some(59_999), ..none },
                RefundBreaker { sen_per_day: Some(60_000), ..none },
                "amount_per_day",
            ),
            (
                RefundBreaker { ratio_per_hour_percent: Some(29), ..none },
                RefundBreaker { ratio_per_hour_percent: Some(30), ..none },
                "percent_per_hour",
            ),
            (
                RefundBreaker { ratio_per_day_percent: Some(6), ..none },
                RefundBreaker { ratio_per_day_percent: Some(7), ..none },
                "percent_per_day",
            ),
        ];
        for (stops, lets, name) in cases {
            assert!(passed(&stops, &flow(), Sen::rupiah(100)).is_some_and(|why| why.contains(name)), "{name}");
            assert_eq!(passed(&lets, &flow(), Sen::rupiah(100)), None, "{name}");
        }
    }
}
