//! Did every row end as it must, and does the provider's own book agree? Judged by `expected_ends.txt`, never by the rules
//! that the program itself follows.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::{
        demo::{
            accounts::ACCOUNTS,
            day::{Plan, Planned},
            kinds::KINDS,
        },
        output::table,
    },
    domain::money::Sen,
    report::format,
    sim::{Book, BookEntry},
    store::reads::{TransactionRow, as_rupiah},
};

const EXPECTED: &str = include_str!("expected_ends.txt");

/// How much must have gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Nothing,
    Excess,
    Everything,
}

/// One line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    end: &'static str,
    owed: Owed,
}

/// One row that did not end as it must.
#[derive(Debug, Serialize)]
pub(super) struct Differing {
    account: &'static str,
    partner_reference_no: String,
    scenario: &'static str,
    problems: Vec<String>,
}

/// What came of one scenario.
#[derive(Debug, Serialize)]
struct ScenarioEnd {
    account: &'static str,
    scenario: &'static str,
    expected: &'static str,
    rows: u64,
    as_expected: u64,
    refunds: u64,
    /// By the ledger.
    #[serde(serialize_with = "as_rupiah")]
    refunded: Sen,
    /// By the provider's book.
    #[serde(serialize_with = "as_rupiah")]
    returned: Sen,
}

/// What came of several.
struct Sums {
    rows: u64,
    as_expected: u64,
    refunds: u64,
    refunded: Sen,
    returned: Sen,
}

/// What came of the day.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    scenarios: Vec<ScenarioEnd>,
    pub(super) differing: Vec<Differing>,
    /// One line a row, for `outcome.csv`.
    #[serde(skip)]
    pub(super) csv: String,
}

/// Compares the ledger and the book with what must be.
pub(super) fn judge(plan: &Plan, rows: &[TransactionRow], book: &Book) -> Outcome {
    let expected = expected_ends();
    let rows: BTreeMap<(&str, &str), &TransactionRow> =
        rows.iter().map(|row| ((row.account.as_str(), row.partner_reference_no.as_str()), row)).collect();
    let book: BTreeMap<(&str, &str), &BookEntry> = book
        .entries
        .iter()
        .map(|entry| ((entry.client_id.as_str(), entry.partner_reference_no.as_str()), entry))
        .collect();
    let mut outcome = Outcome {
        scenarios: Vec::new(),
        differing: Vec::new(),
        csv: "account,partner_reference_no,scenario,expected,came_to,refunded_amount,returned_by_the_book\n".to_owned(),
    };
    for kind in &KINDS {
        let Some(expected) = expected.get(&(kind.account.name, kind.name)).copied() else { continue };
        let end = ScenarioEnd {
            account: kind.account.name,
            scenario: kind.name,
            expected: expected.end,
            rows: 0,
            as_expected: 0,
            refunds: 0,
            refunded: Sen::ZERO,
            returned: Sen::ZERO,
        };
        outcome.scenarios.push(end);
    }
    for planned in &plan.rows {
        let (account, reference) = (planned.kind.account, planned.payment.partner_reference_no.as_str());
        let row = rows.get(&(account.name, reference)).copied();
        let found = row.zip(book.get(&(account.client_id, reference)).copied());
        outcome.add(planned, expected.get(&(account.name, planned.kind.name)).copied(), found);
    }
    outcome
}

impl Outcome {
    fn add(&mut self, planned: &Planned, expected: Option<Expected>, found: Option<(&TransactionRow, &BookEntry)>) {
        let (account, name) = (planned.kind.account.name, planned.kind.name);
        let reference = &planned.payment.partner_reference_no;
        let problems = match (expected, found) {
            (Some(expected), Some((row, entry))) => problems(expected, row, entry),
            _ => vec!["it is not in the ledger, in the book or among the expected ends".to_owned()],
        };
        if let Some((row, entry)) = found {
            let end = expected.map_or("", |expected| expected.end);
            let (came_to, refunded, returned) = (end_of(row), row.refunded_amount, Sen::new(entry.returned_sen()));
            let cells = [
                account,
                reference,
                name,
                &quoted(end),
                &quoted(&came_to),
                &refunded.to_string(),
                &returned.to_string(),
            ];
            self.csv.push_str(&cells.join(","));
            self.csv.push('\n');
            if let Some(sums) = self.scenarios.iter_mut().find(|sums| (sums.account, sums.scenario) == (account, name))
            {
                sums.rows += 1;
                sums.as_expected += u64::from(problems.is_empty());
                sums.refunds += u64::from(refunded.is_positive());
                sums.refunded = sums.refunded.plus(refunded);
                sums.returned = sums.returned.plus(returned);
            }
        }
        if !problems.is_empty() {
            self.differing.push(Differing {
                account,
                partner_reference_no: reference.clone(),
                scenario: name,
                problems,
            });
        }
    }

