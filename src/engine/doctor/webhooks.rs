//! Findings of the ways out: messages that did not arrive, and endpoints that take none.

use super::{Finding, Illness, Severity};
use crate::{config::Config, store::webhooks::EndpointRow};

const DEAD: Illness = Illness {
    id: "webhooks.dead_letters",
    severity: Severity::Warning,
    cause: "the endpoint took these messages at no attempt of the ladder: the merchant's system does not know of these changes",
    fix: "read the answers with `rekon webhooks list`, mend the receiver, then `rekon webhooks replay --endpoint NAME`",
};
const DISABLED: Illness = Illness {
    id: "webhooks.endpoint_disabled",
    severity: Severity::Warning,
    cause: "the endpoint answered 410 Gone: nothing is sent to it, and what happens is kept for it",
    fix: "`rekon webhooks enable NAME` when it is there again, or take it out of the configuration",
};
const UNKNOWN: Illness = Illness {
    id: "webhooks.unconfigured",
    severity: Severity::Warning,
    cause: "messages wait for an endpoint that this configuration does not name: nobody sends them",
    fix: "name it under [webhooks] again, or let them become dead letters after jobs.prune.keep_dead_webhooks",
};

pub(super) const ALL: &[Illness] = &[DEAD, DISABLED, UNKNOWN];

pub(super) fn findings(endpoints: &[EndpointRow], config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for EndpointRow { endpoint, pending, dead, disabled_at, disabled_why, .. } in endpoints {
        let is_known = config.webhooks.contains_key(endpoint);
        if *dead > 0 {
            findings.push(DEAD.seen(format!("endpoint {endpoint}: {dead} dead letters")));
        }
        if let Some(since) = disabled_at.filter(|_| is_known) {
            let why = disabled_why.as_deref().unwrap_or_default();
            findings.push(DISABLED.seen(format!("endpoint {endpoint}: disabled since {}: {why}", since.to_rfc3339())));
        }
        if *pending > 0 && !is_known {
            findings.push(UNKNOWN.seen(format!("endpoint {endpoint}: {pending} messages wait")));
        }
    }
    findings
}
