//! `[server.notify]`: how much notifications may make us do, and `[accounts.NAME.notify]`: how they are signed.

use std::time::Duration;

use secrecy::SecretString;

use crate::domain::notification::{Field, formula};

use super::layer::Node;
use super::reader::Section;

/// `[server.notify]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotifyLimits {
    /// Queries per minute and account that unverifiable notifications may cause, all replicas together.
    pub unverified_per_minute: u32,
    /// Of those, how many at once after a pause.
    pub unverified_burst: u32,
    /// Most notifications that become facts of one payment.
    pub per_payment: u32,
    /// Most notifications kept apart per account.
    pub kept_max: u32,
    /// Most notifications written in one transaction.
    pub group_max: u32,
    /// Longest wait for a group to fill.
    pub linger: Duration,
}

/// `[accounts.NAME.notify]`.
#[derive(Clone, Debug)]
pub struct NotifyTerms {
    /// The key at the end of what is signed.
    pub shared_key: SecretString,
    /// What is signed in front of it, in order.
    pub words: Vec<Field>,
}

pub(crate) fn read_limits(section: &mut Section<'_>) -> Option<NotifyLimits> {
    let unverified_per_minute = section.number("unverified_per_minute", 1, 6_000);
    let unverified_burst = section.number("unverified_burst", 1, 1_000);
    let per_payment = section.number("per_payment", 1, 1_000);
    let kept_max = section.number("kept_max", 0, 1_000_000);
    let group_max = section.number("group_max", 1, 500);
    let linger = section.duration("linger", "0ms", "1s");
    section.finish();
    Some(NotifyLimits {
        unverified_per_minute: unverified_per_minute?,
        unverified_burst: unverified_burst?,
        per_payment: per_payment?,
        kept_max: kept_max?,
        group_max: group_max?,
        linger: linger?,
    })
}

pub(crate) fn read_terms(section: &mut Section<'_>) -> Option<NotifyTerms> {
    section.default("words", Node::Text("issuer_id,txn_date,merchant_pan,invoice".to_owned()));
    let shared_key = section.secret("shared_key");
    let form = "names of a notification's values with commas between them, such as \"issuer_id,txn_date,merchant_pan,invoice\"";
    let words = section.parsed("words", form, formula);
    section.finish();
    Some(NotifyTerms { shared_key: shared_key?, words: words? })
}
