//! One id for all that is logged about one piece of work: a check, a step of a refund, a run of the calendar, a request. It is
//! written as W3C Trace Context writes it, so that a caller's id is carried on. Absent on purpose: exporting spans anywhere.

use std::fmt;

use uuid::Uuid;

/// The id of a trace: 32 hexadecimal digits, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "every one is another")]
    #[expect(clippy::disallowed_methods, reason = "a trace id names lines of a log; nothing is identified by it")]
    pub fn new() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// The one that a `traceparent` header carries (`00-<trace id>-<parent id>-<flags>`); `None` where it carries none.
    pub fn of_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, id, parent) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let fits = version.len() == 2 && version != "ff" && id.len() == 32 && parent.len() == 16;
        let id = (fits && is_hex(id)).then(|| u128::from_str_radix(id, 16).ok())??;
        (id != 0).then_some(Self(id))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_id_is_carried_on_and_nothing_else_is_taken_for_one() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let taken = |header: &str| TraceId::of_traceparent(header).map(|id| id.to_string());
        assert_eq!(taken(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for wrong in [
            "",
            "00",
            id,
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47+6-00f067aa0ba902b7-01",
        ] {
            assert_eq!(taken(wrong), None, "{wrong}");
        }
        assert_ne!(TraceId::new(), TraceId::new());
        assert_eq!(TraceId::new().to_string().len(), 32);
    }
}
