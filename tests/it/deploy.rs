//! What `deploy/` promises about the program, held against the program: command lines, keys, ports, paths, and times that have to
//! fit into one another. Whether Kubernetes, Docker and systemd take the files is for `make deploy-check`.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use rekon::{
    cli,
    config::{Config, LoadOptions},
    sim::DEMO_PRIVATE_KEY_PEM,
};
use serde_yaml_ng::Value;

use crate::support::{TestDb, process::Daemon};

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("deploy/{path}: {error}"))
}

fn documents(path: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    let text = read(path);
    serde_yaml_ng::Deserializer::from_str(&text).map(|d| Value::deserialize(d).expect("it is YAML")).collect()
}

const MANIFESTS: [&str; 3] = ["k8s/base/http.yaml", "k8s/base/migrate.yaml", "k8s/overlays/cronjob/cronjob.yaml"];

/// Every mapping that has this key, however deep.
fn holders<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Mapping(map) => {
            if map.contains_key(key) {
                found.push(value);
            }
            map.values().for_each(|below| holders(below, key, found));
        }
        Value::Sequence(items) => items.iter().for_each(|below| holders(below, key, found)),
        _ => {}
    }
}

/// Every pod of the manifests.
fn pods() -> Vec<Value> {
    let documents: Vec<Value> = MANIFESTS.iter().flat_map(|path| documents(path)).collect();
    let mut found = Vec::new();
    for document in &documents {
        holders(document, "containers", &mut found);
    }
    assert_eq!(found.len(), 3, "the daemon, the migration, the cron job");
    found.into_iter().cloned().collect()
}

fn containers() -> Vec<Value> {
    pods().iter().flat_map(|pod| pod["containers"].as_sequence().expect("a list").clone()).collect()
}

fn words(list: &Value) -> Vec<String> {
    list.as_sequence().expect("a list").iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
}

/// Is this what somebody may type after `rekon`?
#[track_caller]
fn assert_takes(args: &[String]) {
    let line = ["rekon".to_owned()].into_iter().chain(args.iter().cloned());
    let parsed = cli::command().try_get_matches_from(line);
    assert!(parsed.is_ok(), "rekon {}: {}", args.join(" "), parsed.unwrap_err());
}

#[test]
fn every_command_line_is_one_that_the_program_takes() {
    for container in containers() {
        assert_takes(&words(&container["args"]));
    }
    let overlay = &documents("k8s/overlays/cronjob/kustomization.yaml")[0];
    let patch: Value = serde_yaml_ng::from_str(overlay["patches"][0]["patch"].as_str().unwrap()).expect("a patch");
    assert_eq!(patch[0]["path"], "/spec/template/spec/containers/0/args");
    assert_eq!(words(&patch[0]["value"]), ["serve", "--roles", "http"], "nothing sweeps between two runs");
    assert_takes(&words(&patch[0]["value"]));
    let dockerfile = read("Dockerfile");
    let start = dockerfile.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a CMD");
    assert_takes(&words(&serde_yaml_ng::from_str(start).expect("in JSON form")));
    let unit = read("systemd/rekon.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/rekon ")).expect("a start");
    assert_takes(&start.split(' ').map(str::to_owned).collect::<Vec<_>>());
}

/// The ConfigMap's configuration, its secrets moved to where this test has some.
struct Shipped {
    folder: tempfile::TempDir,
    text: String,
}

const SECRETS: &str = "/run/secrets/rekon/";

impl Shipped {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("doku.pem"), DEMO_PRIVATE_KEY_PEM).expect("the key is written");
        fs::write(folder.path().join("doku-client-secret"), "hush\n").expect("the secret is written");
        let text = read("k8s/base/jobs.toml").replace(SECRETS, &format!("{}/", folder.path().display()));
        fs::write(folder.path().join("jobs.toml"), &text).expect("the configuration is written");
        Self { folder, text }
    }

    fn config(&self, env: &BTreeMap<String, String>) -> Config {
        let path = self.folder.path().join("jobs.toml");
        Config::load(LoadOptions { path: Some(&path), env, known_providers: &["doku"] })
            .unwrap_or_else(|errors| panic!("{errors}"))
    }
}

