//! The files that an operator mounts, read as they stand: rules line by line, boards as JSON.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The rules.
pub(super) const RULES: &str = "grafana/alerts/rekon.rules.yaml";

/// Those that differ where only a CronJob runs.
pub(super) const CRONJOB_RULES: &str = "grafana/alerts/rekon-cronjob.rules.yaml";

/// One alert.
#[derive(Debug, Clone, Default)]
pub(super) struct Alert {
    pub(super) name: String,
    pub(super) expr: String,
    /// `for`, as `15m`.
    pub(super) held_for: String,
    pub(super) severity: String,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) runbook_url: String,
}

/// One panel and where it stands.
pub(super) struct Panel {
    /// Board and title.
    pub(super) at: String,
    pub(super) json: Value,
}

/// The project's folder.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project.
pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every alert.
pub(super) fn alerts() -> Vec<Alert> {
    alerts_in(RULES)
}

/// Those of the CronJob, of which some have names that are not among the others.
pub(super) fn cronjob_alerts() -> Vec<Alert> {
    alerts_in(CRONJOB_RULES)
}

/// The file keeps to one form, one key a line; a line of another form is refused. `promtool` reads it as YAML.
fn alerts_in(file: &str) -> Vec<Alert> {
    let text = read(file);
    let (_, rules) = text.split_once("    rules:\n").expect("rules");
    let mut alerts: Vec<Alert> = Vec::new();
    for line in rules.lines() {
        if let Some(name) = line.strip_prefix("      - alert: ") {
            alerts.push(Alert { name: name.to_owned(), ..Alert::default() });
            continue;
        }
        let alert = alerts.last_mut().expect("an alert begins");
        let (key, value) = line.trim_start().split_once(':').unwrap_or_else(|| panic!("{line:?} is no key"));
        let value = value.trim().trim_matches('\'').to_owned();
        match key {
            "expr" => alert.expr = value,
            "for" => alert.held_for = value,
            "labels" => {
                let words = value.strip_prefix("{ severity: ").and_then(|v| v.strip_suffix(", team: payments }"));
                alert.severity = words.unwrap_or_else(|| panic!("{line:?}")).to_owned();
            }
            "annotations" => {}
            "summary" => alert.summary = value,
            "description" => alert.description = value,
            "runbook_url" => alert.runbook_url = value,
            _ => panic!("{line:?} is of no known form"),
        }
    }
    for alert in &alerts {
        assert!(["critical", "warning", "info"].contains(&alert.severity.as_str()), "{alert:?}");
        let texts = [&alert.expr, &alert.held_for, &alert.summary, &alert.description, &alert.runbook_url];
        assert!(texts.iter().all(|text| !text.is_empty()), "{alert:?}");
    }
    alerts
}

/// Every board: its file's name and what it holds.
pub(super) fn boards() -> Vec<(String, Value)> {
    let folder = root().join("grafana/dashboards");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let board = |path: PathBuf| {
        let name = path.file_name().expect("a name").display().to_string();
        let text = fs::read_to_string(&path).expect("it can be read");
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, json)
    };
    paths.into_iter().map(board).collect()
}

/// Every panel of every board, rows of panels included.
pub(super) fn panels() -> Vec<Panel> {
    let mut panels = Vec::new();
    for (file, board) in boards() {
        for json in board["panels"].as_array().expect("panels") {
            let at = format!("{file}: {}", json["title"].as_str().unwrap_or_default());
            panels.push(Panel { at, json: json.clone() });
        }
    }
    panels
}

/// Expressions of a panel with their legends; `__auto` is no legend.
pub(super) fn targets(panel: &Value) -> Vec<(String, String)> {
    let text = |target: &Value, key: &str| target[key].as_str().unwrap_or_default().to_owned();
    let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    targets.iter().map(|target| (text(target, "expr"), text(target, "legendFormat"))).collect()
}
