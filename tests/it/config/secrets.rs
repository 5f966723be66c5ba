//! Secrets and keys: where they may stand, what is said of missing and unfit ones, and that none is ever shown.

use rekon::config::DatabaseTarget;
use secrecy::ExposeSecret as _;

use super::{KEY, account_with, assert_refused, load, refusal};

#[test]
fn literal_secrets_are_refused_without_being_shown() {
    for text in [
        account_with("client_secret = \"s3cr3t-literal\""),
        account_with("client_secret = { value = \"s3cr3t-literal\" }"),
        account_with("customer_token = \"s3cr3t-literal\""),
        account_with("private_key = \"s3cr3t-literal\""),
        "[database]\nurl = \"postgres://u:s3cr3t-literal@h/d\"\n".to_owned(),
        "[database]\nurl = { env = \"A\", file = \"s3cr3t-literal\" }\n".to_owned(),
    ] {
        let refused = refusal(&text);
        assert!(refused.contains("use { env = \"NAME\" } or { file = \"/run/secrets/name\" }"), "{refused}");
        assert!(!refused.contains("s3cr3t"), "{refused}");
    }
}

#[test]
fn missing_secrets_say_which_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    assert_refused(&[
        (
            &account_with("client_secret = { env = \"NO_SUCH\" }"),
            "accounts.doku-main.client_secret: the environment variable NO_SUCH is not set or empty; set it",
        ),
        (
            &account_with("client_secret = { file = \"/no/such/file\" }"),
            "accounts.doku-main.client_secret: cannot read /no/such/file: No such file",
        ),
        (
            &account_with(&format!("client_secret = {{ file = \"{}\" }}", empty.display())),
            "is empty; write the secret into it",
        ),
        ("[database]\nurl = { env = \"HOME\" }\n", "database.url: the secret it names is not a Postgres URL"),
    ]);
}

#[test]
fn private_keys_are_looked_at_when_the_configuration_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let line = account_with(&format!("private_key = {{ file = \"{}\" }}", file.display()));
    std::fs::write(&file, KEY).unwrap();
    assert!(load(&line).unwrap().accounts["doku-main"].private_key.is_some());
    let body = KEY.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    for (pem, message) in [
        ("hello".to_owned(), "this is not PEM"),
        (
            KEY.replace(" PRIVATE", " RSA PRIVATE"),
            "PKCS#1 PEM (\"BEGIN RSA PRIVATE KEY\"); PKCS#8 is needed: convert it with `openssl pkcs8",
        ),
        (KEY.replace(" PRIVATE", " ENCRYPTED PRIVATE"), "encrypted with a passphrase"),
        (KEY.replace(" PRIVATE", " PUBLIC"), "this PEM holds a \"PUBLIC KEY\""),
        (KEY.replacen("MII", "M*I", 1), "the PEM's base64 is damaged"),
        (KEY.replacen("MII", "MIJ", 1), "not a usable RSA key"),
    ] {
        std::fs::write(&file, pem).unwrap();
        let refused = refusal(&line);
        assert!(
            refused.contains("accounts.doku-main.private_key: ") && refused.contains(message),
            "{refused}\nlacks {message}"
        );
        assert!(!refused.contains(&body[..40]), "{refused}");
    }
}

#[test]
fn secrets_are_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("url"), "postgres://u:hush-url@h/d\n").unwrap();
    let text = format!(
        "[database]\nurl = {{ file = \"{}/url\" }}\n{}",
        folder.path().display(),
        account_with("private_key = { env = \"DOKU_KEY\" }")
    );
    let config = load(&text).unwrap();
    let printed = format!("{config:?}\n{}\n{}", config.show(true), serde_json::to_string(config.settings()).unwrap());
    assert!(!printed.contains("hush"), "{printed}");
    assert!(!printed.contains("BEGIN PRIVATE KEY"), "{printed}");
    let DatabaseTarget::Url { url, .. } = &config.database.target else { panic!("{:?}", config.database.target) };
    assert_eq!(url.expose_secret(), "postgres://u:hush-url@h/d");
}
