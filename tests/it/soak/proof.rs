//! What must be true when everything is at rest: each payment where the rules say, our books and the provider's equal to the
//! sen, nothing left over, and the ledger proved from what is stored.

use std::collections::BTreeMap;

use rekon::sim::{Book, FaultKind, Service};
use sqlx::Row as _;

use super::{Size, crew::Crew, ends::Expected};
use crate::support::process::Daemon;

/// Rows and refunds that are still on their way.
pub(super) const MOVING: &str = "select (select count(*) from rekon.transactions where state in ('pending', 'refunding'))
  + (select count(*) from rekon.refund_saga where state in ('approved', 'reserved', 'sending') or state = 'unknown' and needs_person is null)";

/// Statements that must give 0, by what they would have found.
const INVARIANTS: [(&str, &str); 10] = [
    ("more out than in", "select count(*) from rekon.transactions where refund_reserved + refunded_amount > coalesce(paid_amount, 0)"),
    ("two live refunds for one cause",
     "select count(*) from (select 1 from rekon.refund_saga where state not in ('refused', 'denied', 'expired')
        group by transaction_id, cause having count(*) > 1) x"),
    ("a second number beside an open one",
     "select count(*) from rekon.refund_saga a join rekon.refund_saga b on b.transaction_id = a.transaction_id and b.cause = a.cause
        and b.sequence > a.sequence where a.attempts > 0 and a.state <> 'refused'"),
    ("entries that do not balance",
     "select count(*) from (select 1 from rekon.postings group by transaction_id, entry_no having sum(debit) <> sum(credit)) x"),
    ("money under unpaid or pending",
     "select count(*) from rekon.transactions t where state in ('unpaid', 'pending') and exists
        (select 1 from rekon.facts f where f.transaction_id = t.id and f.source = 'query' and f.observation = 'PAID')"),
    ("money that moved without two answers",
     "select count(*) from rekon.refund_saga r where attempts > 0 and (select count(*) from rekon.facts f
        where f.transaction_id = r.transaction_id and f.source = 'query' and f.observation = 'PAID') < 2"),
    ("leases that nobody gave back",
     "select (select count(*) from rekon.transactions where lease_owner is not null and lease_until > now() + interval '1 minute')
        + (select count(*) from rekon.refund_saga where lease_owner is not null and lease_until > now() + interval '1 minute')"),
    ("reservations without a refund in flight",
     "select count(*) from rekon.transactions t where refund_reserved <> coalesce((select sum(amount) from rekon.refund_saga r
        where r.transaction_id = t.id and r.state in ('reserved', 'sending', 'unknown')), 0)"),
    ("breaks in a chain",
     "select count(*) from (select entry_no, prev_hash, lag(hash) over w as before, row_number() over w as nth
        from rekon.journal window w as (partition by transaction_id order by entry_no)) j where entry_no <> nth or nth > 1 and prev_hash <> before"),
    ("refunds other than the row's own sum",
     "select count(*) from rekon.transactions t where refunded_amount <> coalesce((select sum(amount) from rekon.refund_saga r
        where r.transaction_id = t.id and r.state = 'confirmed'), 0)"),
];

/// What was found.
pub(super) struct Proof {
    pub(super) book: Book,
    pub(super) calls: u64,
    pub(super) facts: i64,
    pub(super) sightings: i64,
    pub(super) notifications: i64,
    /// Refunds asked (a call left), confirmed, refused, unknown.
    pub(super) refunds: [i64; 4],
    pub(super) resends: i64,
    /// Sen: paid and refunded by our books, taken and returned by the provider's, over rows that were told truly.
    pub(super) ours_sen: (i64, i64),
    pub(super) theirs_sen: (i64, i64),
    /// Payments of which the provider said something else than is true, and the difference in sen.
    pub(super) untrue: (usize, i64),
    pub(super) clearing_sen: i64,
    pub(super) violations: Vec<(String, i64)>,
    pub(super) verified: (Option<i32>, String),
}

impl Proof {
    /// Ends the crew, then reads both books.
    pub(super) async fn take(crew: &mut Crew, sold: &[Expected], size: Size) -> Self {
        let elsewhere = elsewhere(crew, sold).await;
        crew.end_in_order().await;
        let world = crew.sim.world();
        let mut violations = Vec::new();
        for (name, sql) in INVARIANTS {
            violations.push((name.to_owned(), crew.value::<i64>(sql).await));
        }
        violations.push(("payments elsewhere than the rules say".to_owned(), count(elsewhere.len())));
        let book = world.book();
        violations.push(("refunded twice at the provider".to_owned(), count(book.refunded_more_than_once().len())));
        violations.push(("returned beyond what was taken".to_owned(), count(book.returned_beyond_taken().len())));
        let reuses: u64 = (0..size.accounts).map(|nth| world.external_id_reuses(&Crew::client_id(nth))).sum();
        violations.push(("X-EXTERNAL-IDs used twice".to_owned(), i64::try_from(reuses).expect("few")));
        let compared = compare(crew, &book, sold).await;
        violations.push(("rows on which the two books differ".to_owned(), compared.differing));
        let refunds = "select array[count(*) filter (where attempts > 0), count(*) filter (where state = 'confirmed'),
            count(*) filter (where state = 'refused'), count(*) filter (where state = 'unknown')] from rekon.refund_saga";
        let refunds: Vec<i64> = crew.value(refunds).await;
        let mut verify = Daemon::command("verify", &crew.config, &crew.env);
        let ended = verify.end().await;
        Self {
            calls: world.call_counts().iter().filter(|count| count.service != Service::Token).map(|c| c.count).sum(),
            facts: crew.value("select count(*) from rekon.facts").await,
            sightings: crew.value("select coalesce(sum(n), 0)::bigint from rekon.sightings").await,
            notifications: crew.value("select count(*) from rekon.facts where source = 'notification'").await,
            refunds: refunds.try_into().expect("four"),
            resends: crew.value("select coalesce(sum(resends), 0)::bigint from rekon.refund_saga").await,
            ours_sen: compared.ours_sen,
            theirs_sen: compared.theirs_sen,
            untrue: compared.untrue,
            clearing_sen: crew
                .value("select (sum(debit - credit) * 100)::bigint from rekon.postings where account = 'provider_clearing'")
                .await,
            violations,
            verified: (ended.code, ended.said),
            book,
        }
    }

    /// How often this kind was played.
    pub(super) fn played(&self, kind: FaultKind) -> u64 {
        self.book.played().get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn holds(&self, size: Size) {
        for (name, found) in &self.violations {
            assert_eq!(*found, 0, "{name}");
        }
        assert_eq!(self.ours_sen, self.theirs_sen, "paid and refunded here, taken and returned there");
        assert_eq!(self.verified.0, Some(0), "{}", self.verified.1);
        for kind in FaultKind::ALL {
            assert!(self.played(kind) >= size.floor(), "{kind} was played {} times only", self.played(kind));
        }
    }
}

/// Payments that rest where they should not, each with what it is and should be; at most some.
pub(super) async fn elsewhere(crew: &Crew, sold: &[Expected]) -> Vec<String> {
    let rows = rows(crew).await;
    let mut found = Vec::new();
    for expected in sold {
        let (end, refunded_sen) =
            rows.get(&expected.reference).map_or(("lost", 0), |row| (row.end.as_str(), row.refunded_sen));
        if !expected.allows(end, refunded_sen) && found.len() < 20 {
            let Expected { reference, kind, ends, .. } = expected;
            found.push(format!("{reference} ({kind}): {end}, {refunded_sen} sen back; allowed: {ends:?}"));
        }
    }
    found
}

/// What is still on its way, for whoever must find out why.
pub(super) async fn moving(crew: &Crew) -> Vec<String> {
    let sql = "select array(select concat_ws(' ', partner_reference_no, t.state, t.flags, checks, next_check_at - now(), t.lease_until - now(), r.state, r.cause,
            r.attempts, r.resends, r.next_at - now(), r.reason, r.needs_person)
        from rekon.transactions t left join rekon.refund_saga r on r.transaction_id = t.id
        where t.state in ('pending', 'refunding') or r.state in ('approved', 'reserved', 'sending', 'unknown') limit 20)";
    crew.value(sql).await
}

