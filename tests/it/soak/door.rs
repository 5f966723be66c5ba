//! What the provider saw at its own door: was its budget held and used, and was anybody asked again whose answer was had?

use std::collections::BTreeMap;

use rekon::sim::{Arrival, FaultKind, Service};
use sqlx::Row as _;

use super::{Size, crew::Crew, ends::Expected};

/// Percent of the budget that must be used while more is due than may be asked and nobody dies, at full size.
const USED_MIN: u64 = 95;

/// A span on the clock of the arrivals, microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// What was seen.
pub(super) struct Door {
    pub(super) calls: usize,
    /// Calls beyond the budget in the worst window of any account.
    pub(super) excess: u64,
    /// Percent of the budget that was used while more was due than may be asked: all alive, and with kills.
    pub(super) used_alive: u64,
    pub(super) used_killed: u64,
    pub(super) kills: usize,
    /// Queries whose answer nobody recorded, so that they were made again; a process was killed between the two.
    pub(super) asked_again: usize,
    /// The same with nobody killed between the two.
    pub(super) asked_again_for_nothing: Vec<String>,
}

impl Door {
    pub(super) async fn look(crew: &Crew, sold: &[Expected], size: Size, alive: Span, killed: Span) -> Self {
        let arrivals = crew.sim.world().arrivals();
        let clients = (0..size.accounts).map(Crew::client_id);
        let excess = clients.map(|client| crew.sim.world().max_excess(&client, size.grants, 5)).max();
        let (asked_again, asked_again_for_nothing) = again(crew, sold, &arrivals).await;
        Self {
            calls: arrivals.len(),
            excess: excess.expect("there are accounts"),
            used_alive: used(&arrivals, size, alive),
            used_killed: used(&arrivals, size, killed),
            kills: crew.killed_at.len(),
            asked_again,
            asked_again_for_nothing,
        }
    }

    pub(super) fn lines(&self) -> String {
        [
            ("calls at the door, all kinds", self.calls.to_string()),
            ("calls beyond the budget, worst window", self.excess.to_string()),
            ("budget used, saturated, all alive, %", self.used_alive.to_string()),
            ("budget used, faults and kills, %", self.used_killed.to_string()),
            ("kill -9, one after the other", self.kills.to_string()),
            ("asked again, killed in between", self.asked_again.to_string()),
            ("asked again for nothing", self.asked_again_for_nothing.len().to_string()),
        ]
        .map(|(name, value)| format!("{name:<44} {value:>16}\n"))
        .concat()
    }

    pub(super) fn holds(&self, size: Size) {
        assert_eq!(self.excess, 0, "the provider's budget was exceeded");
        assert_eq!(self.asked_again_for_nothing, [""; 0], "asked twice for one due time, and nobody had died");
        // A busy machine loses slots, which are good for some milliseconds; it never gets more than there are.
        let least = if size.is_small { 2 } else { USED_MIN };
        assert!(self.used_alive >= least, "only {} % of the budget was used while rows were due", self.used_alive);
    }
}

fn used(arrivals: &[Arrival], size: Size, span: Span) -> u64 {
    let came = arrivals.iter().filter(|a| (span.from..span.until).contains(&a.at_micros)).count();
    let accounts = u64::try_from(size.accounts).expect("few");
    let granted = accounts * u64::from(size.grants.per_second) * (span.until - span.from) / 1_000_000;
    u64::try_from(came).expect("few") * 100 / granted.max(1)
}

/// Rows with more queries at the door than recorded answers: how many, and those that no kill explains.
async fn again(crew: &Crew, sold: &[Expected], arrivals: &[Arrival]) -> (usize, Vec<String>) {
    let recorded = recorded(crew).await;
    let mut asked: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for arrival in arrivals.iter().filter(|a| a.service == Service::Query) {
        asked.entry(&arrival.partner_reference_no).or_default().push(arrival.at_micros);
    }
    let (mut again, mut for_nothing) = (0, Vec::new());
    // A refused token has its query made again at once, under the same due time.
    for expected in sold.iter().filter(|expected| expected.kind != FaultKind::TokenExpired) {
        let reference = expected.reference.as_str();
        let Some(at) = asked.get(reference) else { continue };
        let known = recorded.get(reference).copied().unwrap_or_default();
        if i64::try_from(at.len()).expect("few") <= known {
            continue;
        }
        again += 1;
        let (first, last) = (at[0], at[at.len() - 1]);
        if !crew.killed_at.iter().any(|kill| (first..=last).contains(kill)) {
            for_nothing.push(format!("{expected:?}: asked at {at:?} µs, {known} answers recorded"));
        }
    }
    (again, for_nothing)
}

/// Answers to queries by the payment's reference, also those that only repeat the one before.
async fn recorded(crew: &Crew) -> BTreeMap<String, i64> {
    let sql = "select t.partner_reference_no, sum(coalesce(s.n, 1))::bigint as answers
        from rekon.facts f join rekon.transactions t on t.id = f.transaction_id
        left join rekon.sightings s on s.transaction_id = f.transaction_id and s.seq = f.seq
        where f.source = 'query' group by 1";
    let rows = sqlx::query(sql).fetch_all(crew.pool()).await.expect("the database answers");
    rows.into_iter().map(|row| (row.get("partner_reference_no"), row.get("answers"))).collect()
}
