//! Switches, re-arms, resolutions: whatever lets money move takes two people, and nobody can write as if there had been two.

use crate::support::TestDb;

fn turn(account: &str, level: &str, by: &str, confirms: &str) -> String {
    format!(
        "insert into rekon.switches (account, level, made_by, confirms, reason, effective) values ('{account}', '{level}', '{by}', {confirms}, 'so', true)"
    )
}

async fn ceiling(db: &TestDb, account: &str) -> String {
    db.text(&format!("select rekon.ceiling('{account}')")).await
}

#[tokio::test]
async fn a_switch_goes_down_by_one_person_and_up_by_two() {
    let db = TestDb::new().await;
    db.people().await;
    assert_eq!(ceiling(&db, "shop").await, "auto");
    db.expect_refused(&turn("shop", "auto", "wati", "null"), "switches_change_something").await;
    db.expect_refused(&turn("shop", "off", "wati", "null"), "switches_level_is_known").await;
    db.expect_refused(&turn("shop", "post", "nobody", "null"), "switches_turned_by_people").await;
    db.expect_refused(&turn("shop", "post", "wati", "null").replace("'so'", "''"), "switches_say_why").await;
    db.run(&turn("shop", "observe", "wati", "null")).await;
    assert_eq!((ceiling(&db, "shop").await.as_str(), ceiling(&db, "till").await.as_str()), ("observe", "auto"));
    // A request is a request, whatever its row claims.
    db.run(&turn("shop", "propose", "sari", "null")).await;
    assert_eq!(ceiling(&db, "shop").await, "observe");
    let asked = "(select max(id) from rekon.switches)";
    for wrong in [
        turn("shop", "propose", "sari", asked),
        turn("shop", "auto", "joko", asked),
        turn("till", "propose", "joko", asked),
        turn("shop", "propose", "wati", asked),
        turn("shop", "propose", "joko", "1"),
    ] {
        let refused = db.try_run(&wrong).await.unwrap_err();
        let by = refused.as_database_error().and_then(|e| e.constraint()).map(str::to_owned);
        assert_eq!(by.as_deref(), Some("switches_raised_by_two"), "{wrong}: {refused}");
    }
    db.run(&turn("shop", "propose", "joko", asked)).await;
    assert_eq!(ceiling(&db, "shop").await, "propose");
    db.expect_refused(&turn("shop", "auto", "joko", asked), "switches_raised_by_two").await;
    db.expect_refused("update rekon.switches set effective = true", "switches_stay").await;
    db.expect_refused("truncate rekon.switches", "switches_stay_all").await;
}

#[tokio::test]
async fn a_request_is_void_after_an_hour_and_after_the_switch_was_turned() {
    let db = TestDb::new().await;
    db.people().await;
    db.run(&turn("*", "post", "wati", "null")).await;
    db.run(&turn("*", "auto", "sari", "null")).await;
    db.run(&turn("*", "observe", "wati", "null")).await;
    db.expect_refused(&turn("*", "auto", "joko", "2"), "switches_raised_by_two").await;
    db.run(&turn("*", "auto", "sari", "null")).await;
    db.run("alter table rekon.switches disable trigger switches_stay; update rekon.switches set at = at - interval '61 minutes' where id > 3").await;
    let last = "(select max(id) from rekon.switches)";
    db.expect_refused(&turn("*", "auto", "joko", last), "switches_raised_by_two").await;
    assert_eq!(ceiling(&db, "anybody").await, "observe");
    db.run("update rekon.switches set at = now() where id > 3").await;
    db.run(&turn("*", "auto", "joko", last)).await;
    assert_eq!(ceiling(&db, "anybody").await, "auto");
}

#[tokio::test]
async fn a_switch_that_is_turned_waits_for_whoever_lets_money_leave() {
    let db = TestDb::new().await;
    db.people().await;
    let mut leaving = db.store.begin().await.unwrap();
    let held: String = sqlx::query_scalar("select rekon.ceiling_held('shop')").fetch_one(&mut *leaving).await.unwrap();
    assert_eq!(held, "auto");
    let other = db.another_store().await;
    let turning = tokio::spawn(async move {
        sqlx::query(sqlx::AssertSqlSafe(turn("*", "post", "wati", "null"))).execute(other.pool()).await.map(drop)
    });
    db.wait_until_blocked(1).await;
    leaving.commit().await.unwrap();
    turning.await.unwrap().unwrap();
    assert_eq!(ceiling(&db, "shop").await, "post");
}

