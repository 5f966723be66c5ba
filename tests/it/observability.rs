//! Boards, alerts and runbooks against the catalogue and one another, as they stand in their files; then, with a real
//! Prometheus, against the running program: see `live`.

mod files;
#[cfg(feature = "observe")]
mod live;
#[cfg(feature = "observe")]
mod prometheus;
mod promql;
#[cfg(feature = "observe")]
mod scaled;

use std::collections::{BTreeMap, BTreeSet};

use files::{Alert, Panel, alerts, boards, cronjob_alerts, panels, read, targets};

use promql::{Speech, speech};
use rekon::telemetry::catalogue::{CATALOGUE, Kind, Metric};

use crate::web::house::vocabulary;

const RUNBOOKS: &str = "docs/runbooks";
const SECTIONS: [&str; 5] = ["**Meaning.** ", "**Impact.** ", "**Check**", "**Fix**", "**Escalate** "];

/// The metric that a series belongs to.
fn metric_of(series: &str) -> Option<&'static Metric> {
    let named = |name: &str| CATALOGUE.iter().find(|metric| metric.name == name).copied();
    let parts = ["_bucket", "_count", "_sum"];
    named(series).or_else(|| {
        parts
            .iter()
            .find_map(|part| named(series.strip_suffix(part)?))
            .filter(|metric| matches!(metric.kind, Kind::Histogram(_)))
    })
}

/// What is wrong with an expression: series, labels and label values that no process will ever show.
fn faults(expr: &str, labels_shown: &[String]) -> Vec<String> {
    let words = vocabulary();
    let Speech { series, grouped } = speech(expr);
    let mut faults = Vec::new();
    let mut labels: BTreeSet<&str> = BTreeSet::new();
    for (name, matchers) in &series {
        let Some(metric) = metric_of(name) else {
            faults.push(format!("no metric {name}"));
            continue;
        };
        labels.extend(metric.labels.iter().map(|label| label.name));
        if name.ends_with("_bucket") {
            labels.insert("le");
        }
        for (label, values) in matchers {
            let Some(known) = metric.labels.iter().find(|known| known.name == label) else {
                faults.push(format!("{name} has no label {label}"));
                continue;
            };
            let possible = words.values(known.words);
            let unknown = values.iter().filter(|value| *value != "$account" && !possible.contains(&value.as_str()));
            faults.extend(unknown.map(|value| format!("{name}{{{label}}} is never {value}")));
        }
    }
    if series.is_empty() {
        faults.push("it asks for nothing".to_owned());
    }
    let unknown = |label: &&String| !labels.contains(label.as_str());
    faults.extend(grouped.iter().filter(unknown).map(|label| format!("no label {label} to group by")));
    let lost = labels_shown.iter().filter(|label| !grouped.contains(*label));
    faults.extend(lost.map(|label| format!("label {label} is shown and was summed away")));
    faults
}

/// Words of `{{ … }}` in a legend or an annotation: `account` of `{{account}}`, `$labels.account` of `{{ $labels.account }}`.
fn placeholders(text: &str) -> Vec<String> {
    let inner = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
    inner.map(|(word, _)| word.trim().to_owned()).collect()
}

#[test]
fn every_alert_speaks_of_metrics_and_labels_that_exist() {
    for Alert { name, expr, summary, description, .. } in alerts().into_iter().chain(cronjob_alerts()) {
        let shown: Vec<String> = placeholders(&format!("{summary} {description}"))
            .iter()
            .filter_map(|word| word.strip_prefix("$labels.").map(str::to_owned))
            .collect();
        assert_eq!(faults(&expr, &shown), [""; 0], "{name}: {expr}");
    }
}

#[test]
fn every_panel_speaks_of_metrics_and_labels_that_exist() {
    for Panel { at, json } in panels().iter().filter(|panel| panel.json["type"] != "row") {
        for (expr, legend) in targets(json) {
            let shown: Vec<String> = placeholders(&legend);
            assert_eq!(faults(&expr, &shown), [""; 0], "{at}: {expr}");
        }
    }
}

/// The checker itself: what it must not let pass.
#[test]
fn a_mistyped_metric_label_value_grouping_or_legend_is_seen() {
    for (expr, legend, fault) in [
        ("rekon_open_row", "", "no metric rekon_open_row"),
        ("rekon_open_rows_bucket", "", "no metric rekon_open_rows_bucket"),
        ("rekon_open_rows{acount=\"x\"}", "", "rekon_open_rows has no label acount"),
        ("rekon_open_rows{state=\"opened\"}", "", "rekon_open_rows{state} is never opened"),
        ("rekon_jobs_total{outcome=~\"done|lost\"}", "", "rekon_jobs_total{outcome} is never lost"),
        ("sum by (le) (rekon_open_rows)", "", "no label le to group by"),
        ("sum by (state) (rekon_open_rows)", "account", "label account is shown and was summed away"),
        ("vector(0)", "", "it asks for nothing"),
    ] {
        let shown: Vec<String> = Some(legend.to_owned()).filter(|l| !l.is_empty()).into_iter().collect();
        assert_eq!(faults(expr, &shown), [fault], "{expr}");
    }
}

