//! The form of a token: `rekon_pat_<43 characters>_<6 characters>`. The prefix is there to be found by whoever scans for
//! leaked secrets, the checksum tells a truncated or mistyped token from a wrong one without asking the database.
//!
//! Absent on purpose: dice (32 random bytes come in as a parameter) and hashing.

/// Digits of base 62, in their order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62⁴³ is more than 2²⁵⁶.
const RANDOM_CHARS: usize = 43;
/// 62⁶ is more than 2³².
const CHECKSUM_CHARS: usize = 6;

/// Whose token it is, by its second part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A person's.
    Personal,
    /// A program's.
    Service,
}

impl TokenKind {
    /// The second part of the token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "pat",
            Self::Service => "svc",
        }
    }
}

/// Writes a token from 32 random bytes.
pub fn write(kind: TokenKind, random: &[u8; 32]) -> String {
    let body = format!("rekon_{}_{}", kind.as_str(), base62(random, RANDOM_CHARS));
    let checksum = base62(&crc32(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS);
    format!("{body}_{checksum}")
}

/// Is this the whole of something that once was a token? Says nothing about whether anybody knows it.
pub fn is_whole(token: &str) -> bool {
    let Some((body, checksum)) = token.rsplit_once('_') else { return false };
    let known = [TokenKind::Personal, TokenKind::Service].iter().any(|kind| {
        body.strip_prefix("rekon_").and_then(|b| b.strip_prefix(kind.as_str())).is_some_and(is_random_part)
    });
    known && checksum == base62(&crc32(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS)
}

fn is_random_part(part: &str) -> bool {
    part.strip_prefix('_')
        .is_some_and(|random| random.len() == RANDOM_CHARS && random.bytes().all(|b| DIGITS.contains(&b)))
}

/// Are these the same bytes? Takes the same time wherever they differ.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0_u8, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// A big-endian number in base 62, padded to `chars`.
fn base62(bytes: &[u8], chars: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = Vec::with_capacity(chars);
    for _ in 0..chars {
        let mut rest: u16 = 0;
        for byte in &mut number {
            let sum = rest.wrapping_shl(8) | u16::from(*byte);
            // Less than 62 × 256 divided by 62: it fits a byte.
            *byte = u8::try_from(sum.div_euclid(62)).unwrap_or(u8::MAX);
            rest = sum.rem_euclid(62);
        }
        digits.push(DIGITS.get(usize::from(rest)).copied().unwrap_or(b'0'));
    }
    digits.reverse();
    String::from_utf8(digits).unwrap_or_default()
}

/// CRC-32 (IEEE 802.3): polynomial 0xEDB88320 reflected, start and end inverted.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_knows() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(base62(&[0, 0, 0, 61], 6), "00000z");
        assert_eq!(base62(&[0, 0, 0, 62], 6), "000010");
        assert_eq!(base62(&[0xFF; 32], 43).len(), 43);
    }

    #[test]
    fn a_token_is_whole_and_any_changed_or_missing_character_is_seen() {
        let token = write(TokenKind::Personal, &[7; 32]);
        assert!(token.starts_with("rekon_pat_") && is_whole(&token), "{token}");
        assert!(is_whole(&write(TokenKind::Service, &[0; 32])));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_whole(&String::from_utf8(bytes).unwrap()), "character {at}");
        }
        assert!(!is_whole(&token[..token.len() - 1]) && !is_whole("") && !is_whole("rekon_pat__"));
    }

    #[test]
    fn same_bytes_are_same_and_others_are_not() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abc", b"abd") && !is_same(b"abc", b"ab"));
    }
}
