//! The one place where an integer becomes a float, because that is what the metrics library takes. Nothing comes back.

/// A value of a gauge, exact until it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A number of things, or seconds since 1970.
    Count(i64),
    /// Milliseconds, shown as seconds.
    Millis(i64),
    /// Sen, shown as rupiah.
    Sen(i64),
}

#[expect(
    clippy::disallowed_types,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::float_arithmetic,
    reason = "a metric is a float by the library's interface; money leaves here for a picture and never returns"
)]
impl Value {
    /// In the metric's base unit. Exact up to 2^53: Rp 90 trillion in sen.
    pub(super) const fn in_base_unit(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Millis(millis) => millis as f64 / 1_000.0,
            Self::Sen(sen) => sen as f64 / 100.0,
        }
    }
}

/// Upper bounds of a histogram's buckets, in its base unit.
#[expect(clippy::disallowed_types, reason = "bounds are floats by the library's interface")]
pub(super) type Buckets = &'static [f64];
