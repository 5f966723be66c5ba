//! WORDS, the signature of DOKU's notification: lower-case hex SHA-1 over some values and, at the end, a shared key. The
//! formula stands on no page of DOKU; two merchants' public code agrees on it, so it is the account's to configure. SHA-1 is
//! the provider's choice. Its worth is small by design: see `domain::notification`.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::notification::{Field, Notification};

/// How an account's notifications are signed.
#[derive(Debug, Clone)]
pub(super) struct WordsKey {
    pub(super) shared_key: SecretString,
    pub(super) formula: Vec<Field>,
}

impl WordsKey {
    /// Is this signature right? Takes the same time wherever the first difference stands.
    pub(super) fn verifies(&self, notification: &Notification) -> bool {
        let mut signed: String = self.formula.iter().map(|field| notification.value(*field)).collect();
        signed.push_str(self.shared_key.expose_secret());
        let ours = digest(&SHA1_FOR_LEGACY_USE_ONLY, signed.as_bytes());
        let Ok(theirs) = hex::decode(notification.value(Field::Words).trim()) else { return false };
        let ours = ours.as_ref();
        let differences = ours.iter().zip(&theirs).fold(0_u8, |all, (one, other)| all | (one ^ other));
        ours.len() == theirs.len() && std::hint::black_box(differences) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::{formula, read};

    fn key(shared_key: &str) -> WordsKey {
        let formula = formula("issuer_id,txn_date,merchant_pan,invoice").unwrap();
        WordsKey { shared_key: SecretString::from(shared_key.to_owned()), formula }
    }

    fn signed(words: &str, amount: &str) -> Notification {
        let query = format!(
            "TRANSACTIONID=INV-1&ISSUERID=9360050110001187249&TXNDATE=20241107195933&MERCHANTPAN=936008990000047435\
             &INVOICE=10093868&AMOUNT={amount}&WORDS={words}"
        );
        read(&query, None, b"").unwrap()
    }

    #[test]
    fn the_computed_vector_verifies_and_no_other() {
        const WORDS: &str = "dd45527f418fd2438d6f19eba33bff492c3b110f";
        assert!(key("SHAREDKEY").verifies(&signed(WORDS, "2000.00")));
        assert!(!key("SHAREDKEX").verifies(&signed(WORDS, "2000.00")));
        for wrong in ["", "dd45", "zz45527f418fd2438d6f19eba33bff492c3b110f", &WORDS.replace('d', "e")] {
            assert!(!key("SHAREDKEY").verifies(&signed(wrong, "2000.00")), "{wrong}");
        }
    }

    #[test]
    fn the_amount_is_not_signed() {
        // Why a notification is a hint and no more.
        assert!(key("SHAREDKEY").verifies(&signed("dd45527f418fd2438d6f19eba33bff492c3b110f", "9.00")));
    }
}
