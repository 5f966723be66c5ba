//! What people decide beside single refunds: the kill switch, re-arming a refund breaker, resolutions of rows, who looks after
//! which. Where two people are needed, the second one simply says the same: what he says confirms what waits, or waits itself.

use serde::Serialize;

use crate::{
    domain::{
        money::Sen,
        person::{Actor, Role, Scope},
        refund::{Proof, RefundState},
        resolution::{self, About, Resolution, ResolutionKind},
        saga,
        switch::Level,
    },
    engine::{
        EngineError,
        approvals::{decide, insert, locked, put},
        decisions::Act,
        lookup, people,
        rulebook::Rulebook,
    },
    store::{
        self, Store, StoreError, Tx,
        cases::Loaded,
        control::{self, NewResolution, SwitchRow},
        pauses::PauseRow,
        reads::TransactionRow,
        refunds,
    },
};

/// Every account.
pub const EVERY_ACCOUNT: &str = "*";

/// What came of a wish that may take two people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// It is in force; else it waits for somebody else to say the same.
    pub effective: bool,
    /// Whose request was confirmed.
    pub confirmed: Option<String>,
}

/// Turns the switch of an account, or of every account (`*`). Lowering is at once; raising takes two people within an hour.
///
/// # Errors
/// [`EngineError::Forbidden`] without `switches:write`; [`EngineError::UnknownAccount`]; the database's refusal.
pub async fn turn(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    (account, level): (&str, Level),
    reason: &str,
) -> Result<(SwitchRow, Said), EngineError> {
    people::require(by, Scope::SwitchesWrite)?;
    known(rulebook, account)?;
    let mut tx = store.begin().await?;
    let (turned, asked) = control::turn(&mut tx, account, level, &by.name, reason).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tracing::warn!(account, level = level.as_str(), by = %by.name, reason, effective = turned.effective, "switch");
    let said = Said { effective: turned.effective, confirmed: asked.map(|request| request.made_by) };
    Ok((turned, said))
}

/// Lets refunds of an account leave again. Takes two people, checkers or admins, within an hour.
///
/// # Errors
/// [`EngineError::Forbidden`] without `switches:write`; [`EngineError::UnknownAccount`]; the database's refusal.
pub async fn rearm(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    account: &str,
    reason: &str,
) -> Result<Said, EngineError> {
    people::require(by, Scope::SwitchesWrite)?;
    if !by.is_one_of(&[Role::Checker, Role::Admin]) {
        return Err(EngineError::Forbidden(format!("{} may not re-arm: that takes a checker or admin", by.name)));
    }
    known(rulebook, account)?;
    if !store.refunds_stopped().await?.iter().any(|stopped| stopped.account == account) {
        return Err(EngineError::Refused(format!("refunds of {account} are not stopped")));
    }
    let mut tx = store.begin().await?;
    let asked = control::rearm(&mut tx, account, &by.name, reason).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tracing::warn!(account, by = %by.name, reason, effective = asked.is_some(), "refunds re-armed");
    Ok(Said { effective: asked.is_some(), confirmed: asked.map(|request| request.made_by) })
}

/// Pauses an account, or lets it work again: while it is paused nobody asks its provider, for whatever purpose, and nothing of it
/// ages. One person does either, because neither moves money.
///
/// # Errors
/// [`EngineError::Forbidden`] without `switches:write`; [`EngineError::UnknownAccount`]; the database's refusal where it is so
/// already.
pub async fn pause(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    (account, paused): (&str, bool),
    reason: &str,
) -> Result<PauseRow, EngineError> {
    people::require(by, Scope::SwitchesWrite)?;
    if !rulebook.accounts.contains_key(account) {
        let known = rulebook.accounts.keys().cloned().collect();
        return Err(EngineError::UnknownAccount { account: account.to_owned(), known });
    }
    let turned = store.turn_pause(account, paused, &by.name, reason).await?;
    tracing::warn!(account, by = %by.name, reason, paused, "pause");
    Ok(turned)
}

/// Refuses what would wait for an account that a person has paused.
///
/// # Errors
/// [`EngineError::Refused`], naming him.
pub async fn not_paused(store: &Store, account: &str) -> Result<(), EngineError> {
    match store.pauses().await?.into_iter().find(|pause| pause.account == account) {
        None => Ok(()),
        Some(pause) => Err(EngineError::Refused(format!(
            "account {account} is paused by {}: {}; nobody asks its provider until `rekon providers resume {account}`",
            pause.made_by, pause.reason
        ))),
    }
}

fn known(rulebook: &Rulebook, account: &str) -> Result<(), EngineError> {
    if account == EVERY_ACCOUNT || rulebook.accounts.contains_key(account) {
        return Ok(());
    }
    Err(EngineError::UnknownAccount {
        account: account.to_owned(),
        known: rulebook.accounts.keys().cloned().chain([EVERY_ACCOUNT.to_owned()]).collect(),
    })
}

/// Gives a row to somebody to look after, or to nobody.
///
/// # Errors
/// [`EngineError::Forbidden`] without `exceptions:write`; the database's refusal where one of them does not work here.
pub async fn assign(
    store: &Store,
    by: &Actor,
    reference: &str,
    assignee: Option<&str>,
    note: Option<&str>,
) -> Result<TransactionRow, EngineError> {
    people::require(by, Scope::ExceptionsWrite)?;
    let row = lookup::transaction(store, reference).await?;
    store.assign(row.id, assignee, &by.name, note).await?;
    Ok(row)
}

