//! A JSON object as its own text: keys as they stand, values as uncut tokens. Nothing is converted, so no amount passes
//! through a float, no digit is lost, and `null`, missing and 0 stay three different things.
//!
//! Tolerated, because providers do it: keys in another case, with blanks around them, or misspelt in a known way;
//! numbers for strings; an object written into a string. Not tolerated: one key with two different values. It then has
//! none (`Said::Nonsense`), because a reader that takes the first and one that takes the last must not disagree about
//! money.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::observe::Said;

/// The body is no JSON object, or ends early.
#[derive(Debug, thiserror::Error)]
#[error("the body is not a JSON object that can be read to its end")]
pub struct Unreadable(#[from] serde_json::Error);

/// One object. Values are borrowed from the body.
#[derive(Debug, Clone, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads a whole body.
    pub fn read(body: &'a [u8]) -> Result<Self, Unreadable> {
        Ok(serde_json::from_slice(body)?)
    }

    /// A field's value. `name` is the standard's spelling.
    pub fn get(&self, name: &str) -> Said<'a> {
        match self.token(name) {
            Token::None => Said::Nothing,
            Token::One(raw) => said(raw),
            Token::Many => Said::Nonsense,
        }
    }

    /// A field of a field, such as `amount.value`. A parent that is neither an object nor missing has nonsense inside.
    pub fn get_in(&self, parent: &str, name: &str) -> Said<'a> {
        match self.token(parent) {
            Token::None => Said::Nothing,
            Token::Many => Said::Nonsense,
            Token::One(raw) if raw.get() == "null" => Said::Nothing,
            Token::One(raw) => match inner(raw, name) {
                Ok(said) => said,
                Err(Unreadable(_)) => Said::Nonsense,
            },
        }
    }

    fn token(&self, name: &str) -> Token<'a> {
        let mut found = Token::None;
        for (_, raw) in self.0.iter().filter(|(key, _)| is_same_key(key, name)) {
            found = match found {
                Token::None => Token::One(raw),
                Token::One(first) if first.get() == raw.get() => Token::One(first),
                Token::One(_) | Token::Many => Token::Many,
            };
        }
        found
    }
}

enum Token<'a> {
    None,
    One(&'a RawValue),
    Many,
}

/// Known misspellings and the words they stand for (Finpay).
const MISSPELT: [(&str, &str); 1] = [("originalPartnerReferanceNo", "originalPartnerReferenceNo")];

fn is_same_key(key: &str, name: &str) -> bool {
    let key = key.trim();
    key == name
        || key.eq_ignore_ascii_case(name)
        || MISSPELT.iter().any(|(wrong, right)| *right == name && key.eq_ignore_ascii_case(wrong))
}

fn said(raw: &RawValue) -> Said<'_> {
    let token = raw.get();
    match token.as_bytes().first() {
        Some(b'"') => unquoted(token).map_or(Said::Nonsense, Said::Text),
        Some(b'-' | b'0'..=b'9') => Said::Number(token),
        _ if token == "null" => Said::Nothing,
        _ => Said::Nonsense,
    }
}

/// The text of a JSON string; allocates only where something is escaped.
fn unquoted(token: &str) -> Option<Cow<'_, str>> {
    let inside = token.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(token).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
}

/// A field of `raw`, which is an object or an object written into a string (DANA).
fn inner<'a>(raw: &'a RawValue, name: &str) -> Result<Said<'a>, Unreadable> {
    if !raw.get().starts_with('"') {
        return Ok(serde_json::from_str::<Object<'a>>(raw.get())?.get(name));
    }
    let text: String = serde_json::from_str(raw.get())?;
    if text.trim().is_empty() {
        return Ok(Said::Nothing);
    }
    Ok(match serde_json::from_str::<Object<'_>>(&text)?.get(name) {
        Said::Text(text) => Said::Text(Cow::Owned(text.into_owned())),
        Said::Nothing => Said::Nothing,
        // A number's token would borrow from the unescaped copy; such numbers are identifiers here, never amounts.
        Said::Number(token) => Said::Text(Cow::Owned(token.to_owned())),
        Said::Nonsense => Said::Nonsense,
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some((Key(key), raw)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            fields.push((key, raw));
        }
        Ok(Object(fields))
    }
}

/// A key that borrows where nothing is escaped.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Said<'_> {
        Said::Text(text.into())
    }

    #[test]
    fn a_value_keeps_its_own_spelling() {
        let body =
            br#"{"a":1200.0,"b":"1200","c":null,"d":1.2e3,"e":"a\"b","f":true,"g":{},"h":12345678901234567890123}"#;
        let object = Object::read(body).unwrap();
        for (key, said) in [
            ("a", Said::Number("1200.0")),
            ("b", text("1200")),
            ("c", Said::Nothing),
            ("d", Said::Number("1.2e3")),
            ("e", text("a\"b")),
            ("f", Said::Nonsense),
            ("g", Said::Nonsense),
            ("h", Said::Number("12345678901234567890123")),
            ("i", Said::Nothing),
        ] {
            assert_eq!(object.get(key), said, "{key}");
        }
    }

    #[test]
    fn keys_are_found_in_another_case_with_blanks_and_misspelt() {
        let body = br#"{"merchantid":"1","externalStoreId ":"2","FeeAmount":{"value":"5"},"originalPartnerReferanceNo":"INV"}"#;
        let object = Object::read(body).unwrap();
        assert_eq!(object.get("merchantId"), text("1"));
        assert_eq!(object.get("externalStoreId"), text("2"));
        assert_eq!(object.get_in("feeAmount", "value"), text("5"));
        assert_eq!(object.get("originalPartnerReferenceNo"), text("INV"));
    }

    #[test]
    fn one_key_with_two_values_has_none() {
        let object = Object::read(br#"{"a":1,"a":2,"b":1,"B":1,"c":{"v":1},"c":{"v":2},"d":1,"d":null}"#).unwrap();
        assert_eq!(object.get("a"), Said::Nonsense);
        assert_eq!(object.get("b"), Said::Number("1"));
        assert_eq!(object.get_in("c", "v"), Said::Nonsense);
        assert_eq!(object.get("d"), Said::Nonsense);
    }

    #[test]
    fn an_object_inside_is_read_also_out_of_a_string() {
        let object =
            Object::read(br#"{"o":{"k":"v"},"s":"{\"k\":\"v\",\"n\":7}","n":null,"x":12,"e":"","h":"<html>"}"#)
                .unwrap();
        assert_eq!(object.get_in("o", "k"), text("v"));
        assert_eq!(object.get_in("s", "k"), text("v"));
        assert_eq!(object.get_in("s", "n"), text("7"));
        for (parent, said) in [
            ("n", Said::Nothing),
            ("x", Said::Nonsense),
            ("e", Said::Nothing),
            ("h", Said::Nonsense),
            ("none", Said::Nothing),
        ] {
            assert_eq!(object.get_in(parent, "k"), said, "{parent}");
        }
    }

    #[test]
    fn what_is_no_whole_object_is_unreadable() {
        for body in [
            "",
            "null",
            "[]",
            "\"a\"",
            "{\"a\":1",
            "{\"a\":1}x",
            "{\"a\":01}",
            "<html></html>",
            "{\"a\":NaN}",
            "{'a':1}",
        ] {
            assert!(Object::read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Object::read(&[b'{', b'"', 0xff, b'"', b':', b'1', b'}']).is_err());
        assert!(Object::read(format!("{{\"a\":{}", "[".repeat(200_000)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(object) = Object::read(&bytes) {
                prop_assert!(object.get_in("amount", "value") == object.get_in("amount", "value"));
            }
        }
    }
}