fn rearm(by: &str, confirms: &str) -> String {
    format!("insert into rekon.rearms (account, made_by, confirms, reason) values ('shop', '{by}', {confirms}, 'so')")
}

#[tokio::test]
async fn stopped_refunds_are_re_armed_by_two_people_and_by_nothing_else() {
    let db = TestDb::new().await;
    db.people().await;
    db.run("insert into rekon.account_controls (account) values ('shop')").await;
    db.expect_refused(&rearm("sari", "null"), "rearms_of_what_is_open").await;
    db.expect_refused(
        "update rekon.account_controls set breaker_opened_at = now()",
        "account_controls_breaker_says_why",
    )
    .await;
    db.run(
        "update rekon.account_controls set breaker_opened_at = clock_timestamp(), breaker_reason = 'count_per_hour'",
    )
    .await;
    assert_eq!(ceiling(&db, "shop").await, "propose");
    let close = "update rekon.account_controls set breaker_opened_at = null, breaker_reason = null";
    db.expect_refused(close, "account_controls_rearmed_by_two").await;
    db.expect_refused(&rearm("wati", "null"), "rearms_by_people").await;
    db.expect_refused(&rearm("sari", "null").replace("'so'", "' '"), "rearms_say_why").await;
    db.run(&rearm("sari", "null")).await;
    db.expect_refused(close, "account_controls_rearmed_by_two").await;
    let asked = "(select max(id) from rekon.rearms)";
    db.expect_refused(&rearm("sari", asked), "rearms_by_two").await;
    // Something else stopped it since: what was asked for was something else.
    db.run("update rekon.account_controls set refunds_stopped = 'another refundNo', stopped_at = clock_timestamp()")
        .await;
    db.expect_refused(&rearm("joko", asked), "rearms_by_two").await;
    db.run(&rearm("sari", "null")).await;
    db.run(&rearm("joko", asked)).await;
    assert_eq!(ceiling(&db, "shop").await, "auto");
    assert_eq!(db.text("select refunds_stopped is null from rekon.account_controls").await, "true");
    // The old consent does not cover what opens later.
    db.run("update rekon.account_controls set refunds_stopped = 'again', stopped_at = clock_timestamp()").await;
    db.expect_refused("update rekon.account_controls set refunds_stopped = null", "account_controls_rearmed_by_two")
        .await;
    db.expect_refused("update rekon.rearms set made_by = 'joko'", "rearms_stay").await;
    db.expect_refused("truncate rekon.rearms", "rearms_stay_all").await;
    db.run("alter table rekon.rearms disable trigger rearms_need_two").await;
    db.expect_refused(
        &rearm("budi", "(select confirms from rekon.rearms where confirms is not null)"),
        "rearms_confirmed_once",
    )
    .await;
}

fn resolve(kind: &str, about: &str, by: &str, confirms: &str) -> String {
    let (column, value) = about.split_once('=').unwrap_or(("flag", "null"));
    format!(
        "insert into rekon.resolutions (transaction_id, kind, {column}, content_hash, reason, made_by, confirms)
         values (1, '{kind}', {value}, 'h', 'so', '{by}', {confirms})"
    )
}

#[tokio::test]
async fn a_resolution_that_moves_money_takes_two_people_who_say_the_same() {
    let db = TestDb::new().await;
    db.people().await;
    db.insert_paid("INV-1", "100000").await;
    let accept = |by: &str, confirms: &str| resolve("accept_as_paid", "flag='underpaid'", by, confirms);
    db.expect_refused(&accept("wati", "null"), "resolutions_by_people").await;
    db.run(&accept("budi", "null")).await;
    let asked = "(select id from rekon.resolutions where made_by = 'budi')";
    assert_eq!(db.text("select seq is null from rekon.resolutions").await, "true", "a request has no place yet");
    assert_eq!(db.text("select seq from rekon.transactions").await, "0");
    db.expect_refused(&accept("budi", asked), "resolutions_by_two").await;
    db.expect_refused(&accept("wati", asked), "resolutions_by_people").await;
    db.expect_refused(&accept("sari", asked).replace("'underpaid'", "'paid_late'"), "resolutions_by_two").await;
    db.expect_refused(&accept("sari", asked).replace("'h'", "'h2'"), "resolutions_by_two").await;
    db.run(&accept("sari", asked)).await;
    assert_eq!(db.text("select seq from rekon.resolutions where confirms is not null").await, "1");
    assert_eq!(
        db.text("select seq || ' ' || (next_check_at <= clock_timestamp()) from rekon.transactions").await,
        "1 true"
    );
    db.expect_refused(&accept("joko", asked), "resolutions_confirmed_once").await;
    db.expect_refused("update rekon.resolutions set made_by = 'joko'", "resolutions_stay").await;
    db.expect_refused("truncate rekon.resolutions", "resolutions_stay_all").await;
    db.run("alter table rekon.resolutions disable trigger resolutions_made").await;
    db.expect_refused(
        &accept("sari", "null").replace("(transaction_id,", "(seq, transaction_id,").replace("(1, ", "(1, 1, "),
        "resolutions_in_sequence",
    )
    .await;
}