#[test]
fn every_metric_is_on_a_board() {
    let asked: BTreeSet<&str> = panels()
        .iter()
        .flat_map(|panel| targets(&panel.json))
        .flat_map(|(expr, _)| speech(&expr).series)
        .filter_map(|(name, _)| metric_of(&name).map(|metric| metric.name))
        .collect();
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
    assert_eq!(asked, known);
}

/// Prometheus writes these labels of its own; ours would be read as `exported_job`, and every rule would wait for ever.
#[test]
fn no_label_is_one_that_prometheus_writes() {
    for metric in CATALOGUE {
        let taken = metric.labels.iter().find(|label| ["job", "instance", "le", "quantile"].contains(&label.name));
        assert!(taken.is_none(), "{}: {taken:?}", metric.name);
    }
}

/// Replicas show the same database: a sum over it counts every payment as often as there are replicas.
#[test]
fn gauges_of_the_database_are_never_summed_over_replicas() {
    let panels = panels();
    let of_panels = panels.iter().flat_map(|panel| targets(&panel.json)).map(|(expr, _)| expr);
    for expr in of_panels.chain(alerts().into_iter().chain(cronjob_alerts()).map(|alert| alert.expr)) {
        for (name, _) in speech(&expr).series {
            if metric_of(&name).is_some_and(|metric| matches!(metric.kind, Kind::DatabaseGauge)) {
                let (before, _) = expr.split_once(&name).expect("it was found there");
                let nearest = ["max", "min", "sum", "avg", "count", "topk"].into_iter().max_by_key(|word| {
                    [format!("{word}("), format!("{word} by")].iter().filter_map(|call| before.rfind(call)).max()
                });
                assert!(matches!(nearest, Some("max" | "min")), "{name} is put together by {nearest:?} in {expr}");
            }
        }
    }
}

/// Alerts that there are only where a CronJob runs alone.
fn cronjob_only() -> Vec<Alert> {
    let usual = alerts();
    cronjob_alerts().into_iter().filter(|alert| !usual.iter().any(|known| known.name == alert.name)).collect()
}

/// Between two runs fifteen minutes pass in which nothing is asked and nothing proved.
#[test]
fn the_rules_of_the_cronjob_differ_in_their_patience_alone_and_wait_for_more_than_one_run() {
    let usual = alerts();
    for alert in cronjob_alerts() {
        let Some(known) = usual.iter().find(|known| known.name == alert.name) else { continue };
        assert_eq!((&alert.severity, &alert.runbook_url), (&known.severity, &known.runbook_url), "{}", alert.name);
        let of = |alert: &Alert| speech(&alert.expr).series.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(of(&alert), of(known), "{}", alert.name);
        let limit = alert.expr.rsplit("> ").next().and_then(|number| number.parse::<u32>().ok()).unwrap_or_default();
        let minutes = alert.held_for.strip_suffix('m').and_then(|m| m.parse::<u32>().ok()).expect("minutes");
        assert!(limit + minutes * 60 > 2 * 15 * 60, "{} fires between two runs", alert.name);
        let page = read(&alert.runbook_url);
        assert!(page.contains("Where only a CronJob runs"), "{} does not say what differs", alert.runbook_url);
    }
    assert_eq!(cronjob_only().iter().map(|alert| alert.name.as_str()).collect::<Vec<_>>(), ["RekonReconcileMissing"]);
}