/// The variables that the image sets.
fn image_env() -> BTreeMap<String, String> {
    let dockerfile = read("Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV REKON"));
    let pairs = lines.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            (if name.starts_with("REKON") { name.to_owned() } else { format!("REKON{name}") }, value.to_owned())
        })
        .collect()
}

#[test]
fn keys_variables_and_paths_are_those_of_the_configuration() {
    let mut env = image_env();
    assert_eq!(env.len(), 3, "{env:?}");
    let named = env.remove("REKON_CONFIG").expect("the image names a configuration");
    // A variable that is no key is an error of the configuration.
    let alone = Config::from_toml("", &env, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    env.insert("DATABASE_URL".to_owned(), "postgres://rekon@db/rekon".to_owned());
    let shipped = Shipped::new();
    let config = shipped.config(&env);
    assert_eq!(config.server.listen, alone.server.listen);
    let map = &documents("k8s/base/kustomization.yaml")[0]["configMapGenerator"][0];
    let file = map["files"][0].as_str().unwrap();
    for container in containers() {
        for variable in container["env"].as_sequence().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap();
            assert!(env.contains_key(name), "{name} is a variable that somebody reads");
        }
        let mounts = container["volumeMounts"].as_sequence().expect("mounts");
        let at = |name: &str| {
            mounts.iter().find(|m| m["name"] == name).expect("it is mounted")["mountPath"].as_str().unwrap()
        };
        assert_eq!(format!("{}/{file}", at("config")), named, "{container:?}");
        assert_eq!(format!("{}/", at("secrets")), SECRETS);
    }
    assert!(read("k8s/base/jobs.toml").contains(SECRETS));
    let unit = read("systemd/rekon.service");
    for line in unit.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        assert!(line.starts_with("REKON_CONFIG="), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_paths_are_those_that_the_program_answers_on() {
    let shipped = Shipped::new();
    let config = shipped.config(&BTreeMap::from([("DATABASE_URL".to_owned(), "postgres://x@db/x".to_owned())]));
    let port = u64::from(config.server.listen.port());
    assert!(config.server.listen.ip().is_unspecified(), "a pod is reached from outside of it");
    assert!(read("Dockerfile").contains(&format!("EXPOSE {port}")));
    let policy = &documents("k8s/base/networkpolicy.yaml")[0];
    assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"].as_u64(), Some(port));
    let daemon = containers().remove(0);
    assert_eq!(daemon["ports"][0]["containerPort"].as_u64(), Some(port));
    let name = daemon["ports"][0]["name"].clone();
    let service = documents("k8s/base/http.yaml").remove(2);
    assert_eq!((&service["kind"], &service["spec"]["ports"][0]["targetPort"]), (&Value::from("Service"), &name));
    let monitor = &documents("k8s/base/servicemonitor.yaml")[0]["spec"]["endpoints"][0];
    assert_eq!(monitor["port"], service["spec"]["ports"][0]["name"]);
    let mut paths = vec![monitor["path"].as_str().unwrap().to_owned()];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &daemon[probe]["httpGet"];
        assert_eq!(get["port"], name, "{probe}");
        paths.push(get["path"].as_str().unwrap().to_owned());
    }
    // What the ConfigMap says, but the port, which a test cannot have for itself.
    let (before, rest) = shipped.text.split_once("[server]").expect("a server");
    let text = format!("{before}[{}", rest.split_once("\n[").expect("more").1);
    let db = TestDb::new().await;
    let mut program = Daemon::spawn(&text, &BTreeMap::from([("DATABASE_URL".to_owned(), db.url.clone())]));
    program.wait_for("at work").await;
    for path in paths {
        program.wait_for_status(&path, 200).await;
    }
    assert_eq!(program.terminate().await.code, Some(0));
}

fn secs(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().expect("whole seconds"))
}

