//! Metrics that are told from values at hand, not from counters that live on: the vocabulary for it.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, TextEncoder};

use crate::histogram::{self, BOUNDS};

/// One value of a metric, by its labels.
pub(super) type Sample = (Vec<LabelPair>, f64);

/// Labels as they are written.
pub(super) fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    pairs.map(pair).into()
}

/// Metrics, in the order in which they are told. One that has no value is not told at all.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// A value that goes up and down.
    pub(super) fn gauges(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let metric = |(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_gauge(gauge);
            metric
        };
        self.add(name, help, MetricType::GAUGE, samples.into_iter().map(metric));
    }

    /// As [`Self::gauges`], with the only value.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    /// A value that only grows; its name ends in `_total`.
    pub(super) fn counters(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let metric = |(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_counter(counter);
            metric
        };
        self.add(name, help, MetricType::COUNTER, samples.into_iter().map(metric));
    }

    /// Durations, in seconds.
    pub(super) fn histograms<'h>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<LabelPair>, &'h histogram::Histogram)>,
    ) {
        let metric = |(labels, durations)| {
            let mut metric = Metric::from_label(labels);
            metric.set_histogram(in_seconds(durations));
            metric
        };
        self.add(name, help, MetricType::HISTOGRAM, samples.into_iter().map(metric));
    }

    /// All of them as text.
    pub(super) fn text(&self) -> Result<String, Error> {
        TextEncoder::new().encode_to_string(&self.0)
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: impl Iterator<Item = Metric>) {
        let metrics: Vec<Metric> = metrics.collect();
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn in_seconds(durations: &histogram::Histogram) -> Histogram {
    let mut count = 0;
    let buckets = BOUNDS.iter().zip(&durations.counts).map(|(bound, more)| {
        count += more;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e9);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(durations.total());
    histogram.set_sample_sum(durations.sum as f64 / 1e9);
    histogram
}