#[tokio::test]
async fn one_person_may_stop_and_ask_and_nothing_else() {
    let db = TestDb::new().await;
    db.people().await;
    db.insert_paid("INV-1", "100000").await;
    db.run(&resolve("dispute", "", "wati", "null")).await;
    db.run(&resolve("undispute", "", "budi", "null")).await;
    assert_eq!(
        db.text("select string_agg(kind || ' ' || coalesce(seq::text, '-'), ', ' order by id) from rekon.resolutions")
            .await,
        "dispute 1, undispute -"
    );
    db.expect_refused(
        &resolve("ask_again", "", "sari", "(select max(id) from rekon.resolutions)"),
        "resolutions_by_one",
    )
    .await;
    db.expect_refused(&resolve("return", "flag='paid_late'", "sari", "null"), "resolutions_by_people").await;
    db.run(&resolve("return", "flag='paid_late'", "budi", "null")).await;
    db.expect_refused(&resolve("forget", "", "wati", "null"), "resolutions_kind_is_known").await;
    db.expect_refused(&resolve("dispute", "", "wati", "null").replace("'so'", "''"), "resolutions_say_why").await;
    for (kind, about) in [
        ("dispute", "flag='underpaid'"),
        ("return", ""),
        ("refund_done", ""),
        ("outside_refund", "flag='refunded_outside'"),
    ] {
        db.expect_refused(&resolve(kind, about, "budi", "null"), "resolutions_name_what_they_are_about").await;
    }
    let outside = |amount: &str| {
        resolve("outside_refund", "flag='refunded_outside'", "budi", "null")
            .replace("flag,", "amount, flag,")
            .replace("'outside_refund', ", &format!("'outside_refund', {amount}, "))
    };
    for amount in ["0", "-1", "'NaN'"] {
        db.expect_refused(&outside(amount), "resolutions_amount_is_positive").await;
    }
    db.run(&outside("1")).await;
}

#[tokio::test]
async fn a_row_is_given_among_those_who_work() {
    let db = TestDb::new().await;
    db.people().await;
    db.insert_paid("INV-1", "100000").await;
    let assign = |to: &str, by: &str| {
        format!("insert into rekon.assignments (transaction_id, assignee, made_by) values (1, '{to}', '{by}')")
    };
    db.run(&assign("sari", "wati")).await;
    db.expect_refused(&assign("agus", "wati"), "assignments_among_workers").await;
    db.expect_refused(&assign("sari", "agus"), "assignments_among_workers").await;
    db.expect_refused("delete from rekon.assignments", "assignments_stay").await;
    db.expect_refused("truncate rekon.assignments", "assignments_stay_all").await;
}

#[tokio::test]
async fn the_database_and_the_domain_know_the_same_kinds() {
    use rekon::domain::resolution::ResolutionKind;
    let db = TestDb::new().await;
    for kind in ResolutionKind::ALL {
        let two: bool = db.value(&format!("select rekon.needs_two('{}')", kind.as_str())).await;
        assert_eq!(two, kind.needs_two(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_brake_that_is_let_go_of_held_up_refunds_or_what_was_decided_since_a_time() {
    let db = TestDb::new().await;
    let release = |what: &str, since: &str| {
        format!("insert into rekon.released (account, what, since) values ('shop', '{what}', {since})")
    };
    db.expect_refused(&release("all", "null"), "released_what_is_known").await;
    db.expect_refused(&release("postings", "null"), "released_postings_since_when").await;
    db.expect_refused(&release("refunds", "now()"), "released_postings_since_when").await;
    db.run(&release("refunds", "null")).await;
    db.run(&release("postings", "now()")).await;
}