#[test]
fn every_alert_has_its_runbook_with_all_sections_and_there_is_no_other() {
    let mut alerts = alerts();
    alerts.extend(cronjob_only());
    let names: BTreeSet<String> = alerts.iter().map(|alert| alert.name.clone()).collect();
    assert_eq!(names.len(), alerts.len(), "a name twice");
    let folder = files::root().join(RUNBOOKS);
    let found: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .filter_map(|file| file.ok()?.file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    assert_eq!(found, names);
    let list = read(&format!("{RUNBOOKS}/README.md"));
    for Alert { name, expr, held_for, severity, runbook_url, .. } in &alerts {
        assert_eq!(*runbook_url, format!("{RUNBOOKS}/{name}.md"));
        let page = read(runbook_url);
        let head = format!("# {name}\n\nSeverity: {severity}. Fires after {held_for} of\n\n```promql\n{expr}\n```\n\n");
        assert!(page.starts_with(&head), "{runbook_url} should begin\n{head}");
        let starts: Vec<&str> =
            page.lines().filter_map(|line| SECTIONS.into_iter().find(|section| line.starts_with(section))).collect();
        assert_eq!(starts, SECTIONS, "{runbook_url}");
        assert!(list.contains(&format!("| [{name}]({name}.md) | {severity} | ")), "README.md lacks {name}");
    }
    let rows = list.lines().filter(|line| line.starts_with("| [")).count();
    assert_eq!(rows, alerts.len(), "README.md lists others too");
}

/// What a runbook tells somebody to type at three in the morning is a command.
#[test]
fn every_command_in_a_runbook_a_panel_or_the_manual_exists() {
    let known: BTreeSet<String> = read("docs/cli.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("### `rekon ")?.strip_suffix('`')?.to_owned()))
        .collect();
    let mut texts: BTreeMap<String, String> = BTreeMap::from([("docs/metrics.md".into(), read("docs/metrics.md"))]);
    texts.extend(
        alerts().into_iter().chain(cronjob_only()).map(|alert| (alert.runbook_url.clone(), read(&alert.runbook_url))),
    );
    texts.extend(panels().into_iter().map(|p| (p.at, p.json["description"].as_str().unwrap_or_default().to_owned())));
    for (at, text) in texts {
        let commands = text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("rekon "));
        for command in commands {
            let is_known = known.iter().any(|name| command == name || command.starts_with(&format!("{name} ")));
            let is_family = known.iter().any(|name| name.starts_with(&format!("{command} ")));
            assert!(is_known || is_family, "{at}: there is no `rekon {command}`");
        }
    }
}

#[cfg(feature = "observe")]
#[test]
fn promtool_reads_the_rules_and_their_short_form() {
    prometheus::promtool(&["check", "rules", files::RULES]);
    prometheus::promtool(&["check", "rules", files::CRONJOB_RULES]);
    let short = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(short.path(), scaled::rules()).expect("it is written");
    prometheus::promtool(&["check", "rules", &short.path().display().to_string()]);
}

#[test]
fn the_rules_of_kubernetes_are_the_rules() {
    let rules = read(files::RULES);
    let (_, groups) = rules.split_once("groups:\n").expect("groups");
    let indented = groups.lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>().concat();
    let copy = read("deploy/k8s/base/prometheusrule.yaml");
    let (_, copied) = copy.split_once("  groups:\n").expect("groups");
    assert_eq!(copied, indented);
}

#[test]
fn the_manual_says_when_to_act_as_the_alerts_do() {
    let manual = read("docs/metrics.md");
    let (_, section) = manual.split_once("## When to act\n").expect("the section");
    let (section, of_cronjob) = section.split_once("### Where only a CronJob runs\n").expect("what differs there");
    let told: Vec<String> = section.lines().filter(|line| line.starts_with("| [")).map(str::to_owned).collect();
    let head = |alert: &Alert| {
        let Alert { name, expr, held_for, .. } = alert;
        format!("| [{name}](runbooks/{name}.md) | `{}` | {held_for} | ", expr.replace('|', "\\|"))
    };
    let alerts = alerts();
    assert_eq!(told.len(), alerts.len());
    for (row, alert) in told.iter().zip(&alerts) {
        assert!(row.starts_with(&head(alert)), "\n{row}\nshould begin\n{}", head(alert));
    }
    let told: Vec<&str> = of_cronjob.lines().filter(|line| line.starts_with("| [")).collect();
    let alerts = cronjob_alerts();
    assert_eq!(told.len(), alerts.len());
    for (row, alert) in told.iter().zip(&alerts) {
        assert!(row.starts_with(&head(alert)), "\n{row}\nshould begin\n{}", head(alert));
    }
}

#[test]
fn panels_say_what_to_do_have_a_unit_and_lie_side_by_side() {
    let mut uids = BTreeSet::new();
    for (file, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().expect("a uid").to_owned()), "{file}: its uid is another's");
        assert_eq!(board["editable"], false, "{file}");
        let mut ids = BTreeSet::new();
        let mut taken = BTreeMap::new();
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{file}: {title}: its id is another's");
            let cell = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            assert!(cell("w") > 0 && cell("h") > 0 && cell("x") + cell("w") <= 24, "{file}: {title} leaves the grid");
            for place in
                (cell("x")..cell("x") + cell("w")).flat_map(|x| (cell("y")..cell("y") + cell("h")).map(move |y| (x, y)))
            {
                let before = taken.insert(place, title);
                assert_eq!(before, None, "{file}: {title} lies on another panel at {place:?}");
            }
            if panel["type"] == "row" {
                continue;
            }
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(description.len() > 20 && description.ends_with('.'), "{file}: {title} says {description:?}");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            assert!(!unit.is_empty(), "{file}: {title} has no unit");
            assert!(!targets(panel).is_empty(), "{file}: {title} asks for nothing");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: {title}");
        }
    }
}
