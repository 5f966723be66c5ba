//! Findings of the configuration: tokens that end, profiles that nobody proved, doors that stand open.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Finding, Illness, Severity};
use crate::{
    domain::profile::RefundRepeat,
    providers::{Account, Service},
};

/// A customer has to be asked for a new consent: that takes days.
const SOON: TimeDelta = TimeDelta::days(14);

const TOKEN_EXPIRED: Illness = Illness {
    id: "customer_token.expired",
    severity: Severity::Error,
    cause: "the provider answers on a customer's behalf and his consent is over: every query is refused, nothing is found out",
    fix: "have the customer consent again, put the new B2B2C token where customer_token points, and restart rekon",
};
const TOKEN_ENDS_SOON: Illness = Illness {
    id: "customer_token.ends_soon",
    severity: Severity::Warning,
    cause: "the provider answers on a customer's behalf, and nothing renews his consent by itself",
    fix: "have the customer consent again, put the new B2B2C token where customer_token points, and restart rekon",
};
const TOKEN_END_UNKNOWN: Illness = Illness {
    id: "customer_token.end_unknown",
    severity: Severity::Warning,
    cause: "the customer's token is not a JWT that says when it ends, so nobody will be warned",
    fix: "note its end by hand: accessTokenExpiryTime of the answer that gave it",
};
const REPEAT_UNPROVEN: Illness = Illness {
    id: "refunds.repeat_unproven",
    severity: Severity::Note,
    cause: "no document says what a repeated partnerRefundNo does, so a refund of unknown fate is never sent again and waits for a person",
    fix: "prove in the sandbox that a repeat acts once (`rekon qris refund --raw` twice with one --partner-refund-no), then set refund_repeat = \"safe\" in the account's profile",
};
const WORDS_UNPROVEN: Illness = Illness {
    id: "notify.words_unproven",
    severity: Severity::Note,
    cause: "no page of DOKU prints the formula of WORDS: the shipped one is two public implementations'; under a wrong one every notification counts as unverified and is asked about without haste",
    fix: "compare one real notification: rekon_notifications_total{outcome=\"verified\"} must grow; else set accounts.NAME.notify.words",
};
const PROFILE_ASSUMED: Illness = Illness {
    id: "profile.assumed",
    severity: Severity::Note,
    cause: "the provider's document does not list these statuses, so the standard's meaning is taken",
    fix: "ask the provider for its list, and correct [accounts.NAME.profile.status] where it differs; `rekon providers show NAME` prints the grid",
};
const LOOPBACK: Illness = Illness {
    id: "account.loopback",
    severity: Severity::Note,
    cause: "the account's base_url is this machine: what answers there is a simulator or a tunnel, and its money may be play money",
    fix: "set base_url to the provider's host, unless that is what you want",
};
pub(super) const SERVER_OPEN: Illness = Illness {
    id: "server.open",
    severity: Severity::Note,
    cause: "rekon speaks plain HTTP; notifications and metrics can be read on the way to any machine that reaches it",
    fix: "put a proxy with TLS before it, or listen on 127.0.0.1",
};

pub(super) const ALL: &[Illness] = &[
    TOKEN_EXPIRED,
    TOKEN_ENDS_SOON,
    TOKEN_END_UNKNOWN,
    REPEAT_UNPROVEN,
    WORDS_UNPROVEN,
    PROFILE_ASSUMED,
    LOOPBACK,
    SERVER_OPEN,
];

pub(super) fn findings(account: &Account, takes_notifications: bool, at: DateTime<Utc>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = customer_token(account, at).into_iter().collect();
    let rules = &account.profile.rules;
    let name = &account.name;
    if rules.refund.as_ref().is_some_and(|refund| refund.repeat == RefundRepeat::Unproven) {
        findings.push(REPEAT_UNPROVEN.seen(format!("account {name}: refund_repeat is \"unproven\"")));
    }
    if takes_notifications {
        findings.push(WORDS_UNPROVEN.seen(format!("account {name} takes notifications signed by WORDS")));
    }
    let assumed: Vec<&str> =
        rules.status.iter().filter(|(_, m)| m.note.starts_with("assumed")).map(|(code, _)| code.as_str()).collect();
    if !assumed.is_empty() {
        findings.push(PROFILE_ASSUMED.seen(format!("account {name}: {} of {}", assumed.join(", "), rules.provider)));
    }
    if account.is_loopback() {
        findings.push(LOOPBACK.seen(format!("account {name} asks {}", account.host)));
    }
    findings
}

fn customer_token(account: &Account, at: DateTime<Utc>) -> Option<Finding> {
    if !account.has_customer_token() {
        return None;
    }
    let name = &account.name;
    let is_needed = account.profile.operation(account.inquiry).is_some_and(|o| o.customer_token.is_some());
    let used_by = if is_needed { account.inquiry } else { Service::Payment };
    let Some(end) = account.customer_token_expires_at() else {
        return Some(TOKEN_END_UNKNOWN.seen(format!("account {name}: the end of customer_token is not known")));
    };
    let what = format!("account {name}: customer_token, used by {used_by}, ends at {}", end.to_rfc3339());
    if end <= at {
        Some(TOKEN_EXPIRED.seen(what))
    } else if end - at < SOON {
        Some(TOKEN_ENDS_SOON.seen(what))
    } else {
        None
    }
}
