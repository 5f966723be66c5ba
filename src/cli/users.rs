//! `rekon users`: who may act. The first person is an admin and is brought in by whoever has the database; from then on it takes
//! an admin's token.

use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{table, wib},
    },
    domain::person::{PersonKind, Role},
    engine::people,
    store::people::{NewPerson, PersonRow},
};

/// Keep the people who may act
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon users add budi --role maker")]
pub(crate) enum Users {
    /// Bring somebody in; the very first one with --admin, without a token
    #[command(after_help = "Example: rekon users add agus --admin")]
    Add(Add),
    /// List everybody
    #[command(after_help = "Example: rekon users list --json")]
    List,
    /// Change somebody's roles
    #[command(after_help = "Example: rekon users change budi --role maker --role operator")]
    Change(Change),
    /// Take from somebody the right to act; his tokens stop at once
    #[command(after_help = "Example: rekon users disable budi")]
    Disable(Named),
    /// Give it back
    #[command(after_help = "Example: rekon users enable budi")]
    Enable(Named),
}

/// Whom to bring in.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The name: small letters, digits, . _ -
    name: String,
    /// A role: viewer, operator, maker, checker or admin; may be given several times
    #[arg(long = "role", value_name = "ROLE", value_parser = role)]
    roles: Vec<Role>,
    /// The first person of all; prints his token
    #[arg(long)]
    admin: bool,
    /// A program, which never approves and never administers
    #[arg(long, conflicts_with = "admin")]
    service: bool,
}

/// New roles.
#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// Whose
    name: String,
    /// The roles from now on; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role)]
    roles: Vec<Role>,
}

/// Somebody.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Who
    name: String,
}

/// A person and, the first time, his token.
#[derive(Debug, Serialize)]
struct Added {
    name: String,
    token: Option<String>,
}

impl Users {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Add(add) => add.run(context),
            Self::List => {
                let people = context.with_database(async |session| Ok(session.store.people().await?))?;
                context.out.list(&people, || page(&people))?;
                Ok(Exit::Clean)
            }
            Self::Change(Change { name, roles }) => {
                context.with_database(async |session| {
                    let by = context.actor(&session.store).await?;
                    Ok(people::change(&session.store, &by, &name, Some(&roles), None).await?)
                })?;
                said(context, name, "has other roles now")
            }
            Self::Disable(named) => named.run(context, false, "may not act any more"),
            Self::Enable(named) => named.run(context, true, "may act again"),
        }
    }
}

impl Named {
    fn run(self, context: &Context, active: bool, words: &str) -> Result<Exit, Failure> {
        context.with_database(async |session| {
            let by = context.actor(&session.store).await?;
            Ok(people::change(&session.store, &by, &self.name, None, Some(active)).await?)
        })?;
        said(context, self.name, words)
    }
}

impl Add {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { name, roles, admin, service } = self;
        let token = context.with_database(async |session| {
            if admin && session.store.is_nobody_there().await? {
                let fresh = people::add_first_admin(&session.store, &name, &roles).await?;
                return Ok(Some(fresh.token.expose_secret().to_owned()));
            }
            let by = context.actor(&session.store).await?;
            let mut roles = roles;
            if admin {
                roles.push(Role::Admin);
            }
            let kind = if service { PersonKind::Service } else { PersonKind::Person };
            let person = NewPerson { name: name.clone(), kind, roles, changed_by: by.name.clone() };
            people::add(&session.store, &by, person).await?;
            Ok(None)
        })?;
        let added = Added { name, token };
        context.out.document(&added, || match &added.token {
            Some(token) => format!("{} is the first admin. The token, shown this once:\n{token}", added.name),
            None => format!("{} may act; `rekon tokens create --person {}` makes a token.", added.name, added.name),
        })?;
        Ok(Exit::Clean)
    }
}

fn said(context: &Context, name: String, words: &str) -> Result<Exit, Failure> {
    let done = Added { name, token: None };
    context.out.document(&done, || format!("{} {words}.", done.name))?;
    Ok(Exit::Clean)
}

fn role(word: &str) -> Result<Role, String> {
    Role::from_word(word).ok_or_else(|| format!("known roles: {}", Role::ALL.map(Role::as_str).join(", ")))
}

fn page(people: &[PersonRow]) -> String {
    if people.is_empty() {
        return "Nobody yet: `rekon users add NAME --admin` brings the first one in.".to_owned();
    }
    let lines = people.iter().map(|person| {
        vec![
            person.name.clone(),
            person.kind.clone(),
            person.roles.join(","),
            if person.active { "yes" } else { "no" }.to_owned(),
            person.changed_by.clone(),
            wib(person.changed_at),
        ]
    });
    table(&["name", "kind", "roles", "active", "changed by", "changed"], &[], lines)
}
