//! The text that Prometheus reads.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge as GaugeValue, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use pulsegate_core::Census;
use std::sync::atomic::Ordering::Relaxed;

use super::catalogue::{FAMILIES, Family, Id, Kind, Label, OFFSETS};
use super::process::Process;
use super::{Gauge, Telemetry};

/// Content type of a scrape.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// What others know at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// How many agents there are.
    pub census: Census,
    /// Memory of the agents, hot and cold, in bytes.
    pub memory: (usize, usize),
    /// Whether core time stands still.
    pub held: bool,
    /// Time taken out of core time, in milliseconds.
    pub held_ms: u64,
    /// Events that the slowest subscriber has yet to read.
    pub events_queued: usize,
    /// How the journal does.
    pub journal: JournalFigures,
    /// Clients that watch.
    pub watchers: usize,
}

/// How the journal does.
#[derive(Clone, Debug, Default)]
pub struct JournalFigures {
    /// Events made durable since the start.
    pub events: u64,
    /// Events that wait.
    pub queued: u64,
    /// Time that half of the last commits, and 99 of 100, did not exceed.
    pub commit: [std::time::Duration; 2],
    /// Bytes of events, heartbeats, dead letters and of the file.
    pub bytes: [u64; 4],
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Changes that could not be recorded.
    pub unrecorded: u64,
    /// Heartbeats that were to be recorded and did not fit.
    pub heartbeats_dropped: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
}

impl JournalFigures {
    /// The figure of a metric, by combination of labels; `None` for other metrics.
    fn taken(&self, family: usize, place: usize) -> Option<f64> {
        let is = |id: Id| id as usize == family;
        Some(match () {
            () if is(Id::JournalEvents) => self.events as f64,
            () if is(Id::JournalQueue) => self.queued as f64,
            () if is(Id::JournalCommit) => self.commit[place].as_secs_f64(),
            () if is(Id::JournalBytes) => self.bytes[place] as f64,
            () if is(Id::JournalReadOnly) => f64::from(u8::from(self.read_only)),
            () if is(Id::JournalUnrecorded) => self.unrecorded as f64,
            () if is(Id::HeartbeatsDropped) => self.heartbeats_dropped as f64,
            () if is(Id::DeadLetters) => self.dead_letters as f64,
            () => return None,
        })
    }
}

/// Names of the values of each label at this moment.
struct Values {
    classes: Vec<String>,
    policies: Vec<String>,
    executors: Vec<String>,
}

impl Telemetry {
    /// Every metric in the text format of Prometheus.
    #[must_use]
    pub fn scrape(&self, figures: &Figures) -> String {
        let names = &self.inner.names;
        let values = Values {
            classes: names.classes(),
            policies: names.policies(),
            executors: names.executors(),
        };
        let sum = self.inner.cells.sum();
        let taken = self.taken_now(figures);
        let mut families = Vec::with_capacity(FAMILIES.len());
        for (index, family) in FAMILIES.iter().enumerate() {
            let cells = &sum[OFFSETS[index]..OFFSETS[index + 1]];
            let metrics = values.combinations(family).filter_map(|(place, labels)| {
                let mut metric = Metric::from_label(labels);
                match family.kind {
                    Kind::Counter => set_counter(&mut metric, cells[place] as f64),
                    Kind::Histogram(bounds) => {
                        let width = family.width();
                        set_histogram(&mut metric, bounds, &cells[place * width..][..width]);
                    }
                    Kind::Gauge => {
                        let mut gauge = GaugeValue::default();
                        gauge.set_value(taken(index, place)?);
                        metric.set_gauge(gauge);
                    }
                    Kind::CounterAtScrape => set_counter(&mut metric, taken(index, place)?),
                }
                Some(metric)
            });
            families.extend(describe(family, metrics.collect()));
        }
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }

