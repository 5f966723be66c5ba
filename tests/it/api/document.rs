//! The OpenAPI document and the router are one: what it names answers, and nothing else does.

use std::collections::BTreeSet;

use super::rig::{Api, problem};

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_request_is_answered_and_no_other_method_is() {
    let api = Api::open().await;
    let answer = api.get("", "/api/v1/openapi.json").await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    let document = answer.json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 10, "{paths:?}");
    let mut names = BTreeSet::new();
    for (path, operations) in paths {
        let filled = path.replace("{account}", "doku-main").replace("{ref}", "INV-1").replace("{id}", "1");
        for method in ["get", "post", "put", "patch", "delete"] {
            let answer = api.send("", &method.to_uppercase(), &filled, "", None).await;
            match operations.get(method) {
                Some(operation) if operation["security"] == serde_json::json!([]) => assert_eq!(answer.status, 200),
                Some(operation) => {
                    problem(&answer, 401, "Bearer");
                    assert!(operation["description"].as_str().is_some_and(|text| text.contains("Scope: `")), "{path}");
                    assert!(names.insert(operation["operationId"].to_string()), "{path}: twice");
                }
                None => {
                    problem(&answer, 405, "does not answer");
                    let allowed = answer.headers.get("allow").map(|text| text.to_lowercase()).unwrap_or_default();
                    let documented: Vec<_> = operations.as_object().expect("operations").keys().collect();
                    assert!(documented.iter().all(|method| allowed.contains(method.as_str())), "{path}: {allowed}");
                }
            }
        }
    }
}
