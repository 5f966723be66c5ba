//! The saga's path stands twice: in `domain::refund` and as a trigger. Here every pair of states is tried on both.

use rekon::domain::refund::RefundState;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::support::TestDb;

/// What brings a proposed refund to this state; each step is one of the path.
fn way_to(state: RefundState) -> Vec<String> {
    let before: &[RefundState] = match state {
        RefundState::Proposed => return Vec::new(),
        RefundState::Approved | RefundState::Denied | RefundState::Expired => &[],
        RefundState::Reserved => &[RefundState::Approved],
        RefundState::Sending => &[RefundState::Approved, RefundState::Reserved],
        RefundState::Unknown | RefundState::Confirmed | RefundState::Refused => {
            &[RefundState::Approved, RefundState::Reserved, RefundState::Sending]
        }
    };
    before.iter().chain([&state]).map(|state| step_to(*state)).collect()
}

/// A step with all that the next state wants beside it, so that nothing but the path can refuse it.
fn step_to(state: RefundState) -> String {
    let beside = match state {
        RefundState::Proposed => "approved_by = null",
        RefundState::Denied => "denied_by = 'sari'",
        RefundState::Expired => "reason = 'so'",
        _ => "approved_by = 'sari', partner_refund_no = 'RK1', request_body = '{}'",
    };
    let proof = if state == RefundState::Confirmed { "'person'" } else { "null" };
    format!("update rekon.refund_saga set state = '{}', {beside}, proof = {proof}", state.as_str())
}

/// Whether the database lets a refund go from one state to the other; the transaction is rolled back.
async fn database_allows(connection: &mut PgConnection, from: RefundState, to: RefundState) -> bool {
    let mut tx = connection.begin().await.unwrap();
    for step in way_to(from) {
        tx.execute(sqlx::AssertSqlSafe(step)).await.unwrap();
    }
    let state: String = sqlx::query_scalar("select state from rekon.refund_saga").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(state, from.as_str(), "the way leads there");
    let stepped = tx.execute(sqlx::AssertSqlSafe(step_to(to))).await;
    tx.rollback().await.unwrap();
    match stepped {
        Ok(done) => done.rows_affected() == 1,
        Err(error) => {
            let by = error.as_database_error().and_then(|e| e.constraint());
            assert_eq!(by, Some("refunds_path"), "{from:?} -> {to:?} refused by something else: {error}");
            false
        }
    }
}

#[tokio::test]
async fn the_database_and_the_domain_know_the_same_path() {
    let db = TestDb::new().await;
    db.people().await;
    let row = db.insert_paid("INV-1", "100000").await;
    db.run(&format!(
        "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, why) values ({row}, 'paid_late', 40000, 'budi', 'h', 'so')"
    ))
    .await;
    let mut connection = db.connect().await;
    let mut allowed = 0;
    for from in RefundState::ALL {
        for to in RefundState::ALL.into_iter().filter(|to| *to != from) {
            let by_domain = from.may_become(to);
            let by_database = database_allows(&mut connection, from, to).await;
            assert_eq!(by_database, by_domain, "{from:?} -> {to:?}");
            allowed += u32::from(by_domain);
        }
        assert!(!from.may_become(from), "staying is no step: {from:?}");
    }
    assert!(allowed > 10, "the table is not empty");
}

#[tokio::test]
async fn the_database_and_the_domain_know_the_same_words() {
    let db = TestDb::new().await;
    for (table, column, words) in [
        ("refund_saga", "state", RefundState::ALL.map(RefundState::as_str).to_vec()),
        ("transactions", "state", rekon::domain::state::State::ALL.map(rekon::domain::state::State::as_str).to_vec()),
        (
            "facts",
            "observation",
            rekon::domain::observation::Observation::ALL.map(rekon::domain::observation::Observation::as_str).to_vec(),
        ),
    ] {
        let sql = format!(
            "select array_agg(m[1] order by m[1]) from pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''([A-Za-z_]+)''::text', 'g') m
              where c.conrelid = 'rekon.{table}'::regclass and c.conname ~ '_{column}_is_known$'"
        );
        let mut wanted: Vec<String> = words.into_iter().map(str::to_owned).collect();
        wanted.sort_unstable();
        assert_eq!(db.value::<Vec<String>>(&sql).await, wanted, "{table}.{column}");
    }
}
