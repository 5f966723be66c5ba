//! Who may act, and the four eyes on a refund: what the database refuses whatever a program believes.

use crate::support::TestDb;

fn person(name: &str, roles: &str, by: &str) -> String {
    format!("insert into rekon.people (name, roles, changed_by) values ('{name}', '{{{roles}}}', '{by}')")
}

#[tokio::test]
async fn the_first_person_is_an_admin_and_everybody_else_is_brought_in_by_one() {
    let db = TestDb::new().await;
    db.expect_refused(&person("budi", "maker", "budi"), "people_begin_with_an_admin").await;
    db.expect_refused(&person("agus", "admin", "budi"), "people_begin_with_an_admin").await;
    db.run(&person("agus", "admin", "agus")).await;
    db.expect_refused(&person("budi", "maker,admin", "budi"), "people_changed_by_an_admin").await;
    db.run(&person("budi", "maker", "agus")).await;
    db.expect_refused(&person("sari", "checker", "budi"), "people_changed_by_an_admin").await;
}

#[tokio::test]
async fn nobody_changes_himself_and_a_disabled_admin_changes_nobody() {
    let db = TestDb::new().await;
    db.run(&person("agus", "admin", "agus")).await;
    db.run(&person("dewi", "admin", "agus")).await;
    let change = |name: &str, what: &str, by: &str| {
        format!("update rekon.people set {what}, changed_by = '{by}' where name = '{name}'")
    };
    db.expect_refused(&change("agus", "roles = '{admin,checker}'", "agus"), "people_changed_by_an_admin").await;
    db.run(&change("dewi", "active = false", "agus")).await;
    db.expect_refused(&change("agus", "active = false", "dewi"), "people_changed_by_an_admin").await;
    db.expect_refused(&change("agus", "active = false", "agus"), "people_changed_by_an_admin").await;
    let history =
        "select string_agg(name || ' ' || active || ' by ' || changed_by, ', ' order by id) from rekon.people_history";
    assert_eq!(db.text(history).await, "agus true by agus, dewi true by agus, dewi false by agus");
    db.expect_refused("update rekon.people_history set changed_by = 'dewi'", "people_history_stay").await;
    db.expect_refused("truncate rekon.people_history", "people_history_stay_all").await;
}

#[tokio::test]
async fn a_name_stays_and_words_are_known() {
    let db = TestDb::new().await;
    db.run(&person("agus", "admin", "agus")).await;
    for name in ["policy", "rekon", "schedule", "Budi", "b", "1a", "a b"] {
        db.expect_refused(&person(name, "maker", "agus"), "people_name_is_plain").await;
    }
    db.expect_refused(&person("budi", "boss", "agus"), "people_roles_are_known").await;
    db.expect_refused(&person("budi", "", "agus"), "people_roles_are_known").await;
    let kind = |kind: &str, roles: &str| {
        format!(
            "insert into rekon.people (name, kind, roles, changed_by) values ('bot', '{kind}', '{{{roles}}}', 'agus')"
        )
    };
    db.expect_refused(&kind("robot", "operator"), "people_kind_is_known").await;
    db.expect_refused(&kind("service", "maker,checker"), "people_services_never_approve").await;
    db.expect_refused(&kind("service", "admin"), "people_services_never_approve").await;
    db.run(&kind("service", "maker")).await;
    db.expect_refused("update rekon.people set name = 'bob', changed_by = 'agus' where name = 'bot'", "people_frozen")
        .await;
    db.expect_refused("delete from rekon.people", "people_stay").await;
    db.expect_refused("truncate rekon.people cascade", "people_stay_all").await;
}

fn token(person: &str, by: &str, hash: &str) -> String {
    format!(
        "insert into rekon.tokens (person, hash, label, scopes, created_by) values ('{person}', sha256('{hash}'), 'laptop', '{{admin}}', '{by}')"
    )
}

