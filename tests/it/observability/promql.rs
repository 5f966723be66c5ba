//! What an expression of PromQL speaks of: series with their matchers, and the labels it groups by. A scan of words, no parser:
//! whether it is PromQL at all is for Prometheus to say.

use std::collections::BTreeSet;

/// A label and the values that it is compared with.
type Matcher = (String, Vec<String>);

/// What an expression speaks of.
#[derive(Debug)]
pub(super) struct Speech {
    /// Names of ours, each with its matchers.
    pub(super) series: Vec<(String, Vec<Matcher>)>,
    /// Labels of `by (…)`.
    pub(super) grouped: BTreeSet<String>,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Reads an expression.
pub(super) fn speech(expr: &str) -> Speech {
    let mut series = Vec::new();
    let mut rest = expr;
    while let Some(at) = rest.find("rekon_") {
        let name: String = rest[at..].chars().take_while(|c| is_word(*c)).collect();
        rest = &rest[at + name.len()..];
        let matchers = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((inner, after)) => {
                rest = after;
                matchers(inner)
            }
            None => Vec::new(),
        };
        series.push((name, matchers));
    }
    let groups = expr.split("by (").skip(1).filter_map(|after| after.split_once(')'));
    let grouped = groups.flat_map(|(labels, _)| labels.split(',')).map(|label| label.trim().to_owned()).collect();
    Speech { series, grouped }
}

/// `a="x",b=~"y|z"`.
fn matchers(inner: &str) -> Vec<Matcher> {
    inner
        .split(',')
        .filter_map(|matcher| {
            let (label, value) = matcher.split_once('=')?;
            let values = value.trim_start_matches('~').trim_matches('"').split('|').map(str::to_owned).collect();
            Some((label.trim().to_owned(), values))
        })
        .collect()
}
