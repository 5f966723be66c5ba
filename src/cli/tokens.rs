//! `rekon tokens`: what people and programs show instead of a name. A token is printed once, when it is made.

use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{table, wib, wib_or_dash},
    },
    domain::{person::Scope, token::TokenKind},
    engine::people::{self, TokenWish},
    store::people::TokenRow,
};

/// Make, list and revoke tokens
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Example: rekon tokens create --label laptop")]
pub(crate) enum Tokens {
    /// Make a token for yourself or, as an admin, for anybody; it is shown once
    #[command(after_help = "Example: rekon tokens create --person sari --label laptop --days 90")]
    Create(Create),
    /// List tokens without what they are
    #[command(after_help = "Example: rekon tokens list --person sari")]
    List {
        /// Only of this person
        #[arg(long, value_name = "NAME")]
        person: Option<String>,
    },
    /// Take a token back; it stops at once
    #[command(after_help = "Example: rekon tokens revoke 7")]
    Revoke {
        /// The token's id, from the list
        id: i64,
    },
}

/// Which token.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Whose; without it your own
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// What it is for
    #[arg(long, default_value = "command line")]
    label: String,
    /// A scope; may be given several times; without any, all that the person's roles grant
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
    /// Days until it ends; without it, it ends when it is revoked
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=3650))]
    days: Option<i32>,
}

/// What is printed once.
#[derive(Debug, Serialize)]
struct Made {
    id: i64,
    person: String,
    token: String,
}

impl Tokens {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Create(create) => create.run(context),
            Self::List { person } => {
                let tokens =
                    context.with_database(async |session| Ok(session.store.tokens(person.as_deref()).await?))?;
                context.out.list(&tokens, || page(&tokens))?;
                Ok(Exit::Clean)
            }
            Self::Revoke { id } => {
                context.with_database(async |session| {
                    let by = context.actor(&session.store).await?;
                    Ok(people::revoke_token(&session.store, &by, id).await?)
                })?;
                context.out.document(&serde_json::json!({ "id": id, "revoked": true }), || {
                    format!("Token {id} is revoked.")
                })?;
                Ok(Exit::Clean)
            }
        }
    }
}

impl Create {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { person, label, scopes, days } = self;
        let made = context.with_database(async |session| {
            let by = context.actor(&session.store).await?;
            let person = person.unwrap_or_else(|| by.name.clone());
            let wish = TokenWish { person: person.clone(), kind: TokenKind::Personal, label, scopes, days };
            let fresh = people::create_token(&session.store, &by, wish).await?;
            Ok(Made { id: fresh.id, person, token: fresh.token.expose_secret().to_owned() })
        })?;
        context
            .out
            .document(&made, || format!("Token {} of {}, shown this once:\n{}", made.id, made.person, made.token))?;
        Ok(Exit::Clean)
    }
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::from_word(word).ok_or_else(|| format!("known scopes: {}", Scope::ALL.map(Scope::as_str).join(", ")))
}

fn page(tokens: &[TokenRow]) -> String {
    if tokens.is_empty() {
        return "No tokens.".to_owned();
    }
    let lines = tokens.iter().map(|token| {
        let ends = match token.revoked_at {
            Some(at) => format!("revoked {}", wib(at)),
            None => wib_or_dash(token.expires_at),
        };
        vec![
            token.id.to_string(),
            token.person.clone(),
            token.label.clone(),
            token.scopes.join(","),
            wib(token.created_at),
            ends,
            wib_or_dash(token.last_used_at),
        ]
    });
    table(&["id", "person", "label", "scopes", "made", "ends", "last used"], &[], lines)
}
