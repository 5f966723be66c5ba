//! People and their tokens. A token is looked up by the hash of what was shown; the token itself never comes here.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Row, postgres::PgRow};

use crate::{
    domain::person::{Actor, PersonKind, Role, Scope},
    store::{Store, StoreError, error::inconsistent},
};

/// Somebody as his reader sees him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonRow {
    /// The name.
    pub name: String,
    /// `person` or `service`.
    pub kind: String,
    /// His roles.
    pub roles: Vec<String>,
    /// May he act?
    pub active: bool,
    /// Who made the last change.
    pub changed_by: String,
    /// When.
    pub changed_at: DateTime<Utc>,
}

/// A token as its reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Its id.
    pub id: i64,
    /// Whose it is.
    pub person: String,
    /// What it is for.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it ends; `None`: never by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token to be stored.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Whose it is.
    pub person: String,
    /// SHA-256 of it.
    pub hash: Vec<u8>,
    /// What it is for.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Who makes it.
    pub created_by: String,
    /// Days until it ends; `None`: never by itself.
    pub days: Option<i32>,
}

/// A person to be stored.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// The name.
    pub name: String,
    /// Human or program.
    pub kind: PersonKind,
    /// Roles.
    pub roles: Vec<Role>,
    /// Who brings him in.
    pub changed_by: String,
}

const NOBODY: &str = "-- store::people::nobody
select not exists (select 1 from rekon.people)";

const ADD: &str = "-- store::people::add
insert into rekon.people (name, kind, roles, changed_by) values ($1, $2, $3, $4)";

const CHANGE: &str = "-- store::people::change
update rekon.people set roles = coalesce($2, roles), active = coalesce($3, active), changed_by = $4 where name = $1";

const LIST: &str = "-- store::people::list
select name, kind, roles, active, changed_by, changed_at from rekon.people order by name";

const ADD_TOKEN: &str = "-- store::people::add_token
insert into rekon.tokens (person, hash, label, scopes, created_by, expires_at)
values ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(days => $6)) returning id";

// By the first bytes of the hash; which of those it is, if any, is compared outside, in the same time for all.
const CANDIDATES: &str = "-- store::people::candidates
select t.id, t.hash, t.scopes, p.name, p.kind, p.roles, coalesce(t.last_used_at < clock_timestamp() - interval '1 minute', true) as stale
  from rekon.tokens t join rekon.people p on p.name = t.person
 where t.hash >= $1 and t.hash < $2 and p.active and t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())";

const USED: &str = "-- store::people::used
update rekon.tokens set last_used_at = clock_timestamp()
 where id = $1 and (last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute')";

const TOKENS: &str = "-- store::people::tokens
select id, person, label, scopes, created_by, created_at, expires_at, last_used_at, revoked_at
  from rekon.tokens where ($1::text is null or person = $1) order by id";

const REVOKE: &str = "-- store::people::revoke
update rekon.tokens set revoked_at = clock_timestamp(), revoked_by = $2
 where id = $1 and revoked_at is null and (person = $2 or $3)";

/// A token that may be the one that was shown: the whole hash must still be compared.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// SHA-256 as stored.
    pub hash: Vec<u8>,
    /// Who would act.
    pub actor: Actor,
    /// Its last use was written down more than a minute ago.
    pub is_stale: bool,
}

