//! Rows that somebody waits for while a chunk of this process holds them and has not asked about them yet. Whoever has such a
//! row in hand asks about it now, as the cashier would: in that class, behind no other row of the chunk.
//!
//! The lane of pulled rows says which they are, all of them at each look, so that nothing piles up here. A row that another
//! process holds is that process's to hurry: it hears the same wake-up. A lease never changes hands for it, so nobody is asked
//! twice.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// The rows of one account that are waited for.
#[derive(Debug, Default)]
pub struct Hurry(watch::Sender<BTreeSet<i64>>);

impl Hurry {
    /// These are waited for, and no others.
    pub fn set(&self, ids: impl IntoIterator<Item = i64>) {
        let ids: BTreeSet<i64> = ids.into_iter().collect();
        self.0.send_if_modified(|known| {
            let is_new = *known != ids;
            *known = ids;
            is_new
        });
    }

    /// Waits until this row is waited for.
    pub(super) async fn of(&self, id: i64) {
        self.any(|ids| ids.contains(&id).then_some(())).await;
    }

    /// Waits until `find` finds something among the rows that are waited for.
    pub async fn any<T>(&self, mut find: impl FnMut(&BTreeSet<i64>) -> Option<T>) -> T {
        let mut ids = self.0.subscribe();
        loop {
            let found = find(&ids.borrow_and_update());
            if let Some(found) = found {
                return found;
            }
            if ids.changed().await.is_err() {
                // The account is gone, and with it whoever could say so.
                std::future::pending::<()>().await;
            }
        }
    }
}
