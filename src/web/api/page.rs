//! Pages of lists: newest first, a limit, and a cursor that says behind which item the next page begins. Callers get the
//! cursor as one opaque word; it names its list, so that one of another list is refused and not misread.

use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::{config::ApiLimits, web::Problem};

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// Behind the item with this id.
    pub(super) after: Option<i64>,
    /// How many items the page has.
    size: usize,
}

/// A page.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// The next page's cursor; `None`: this is the last one.
    next: Option<String>,
}

impl Slice {
    /// Reads `limit` and `cursor`.
    pub(super) fn read(
        list: &str,
        limit: Option<&str>,
        cursor: Option<&str>,
        limits: &ApiLimits,
    ) -> Result<Self, Problem> {
        let size = match limit {
            None => limits.page_default,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| (1..=limits.page_max).contains(size))
                .ok_or_else(|| bad(format!("limit is {text:?}: write a number from 1 to {}", limits.page_max)))?,
        };
        let after = cursor.map(|cursor| decode(list, cursor)).transpose()?;
        Ok(Self { after, size: usize::try_from(size).unwrap_or(usize::MAX) })
    }

    /// How many items to fetch: one more than the page has tells whether there is a next one.
    pub(super) fn fetch(self) -> i64 {
        i64::try_from(self.size.saturating_add(1)).unwrap_or(i64::MAX)
    }

    /// The page of what was fetched.
    pub(super) fn page<T>(self, list: &str, mut fetched: Vec<T>, id: impl Fn(&T) -> i64) -> Page<T> {
        let is_more = fetched.len() > self.size;
        fetched.truncate(self.size);
        let next = fetched.last().filter(|_| is_more).map(|last| encode(list, id(last)));
        Page { items: fetched, next }
    }
}

fn encode(list: &str, id: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{id}"))
}

fn decode(list: &str, cursor: &str) -> Result<i64, Problem> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let id = text.as_deref().and_then(|text| text.strip_prefix(list)?.strip_prefix(':')?.parse().ok());
    id.ok_or_else(|| bad(format!("cursor is {cursor:?}: pass on what `next` of the page before said")))
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ApiLimits = ApiLimits { body_max: 1_024, batch_max: 2, page_default: 2, page_max: 3 };

    #[test]
    fn a_page_names_the_next_one_only_where_there_is_more() {
        let slice = Slice::read("runs", None, None, &LIMITS).unwrap();
        assert_eq!(slice.fetch(), 3);
        let page = slice.page("runs", vec![9, 8, 7], |id| *id);
        assert_eq!(page.items, [9, 8]);
        let next = Slice::read("runs", None, page.next.as_deref(), &LIMITS).unwrap();
        assert_eq!(next.after, Some(8));
        assert_eq!(next.page("runs", vec![7], |id| *id).next, None);
        assert_eq!(next.page("runs", vec![7, 6], |id| *id).next, None, "a full last page");
    }

    #[test]
    fn limits_outside_and_cursors_of_elsewhere_are_refused() {
        for limit in ["0", "4", "-1", "1.5", "x", ""] {
            assert!(Slice::read("runs", Some(limit), None, &LIMITS).is_err(), "{limit}");
        }
        for cursor in ["8", "", "%", &encode("refunds", 8), &URL_SAFE_NO_PAD.encode("runs:x")] {
            assert!(Slice::read("runs", None, Some(cursor), &LIMITS).is_err(), "{cursor}");
        }
    }
}
