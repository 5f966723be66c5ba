//! Endpoints of outgoing webhooks.

use std::time::Duration;

use super::{ACCOUNT, assert_refused, load};

/// An endpoint with one key more, or with one key written otherwise.
fn endpoint_with(line: &str) -> String {
    let key = line.split(['=', ' ']).next().unwrap();
    let lines = ["url = \"https://shop.example/hooks\"", "secret = { env = \"REKON_WEBHOOK_SECRET\" }"];
    let others = lines.into_iter().filter(|other| !other.starts_with(&format!("{key} ")));
    let others = others.fold(String::new(), |text, line| text + line + "\n");
    format!("{ACCOUNT}[webhooks.shop]\n{others}{line}\n")
}

#[test]
fn an_endpoint_is_public_signed_and_asks_for_what_there_is() {
    let shop = load(&endpoint_with("events = [\"transaction.paid\"]")).unwrap().webhooks["shop"].clone();
    assert_eq!((shop.timeout, shop.ladder.len(), shop.secrets.len()), (Duration::from_secs(15), 9, 1));
    let refused = |line: &str, message: &str| assert_refused(&[(endpoint_with(line).as_str(), message)]);
    refused("url = \"http://shop.example/hooks\"", "http is allowed only to this machine");
    refused("url = \"https://10.1.2.3/hooks\"", "set allow_private_addresses = true");
    refused("url = \"https://169.254.169.254/latest\"", "an address to which nothing is sent");
    refused("url = \"https://[fe80::1]/\"", "an address to which nothing is sent");
    refused("url = \"https://user:pass@shop.example/\"", "without user, query or fragment");
    refused("secret = { env = \"DOKU_CLIENT_SECRET\" }", "\"whsec_\" and the base64 of 24 to 64 random bytes");
    refused("secret_old = \"whsec_x\"", "use { env = \"NAME\" }");
    refused("events = [\"transaction.payed\"]", "did you mean \"transaction.paid\"?");
    refused("accounts = [\"doku-mian\"]", "did you mean \"doku-main\"?");
    refused("ladder = [\"10ms\"]", "a duration from \"1s\"");
    refused("retries = 3", "unknown key");
    for here in ["url = \"http://127.0.0.1:9/hooks\"", "url = \"http://[::1]/\"", "url = \"http://localhost:9/\""] {
        load(&endpoint_with(here)).unwrap();
    }
    let private = endpoint_with("url = \"https://10.1.2.3/\"") + "allow_private_addresses = true\n";
    assert!(load(&private).unwrap().webhooks["shop"].allow_private);
    let never = endpoint_with("url = \"https://169.254.169.254/\"") + "allow_private_addresses = true\n";
    assert_refused(&[(never.as_str(), "an address to which nothing is sent")]);
}
