//! Did every row end as it must, and does the provider's own book agree? Judged by `expected_ends.txt`, never by the rules
//! that the program itself follows.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::{
        demo::day::{KINDS, Plan, Planned},
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
    partner_reference_no: String,
    scenario: &'static str,
    problems: Vec<String>,
}

/// What came of one scenario.
#[derive(Debug, Serialize)]
struct ScenarioEnd {
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
    let rows: BTreeMap<&str, &TransactionRow> =
        rows.iter().map(|row| (row.partner_reference_no.as_str(), row)).collect();
    let book: BTreeMap<&str, &BookEntry> =
        book.entries.iter().map(|entry| (entry.partner_reference_no.as_str(), entry)).collect();
    let mut outcome = Outcome {
        scenarios: Vec::new(),
        differing: Vec::new(),
        csv: "partner_reference_no,scenario,expected,came_to,refunded_amount,returned_by_the_book\n".to_owned(),
    };
    for kind in &KINDS {
        let Some(expected) = expected.get(kind.name).copied() else { continue };
        let end = ScenarioEnd {
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
        let reference = planned.payment.partner_reference_no.as_str();
        let found = rows.get(reference).copied().zip(book.get(reference).copied());
        outcome.add(planned, expected.get(planned.kind.name).copied(), found);
    }
    outcome
}

impl Outcome {
    fn add(&mut self, planned: &Planned, expected: Option<Expected>, found: Option<(&TransactionRow, &BookEntry)>) {
        let (name, reference) = (planned.kind.name, &planned.payment.partner_reference_no);
        let problems = match (expected, found) {
            (Some(expected), Some((row, entry))) => problems(expected, row, entry),
            _ => vec!["it is not in the ledger, in the book or among the expected ends".to_owned()],
        };
        if let Some((row, entry)) = found {
            let end = expected.map_or("", |expected| expected.end);
            let (came_to, refunded, returned) = (end_of(row), row.refunded_amount, Sen::new(entry.returned_sen()));
            let cells =
                [reference, name, &quoted(end), &quoted(&came_to), &refunded.to_string(), &returned.to_string()];
            self.csv.push_str(&cells.join(","));
            self.csv.push('\n');
            if let Some(sums) = self.scenarios.iter_mut().find(|sums| sums.scenario == name) {
                sums.rows += 1;
                sums.as_expected += u64::from(problems.is_empty());
                sums.refunds += u64::from(refunded.is_positive());
                sums.refunded = sums.refunded.plus(refunded);
                sums.returned = sums.returned.plus(returned);
            }
        }
        if !problems.is_empty() {
            self.differing.push(Differing { partner_reference_no: reference.clone(), scenario: name, problems });
        }
    }

    /// The comparison as a table, and one line that sums it up.
    pub(super) fn text(&self) -> String {
        let header =
            ["scenario", "must come to", "rows", "did", "refunds", "refunded (ledger)", "returned (provider's book)"];
        let lines = self.scenarios.iter().map(|end| {
            let (scenario, expected) = (end.scenario.to_owned(), end.expected.to_owned());
            let counts = [end.rows, end.as_expected, end.refunds].map(format::count);
            let money = [end.refunded, end.returned].map(format::rupiah);
            [scenario, expected].into_iter().chain(counts).chain(money).collect()
        });
        format!("{}\n\n{}", table(&header, &[2, 3, 4, 5, 6], lines), self.summary())
    }

    fn summary(&self) -> String {
        let sum = |of: fn(&ScenarioEnd) -> u64| self.scenarios.iter().map(of).sum::<u64>();
        let (rows, good, refunds) = (sum(|end| end.rows), sum(|end| end.as_expected), sum(|end| end.refunds));
        let money =
            |of: fn(&ScenarioEnd) -> Sen| format::rupiah(self.scenarios.iter().map(of).fold(Sen::ZERO, Sen::plus));
        let counted = format::counted(rows, "row", "rows");
        format!(
            "{} of {counted} ended as they must. {}: {} by rekon's ledger, {} by the provider's own book.",
            format::count(good),
            format::counted(refunds, "refund", "refunds"),
            money(|end| end.refunded),
            money(|end| end.returned)
        )
    }

    /// The rows that did not, for people.
    pub(super) fn complaints(&self) -> String {
        let line =
            |row: &Differing| format!("  {} ({}): {}", row.partner_reference_no, row.scenario, row.problems.join("; "));
        let lines: Vec<String> = self.differing.iter().map(line).collect();
        format!("Rows that did not end as they must:\n{}", lines.join("\n"))
    }
}

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

fn expected_ends() -> BTreeMap<&'static str, Expected> {
    let lines = EXPECTED.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter_map(|line| expected_line(&line.split_whitespace().collect::<Vec<_>>())).collect()
}

fn expected_line(words: &[&'static str]) -> Option<(&'static str, Expected)> {
    let [scenario, end, owed] = words else { return None };
    let owed = match *owed {
        "nothing" => Owed::Nothing,
        "excess" => Owed::Excess,
        "everything" => Owed::Everything,
        _ => return None,
    };
    Some((scenario, Expected { end, owed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_expected_end_and_every_line_is_read() {
        let ends = expected_ends();
        let lines = EXPECTED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).count();
        assert_eq!((ends.len(), lines), (KINDS.len(), KINDS.len()));
        assert!(KINDS.iter().all(|kind| ends.contains_key(kind.name)));
    }
}
