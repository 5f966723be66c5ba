//! A person proposes, approves or denies a refund. Each is one transaction under the row's lock: what the person meant is judged
//! on a freshly loaded case, written into the saga, decided and journalled with who and why. Nothing leaves here: the saga's
//! worker finds an approved refund due.

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        approval,
        money::Sen,
        person::{Actor, Scope},
        refund::{Refund, RefundState},
        saga,
        state::Flag,
    },
    engine::{
        EngineError,
        decisions::{Act, Occasion, Written, proposal},
        lookup, people,
        rulebook::Rulebook,
    },
    store::{
        self, Store, StoreError, Tx,
        cases::{self, Loaded},
        reads::RefundRow,
        refunds,
    },
};

/// What a person wants back.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Under which cause; `None`: the one that decides now, or `requested`.
    pub cause: Option<Flag>,
    /// How much; `None`: all that is left.
    pub amount: Option<Sen>,
    /// Why.
    pub reason: String,
}

/// Proposes a refund of the payment that a reference means.
///
/// # Errors
/// [`EngineError::Forbidden`] without `refunds:propose`; [`EngineError::Refused`] with the objection.
pub async fn propose(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    reference: &str,
    wish: &Wish,
) -> Result<RefundRow, EngineError> {
    people::require(by, Scope::RefundsPropose)?;
    let row = lookup::transaction(store, reference).await?;
    let mut tx = store.begin().await?;
    let mut loaded = locked(&mut tx, row.id, reference).await?;
    let now = store::now_in(&mut tx).await?;
    let terms = rulebook.terms(&row.account);
    let (cause, amount) =
        approval::propose(&loaded.case, &terms, wish.cause, wish.amount).map_err(|no| refused(&no))?;
    let id = insert(&mut tx, &mut loaded, by, cause, amount, &wish.reason).await?;
    let act = Act { by: by.name.clone(), with: None, why: wish.reason.clone() };
    decide(&mut tx, &mut loaded, rulebook, now, "refund proposed", act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    shown(store, id).await
}

/// Puts a person's proposal into the saga and the case; its id.
pub(crate) async fn insert(
    tx: &mut Tx,
    loaded: &mut Loaded,
    by: &Actor,
    cause: Flag,
    amount: Sen,
    why: &str,
) -> Result<i64, EngineError> {
    let mut refund = Refund {
        proposed_by: by.name.clone(),
        why: Some(why.to_owned()),
        ..proposal(cause, amount, false, saga::content_hash(&loaded.case, None))
    };
    refunds::propose(tx, loaded.case.order.id, &mut refund, None).await?;
    let id = refund.id;
    loaded.case.refunds.push(refund);
    Ok(id)
}

/// Which refund is meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one with this id, and no other.
    Id(i64),
    /// What a person typed: a number, an id, or a payment with one refund that waits.
    Said(&'a str),
}

impl<'a> From<&'a str> for Which<'a> {
    fn from(said: &'a str) -> Self {
        Self::Said(said)
    }
}