#[test]
fn times_fit_into_one_another() {
    let config = Shipped::new().config(&BTreeMap::from([("DATABASE_URL".to_owned(), "postgres://x@db/x".to_owned())]));
    let longest_call = config.accounts.values().map(|account| account.timeout).max().expect("an account");
    let drain = config.server.drain_timeout;
    assert!(drain > longest_call, "calls in flight end while it drains");
    let pods = pods();
    for pod in pods.iter().filter(|pod| pod["terminationGracePeriodSeconds"].is_number()) {
        let grace = secs(&pod["terminationGracePeriodSeconds"]);
        assert!(grace >= drain + Duration::from_secs(10), "{grace:?} leaves no time to write what came in at last");
    }
    let unit = read("systemd/rekon.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s')).expect("a stop");
    assert!(Duration::from_secs(stop.parse().unwrap()) >= drain + Duration::from_secs(10));
    let job = &documents("k8s/overlays/cronjob/cronjob.yaml")[0]["spec"];
    let pod = &job["jobTemplate"]["spec"];
    let args = words(&pod["template"]["spec"]["containers"][0]["args"]);
    let deadline = args.iter().skip_while(|arg| *arg != "--deadline").nth(1).expect("a deadline");
    let deadline = Duration::from_secs(60 * deadline.strip_suffix('m').expect("minutes").parse::<u64>().unwrap());
    let active = secs(&pod["activeDeadlineSeconds"]);
    let grace = secs(&pod["template"]["spec"]["terminationGracePeriodSeconds"]);
    assert!(deadline + grace < active, "its own deadline ends it before Kubernetes does");
    assert_eq!(job["schedule"], "*/15 * * * *");
    assert!(active < Duration::from_mins(15), "one is over before the next is due");
    assert_eq!((&job["timeZone"], &job["concurrencyPolicy"]), (&Value::from("Asia/Jakarta"), &Value::from("Forbid")));
    assert_eq!(pod["backoffLimit"].as_u64(), Some(0), "its exit codes are answers for people");
}

#[test]
fn every_pod_is_as_small_as_it_can_be() {
    for pod in pods() {
        assert_eq!(pod["automountServiceAccountToken"], false);
        let security = &pod["securityContext"];
        assert_eq!(
            (&security["runAsNonRoot"], &security["seccompProfile"]["type"]),
            (&Value::from(true), &Value::from("RuntimeDefault"))
        );
        for container in pod["containers"].as_sequence().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(
                (&security["readOnlyRootFilesystem"], &security["allowPrivilegeEscalation"]),
                (&Value::from(true), &Value::from(false))
            );
            assert_eq!(words(&security["capabilities"]["drop"]), ["ALL"]);
            assert!(
                container["resources"]["limits"]["memory"].is_string()
                    && container["resources"]["requests"]["cpu"].is_string()
            );
        }
    }
    let image = read("Dockerfile");
    assert!(image.contains("\nFROM scratch\n") && image.contains("\nUSER 65532:65532\n"));
}

#[test]
fn every_alert_leads_to_a_runbook_that_exists() {
    let rules = &documents("k8s/base/prometheusrule.yaml");
    let mut alerts = Vec::new();
    for document in rules {
        holders(document, "alert", &mut alerts);
    }
    assert!(alerts.len() > 10, "{}", alerts.len());
    for alert in alerts {
        let runbook = alert["annotations"]["runbook_url"].as_str().expect("a runbook");
        assert!(runbook.ends_with(&format!("{}.md", alert["alert"].as_str().unwrap())), "{runbook}");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(runbook);
        assert!(path.is_file(), "{runbook} does not exist");
    }
}

