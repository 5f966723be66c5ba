//! Who may: no token, a torn one, a revoked one, one without the scope; and what must never be seen anywhere.

use rekon::domain::person::{Role, Scope};
use serde_json::json;

use super::rig::{Api, BUDI, SARI, WATI, problem};

const PATH: &str = "/api/v1/transactions";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_a_proven_token_and_every_refusal_says_what_to_do() {
    let mut api = Api::open().await;
    let none = api.get("", PATH).await;
    problem(&none, 401, "Authorization: Bearer");
    assert_eq!(none.headers["www-authenticate"], "Bearer realm=\"rekon\"");
    for (header, words) in [
        ("authorization: Basic YTpi\r\n", "not `Bearer <token>`"),
        ("authorization: Bearer rekon_pat_x\r\n", "copy it again, whole"),
    ] {
        problem(&api.send("", "GET", PATH, header, None).await, 401, words);
    }
    let unknown = rekon::domain::token::write(rekon::domain::token::TokenKind::Personal, &[3; 32]);
    let header = format!("authorization: bearer {unknown}\r\n");
    let answer = api.send("", "GET", PATH, &header, None).await;
    problem(&answer, 401, "unknown, revoked or expired");
    assert!(!answer.body.contains(&unknown));

    api.give("narrow", WATI, Role::Operator, &[Scope::TransactionsRead]).await;
    assert_eq!(api.get("narrow", PATH).await.status, 200);
    problem(&api.post("narrow", PATH, &json!({})).await, 403, "scope transactions:write and one of the roles operator");
    problem(&api.post(BUDI, PATH, &json!({})).await, 403, "transactions:write");
    api.shop.db.run("update rekon.tokens set revoked_at = now(), revoked_by = 'wati' where label = 'narrow'").await;
    problem(&api.get("narrow", PATH).await, 401, "revoked");
    api.shop.db.run("update rekon.people set active = false, changed_by = 'agus' where name = 'sari'").await;
    problem(&api.get(SARI, PATH).await, 401, "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_even_read_for_somebody_who_is_not_let_in() {
    let api = Api::open_with("", "", |limits| rekon::config::ApiLimits { body_max: 64, ..limits }).await;
    let long = format!("[{}]", "1,".repeat(64));
    problem(&api.send("", "POST", PATH, "", Some(&long)).await, 401, "Bearer");
    problem(&api.send(WATI, "POST", PATH, "", Some(&long)).await, 413, "64 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_said_so_and_worth_another_attempt() {
    let api = Api::open().await;
    api.store.send_replace(None);
    let answer = api.get(WATI, PATH).await;
    problem(&answer, 503, "not connected yet");
    assert_eq!(answer.headers["retry-after"], "1");
    problem(&api.get("", PATH).await, 401, "Bearer");
}