/// What a person decides about a row.
#[derive(Debug, Clone)]
pub struct Decided {
    /// What.
    pub kind: ResolutionKind,
    /// About what; the flag may be left out where one alone can be meant.
    pub about: About,
    /// Why.
    pub reason: String,
}

/// Resolves a row. What moves money waits until a second person says the same within a day, on unchanged content.
///
/// # Errors
/// [`EngineError::Forbidden`] without `exceptions:write`; [`EngineError::Refused`] with the objection; the database's refusal.
pub async fn resolve(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    reference: &str,
    decided: &Decided,
) -> Result<Said, EngineError> {
    people::require(by, Scope::ExceptionsWrite)?;
    if decided.kind == ResolutionKind::Return {
        people::require(by, Scope::RefundsPropose)?;
    }
    let row = lookup::transaction(store, reference).await?;
    let mut tx = store.begin().await?;
    let mut loaded = locked(&mut tx, row.id, reference).await?;
    let now = store::now_in(&mut tx).await?;
    let about = resolution::check(&loaded.case, decided.kind, decided.about)
        .map_err(|objection| EngineError::Refused(objection.to_string()))?;
    let content_hash = saga::content_hash(&loaded.case, None);
    let mut new = NewResolution {
        transaction_id: row.id,
        kind: decided.kind,
        about,
        content_hash: &content_hash,
        reason: &decided.reason,
        made_by: &by.name,
        confirms: None,
    };
    // Who cannot confirm may still ask: a second request beside the first harms nobody.
    let asked = if decided.kind.needs_two() && by.is_one_of(&[Role::Checker]) {
        control::resolution_asked(&mut tx, &new).await?
    } else {
        None
    };
    new.confirms = asked.as_ref().map(|request| request.id);
    let (seq, at) = control::resolve(&mut tx, &new).await?;
    if let Some(seq) = seq {
        loaded.seq = seq;
        let first = asked.as_ref().map(|request| request.made_by.clone());
        loaded.case.resolutions.push(Resolution {
            seq,
            at,
            kind: decided.kind,
            about,
            made_by: first.clone().unwrap_or_else(|| by.name.clone()),
            confirmed_by: first.as_ref().map(|_| by.name.clone()),
            // The words of who asked; those of who confirmed stand in the journal.
            reason: asked.as_ref().map_or_else(|| decided.reason.clone(), |request| request.reason.clone()),
        });
        carry_out(&mut tx, &mut loaded, by, decided.kind, about, &decided.reason).await?;
        let act = Act { by: by.name.clone(), with: first, why: decided.reason.clone() };
        decide(&mut tx, &mut loaded, rulebook, now, &format!("resolution {}", decided.kind.as_str()), act).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Said { effective: seq.is_some(), confirmed: asked.map(|request| request.made_by) })
}

/// What a resolution does beside being folded: a proposal, a refund's end, a sum that went back outside.
async fn carry_out(
    tx: &mut Tx,
    loaded: &mut Loaded,
    by: &Actor,
    kind: ResolutionKind,
    about: About,
    reason: &str,
) -> Result<(), EngineError> {
    match kind {
        ResolutionKind::Return => {
            let Some(cause) = about.flag else { return Ok(()) };
            if let Some(other) = loaded.case.refunds.iter().find(|r| r.cause == cause && r.state.occupies_cause()) {
                return Err(EngineError::Refused(format!(
                    "refund {} for {} is {}: approve or deny it",
                    other.id,
                    cause.as_str(),
                    other.state.as_str()
                )));
            }
            let amount = resolution::returnable(&loaded.case);
            insert(tx, loaded, by, cause, amount, reason).await?;
        }
        ResolutionKind::RefundDone | ResolutionKind::RefundNotDone => {
            end_refund(tx, loaded, about, kind == ResolutionKind::RefundDone, reason).await?;
        }
        ResolutionKind::OutsideRefund => {
            let amount = about.amount.unwrap_or(Sen::ZERO);
            control::record_outside(tx, loaded.case.order.id, amount).await?;
            loaded.case.refunded_outside = loaded.case.refunded_outside.plus(amount);
        }
        ResolutionKind::AcceptAsPaid
        | ResolutionKind::CloseAsIs
        | ResolutionKind::KeepInSuspense
        | ResolutionKind::AskAgain
        | ResolutionKind::Dispute
        | ResolutionKind::Undispute => {}
    }
    Ok(())
}

/// People found out what became of a refund of unknown fate.
async fn end_refund(
    tx: &mut Tx,
    loaded: &mut Loaded,
    about: About,
    done: bool,
    reason: &str,
) -> Result<(), EngineError> {
    let found = loaded.case.refunds.iter().find(|r| Some(r.id) == about.refund_id).cloned();
    let Some(mut refund) = found else { return Ok(()) };
    let account = loaded.case.order.account.clone();
    let partial = loaded.case.paid_amount().is_some_and(|paid| !refund.is_full(paid));
    refund.needs_person = None;
    refund.reason = Some(reason.to_owned());
    // The account's controls before its budget, as everywhere.
    let switches = refunds::control(tx, &account).await?;
    let was_first = partial && switches.partial_canary == Some(refund.id);
    if was_first {
        refunds::set_canary(tx, &account, None, switches.partial_proven || done).await?;
    }
    if done {
        refund.state = RefundState::Confirmed;
        refund.proof = Some(Proof::Person);
    } else {
        refund.state = RefundState::Refused;
        refunds::give_back(tx, &account, &refund).await?;
    }
    put(tx, loaded, &refund, None).await
}
