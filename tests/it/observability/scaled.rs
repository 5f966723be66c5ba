//! The rules as they ship, with time cut short: a test cannot wait for two days. What is replaced is written here and nowhere
//! else; an alert that is not listed keeps its threshold. `for` is none for all, windows are ten seconds.

use super::files::{RULES, alerts, read};

/// Windows of the rules, all of which become [`WINDOW`].
const WINDOWS: [&str; 4] = ["[10m]", "[15m]", "[1h]", "[6h]"];
const WINDOW: &str = "[10s]";

/// What `$__rate_interval` of a board is in a test.
pub(super) const RATE_INTERVAL: &str = "10s";

/// Thresholds of time, and of a count that a test cannot reach in seconds.
const THRESHOLDS: &[(&str, &str, &str)] = &[
    ("RekonSentinelSilent", "> 300", "> 9"),
    ("RekonPaymentsOverdue", "> 300", "> 2"),
    ("RekonBudgetSaturated", "> 60", "> 0"),
    ("RekonRefundUnknown", "> 3600", "> 0"),
    ("RekonLoopStuck", "> 120", "> 3"),
    ("RekonWorkerRestarts", "> 3", "> 0"),
];

/// The rules for a test.
pub(super) fn rules() -> String {
    let mut text = read(RULES);
    for alert in alerts() {
        let mut expr = alert.expr.clone();
        for window in WINDOWS {
            expr = expr.replace(window, WINDOW);
        }
        for (_, from, to) in THRESHOLDS.iter().filter(|(name, ..)| *name == alert.name) {
            assert!(expr.ends_with(from), "{} has another threshold: {expr}", alert.name);
            expr = expr.replace(from, to);
        }
        let (before, after) = text.split_once(&format!("- alert: {}\n", alert.name)).expect("it is there");
        let after = after.replacen(&alert.expr, &expr, 1);
        let after = after.replacen(&format!("for: {}\n", alert.held_for), "for: 0s\n", 1);
        text = format!("{before}- alert: {}\n{after}", alert.name);
    }
    text
}