#[tokio::test]
async fn a_token_is_its_persons_or_made_by_an_admin_and_is_only_used_and_revoked() {
    let db = TestDb::new().await;
    db.people().await;
    db.run(&token("budi", "budi", "a")).await;
    db.run(&token("budi", "agus", "b")).await;
    db.expect_refused(&token("budi", "sari", "c"), "tokens_made_by_their_person").await;
    db.expect_refused(&token("budi", "budi", "a"), "tokens_are_unique").await;
    db.run("update rekon.people set active = false, changed_by = 'agus' where name = 'sari'").await;
    db.expect_refused(&token("sari", "agus", "d"), "tokens_for_active_people").await;
    for (from, to, rule) in [
        ("sha256('e')", "'\\x00'", "tokens_hash_is_sha256"),
        ("'laptop'", "' '", "tokens_have_a_label"),
        ("'{admin}'", "'{everything}'", "tokens_scopes_are_known"),
        ("'{admin}'", "'{}'", "tokens_scopes_are_known"),
    ] {
        db.expect_refused(&token("budi", "budi", "e").replace(from, to), rule).await;
    }
    let ends = token("budi", "budi", "f")
        .replace("created_by)", "created_by, expires_at)")
        .replace("'budi')", "'budi', now() - interval '1 day')");
    db.expect_refused(&ends, "tokens_expire_after_they_begin").await;
    for what in
        ["scopes = '{runs:write}'", "person = 'joko'", "hash = sha256('x')", "expires_at = now() + interval '1 year'"]
    {
        db.expect_refused(&format!("update rekon.tokens set {what} where id = 1"), "tokens_frozen").await;
    }
    db.expect_refused("update rekon.tokens set revoked_at = now() where id = 1", "tokens_revoked_by_somebody").await;
    db.run("update rekon.tokens set last_used_at = now(), revoked_at = now(), revoked_by = 'budi' where id = 1").await;
    db.expect_refused("update rekon.tokens set revoked_at = null, revoked_by = null where id = 1", "tokens_frozen")
        .await;
    db.expect_refused("delete from rekon.tokens", "tokens_stay").await;
    db.expect_refused("truncate rekon.tokens", "tokens_stay_all").await;
}

/// A paid row 1 and everybody.
async fn paid_row() -> TestDb {
    let db = TestDb::new().await;
    db.people().await;
    db.insert_paid("INV-1", "100000").await;
    db
}

fn propose(by: &str, why: &str) -> String {
    format!(
        "insert into rekon.refund_saga (transaction_id, cause, amount, proposed_by, content_hash, why) values (1, 'paid_late', 40000, '{by}', 'h', {why})"
    )
}

#[tokio::test]
async fn both_pairs_of_eyes_belong_to_active_people_with_the_right_to_it() {
    let db = paid_row().await;
    let approve = |who: &str| format!("update rekon.refund_saga set state = 'approved', approved_by = '{who}'");
    for stranger in ["nobody", "wati", "agus", "sari"] {
        db.expect_refused(&propose(stranger, "'so'"), "refunds_proposer_is_a_maker").await;
    }
    db.expect_refused(&propose("budi", "null"), "refunds_people_say_why").await;
    db.expect_refused(&propose("budi", "' '"), "refunds_people_say_why").await;
    db.run(&propose("budi", "'so'")).await;
    for stranger in ["nobody", "wati", "agus"] {
        db.expect_refused(&approve(stranger), "refunds_approver_is_a_checker").await;
    }
    // He is a checker as well, and still not for his own.
    db.expect_refused(&approve("budi"), "refunds_approver_is_not_proposer").await;
    db.run("update rekon.people set active = false, changed_by = 'agus' where name = 'sari'").await;
    db.expect_refused(&approve("sari"), "refunds_approver_is_a_checker").await;
    db.run("update rekon.people set roles = '{maker}', changed_by = 'agus' where name = 'joko'").await;
    db.expect_refused(&approve("joko"), "refunds_approver_is_a_checker").await;
    db.run("update rekon.people set active = true, changed_by = 'agus' where name = 'sari'").await;
    db.run(&approve("sari")).await;
    // Who was allowed then stays the approver, whatever he may today.
    db.run("update rekon.people set active = false, changed_by = 'agus' where name = 'sari'").await;
    db.run("update rekon.refund_saga set blocked = true").await;
}

#[tokio::test]
async fn a_no_has_a_name_and_words_stay() {
    let db = paid_row().await;
    db.run(&propose("budi", "'so'")).await;
    db.expect_refused("update rekon.refund_saga set state = 'denied'", "refunds_denied_by_somebody").await;
    db.expect_refused("update rekon.refund_saga set denied_by = 'sari'", "refunds_denied_by_somebody").await;
    db.expect_refused("update rekon.refund_saga set state = 'denied', denied_by = 'wati'", "refunds_denier_may").await;
    db.expect_refused("update rekon.refund_saga set why = 'other'", "refunds_words_stay").await;
    db.run("update rekon.people set roles = '{maker}', changed_by = 'agus' where name = 'budi'").await;
    db.run("update rekon.refund_saga set state = 'denied', denied_by = 'budi'").await;
    db.expect_refused("update rekon.refund_saga set denied_by = 'joko'", "refunds_words_stay").await;
}