struct Row {
    end: String,
    paid_sen: i64,
    refunded_sen: i64,
}

async fn rows(crew: &Crew) -> BTreeMap<String, Row> {
    let sql = "select partner_reference_no, state || '{' || array_to_string(flags, ',') || '}' as ending,
        (coalesce(paid_amount, 0) * 100)::bigint as paid, (refunded_amount * 100)::bigint as refunded from rekon.transactions";
    let read = sqlx::query(sql).fetch_all(crew.pool()).await.unwrap_or_default();
    let row = |row: sqlx::postgres::PgRow| {
        (
            row.get("partner_reference_no"),
            Row { end: row.get("ending"), paid_sen: row.get("paid"), refunded_sen: row.get("refunded") },
        )
    };
    read.into_iter().map(row).collect()
}

#[derive(Default)]
struct Compared {
    ours_sen: (i64, i64),
    theirs_sen: (i64, i64),
    untrue: (usize, i64),
    differing: i64,
}

/// The provider's book beside ours, payment by payment.
async fn compare(crew: &Crew, book: &Book, sold: &[Expected]) -> Compared {
    let rows = rows(crew).await;
    let entries: BTreeMap<&str, _> = book.entries.iter().map(|e| (e.partner_reference_no.as_str(), e)).collect();
    let mut compared = Compared::default();
    for expected in sold {
        let (row, entry) = (&rows[&expected.reference], entries[expected.reference.as_str()]);
        let refunds_differ = row.refunded_sen != entry.returned_sen();
        let takings_differ = row.paid_sen != entry.taken_sen;
        if refunds_differ || takings_differ && expected.is_told_truly {
            compared.differing += 1;
            println!("{expected:?}: ours {} {}, theirs {entry:?}", row.paid_sen, row.refunded_sen);
        }
        if expected.is_told_truly {
            compared.ours_sen = (compared.ours_sen.0 + row.paid_sen, compared.ours_sen.1 + row.refunded_sen);
            compared.theirs_sen =
                (compared.theirs_sen.0 + entry.taken_sen, compared.theirs_sen.1 + entry.returned_sen());
        } else {
            compared.untrue = (compared.untrue.0 + 1, compared.untrue.1 + (row.paid_sen - entry.taken_sen).abs());
        }
    }
    compared
}

fn count(n: usize) -> i64 {
    i64::try_from(n).expect("few")
}
