//! The provider of the small world: it says what a script says and really moves the money it is told to return.

use chrono::{DateTime, Utc};

use super::build;
use crate::domain::{fact::Answer, money::Sen, observation::Observation};

/// What happens to one refund call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Done and answered.
    None,
    /// Done; the answer is lost.
    LostAfter,
    /// Not done; nobody answers.
    LostBefore,
    /// Done; the worker dies before it can write the answer down.
    CrashAfter,
    /// The worker dies before it sends.
    CrashBefore,
    /// Not now.
    Later,
    /// A definite no.
    Refuse,
    /// A definite no to the API.
    Close,
    /// Done, and the answer names no amount.
    NoAmount,
}

/// The provider's side: what it says, and the money it really moves.
pub(crate) struct Provider {
    /// From which second on it says what; ignored once it has returned everything.
    pub(crate) script: Vec<(i64, Answer)>,
    /// Instead of the script: one answer per call; the last repeats.
    pub(crate) by_call: Vec<Answer>,
    /// What it took from the customer.
    pub(crate) took: Sen,
    /// What it really returned, per executed call: number and amount.
    pub(crate) returned: Vec<(String, Sen)>,
    /// One per refund call; then none.
    pub(crate) faults: Vec<Fault>,
    /// A full return shows as 04.
    pub(crate) shows_reversed: bool,
    asked: usize,
    called: usize,
}

impl Provider {
    pub(super) fn new(script: Vec<(i64, Answer)>, took: Sen) -> Self {
        Self {
            script,
            by_call: Vec::new(),
            took,
            returned: Vec::new(),
            faults: Vec::new(),
            shows_reversed: true,
            asked: 0,
            called: 0,
        }
    }

    pub(super) fn next_fault(&mut self) -> Option<Fault> {
        let fault = self.faults.get(self.called).copied();
        self.called += 1;
        fault
    }

    pub(crate) fn total_returned(&self) -> Sen {
        self.returned.iter().fold(Sen::ZERO, |sum, (_, amount)| sum.plus(*amount))
    }

    pub(super) fn answer(&mut self, now: DateTime<Utc>) -> Answer {
        let nth = self.asked;
        self.asked += 1;
        let gone = self.total_returned();
        if self.shows_reversed && gone.is_positive() && gone >= self.took {
            return build::says(Observation::Reversed);
        }
        if let Some(last) = self.by_call.last() {
            return self.by_call.get(nth).unwrap_or(last).clone();
        }
        let said = self.script.iter().rev().find(|(from, _)| build::t(*from) <= now);
        said.map_or_else(build::silence, |(_, answer)| answer.clone())
    }

    /// Executes once per number where a repeat is safe, and every time where it is not.
    pub(super) fn execute(&mut self, number: &str, amount: Sen, safe: bool) -> bool {
        let before = self.returned.iter().any(|(n, _)| n == number);
        if !(safe && before) {
            self.returned.push((number.to_owned(), amount));
        }
        before
    }
}
