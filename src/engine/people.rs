//! Who acts: proves a token, brings people in, hands tokens out. Every door (command line, API, console) asks
//! [`authenticate`] and then [`require`]; no door takes a name.

use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        person::{self, Actor, PersonKind, Role, Scope},
        token::{self, TokenKind},
    },
    engine::EngineError,
    store::{
        Store,
        people::{NewPerson, NewToken},
    },
};

/// A token that was just made. It is shown once and stored nowhere.
#[derive(Debug)]
pub struct FreshToken {
    /// Its id in lists.
    pub id: i64,
    /// The token.
    pub token: SecretString,
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct TokenWish {
    /// Whose it is.
    pub person: String,
    /// Human or program: the token's second part.
    pub kind: TokenKind,
    /// What it is for.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Days until it ends; `None`: never by itself.
    pub days: Option<i32>,
}

/// Proves a token and says who acts by it.
///
/// # Errors
/// [`EngineError::Token`] where it is damaged, unknown, revoked, expired, or its person is disabled. Which of these stays unsaid,
/// but for a damaged one: that is no secret.
pub async fn authenticate(store: &Store, token: &SecretString) -> Result<Actor, EngineError> {
    let shown = token.expose_secret();
    if !token::is_whole(shown) {
        return Err(EngineError::Token("it is damaged or no token at all: copy it again, whole"));
    }
    let hash = Sha256::digest(shown.as_bytes());
    let mut found = None;
    for candidate in store.token_candidates(&hash).await? {
        if token::is_same(&candidate.hash, &hash) {
            found = Some(candidate);
        }
    }
    let found = found.ok_or(EngineError::Token("it is unknown, revoked or expired, or its person is disabled"))?;
    if found.is_stale {
        store.token_used(found.actor.token_id).await?;
    }
    Ok(found.actor)
}

/// May the actor do what the scope names?
///
/// # Errors
/// [`EngineError::Forbidden`], which names the scope and what grants it.
pub fn require(actor: &Actor, scope: Scope) -> Result<(), EngineError> {
    if actor.may(scope) {
        return Ok(());
    }
    let roles: Vec<&str> = Role::ALL.into_iter().filter(|role| role.grants(scope)).map(Role::as_str).collect();
    Err(EngineError::Forbidden(format!(
        "{} may not do this: it takes a token with the scope {} and one of the roles {}",
        actor.name,
        scope.as_str(),
        roles.join(", ")
    )))
}

/// Brings the first person in: allowed to whoever has the database, while nobody is there. He is an admin and gets a token.
///
/// # Errors
/// [`EngineError::Forbidden`] once somebody is there.
pub async fn add_first_admin(store: &Store, name: &str, roles: &[Role]) -> Result<FreshToken, EngineError> {
    check_name(name)?;
    if !store.is_nobody_there().await? {
        return Err(EngineError::Forbidden("there are people already: an admin brings others in, by his token".into()));
    }
    let mut roles = roles.to_vec();
    if !roles.contains(&Role::Admin) {
        roles.push(Role::Admin);
    }
    let person = NewPerson {
        name: name.to_owned(),
        kind: PersonKind::Person,
        roles: roles.clone(),
        changed_by: name.to_owned(),
    };
    store.add_person(&person).await?;
    let wish = TokenWish {
        person: name.to_owned(),
        kind: TokenKind::Personal,
        label: "first".into(),
        scopes: scopes_of(&roles),
        days: None,
    };
    mint(store, &wish, name).await
}

/// Brings somebody in.
///
/// # Errors
/// [`EngineError::Forbidden`] without `admin`; the store's refusal where the name is taken.
pub async fn add(store: &Store, by: &Actor, person: NewPerson) -> Result<(), EngineError> {
    require(by, Scope::Admin)?;
    check_name(&person.name)?;
    Ok(store.add_person(&NewPerson { changed_by: by.name.clone(), ..person }).await?)
}

/// Changes somebody's roles, or whether he may act at all. Nobody changes himself, and the last admin stays (the database).
///
/// # Errors
/// [`EngineError::Forbidden`] without `admin`; [`EngineError::Refused`] where nobody has that name.
pub async fn change(
    store: &Store,
    by: &Actor,
    name: &str,
    roles: Option<&[Role]>,
    active: Option<bool>,
) -> Result<(), EngineError> {
    require(by, Scope::Admin)?;
    if store.change_person(name, roles, active, &by.name).await? {
        Ok(())
    } else {
        Err(EngineError::Refused(format!("nobody is called {name:?}: `rekon users list` shows who there is")))
    }
}

/// Makes a token: for oneself, or for anybody by an admin. Without scopes it allows what its person's roles do.
///
/// # Errors
/// [`EngineError::Forbidden`] for somebody else's without `admin`, and for a scope that the maker's own token lacks, so that a
/// narrow token cannot make a wide one.
pub async fn create_token(store: &Store, by: &Actor, mut wish: TokenWish) -> Result<FreshToken, EngineError> {
    let own = wish.person == by.name;
    if !own {
        require(by, Scope::Admin)?;
    }
    let people = store.people().await?;
    let person = people.iter().find(|p| p.name == wish.person).ok_or_else(|| {
        EngineError::Refused(format!("nobody is called {:?}: `rekon users list` shows who there is", wish.person))
    })?;
    if person.kind == PersonKind::Service.as_str() {
        wish.kind = TokenKind::Service;
    }
    let roles: Vec<Role> = person.roles.iter().filter_map(|word| Role::from_word(word)).collect();
    if wish.scopes.is_empty() {
        wish.scopes = scopes_of(&roles).into_iter().filter(|scope| !own || by.scopes.contains(scope)).collect();
    }
    if let Some(scope) = wish.scopes.iter().find(|scope| !roles.iter().any(|role| role.grants(**scope))) {
        return Err(EngineError::Refused(format!("no role of {} grants {}", wish.person, scope.as_str())));
    }
    if let Some(scope) = wish.scopes.iter().find(|scope| own && !by.scopes.contains(scope)) {
        return Err(EngineError::Forbidden(format!("the token that asks has no {} itself", scope.as_str())));
    }
    mint(store, &wish, &by.name).await
}

/// Takes a token back: one's own, or anybody's by an admin.
///
/// # Errors
/// [`EngineError::Refused`] where there is no such token, or it is taken back already.
pub async fn revoke_token(store: &Store, by: &Actor, id: i64) -> Result<(), EngineError> {
    if store.revoke_token(id, &by.name, by.may(Scope::Admin)).await? {
        Ok(())
    } else {
        Err(EngineError::Refused(format!("no token {id} that {} can revoke: `rekon tokens list` shows them", by.name)))
    }
}

/// What these roles grant together.
fn scopes_of(roles: &[Role]) -> Vec<Scope> {
    Scope::ALL.into_iter().filter(|scope| roles.iter().any(|role| role.grants(*scope))).collect()
}

async fn mint(store: &Store, wish: &TokenWish, by: &str) -> Result<FreshToken, EngineError> {
    let mut random = [0_u8; 32];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| EngineError::Refused("the operating system gave no random bytes; try again".into()))?;
    let text = token::write(wish.kind, &random);
    let id = store
        .add_token(&NewToken {
            person: wish.person.clone(),
            hash: Sha256::digest(text.as_bytes()).to_vec(),
            label: wish.label.clone(),
            scopes: wish.scopes.clone(),
            created_by: by.to_owned(),
            days: wish.days,
        })
        .await?;
    Ok(FreshToken { id, token: SecretString::from(text) })
}

fn check_name(name: &str) -> Result<(), EngineError> {
    if person::is_plain_name(name) {
        return Ok(());
    }
    Err(EngineError::Refused(format!(
        "{name:?} cannot be a name: 2 to 32 of a-z, 0-9, . _ -, a letter first, and not policy, rekon or schedule"
    )))
}