impl Store {
    /// Is there nobody yet?
    pub async fn is_nobody_there(&self) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(NOBODY).fetch_one(self.pool()).await?)
    }

    /// Brings somebody in.
    pub async fn add_person(&self, person: &NewPerson) -> Result<(), StoreError> {
        let roles: Vec<&str> = person.roles.iter().map(|role| role.as_str()).collect();
        sqlx::query(ADD)
            .bind(&person.name)
            .bind(person.kind.as_str())
            .bind(roles)
            .bind(&person.changed_by)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Changes roles or activity; false where nobody has that name.
    pub async fn change_person(
        &self,
        name: &str,
        roles: Option<&[Role]>,
        active: Option<bool>,
        changed_by: &str,
    ) -> Result<bool, StoreError> {
        let roles: Option<Vec<&str>> = roles.map(|roles| roles.iter().map(|role| role.as_str()).collect());
        let done =
            sqlx::query(CHANGE).bind(name).bind(roles).bind(active).bind(changed_by).execute(self.pool()).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Everybody, by name.
    pub async fn people(&self) -> Result<Vec<PersonRow>, StoreError> {
        let rows = sqlx::query(LIST).fetch_all(self.pool()).await?;
        rows.iter()
            .map(|row| {
                Ok(PersonRow {
                    name: row.try_get("name")?,
                    kind: row.try_get("kind")?,
                    roles: row.try_get("roles")?,
                    active: row.try_get("active")?,
                    changed_by: row.try_get("changed_by")?,
                    changed_at: row.try_get("changed_at")?,
                })
            })
            .collect()
    }

    /// Stores a token; its id.
    pub async fn add_token(&self, token: &NewToken) -> Result<i64, StoreError> {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        Ok(sqlx::query_scalar(ADD_TOKEN)
            .bind(&token.person)
            .bind(&token.hash)
            .bind(&token.label)
            .bind(scopes)
            .bind(&token.created_by)
            .bind(token.days)
            .fetch_one(self.pool())
            .await?)
    }

    /// Valid tokens of active people whose hash begins like this one.
    pub async fn token_candidates(&self, hash: &[u8]) -> Result<Vec<Candidate>, StoreError> {
        let mut from: Vec<u8> = hash.iter().copied().take(4).collect();
        let mut until = from.clone();
        from.resize(32, 0);
        until.resize(33, u8::MAX);
        let rows = sqlx::query(CANDIDATES).bind(from).bind(until).fetch_all(self.pool()).await?;
        rows.iter().map(candidate).collect()
    }

    /// Writes down that a token was used, at most once a minute.
    pub async fn token_used(&self, id: i64) -> Result<(), StoreError> {
        sqlx::query(USED).bind(id).execute(self.pool()).await?;
        Ok(())
    }

    /// Tokens, of one person or all.
    pub async fn tokens(&self, person: Option<&str>) -> Result<Vec<TokenRow>, StoreError> {
        let rows = sqlx::query(TOKENS).bind(person).fetch_all(self.pool()).await?;
        rows.iter().map(token).collect()
    }

    /// Takes a token back; false where there is none that `by` may take (`any`: whosever it is).
    pub async fn revoke_token(&self, id: i64, by: &str, any: bool) -> Result<bool, StoreError> {
        let done = sqlx::query(REVOKE).bind(id).bind(by).bind(any).execute(self.pool()).await?;
        Ok(done.rows_affected() == 1)
    }
}

fn token(row: &PgRow) -> Result<TokenRow, StoreError> {
    Ok(TokenRow {
        id: row.try_get("id")?,
        person: row.try_get("person")?,
        label: row.try_get("label")?,
        scopes: row.try_get("scopes")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}

fn candidate(row: &PgRow) -> Result<Candidate, StoreError> {
    let kind: String = row.try_get("kind")?;
    let roles: Vec<String> = row.try_get("roles")?;
    let scopes: Vec<String> = row.try_get("scopes")?;
    let actor = Actor {
        name: row.try_get("name")?,
        kind: PersonKind::from_word(&kind).ok_or_else(|| inconsistent("people", "kind", &kind))?,
        roles: roles
            .iter()
            .map(|word| Role::from_word(word).ok_or_else(|| inconsistent("people", "roles", word)))
            .collect::<Result<_, _>>()?,
        scopes: scopes
            .iter()
            .map(|word| Scope::from_word(word).ok_or_else(|| inconsistent("tokens", "scopes", word)))
            .collect::<Result<_, _>>()?,
        token_id: row.try_get("id")?,
    };
    Ok(Candidate { hash: row.try_get("hash")?, actor, is_stale: row.try_get("stale")? })
}