    /// The comparison as two tables, by scenario and by account, and one line that sums it up.
    pub(super) fn text(&self) -> String {
        let header = ["account", "scenario", "must come to", "rows", "did"];
        let mut shown = "";
        let lines = self.scenarios.iter().map(|end| {
            let account = if std::mem::replace(&mut shown, end.account) == end.account { "" } else { end.account };
            let words = [account, end.scenario, end.expected].map(str::to_owned);
            words.into_iter().chain([end.rows, end.as_expected].map(format::count)).collect()
        });
        let scenarios = table(&header, &[3, 4], lines);
        let counted = format::counted(self.sums(|_| true).rows, "row", "rows");
        let good = format::count(self.sums(|_| true).as_expected);
        format!("{scenarios}\n\n{}\n\n{good} of {counted} ended as they must.", self.by_account())
    }

    /// The ledger beside each provider's own book.
    fn by_account(&self) -> String {
        let header = ["account", "rows", "as they must", "refunds", "went back: our ledger", "their book"];
        let line = |name: &str, sums: &Sums| {
            let counts = [sums.rows, sums.as_expected, sums.refunds].map(format::count);
            let money = [sums.refunded, sums.returned].map(format::rupiah);
            [name.to_owned()].into_iter().chain(counts).chain(money).collect::<Vec<_>>()
        };
        let accounts = ACCOUNTS.iter().map(|a| line(a.name, &self.sums(|end| end.account == a.name)));
        table(&header, &[1, 2, 3, 4, 5], accounts.chain([line("all", &self.sums(|_| true))]))
    }

    fn sums(&self, of: impl Fn(&ScenarioEnd) -> bool) -> Sums {
        let mut sums = Sums { rows: 0, as_expected: 0, refunds: 0, refunded: Sen::ZERO, returned: Sen::ZERO };
        for end in self.scenarios.iter().filter(|end| of(end)) {
            sums.rows += end.rows;
            sums.as_expected += end.as_expected;
            sums.refunds += end.refunds;
            sums.refunded = sums.refunded.plus(end.refunded);
            sums.returned = sums.returned.plus(end.returned);
        }
        sums
    }

    /// The rows that did not, for people.
    pub(super) fn complaints(&self) -> String {
        let line = |row: &Differing| {
            format!("  {}/{} ({}): {}", row.account, row.partner_reference_no, row.scenario, row.problems.join("; "))
        };
        let lines: Vec<String> = self.differing.iter().map(line).collect();
        format!("Rows that did not end as they must:\n{}", lines.join("\n"))
    }
}

/// What is wrong with a row, by its expected end and by its page in the provider's book.
fn problems(expected: Expected, row: &TransactionRow, entry: &BookEntry) -> Vec<String> {
    let (taken, order, returned) =
        (Sen::new(entry.taken_sen), Sen::new(entry.expected_sen), Sen::new(entry.returned_sen()));
    let owed = match expected.owed {
        Owed::Nothing => Sen::ZERO,
        Owed::Excess => taken.minus(order),
        Owed::Everything => taken,
    };
    let mut problems = Vec::new();
    let mut must = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    let came_to = end_of(row);
    must(came_to == expected.end, format!("must be {}, is {came_to}", expected.end));
    must(row.refunded_amount == owed, format!("must have refunded {owed}, has {}", row.refunded_amount));
    must(returned == row.refunded_amount, format!("the provider's book says that {returned} went back"));
    // Where the scale slipped the provider itself reports another amount than it took.
    if let Some(paid) = row.paid_amount.filter(|_| !expected.end.contains("scale")) {
        must(paid == taken, format!("the ledger says that {paid} was paid, the provider's book {taken}"));
    }
    must(entry.returned.len() <= 1, format!("money went back {} times", entry.returned.len()));
    must(row.refund_reserved == Sen::ZERO, format!("{} is still reserved", row.refund_reserved));
    problems
}

/// A cell that may hold commas; states and flags hold no quotes.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// State and flags as the rules write them: `paid{overpaid}`.
fn end_of(row: &TransactionRow) -> String {
    format!("{}{{{}}}", row.state.as_str(), row.flags.join(","))
}

fn expected_ends() -> BTreeMap<(&'static str, &'static str), Expected> {
    let lines = EXPECTED.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter_map(|line| expected_line(&line.split_whitespace().collect::<Vec<_>>())).collect()
}

fn expected_line(words: &[&'static str]) -> Option<((&'static str, &'static str), Expected)> {
    let [account, scenario, end, owed] = words else { return None };
    let owed = match *owed {
        "nothing" => Owed::Nothing,
        "excess" => Owed::Excess,
        "everything" => Owed::Everything,
        _ => return None,
    };
    Some(((account, scenario), Expected { end, owed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_expected_end_and_every_line_is_read() {
        let ends = expected_ends();
        let lines = EXPECTED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).count();
        assert_eq!((ends.len(), lines), (KINDS.len(), KINDS.len()));
        assert!(KINDS.iter().all(|kind| ends.contains_key(&(kind.account.name, kind.name))));
    }
}