    /// The figures of the moment, by metric and combination of labels.
    fn taken_now<'a>(&'a self, figures: &'a Figures) -> impl Fn(usize, usize) -> Option<f64> + 'a {
        let process = Process::read();
        move |family, place| {
            let is = |id: Id| id as usize == family;
            if let Some((gauge, _)) = Gauge::ALL.iter().find(|(_, id)| is(*id)) {
                let steps = self.inner.gauges[*gauge as usize].load(Relaxed);
                return Some(steps as f64 / Gauge::STEPS);
            }
            let of_process = |value: fn(&Process) -> f64| process.as_ref().map(value);
            match () {
                () if is(Id::Agents) => Some(agents(&figures.census, place)),
                () if is(Id::Memory) => {
                    let (hot, cold) = figures.memory;
                    Some(if place == 0 { hot } else { cold } as f64)
                }
                () if is(Id::Held) => Some(f64::from(u8::from(figures.held))),
                () if is(Id::HeldSeconds) => Some(figures.held_ms as f64 / 1e3),
                () if is(Id::EventsQueued) => Some(figures.events_queued as f64),
                () if is(Id::Watchers) => Some(figures.watchers as f64),
                () if is(Id::Build) => Some(1.0),
                () if is(Id::ProcessCpu) => of_process(|process| process.cpu_seconds),
                () if is(Id::ProcessResident) => of_process(|process| process.resident_bytes),
                () if is(Id::ProcessVirtual) => of_process(|process| process.virtual_bytes),
                () if is(Id::ProcessThreads) => of_process(|process| process.threads),
                () if is(Id::ProcessFds) => of_process(|process| process.open_fds),
                () if is(Id::ProcessMaxFds) => of_process(|process| process.max_fds),
                () if is(Id::ProcessStart) => of_process(|process| process.start_seconds),
                () => figures.journal.taken(family, place),
            }
        }
    }
}

/// One count of the census, by the place of its class, state and health.
fn agents(census: &Census, place: usize) -> f64 {
    let (class, rest) = (place / 20, place % 20);
    let by_state = census.counts.get(class).copied().unwrap_or_default();
    f64::from(by_state[rest / 4][rest % 4])
}

fn set_counter(metric: &mut Metric, value: f64) {
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
}

fn set_histogram(metric: &mut Metric, bounds: &[u64], cells: &[u64]) {
    let mut histogram = Histogram::default();
    let mut count = 0;
    let mut buckets = Vec::with_capacity(bounds.len());
    for (bound, cell) in bounds.iter().zip(cells) {
        count += cell;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e9);
        bucket.set_cumulative_count(count);
        buckets.push(bucket);
    }
    histogram.set_bucket(buckets);
    histogram.set_sample_count(count + cells[bounds.len()]);
    histogram.set_sample_sum(cells[bounds.len() + 1] as f64 / 1e9);
    metric.set_histogram(histogram);
}

/// A family with its metrics; none without any.
fn describe(family: &Family, metrics: Vec<Metric>) -> Option<MetricFamily> {
    if metrics.is_empty() {
        return None;
    }
    let mut described = MetricFamily::default();
    described.set_name(family.name.to_owned());
    described.set_help(family.help.to_owned());
    described.set_field_type(match family.kind {
        Kind::Counter | Kind::CounterAtScrape => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram(_) => MetricType::HISTOGRAM,
    });
    described.set_metric(metrics);
    Some(described)
}

impl Values {
    /// Every combination of labels in use, with its place.
    fn combinations<'a>(
        &'a self,
        family: &'a Family,
    ) -> impl Iterator<Item = (usize, Vec<LabelPair>)> + 'a {
        (0..family.combinations()).filter_map(move |place| {
            let mut rest = place;
            let mut pairs = Vec::with_capacity(family.labels.len());
            for label in family.labels.iter().rev() {
                let value = self.value(label, rest % label.size())?;
                rest /= label.size();
                let mut pair = LabelPair::default();
                pair.set_name(label.name().to_owned());
                pair.set_value(value.to_owned());
                pairs.push(pair);
            }
            pairs.reverse();
            Some((place, pairs))
        })
    }

    fn value(&self, label: &Label, index: usize) -> Option<&str> {
        match label {
            Label::Words(_, words) => words.get(index).copied(),
            Label::Class => self.classes.get(index).map(String::as_str),
            Label::Policy => self.policies.get(index).map(String::as_str),
            Label::Executor => self.executors.get(index).map(String::as_str),
            Label::Version => Some(env!("CARGO_PKG_VERSION")),
        }
    }
}