/// The overlay's patch is `grafana/alerts/rekon-cronjob.rules.yaml` on the rule of the name that it says.
#[test]
fn the_cronjob_s_rules_take_the_places_of_those_they_name() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("grafana/alerts/rekon-cronjob.rules.yaml")).expect("the rules");
    let rules: Value = serde_yaml_ng::from_str(&text).expect("it is YAML");
    let wanted = rules["groups"][0]["rules"].as_sequence().expect("rules").clone();
    let base = documents("k8s/base/prometheusrule.yaml").remove(0);
    let overlay = &documents("k8s/overlays/cronjob/kustomization.yaml")[0];
    assert_eq!(overlay["patches"][1]["target"]["kind"], "PrometheusRule");
    let patch: Value = serde_yaml_ng::from_str(overlay["patches"][1]["patch"].as_str().unwrap()).expect("a patch");
    let steps = patch.as_sequence().expect("steps");
    assert_eq!(steps.len(), 2 * wanted.len());
    for (pair, rule) in steps.chunks(2).zip(&wanted) {
        let (test, replace) = (&pair[0], &pair[1]);
        assert_eq!((&test["op"], &replace["op"]), (&Value::from("test"), &Value::from("replace")));
        let place = replace["path"].as_str().expect("a path");
        assert_eq!(test["path"].as_str(), Some(format!("{place}/alert").as_str()));
        let index: usize = place.strip_prefix("/spec/groups/0/rules/").expect("a rule").parse().expect("a number");
        assert_eq!(base["spec"]["groups"][0]["rules"][index]["alert"], test["value"], "{place}");
        assert_eq!(&replace["value"], rule);
        // What watches the calendar's daily run has nothing to watch here.
        let gives_way = if test["value"] == "RekonDailyMissing" {
            "RekonReconcileMissing"
        } else {
            test["value"].as_str().unwrap()
        };
        assert_eq!(rule["alert"], gives_way);
    }
}

/// Every alert, probe and signal there is has its line.
#[test]
fn the_table_of_operations_is_complete() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/operations.md")).expect("the manual");
    let section = manual.split("\n## ").find(|s| s.starts_with("What says that it works")).expect("the section");
    let lines: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).collect();
    let rules = ["rekon", "rekon-cronjob"]
        .map(|name| fs::read_to_string(root.join(format!("grafana/alerts/{name}.rules.yaml"))).expect("the rules"));
    let rules = rules.concat();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 20, "{}", alerts.len());
    for alert in alerts {
        let link = format!("[{alert}](runbooks/{alert}.md)");
        assert!(lines.iter().any(|line| line.contains(&link)), "{alert} has no line");
    }
    let daemon = containers().remove(0);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = daemon[probe]["httpGet"]["path"].as_str().expect("a path");
        let kind = probe.trim_end_matches("Probe").replace("readiness", "(readiness)");
        assert!(lines.iter().any(|line| line.contains(&format!("`{path}`")) && line.contains(&kind)), "{probe} {path}");
    }
    let handled =
        ["src/cli/signals.rs", "src/cli/serve.rs"].map(|file| fs::read_to_string(root.join(file)).expect("a source"));
    let handled: Vec<&str> = handled.iter().flat_map(|source| source.split("SignalKind::").skip(1)).collect();
    for (kind, name) in [("interrupt", "SIGINT"), ("terminate", "SIGTERM"), ("hangup", "SIGHUP")] {
        assert!(handled.iter().any(|code| code.starts_with(kind)), "{kind} is not handled");
        assert!(lines.iter().any(|line| line.starts_with(&format!("| {name} "))), "{name} has no line");
    }
    let kinds = handled.iter().filter(|code| !code.starts_with(char::is_uppercase) && code.contains("()"));
    assert_eq!(
        kinds.filter(|code| code.split("()").next().is_some_and(|k| k.chars().all(char::is_lowercase))).count(),
        3
    );
    for line in lines.iter().skip(1) {
        let seen = line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        assert!(seen == "M" || seen.contains(".rs::") || line.starts_with("| what "), "nobody sees: {line}");
    }
}

#[test]
fn the_table_of_operations_names_tests_that_exist() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/operations.md")).expect("the manual");
    let named: Vec<_> = manual.split('`').filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() > 15, "{}", named.len());
    for (file, test) in named {
        let source = fs::read_to_string(root.join(format!("tests/it/{file}.rs"))).unwrap_or_default();
        assert!(source.contains(&format!("fn {test}(")), "tests/it/{file}.rs has no test {test}");
    }
}
