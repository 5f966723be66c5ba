//! Expected payments that a program hands over: the same judgement, in the same words, as a line of an imported file, and
//! all of them or none. Absent on purpose: changing a payment that stands; what differs is refused and named.

use serde::{Deserialize, Serialize};

use crate::{
    engine::{
        EngineError,
        import::{Column, Fields, ImportRules},
    },
    store::{
        Store, StoreError,
        accept::{self, Standing},
        import::NewRow,
        reads::TransactionRow,
    },
};

/// An expected payment as it is handed over: the columns of the contract, each as text.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the column of that name")]
pub struct Expected {
    pub account: Option<String>,
    pub partner_reference_no: Option<String>,
    pub reference_no: Option<String>,
    pub external_id: Option<String>,
    pub direction: Option<String>,
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub order_status: Option<String>,
    pub created_at: Option<String>,
    pub expires_at: Option<String>,
    pub qr_content: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Accepted {
    /// New rows.
    pub created: usize,
    /// Items that say what stands already.
    pub unchanged: usize,
    /// What stands now, item by item.
    pub transactions: Vec<TransactionRow>,
}

/// Why an item was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadItem {
    /// Which one, from 0.
    pub index: usize,
    /// Why, one sentence.
    pub reason: String,
}

/// Why nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Items that cannot be expected payments.
    #[error("nothing was written: {} of the items cannot be accepted", .0.len())]
    Bad(Vec<BadItem>),
    /// Items that contradict what stands, or one another.
    #[error("nothing was written: {} of the items differ from what stands under their reference", .0.len())]
    Differs(Vec<BadItem>),
    /// The database.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for AcceptError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

/// Accepts all items or none.
///
/// # Errors
/// [`AcceptError::Bad`] and [`AcceptError::Differs`] name every item at fault.
pub async fn accept(store: &Store, rules: &ImportRules, items: &[Expected]) -> Result<Accepted, AcceptError> {
    let rows = judge(rules, items)?;
    let mut tx = store.begin().await?;
    let new = accept::insert(&mut tx, &rows).await?;
    let standing = accept::stands(&mut tx, &rows).await?;
    let differing: Vec<BadItem> = standing.iter().filter_map(|item| differing(item, &standing, &new)).collect();
    if !differing.is_empty() {
        tx.rollback().await.map_err(StoreError::from)?;
        return Err(AcceptError::Differs(differing));
    }
    tx.commit().await.map_err(StoreError::from)?;
    let transactions: Vec<TransactionRow> = standing.into_iter().map(|item| item.row).collect();
    Ok(Accepted { created: new.len(), unchanged: transactions.len().saturating_sub(new.len()), transactions })
}

fn judge(rules: &ImportRules, items: &[Expected]) -> Result<Vec<NewRow>, AcceptError> {
    let mut rows = Vec::with_capacity(items.len());
    let mut bad = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.fields().read(number(index), &rules.accounts, &rules.demands) {
            Ok(row) => rows.push(row),
            Err(reason) => bad.push(BadItem { index, reason }),
        }
    }
    if bad.is_empty() { Ok(rows) } else { Err(AcceptError::Bad(bad)) }
}

fn number(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// A row that this very request made is an earlier item of it.
fn differing(item: &Standing, all: &[Standing], new: &[i64]) -> Option<BadItem> {
    if item.differs.is_empty() {
        return None;
    }
    let columns = item.differs.join(", ");
    let first = all.iter().find(|other| other.row.id == item.row.id).filter(|_| new.contains(&item.row.id));
    let place = first.map_or_else(|| "in the ledger".to_owned(), |first| format!("on item {}", first.line));
    let reason = format!("the same account and partner_reference_no stand {place} with other values: {columns}");
    Some(BadItem { index: usize::try_from(item.line).unwrap_or(usize::MAX), reason })
}

impl Expected {
    fn fields(&self) -> Fields<'_> {
        let mut fields = Fields::default();
        for (column, value) in [
            (Column::Account, &self.account),
            (Column::PartnerReferenceNo, &self.partner_reference_no),
            (Column::ReferenceNo, &self.reference_no),
            (Column::ExternalId, &self.external_id),
            (Column::Direction, &self.direction),
            (Column::Amount, &self.amount),
            (Column::Currency, &self.currency),
            (Column::OrderStatus, &self.order_status),
            (Column::CreatedAt, &self.created_at),
            (Column::ExpiresAt, &self.expires_at),
            (Column::QrContent, &self.qr_content),
        ] {
            fields.set(column, value.as_deref().unwrap_or_default());
        }
        fields
    }
}
