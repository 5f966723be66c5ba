//! The control endpoints, as a test in another process uses them.

use rekon::sim::{Service, Sim, SimOptions};
use reqwest::Method;
use serde_json::{Value, json};

use super::merchant::{Answered, CLIENT_ID, Merchant, options, stage};

async fn control(merchant: &Merchant, method: Method, path: &str, body: &Value) -> Answered {
    let request = merchant.http.request(method, format!("{}/_sim/{path}", merchant.base_url));
    let request = if body.is_null() {
        request
    } else {
        request.header("Content-Type", "application/json").body(body.to_string())
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn payments_and_scripts_go_in_and_the_book_comes_out() {
    let (_sim, merchant) = stage(options(), []).await;
    let reference_no = "7d054649f9ba4c19ae5f95950c99be4d";
    let payment = json!({ "partner_reference_no": "A1", "reference_no": reference_no, "expected_sen": 120_000,
                          "script": [{ "status": "01" }, { "amount_sen": 150_000 }] });
    let added = control(&merchant, Method::POST, "payments", &json!([payment])).await;
    assert_eq!(added, (200, json!({ "added": 1 })));
    assert_eq!(control(&merchant, Method::POST, "payments", &payment).await.0, 409);
    assert_eq!([merchant.status("A1").await, merchant.status("A1").await], ["01", "00"]);

    let (_, book) = control(&merchant, Method::GET, "book", &Value::Null).await;
    assert_eq!((&book["taken_sen"], &book["returned_beyond_taken"]), (&json!(150_000), &json!([])));
    let (_, page) = control(&merchant, Method::GET, "book?partner_reference_no=A1", &Value::Null).await;
    assert_eq!((&page["queries"], &page["client_id"]), (&json!(2), &json!(CLIENT_ID)));

    let script = json!({ "partner_reference_no": "A1", "script": [{ "status": "06" }] });
    assert_eq!(control(&merchant, Method::PUT, "scripts", &script).await.0, 200);
    assert_eq!(merchant.status("A1").await, "06");
    let unknown = json!({ "partner_reference_no": "B1", "script": [] });
    assert_eq!(control(&merchant, Method::PUT, "scripts", &unknown).await.0, 404);
}

#[tokio::test]
async fn a_series_registers_many_payments_of_one_scenario() {
    let (sim, merchant) = stage(options(), []).await;
    let series =
        json!({ "prefix": "S", "first": 5, "count": 250, "expected_sen": 100, "scenario": "exact", "seed": 1 });
    assert_eq!(control(&merchant, Method::POST, "series", &series).await, (200, json!({ "added": 250 })));
    let book = sim.world().book();
    let ends = (&book.entries[0].partner_reference_no, &book.entries[249].partner_reference_no);
    assert_eq!((ends.0.as_str(), ends.1.as_str()), ("S00000005", "S00000254"));
    assert_eq!(book.entries[0].reference_no, "RS00000005");
}

#[tokio::test]
async fn gates_weather_tokens_and_counts_work_from_outside() {
    let (sim, merchant) = stage(options(), []).await;
    let gate = json!({ "point": "before_effect", "service": "token" });
    let (_, armed) = control(&merchant, Method::POST, "gates", &gate).await;
    let id = armed["id"].as_u64().unwrap();
    let held = {
        let mut merchant = merchant.clone();
        tokio::spawn(async move { merchant.fetch_token().await })
    };
    let (_, seen) = control(&merchant, Method::GET, &format!("gates/{id}?wait_ms=20000"), &Value::Null).await;
    assert_eq!(seen["hits"], 1);
    let (_, released) = control(&merchant, Method::POST, &format!("gates/{id}/release"), &Value::Null).await;
    assert_eq!(released["hits"], 1);
    assert_eq!(held.await.unwrap()["responseCode"], "2007300");
    assert_eq!(control(&merchant, Method::GET, &format!("gates/{id}"), &Value::Null).await.0, 404);

    let storm = json!({ "service": "query", "fault": { "kind": "html", "http_status": 502 } });
    assert_eq!(control(&merchant, Method::PUT, "weather", &storm).await.0, 204);
    assert_eq!(merchant.query("A1").await.0, 502);
    assert_eq!(control(&merchant, Method::PUT, "weather", &json!({ "service": "query" })).await.0, 204);
    assert_eq!(control(&merchant, Method::POST, "tokens/expire", &Value::Null).await.0, 204);
    assert_eq!(merchant.query("A1").await.0, 401);

    let (_, stats) = control(&merchant, Method::GET, "stats", &Value::Null).await;
    assert_eq!(stats["external_id_reuses"][CLIENT_ID], 0);
    let counted = json!({ "client_id": CLIENT_ID, "service": "query", "outcome": "4015101", "count": 1 });
    assert!(stats["calls"].as_array().unwrap().contains(&counted), "{stats}");
    assert_eq!(sim.world().count_of(Service::Query, "html"), 1);
    let check = format!("arrivals?client_id={CLIENT_ID}&per_second=1000&burst=1000");
    let (_, arrivals) = control(&merchant, Method::GET, &check, &Value::Null).await;
    assert_eq!(arrivals, json!({ "calls": 4, "max_excess": 0 }));
}

#[tokio::test]
async fn a_simulator_that_others_can_reach_has_no_control_endpoints() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let sim = Sim::start(SimOptions { listen, ..options() }).await.unwrap();
    let merchant = Merchant::new(format!("http://127.0.0.1:{}", sim.address().port()));
    assert_eq!(control(&merchant, Method::GET, "book", &Value::Null).await.0, 404);
}
