//! A real Prometheus in a folder of its own, from `.ci/prometheus`: scrapes and evaluates every second, asked over its API.
//! It ends with the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::files::root;

const PATIENCE: Duration = Duration::from_mins(2);

/// A running Prometheus.
pub(super) struct Prometheus {
    child: Child,
    folder: tempfile::TempDir,
    base: String,
    http: reqwest::Client,
}

/// The folder of its programs; fetches them where there are none.
pub(super) fn programs() -> PathBuf {
    let found = Command::new(root().join(".ci/prometheus")).output().expect("the script runs");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    PathBuf::from(String::from_utf8(found.stdout).expect("a path").trim())
}

/// `promtool` with these arguments must be content.
pub(super) fn promtool(args: &[&str]) {
    let done = Command::new(programs().join("promtool")).args(args).current_dir(root()).output().expect("it runs");
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success(), "promtool {args:?}\n{said}");
}

impl Prometheus {
    /// Starts it on these rules, with nothing to scrape yet.
    pub(super) async fn start(rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it is written");
        write("rules.yaml", rules);
        write("targets.json", "[]");
        let config = "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }\nrule_files: [rules.yaml]\n\
            scrape_configs:\n  - job_name: rekon\n    file_sd_configs: [{ files: [targets.json], refresh_interval: 1s }]\n";
        write("prometheus.yaml", config);
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let address = format!("127.0.0.1:{port}");
        // Another test may have been first; plain http needs it only to be there.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let child = Command::new(programs().join("prometheus"))
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=error"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let prometheus = Self { child, folder, base: format!("http://{address}"), http };
        let begun = Instant::now();
        while prometheus.http.get(format!("{}/-/ready", prometheus.base)).send().await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "it never got ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        prometheus
    }

    /// From now on it scrapes this address, and no other.
    pub(super) fn scrape(&self, address: std::net::SocketAddr) {
        let next = self.folder.path().join("next");
        fs::write(&next, format!("[{{\"targets\": [\"{address}\"]}}]")).expect("it is written");
        fs::rename(next, self.folder.path().join("targets.json")).expect("it takes its place");
    }

    /// Alerts that fire now.
    pub(super) async fn firing(&self) -> BTreeSet<String> {
        let answer = self.ask("alerts", &[]).await;
        let alerts = answer["data"]["alerts"].as_array().expect("alerts");
        let fires = alerts.iter().filter(|alert| alert["state"] == "firing");
        fires.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect()
    }

    /// Series of an expression from `start` (seconds since 1970) until now, a point each second.
    pub(super) async fn range(&self, expr: &str, start: i64, end: i64) -> Vec<Value> {
        let (start, end) = (start.to_string(), end.to_string());
        let answer = self.ask("query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", "1")]).await;
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        answer["data"]["result"].as_array().expect("series").clone()
    }

    /// The `description` and `summary` of what fires, as a person reads them.
    pub(super) async fn words(&self) -> BTreeMap<String, String> {
        let answer = self.ask("alerts", &[]).await;
        let alerts = answer["data"]["alerts"].as_array().expect("alerts");
        let of = |alert: &Value, part: &str, key: &str| alert[part][key].as_str().unwrap_or_default().to_owned();
        let told = |alert: &Value| (of(alert, "labels", "alertname"), of(alert, "annotations", "description"));
        alerts.iter().filter(|alert| alert["state"] == "firing").map(told).collect()
    }

    async fn ask(&self, what: &str, form: &[(&str, &str)]) -> Value {
        let hex = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let pairs: Vec<String> = form.iter().map(|(key, value)| format!("{key}={}", hex(value))).collect();
        let url = format!("{}/api/v1/{what}?{}", self.base, pairs.join("&"));
        let answer = self.http.get(url).send().await.expect("it answers").text().await.expect("it answers to the end");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