/// Approves a refund; it leaves as soon as the saga's other conditions hold.
///
/// # Errors
/// [`EngineError::Forbidden`] without `refunds:approve` or for one's own proposal; [`EngineError::Refused`] where nothing is
/// proposed, or the approval would be void at once.
pub async fn approve(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    which: impl Into<Which<'_>>,
    note: Option<&str>,
) -> Result<RefundRow, EngineError> {
    people::require(by, Scope::RefundsApprove)?;
    let found = meant(store, which.into()).await?;
    if found.proposed_by == by.name {
        return Err(EngineError::Forbidden(format!("{} proposed it: somebody else approves", by.name)));
    }
    let (mut tx, mut loaded, refund, now) = open(store, &found).await?;
    let terms = rulebook.terms(&found.account);
    let approved = approval::approve(&loaded.case, &refund, &terms, &by.name, now).map_err(|no| refused(&no))?;
    put(&mut tx, &mut loaded, &approved, Some(now)).await?;
    let act = Act { by: by.name.clone(), with: Some(refund.proposed_by), why: note.unwrap_or_default().to_owned() };
    decide(&mut tx, &mut loaded, rulebook, now, "refund approved", act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    shown(store, found.refund_id).await
}

/// Denies a refund that has not left.
///
/// # Errors
/// [`EngineError::Forbidden`] unless by a checker or by who proposed it; [`EngineError::Refused`] where it left already.
pub async fn deny(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    which: impl Into<Which<'_>>,
    reason: &str,
) -> Result<RefundRow, EngineError> {
    let found = meant(store, which.into()).await?;
    let own = found.proposed_by == by.name;
    people::require(by, if own { Scope::RefundsPropose } else { Scope::RefundsApprove })?;
    let (mut tx, mut loaded, refund, now) = open(store, &found).await?;
    let denied = approval::deny(&loaded.case, &refund, &by.name, reason).map_err(|no| refused(&no))?;
    if refund.state == RefundState::Reserved {
        refunds::give_back(&mut tx, &found.account, &refund).await?;
    }
    put(&mut tx, &mut loaded, &denied, None).await?;
    let act = Act { by: by.name.clone(), with: None, why: reason.to_owned() };
    decide(&mut tx, &mut loaded, rulebook, now, "refund denied", act).await?;
    tx.commit().await.map_err(StoreError::from)?;
    shown(store, found.refund_id).await
}

async fn meant(store: &Store, which: Which<'_>) -> Result<RefundRow, EngineError> {
    match which {
        Which::Id(id) => shown(store, id).await,
        Which::Said(said) => find(store, said).await,
    }
}

/// The one refund meant: a number, an id, or a payment with one refund that waits. A word that could mean two is refused, because
/// nobody approves by accident.
async fn find(store: &Store, which: &str) -> Result<RefundRow, EngineError> {
    let mut found = store.find_refunds(which, which.parse().ok()).await?;
    match lookup::transaction(store, which).await {
        Ok(row) => {
            let waiting = store.refunds_of(row.id).await?.into_iter().filter(|r| r.state.is_unsent());
            found.extend(waiting);
        }
        Err(EngineError::NotFound(_)) => {}
        Err(other) => return Err(other),
    }
    found.sort_by_key(|r| r.refund_id);
    found.dedup_by_key(|r| r.refund_id);
    if found.len() > 1 {
        let ids: Vec<String> = found
            .iter()
            .map(|r| format!("{} ({} {} of {})", r.refund_id, r.amount, r.cause, r.partner_reference_no))
            .collect();
        return Err(EngineError::Refused(format!(
            "{which:?} could mean several refunds, name one: {}",
            ids.join(", ")
        )));
    }
    found.pop().ok_or_else(|| {
        EngineError::Refused(format!(
            "no refund {which:?} waits: `rekon refunds list --state proposed` shows what does"
        ))
    })
}

async fn open(store: &Store, found: &RefundRow) -> Result<(Tx, Loaded, Refund, DateTime<Utc>), EngineError> {
    let row = lookup::transaction(store, &format!("{}/{}", found.account, found.partner_reference_no)).await?;
    let mut tx = store.begin().await?;
    let loaded = locked(&mut tx, row.id, &found.partner_reference_no).await?;
    let now = store::now_in(&mut tx).await?;
    let refund = loaded.case.refunds.iter().find(|r| r.id == found.refund_id).cloned();
    let refund = refund.ok_or_else(|| EngineError::NotFound(found.partner_reference_no.clone()))?;
    Ok((tx, loaded, refund, now))
}

/// Locks and loads a row.
pub(crate) async fn locked(tx: &mut Tx, id: i64, reference: &str) -> Result<Loaded, EngineError> {
    cases::lock(tx, &[id]).await?.pop().ok_or_else(|| EngineError::NotFound(reference.to_owned()))
}

/// Writes a refund and puts it into the case.
pub(crate) async fn put(
    tx: &mut Tx,
    loaded: &mut Loaded,
    refund: &Refund,
    next_at: Option<DateTime<Utc>>,
) -> Result<(), EngineError> {
    for known in loaded.case.refunds.iter_mut().filter(|r| r.id == refund.id) {
        known.clone_from(refund);
    }
    Ok(refunds::save(tx, refund, next_at, true).await?)
}

/// Decides the row anew and writes it, with who and why in the journal; what waited on the row is due.
pub(crate) async fn decide(
    tx: &mut Tx,
    loaded: &mut Loaded,
    rulebook: &Rulebook,
    now: DateTime<Utc>,
    kind: &str,
    act: Act,
) -> Result<(), EngineError> {
    let mut written = Written::default();
    written.decide(loaded, rulebook, now, &Occasion::person(kind, act));
    written.write(tx).await?;
    Ok(refunds::wake_rows(tx, &[loaded.case.order.id]).await?)
}

async fn shown(store: &Store, id: i64) -> Result<RefundRow, EngineError> {
    let found = store.find_refunds("", Some(id)).await?.pop();
    found.ok_or_else(|| EngineError::NotFound(format!("refund {id}")))
}

fn refused(objection: &approval::Objection) -> EngineError {
    EngineError::Refused(objection.to_string())
}
