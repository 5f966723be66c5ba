//! The gauges of one scrape. Each scrape starts an empty board, so a value that nobody reads any more is gone instead of
//! being shown for ever.

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::catalogue::{Kind, Metric, Vocabulary};
pub use super::number::Value;

/// One value of a gauge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Values of the metric's labels, in its order.
    pub labels: Vec<String>,
    /// The value.
    pub value: Value,
}

/// The gauges of one scrape.
#[derive(Debug)]
pub struct Board {
    recorder: PrometheusRecorder,
}

impl Default for Board {
    fn default() -> Self {
        Self { recorder: PrometheusBuilder::new().build_recorder() }
    }
}

impl Board {
    /// Sets every combination of a gauge's labels to zero.
    pub fn zero(&self, metric: &'static Metric, vocabulary: &Vocabulary) {
        for labels in vocabulary.combinations(metric) {
            self.set(metric, &labels, Value::Count(0));
        }
    }

    /// Sets a gauge.
    pub fn set<L: AsRef<str>>(&self, metric: &'static Metric, labels: &[L], value: Value) {
        debug_assert!(matches!(metric.kind, Kind::ProcessGauge | Kind::DatabaseGauge), "{} is no gauge", metric.name);
        let key = key(metric, labels);
        self.recorder.describe_gauge(metric.name.into(), None, metric.help.into());
        self.recorder.register_gauge(&key, &METADATA).set(value.in_base_unit());
    }

    /// The board in Prometheus's text format.
    pub fn render(&self) -> String {
        self.recorder.handle().render()
    }
}

pub(super) const METADATA: Metadata<'static> = Metadata::new("rekon", Level::INFO, None);

/// A metric with its labels' values.
pub(super) fn key<L: AsRef<str>>(metric: &'static Metric, labels: &[L]) -> Key {
    debug_assert_eq!(metric.labels.len(), labels.len(), "{} has other labels", metric.name);
    let pairs = metric.labels.iter().zip(labels);
    let labels: Vec<Label> = pairs.map(|(label, value)| Label::new(label.name, value.as_ref().to_owned())).collect();
    Key::from_parts(metric.name, labels)
}
