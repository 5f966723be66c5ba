//! Records what people do with refunds that go by hand or are put off. One transaction under the payment's row lock: the deed
//! is judged on a freshly loaded case, written into the saga, decided and journalled. Nothing is sent from here.

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        person::{Actor, Scope},
        refund::{Refund, RefundState},
        transfer::{self, TransferError},
    },
    engine::{
        EngineError,
        decisions::{Act, Occasion, Written},
        lookup, people,
        rulebook::Rulebook,
    },
    store::{Store, StoreError, Tx, cases, reads::RefundRow, refunds},
    telemetry::metrics,
};

/// What a person says about a refund.
#[derive(Debug, Clone, Copy)]
pub enum Deed<'a> {
    /// The transfer was made, under this reference of the bank.
    Transferred(&'a str),
    /// It was not, or came back, and why.
    NotTransferred(&'a str),
    /// It is not to go by API, and why.
    ByHand(&'a str),
    /// The same number once more.
    Again,
}

impl Deed<'_> {
    fn done(self, refund: &Refund, by: &str) -> Result<Refund, TransferError> {
        match self {
            Self::Transferred(bank_reference) => transfer::transferred(refund, by, bank_reference),
            Self::NotTransferred(why) => transfer::not_transferred(refund, by, why),
            Self::ByHand(why) => transfer::by_hand(refund, by, why),
            Self::Again => transfer::again(refund, by),
        }
    }

    /// What he said, for the journal.
    fn why(self) -> String {
        match self {
            Self::Transferred(bank_reference) => format!("bank reference {bank_reference}"),
            Self::NotTransferred(why) | Self::ByHand(why) => why.to_owned(),
            Self::Again => "the same number once more".to_owned(),
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Transferred(_) => "refund transferred",
            Self::NotTransferred(_) => "refund not transferred",
            Self::ByHand(_) => "refund by hand",
            Self::Again => "refund again",
        }
    }
}

/// Records a deed of a person about the refund with this number or id: of a maker or a checker. That he has not approved the
/// refund himself, the rules and the database hold.
///
/// # Errors
/// [`EngineError::Forbidden`] for anybody else; [`EngineError::NotFound`] where there is no such refund; [`EngineError::Transfer`] with the objection; the store's refusal
/// where the bank's reference proves another refund already.
pub async fn record(
    store: &Store,
    rulebook: &Rulebook,
    by: &Actor,
    which: &str,
    deed: Deed<'_>,
) -> Result<RefundRow, EngineError> {
    if !by.may(Scope::RefundsPropose) {
        people::require(by, Scope::RefundsApprove)?;
    }
    let found = lookup::refund(store, which).await?.ok_or_else(|| EngineError::NotFound(which.to_owned()))?;
    let row = lookup::transaction(store, &format!("{}/{}", found.account, found.partner_reference_no)).await?;
    let mut tx = store.begin().await?;
    let mut locked = cases::lock(&mut tx, &[row.id]).await?;
    let loaded = locked.first_mut().ok_or_else(|| EngineError::NotFound(which.to_owned()))?;
    let now = crate::store::now_in(&mut tx).await?;
    let known = loaded.case.refunds.iter_mut().find(|r| r.id == found.refund_id);
    let known = known.ok_or_else(|| EngineError::NotFound(which.to_owned()))?;
    let before = known.state;
    let after = deed.done(known, &by.name)?;
    known.clone_from(&after);
    write(&mut tx, &found.account, &after, before, now).await?;
    let mut written = Written::default();
    written.decide(
        loaded,
        rulebook,
        now,
        &Occasion::person(deed.kind(), Act { by: by.name.clone(), with: None, why: deed.why() }),
    );
    written.write(&mut tx).await?;
    refunds::wake_rows(&mut tx, &[row.id]).await?;
    tx.commit().await.map_err(StoreError::from)?;
    if after.state != before {
        metrics::refund_transition(&found.account, after.state.as_str());
    }
    lookup::refund(store, &found.refund_id.to_string()).await?.ok_or_else(|| EngineError::NotFound(which.to_owned()))
}

/// The refund as it is now; what it no longer holds goes back to the day's budget.
async fn write(
    tx: &mut Tx,
    account: &str,
    refund: &Refund,
    before: RefundState,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    if matches!(refund.state, RefundState::Refused | RefundState::Proposed) && before.holds_reservation() {
        refunds::give_back(tx, account, refund).await?;
    }
    let next_at = (refund.state == RefundState::Reserved).then_some(now);
    Ok(refunds::save(tx, refund, next_at, true).await?)
}
