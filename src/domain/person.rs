//! Who may do what: roles of people, scopes of tokens, and the actor in which both meet. Nothing here knows how a token is
//! proved, and no role allows anything by itself: the database holds four eyes, whatever a program believes.

use std::collections::BTreeSet;

/// What somebody is trusted with. The words stand in `rekon.people.roles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Works the queue: assigns, asks again, marks disputes, lowers switches, runs jobs.
    Operator,
    /// Proposes refunds and asks for resolutions that move money.
    Maker,
    /// Approves and confirms what somebody else asked for.
    Checker,
    /// Keeps people and tokens.
    Admin,
}

impl Role {
    /// Every role, in the order in which messages list them.
    pub const ALL: [Self; 5] = [Self::Viewer, Self::Operator, Self::Maker, Self::Checker, Self::Admin];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Maker => "maker",
            Self::Checker => "checker",
            Self::Admin => "admin",
        }
    }

    /// The reverse of [`Role::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Does this role allow what the scope names?
    pub const fn grants(self, scope: Scope) -> bool {
        match self {
            Self::Viewer => matches!(scope, Scope::TransactionsRead),
            Self::Operator => matches!(
                scope,
                Scope::TransactionsRead
                    | Scope::TransactionsWrite
                    | Scope::ExceptionsWrite
                    | Scope::RunsWrite
                    | Scope::SwitchesWrite
            ),
            Self::Maker => matches!(
                scope,
                Scope::TransactionsRead | Scope::ExceptionsWrite | Scope::RefundsPropose | Scope::SwitchesWrite
            ),
            Self::Checker => matches!(
                scope,
                Scope::TransactionsRead
                    | Scope::ExceptionsWrite
                    | Scope::RefundsApprove
                    | Scope::DaysSign
                    | Scope::SwitchesWrite
            ),
            Self::Admin => matches!(scope, Scope::TransactionsRead | Scope::SwitchesWrite | Scope::Admin),
        }
    }
}

/// What a token allows. The words stand in `rekon.tokens.scopes` and in the API's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "each scope has its word beside it")]
pub enum Scope {
    #[serde(rename = "transactions:read")]
    TransactionsRead,
    #[serde(rename = "transactions:write")]
    TransactionsWrite,
    #[serde(rename = "refunds:propose")]
    RefundsPropose,
    #[serde(rename = "refunds:approve")]
    RefundsApprove,
    #[serde(rename = "exceptions:write")]
    ExceptionsWrite,
    #[serde(rename = "runs:write")]
    RunsWrite,
    #[serde(rename = "days:sign")]
    DaysSign,
    #[serde(rename = "switches:write")]
    SwitchesWrite,
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Every scope, in the order in which messages list them.
    pub const ALL: [Self; 9] = [
        Self::TransactionsRead,
        Self::TransactionsWrite,
        Self::RefundsPropose,
        Self::RefundsApprove,
        Self::ExceptionsWrite,
        Self::RunsWrite,
        Self::DaysSign,
        Self::SwitchesWrite,
        Self::Admin,
    ];

    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransactionsRead => "transactions:read",
            Self::TransactionsWrite => "transactions:write",
            Self::RefundsPropose => "refunds:propose",
            Self::RefundsApprove => "refunds:approve",
            Self::ExceptionsWrite => "exceptions:write",
            Self::RunsWrite => "runs:write",
            Self::DaysSign => "days:sign",
            Self::SwitchesWrite => "switches:write",
            Self::Admin => "admin",
        }
    }

    /// The reverse of [`Scope::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Whether a name belongs to somebody who can be asked why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonKind {
    /// A human being.
    Person,
    /// A program. It never approves and never administers.
    Service,
}

impl PersonKind {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
        }
    }

    /// The reverse of [`PersonKind::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Person, Self::Service].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Somebody whose token was proved a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Actor {
    /// The name: the identity.
    pub name: String,
    /// Human or program.
    pub kind: PersonKind,
    /// What he is trusted with.
    pub roles: BTreeSet<Role>,
    /// What the token allows.
    pub scopes: BTreeSet<Scope>,
    /// The token's id, for the log; never the token.
    pub token_id: i64,
}

impl Actor {
    /// Is this scope on the token and granted by one of the roles?
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) && self.roles.iter().any(|role| role.grants(scope))
    }

    /// Has he one of these roles?
    pub fn is_one_of(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.roles.contains(role))
    }
}

/// May this be a name? Lower case, digits, `.`, `_`, `-`; 2 to 32 characters, a letter first; none of the program's own.
pub fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    first && rest && (2..=32).contains(&name.len()) && !["policy", "rekon", "schedule"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(roles: &[Role], scopes: &[Scope]) -> Actor {
        Actor {
            name: "sari".into(),
            kind: PersonKind::Person,
            roles: roles.iter().copied().collect(),
            scopes: scopes.iter().copied().collect(),
            token_id: 1,
        }
    }

    #[test]
    fn a_token_allows_no_more_than_its_person_and_a_person_no_more_than_his_token() {
        assert!(actor(&[Role::Checker], &[Scope::RefundsApprove]).may(Scope::RefundsApprove));
        assert!(!actor(&[Role::Maker], &[Scope::RefundsApprove]).may(Scope::RefundsApprove));
        assert!(!actor(&[Role::Checker], &[Scope::TransactionsRead]).may(Scope::RefundsApprove));
    }

    #[test]
    fn whoever_keeps_people_neither_proposes_nor_approves() {
        for scope in [Scope::RefundsPropose, Scope::RefundsApprove, Scope::ExceptionsWrite] {
            assert!(!Role::Admin.grants(scope), "{scope:?}");
        }
    }

    #[test]
    fn each_scope_is_granted_by_some_role_and_proposing_never_comes_with_approving() {
        for scope in Scope::ALL {
            assert!(Role::ALL.iter().any(|role| role.grants(scope)), "{scope:?}");
            assert_eq!(Scope::from_word(scope.as_str()), Some(scope));
        }
        for role in Role::ALL {
            assert!(!(role.grants(Scope::RefundsPropose) && role.grants(Scope::RefundsApprove)), "{role:?}");
            assert_eq!(Role::from_word(role.as_str()), Some(role));
        }
    }

    #[test]
    fn a_name_is_plain_and_not_the_programs_own() {
        for name in ["budi", "sari.w", "bot-1"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["b", "Budi", "1a", "a b", "policy", "rekon", "schedule", "é", &"a".repeat(33)] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
