//! What a run says when it has ended.

use std::{fmt::Write as _, time::Duration};

use rekon::sim::FaultKind;

use super::{Size, crew::Crew, proof::Proof};

pub(super) fn table(size: Size, crew: &Crew, proof: &Proof, took: Duration) -> String {
    let befell = crew.befell;
    let mut out = String::new();
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<44} {value:>16}").expect("a string takes it");
    let sen = |sen: i64| format!("Rp {}.{:02}", sen / 100, sen % 100);
    line(&format!("soak, SEED={}", size.seed), "");
    line("payments", &proof.book.entries.len().to_string());
    line("seconds", &took.as_secs().to_string());
    line("calls at the provider", &proof.calls.to_string());
    line("facts", &proof.facts.to_string());
    line("  of them notifications", &proof.notifications.to_string());
    line("  repeated answers folded into them", &proof.sightings.to_string());
    line("kill -9 of a worker", &befell.kills.to_string());
    line("pauses longer than a lease", &befell.pauses.to_string());
    line("kill -9 of Postgres", &befell.database_kills.to_string());
    line("restarts of Postgres", &befell.database_stops.to_string());
    line("workers that gave up without a database", &befell.gave_up.to_string());
    line("cashiers beside", &befell.cashiers.to_string());
    line("CronJobs beside", &befell.cron_jobs.to_string());
    line("all tokens dead at once", &befell.tokens_expired.to_string());
    let [asked, confirmed, refused, unknown] = proof.refunds;
    line("refunds asked", &asked.to_string());
    line("  confirmed", &confirmed.to_string());
    line("  refused", &refused.to_string());
    line("  unknown, with a person", &unknown.to_string());
    line("  repeats of the same number", &proof.resends.to_string());
    line("paid by our books", &sen(proof.ours_sen.0));
    line("taken by the provider's book", &sen(proof.theirs_sen.0));
    line("refunded by our books", &sen(proof.ours_sen.1));
    line("returned by the provider's book", &sen(proof.theirs_sen.1));
    line("balance of provider_clearing", &sen(proof.clearing_sen));
    line("payments about which the provider lied", &proof.untrue.0.to_string());
    for (name, found) in &proof.violations {
        line(name, &found.to_string());
    }
    line("rekon verify, exit code", &proof.verified.0.map_or("signal".to_owned(), |code| code.to_string()));
    line("faults played, by kind", "");
    for kind in FaultKind::ALL {
        line(&format!("  {kind}"), &proof.played(kind).to_string());
    }
    out
}
