//! Secrets come from an environment variable or a mounted file, never from the configuration itself, and are never printed.
//! A private key is looked at here, at load, so that a bad file is found before the first signature is needed.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::environment::set_variable;
use super::error::Source;
use super::layer::{Node, quoted};
use super::reader::{Section, Setting, table_of};

/// What a secret looks like, for messages.
const SECRET_FORM: &str =
    "secrets are not written into the configuration: use { env = \"NAME\" } or { file = \"/run/secrets/name\" }";

/// A file larger than this is not a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

impl Section<'_> {
    /// A secret by reference. The literal is refused without being shown.
    pub(crate) fn secret(&mut self, key: &str) -> Option<SecretString> {
        self.ask(key);
        let Some(entry) = self.entries.get(key).cloned() else {
            return self.missing(key, SECRET_FORM);
        };
        let Some((table, _)) = table_of(entry) else {
            return self.refuse_unshown(key, SECRET_FORM);
        };
        let reference = |name: &str| match table.get(name).map(|entry| (&entry.node, &entry.source)) {
            Some((Node::Text(text) | Node::Raw(text), source)) => Some((text.clone(), source.clone())),
            _ => None,
        };
        let is_override = |source: &Source| matches!(source, Source::Environment { .. });
        let only_known = table.keys().all(|name| name == "env" || name == "file");
        match (only_known, reference("env"), reference("file")) {
            (true, Some((variable, source)), None) => self.secret_from_env(key, &variable, &source),
            (true, None, Some((file, source))) => self.secret_from_file(key, &file, &source),
            // An override by environment variable stands beside the file's reference of the other kind: it wins.
            (true, Some((variable, source)), Some((_, other))) if is_override(&source) && !is_override(&other) => {
                self.secret_from_env(key, &variable, &source)
            }
            (true, Some((_, other)), Some((file, source))) if is_override(&source) && !is_override(&other) => {
                self.secret_from_file(key, &file, &source)
            }
            _ => self.refuse_unshown(key, SECRET_FORM),
        }
    }

    fn secret_from_env(&self, key: &str, variable: &str, source: &Source) -> Option<SecretString> {
        self.keep_reference(key, "env", variable, source);
        match set_variable(self.book.env, variable) {
            Some(value) => Some(SecretString::from(value)),
            None => self.refuse_unshown(
                key,
                format!(
                    "the environment variable {variable} is not set or empty; set it, or use {{ file = \"path\" }}"
                ),
            ),
        }
    }

    fn secret_from_file(&self, key: &str, file: &str, source: &Source) -> Option<SecretString> {
        self.keep_reference(key, "file", file, source);
        read_secret_file(&self.book.base_dir.join(Path::new(file)))
            .map_or_else(|problem| self.refuse_unshown(key, problem), Some)
    }

    fn keep_reference(&self, key: &str, kind: &str, name: &str, source: &Source) {
        let setting = Setting {
            path: self.key_path(key),
            value: format!("{{ {kind} = {} }}", quoted(name)),
            source: source.clone(),
        };
        self.book.settings.borrow_mut().push(setting);
    }

    /// A secret text that must pass a check; the check's message must not hold it.
    pub(crate) fn checked_secret(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<SecretString> {
        let secret = self.secret(key)?;
        match check(secret.expose_secret()) {
            Ok(()) => Some(secret),
            Err(problem) => self.refuse_unshown(key, problem),
        }
    }
}

/// Reads a secret's file, without the line end that editors add. The error says what to do and holds nothing of the file.
pub fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let size = fs::metadata(path)
        .map_err(|error| format!("cannot read {shown}: {error}; mount the secret there or name another file"))?;
    if !size.is_file() || size.len() > SECRET_BYTES_MAX {
        return Err(format!("{shown} is not a file of at most {SECRET_BYTES_MAX} bytes"));
    }
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {shown}: {error}; mount the secret there or name another file"))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.trim().is_empty() {
        return Err(format!("{shown} is empty; write the secret into it"));
    }
    Ok(SecretString::from(secret))
}

/// Checks that this is an RSA key as PKCS#8 PEM; says what it is instead and how to convert it.
pub(crate) fn check_private_key(pem: &str) -> Result<(), String> {
    const CONVERT: &str = "convert it with `openssl pkcs8 -topk8 -nocrypt -in OLD.pem -out NEW.pem`";
    let label = pem.lines().map(str::trim).find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    match label {
        Some("PRIVATE KEY") => {}
        Some("RSA PRIVATE KEY") => {
            return Err(format!("this key is PKCS#1 PEM (\"BEGIN RSA PRIVATE KEY\"); PKCS#8 is needed: {CONVERT}"));
        }
        Some("ENCRYPTED PRIVATE KEY") => return Err(format!("this key is encrypted with a passphrase; {CONVERT}")),
        Some(other) => {
            return Err(format!(
                "this PEM holds a \"{other}\"; the private key is needed, as PKCS#8 PEM (\"BEGIN PRIVATE KEY\")"
            ));
        }
        None => return Err(
            "this is not PEM; a PKCS#8 PEM RSA key begins with \"-----BEGIN PRIVATE KEY-----\" on a line of its own"
                .to_owned(),
        ),
    }
    let body: String = pem
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("-----BEGIN "))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END "))
        .collect();
    let der = STANDARD
        .decode(body)
        .map_err(|_| "the PEM's base64 is damaged; copy the key again, whole and with its line ends".to_owned())?;
    match ring::rsa::KeyPair::from_pkcs8(&der) {
        Ok(_) => Ok(()),
        Err(rejected) => Err(format!(
            "not a usable RSA key ({rejected}); an RSA key of 2048 to 4096 bits as PKCS#8 is needed: {CONVERT}"
        )),
    }
}
