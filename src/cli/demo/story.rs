//! The words of the demo: what a newcomer reads between the commands. Figures come from elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::{cli::output::table, domain::order::Direction, report::format};

use super::{
    accounts::{ACCOUNTS, Account},
    day::Plan,
    folder::{CONFIG_FILE, EXPECTED_FILE, FIRST_REPORT_FILE, Folder, OUTCOME_FILE, REPORT_FILE},
    notices::{Manner, Sent},
};

/// Exceptions of the report that are shown; the file has more.
const EXCEPTIONS_SHOWN: usize = 3;

/// What this is, and the configuration.
pub(super) fn introduction(base_url: &str, folder: &Folder, config: &str) -> String {
    let config: Vec<String> = config.lines().map(|line| format!("    {line}").trim_end().to_owned()).collect();
    format!(
        "A day of QRIS payments, from pending rows to a reconciled ledger. Many go wrong, each in a known way.\n\n\
         DOKU, Paydia and Brick are simulated on {base_url}: real HTTP, real signatures, and a book\n\
         in which each notes what it truly took and gave back. Nothing leaves this machine. This is the\n\
         configuration, {}:\n\n{}",
        folder.file(CONFIG_FILE).display(),
        config.join("\n")
    )
}

/// What the merchant expects.
pub(super) fn expectation(plan: &Plan, file: &str) -> String {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let of = |account: &&Account| {
        let rows = plan.rows.iter().filter(|row| row.kind.account == *account);
        let payouts = rows.clone().filter(|row| row.kind.direction == Direction::Out).count();
        let aside = if payouts == 0 { String::new() } else { format!(" ({payouts} of them payouts)") };
        format!("{} at {}{aside}", format::count(count(rows.count())), account.provider)
    };
    let accounts: Vec<String> = ACCOUNTS.iter().map(of).collect();
    format!(
        "\nA merchant's day, {}: {} that he expects, in {file}:\n{}.",
        format::day(plan.day),
        format::counted(count(plan.rows.len()), "payment", "payments"),
        accounts.join(", ")
    )
}

/// That notifications come.
pub(super) fn knocking(before: u64, during: usize, url: &str) -> String {
    format!(
        "\nDOKU tells of {} before anybody asks, at {url}.\n\
         {during} more notifications come while the day is reconciled: late, twice, out of order, forged.",
        format::counted(before, "payment", "payments")
    )
}

/// What happened between the two runs.
pub(super) fn turn(turned: u64) -> String {
    format!(
        "\nMeanwhile DOKU changes its mind about {}: some that it called paid have failed, and some\n\
         that were never paid, and are closed, are paid after all. It tells so; a second look at the whole\n\
         day (--fresh 0) finds out what is true.",
        format::counted(turned, "payment", "payments")
    )
}

/// The report with its first exceptions; of the others only how many there are.
pub(super) fn beginning(report: &str) -> String {
    let Some((figures, exceptions)) = report.split_once("\nExceptions\n") else { return report.to_owned() };
    let (listed, end) = exceptions.split_once("\n\n").unwrap_or((exceptions, ""));
    let is_head = |line: &str| line.starts_with("  ") && !line.starts_with("    ");
    let mut heads = 0;
    let shown = listed.lines().take_while(|line| {
        heads += usize::from(is_head(line));
        heads <= EXCEPTIONS_SHOWN
    });
    let shown: Vec<&str> = shown.collect();
    format!("{figures}\nExceptions\n{}\n  … all the others: {REPORT_FILE}\n\n{end}", shown.join("\n"))
}

/// What is left, and what to type next.
pub(super) fn ending(took: Duration, folder: &Folder, commands: &str) -> String {
    format!(
        "\nThat took {} s. Files in {}:\n  \
           {EXPECTED_FILE}     the payments as they were imported\n  \
           {OUTCOME_FILE}      each of them, and what it came to\n  \
           {FIRST_REPORT_FILE}  the day after the first run\n  \
           {REPORT_FILE}       the day after the second run\n  \
           {CONFIG_FILE}        the configuration\n\n\
         The database sleeps in its folder and wakes with every command. What to try next:\n{commands}\n\n\
         The providers end with the demo; with --stay they go on answering `recheck` and `reconcile`.",
        took.as_secs(),
        folder.path().display(),
    )
}

/// What became of the day's notifications.
#[derive(Debug, Serialize)]
pub(super) struct Notifications {
    pub(super) sent: Sent,
    /// By the door's own metrics.
    pub(super) counted: BTreeMap<String, u64>,
    /// Journal entries that were written together with a query's answer.
    #[serde(rename = "journal_entries_with_queries")]
    pub(super) with_queries: i64,
    /// And together with a notification.
    #[serde(rename = "journal_entries_with_notifications")]
    pub(super) with_notifications: i64,
}

impl Notifications {
    fn counted(&self, outcome: &str) -> u64 {
        self.counted.get(outcome).copied().unwrap_or_default()
    }

    /// All arrived, every forgery was seen to be one, and nothing moved.
    pub(super) fn is_harmless(&self) -> bool {
        let forged = self.counted("unverified").saturating_add(self.counted("limited"));
        self.sent.undelivered == 0
            && self.with_notifications == 0
            && forged == self.sent.of(Manner::Forged)
            && self.counted("unmatched") == self.sent.of(Manner::Unknown)
    }

    /// How many of which kind, and what they changed.
    pub(super) fn text(&self) -> String {
        let lines = Manner::ALL.map(|(manner, name, what)| {
            [name, what].map(str::to_owned).into_iter().chain([format::count(self.sent.of(manner))]).collect()
        });
        let shown = table(&["notification", "how it came", "sent"], &[2], lines);
        let [verified, unverified, redelivered, limited, unmatched] =
            ["verified", "unverified", "redelivered", "limited", "unmatched"]
                .map(|outcome| format::count(self.counted(outcome)));
        let arrived = if self.sent.undelivered == 0 {
            "each taken and answered CONTINUE".to_owned()
        } else {
            format!("{} of them never taken", format::count(self.sent.undelivered))
        };
        format!(
            "\nWhat DOKU told unasked, and what somebody told in its name\n{shown}\n\n\
             {} notifications, {arrived}.\n\
             {verified} rightly signed: their rows were asked at once. {redelivered} had come before.\n\
             {} forged: {unverified} rows were asked, the other {limited} only counted. {unmatched} unknown: only counted.\n\
             What they changed: when rekon asked, and nothing else. Journal entries that were written with\n\
             a query's answer: {}, with a notification: {}.",
            format::count(self.sent.total()),
            format::count(self.sent.of(Manner::Forged)),
            format::count(self.with_queries.unsigned_abs()),
            self.with_notifications
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_exceptions_the_first_are_shown_and_what_follows_stays() {
        let one = "  a/1  held {scale}\n    expected Rp 1\n";
        let report = format!("Figures\n\nExceptions\n{}  and 7 more: see list.\n\nRun 2.\n", one.repeat(5));
        let shown = beginning(&report);
        assert_eq!(shown.matches("expected").count(), 3, "{shown}");
        assert!(shown.starts_with("Figures\n") && shown.ends_with("Run 2.\n"), "{shown}");
        assert_eq!(beginning("clean\n"), "clean\n");
    }
}
