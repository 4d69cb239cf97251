//! Counting, and the scrape against the catalogue.

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_core::{ActionId, ActionOutcome, ClassId, Event, EventKind, Millis, Slot, TenantId};
use pulsegate_policy::{Call, Fault};
use pulsegate_wire::AckOutcome;
use pulsegate_wire::event::Standing;

use super::catalogue::{Kind, Label};
use super::*;

/// Samples of a scrape by name and labels, and the type and help of each metric.
struct Scraped {
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
}

fn scraped(telemetry: &Telemetry) -> Scraped {
    let mut scraped =
        Scraped { samples: BTreeMap::new(), kinds: BTreeMap::new(), helps: BTreeMap::new() };
    for line in telemetry.scrape(&Figures::default()).lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            scraped.kinds.insert(name.to_owned(), kind.to_owned());
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            scraped.helps.insert(name.to_owned(), help.to_owned());
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let before = scraped.samples.insert(name.to_owned(), value.parse().expect("a number"));
            assert_eq!(before, None, "{name} stands twice");
        }
    }
    scraped
}

fn fresh() -> Telemetry {
    let telemetry = Telemetry::new(&Config::default());
    telemetry.set_policies(&["builtin".to_owned(), "steady".to_owned()], |_| Role::Enforced);
    telemetry
}

fn event(kind: EventKind) -> Event {
    Event {
        at: Millis(130_250),
        slot: Slot(0),
        tenant: TenantId(0),
        agent_id: "worker-7".to_owned(),
        class: ClassId(1),
        standing: Standing::default(),
        undurable: false,
        kind,
    }
}

#[test]
fn a_scrape_shows_every_metric_of_the_catalogue_and_nothing_else() {
    let scraped = scraped(&fresh());
    assert_eq!(scraped.kinds.len(), FAMILIES.len());
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter | Kind::CounterAtScrape => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(scraped.kinds.get(family.name).map(String::as_str), Some(kind));
        assert_eq!(scraped.helps.get(family.name).map(String::as_str), Some(family.help));
        let has_sample = scraped.samples.keys().any(|sample| sample.starts_with(family.name));
        assert!(has_sample, "{} has no sample", family.name);
    }
}

#[test]
fn names_keep_the_conventions_of_prometheus() {
    for family in FAMILIES {
        let counts = matches!(family.kind, Kind::Counter | Kind::CounterAtScrape);
        assert_eq!(counts, family.name.ends_with("_total"), "{}", family.name);
        assert!(family.help.ends_with('.'), "{}: the help is a sentence", family.name);
        if matches!(family.kind, Kind::Histogram(_)) {
            assert!(family.name.ends_with("_seconds"), "{}", family.name);
        }
    }
}

#[test]
fn no_label_could_carry_the_name_of_an_agent() {
    for label in FAMILIES.iter().flat_map(|family| family.labels) {
        assert!(!label.name().contains("agent"), "{}", label.name());
        let closed = label.size() <= 65;
        assert!(closed, "{} has {} values", label.name(), label.size());
        if let Label::Words(_, words) = label {
            assert!(!words.is_empty());
        }
    }
}

#[test]
fn a_heartbeat_is_counted_by_transport_and_outcome() {
    let telemetry = fresh();
    telemetry.heartbeat(Transport::Http2, BeatOutcome::Duplicate);
    telemetry.heartbeats(Transport::Http1, BeatOutcome::Accepted, 3);
    let samples = scraped(&telemetry).samples;
    let at = |transport: &str, outcome: &str| {
        let labels = format!("transport=\"{transport}\",outcome=\"{outcome}\"");
        samples[&format!("pulsegate_heartbeats_total{{{labels}}}")]
    };
    assert_eq!(at("http2", "duplicate"), 1.0);
    assert_eq!(at("http1", "accepted"), 3.0);
    assert_eq!(at("http1", "duplicate"), 0.0);
}

#[test]
fn counts_of_all_threads_are_summed_and_survive_them() {
    let telemetry = fresh();
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let telemetry = telemetry.clone();
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    telemetry.shed(ShedReason::InFlight);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it counts");
    }
    let samples = scraped(&telemetry).samples;
    assert_eq!(samples["pulsegate_shed_total{reason=\"in_flight\"}"], 100_000.0);
}

#[test]
fn buckets_are_cumulative_and_hold_their_upper_bound() {
    let telemetry = fresh();
    telemetry.directive(Bound::Slew, 30_000);
    telemetry.directive(Bound::None, 30_001);
    telemetry.directive(Bound::None, 900_000);
    let samples = scraped(&telemetry).samples;
    let bucket = |bound: &str| {
        samples[&format!("pulsegate_directive_interval_seconds_bucket{{le=\"{bound}\"}}")]
    };
    assert_eq!((bucket("20"), bucket("30"), bucket("45")), (0.0, 1.0, 2.0));
    assert_eq!((bucket("300"), bucket("+Inf")), (2.0, 3.0));
    assert_eq!(samples["pulsegate_directive_interval_seconds_count"], 3.0);
    assert_eq!(samples["pulsegate_directive_interval_seconds_sum"], 960.001);
    assert_eq!(samples["pulsegate_directives_total{bound=\"none\"}"], 2.0);
}

#[test]
fn calls_stay_with_their_policy_when_a_new_set_numbers_it_otherwise() {
    let telemetry = fresh();
    let call = |policy, fault| Call { policy, elapsed: Some(Duration::from_nanos(400)), fault };
    telemetry.policy_call(&call(1, Some(Fault::Timeout)));
    let names = ["builtin", "other-one", "steady"].map(str::to_owned);
    telemetry.set_policies(&names, |_| Role::Enforced);
    telemetry.policy_call(&call(2, None));
    telemetry.policy_call(&call(1, Some(Fault::BreakerOpen)));
    let samples = scraped(&telemetry).samples;
    assert_eq!(samples["pulsegate_policy_calls_total{policy=\"steady\"}"], 2.0);
    assert_eq!(samples["pulsegate_policy_calls_total{policy=\"other-one\"}"], 0.0);
    let fault = |policy: &str, fault: &str| {
        samples[&format!("pulsegate_policy_faults_total{{policy=\"{policy}\",fault=\"{fault}\"}}")]
    };
    assert_eq!(fault("steady", "timeout"), 1.0);
    assert_eq!(fault("other-one", "breaker_open"), 1.0);
    assert_eq!(
        samples["pulsegate_policy_call_seconds_bucket{policy=\"steady\",le=\"0.0000005\"}"],
        2.0
    );
}

#[test]
fn a_silence_is_measured_from_the_due_time_and_from_its_deadline() {
    let telemetry = fresh();
    telemetry.events(&[event(EventKind::Suspected {
        last_receipt: Millis(80_000),
        in_force_ms: 30_000,
        grace_ms: 20_000,
        missed: 1,
    })]);
    let samples = scraped(&telemetry).samples;
    assert_eq!(samples["pulsegate_detection_seconds_sum{state=\"suspect\"}"], 20.25);
    assert_eq!(samples["pulsegate_detection_lag_seconds_sum{state=\"suspect\"}"], 0.25);
    assert_eq!(samples["pulsegate_heartbeat_missed_total{class=\"normal\"}"], 1.0);
    assert_eq!(samples["pulsegate_agent_transitions_total{class=\"normal\",to=\"suspect\"}"], 1.0);
}

#[test]
fn recovery_is_counted_by_executor_and_outcome() {
    let telemetry = fresh();
    let (action, executor) = (ActionId(7), "restart".to_owned());
    let outcome = ActionOutcome::TimedOut;
    telemetry.events(&[
        event(EventKind::ActionStarted {
            action,
            executor: executor.clone(),
            incident: 0,
            rung: 0,
            wait_ms: 0,
        }),
        event(EventKind::ActionEnded { action, executor, outcome }),
        event(EventKind::CommandEnded { id: "c".to_owned(), outcome: Some(AckOutcome::Done) }),
        event(EventKind::CommandEnded { id: "d".to_owned(), outcome: None }),
        event(EventKind::IncidentClosed { recovered: true, actions: 1, lasted_ms: 1 }),
    ]);
    let samples = scraped(&telemetry).samples;
    assert_eq!(samples["pulsegate_actions_started_total{executor=\"restart\"}"], 1.0);
    let ended = "pulsegate_actions_ended_total{executor=\"restart\",outcome=\"timed_out\"}";
    assert_eq!(samples[ended], 1.0);
    assert_eq!(samples["pulsegate_commands_ended_total{outcome=\"done\"}"], 1.0);
    assert_eq!(samples["pulsegate_commands_ended_total{outcome=\"dropped\"}"], 1.0);
    assert_eq!(samples["pulsegate_incidents_closed_total{result=\"recovered\"}"], 1.0);
}

#[test]
fn a_gauge_goes_up_and_down() {
    let telemetry = fresh();
    telemetry.step(Gauge::Connections, true);
    telemetry.step(Gauge::Connections, true);
    telemetry.step(Gauge::Connections, false);
    telemetry.set(Gauge::FleetLoad, 0.25);
    let samples = scraped(&telemetry).samples;
    assert_eq!(samples["pulsegate_connections"], 1.0);
    assert_eq!(samples["pulsegate_fleet_load_ratio"], 0.25);
}

#[test]
fn the_words_of_outcomes_and_faults_are_in_the_order_of_their_types() {
    for (place, fault) in Fault::ALL.into_iter().enumerate() {
        assert_eq!((fault as usize, FAULTS[place]), (place, fault.as_str()));
    }
    assert_eq!(ACTION_OUTCOMES[ActionOutcome::Superseded as usize], "superseded");
    assert_eq!(ACTION_OUTCOMES[ActionOutcome::Unreachable as usize], "unreachable");
}

#[test]
fn figures_of_the_process_are_those_of_this_process() {
    let process = super::process::Process::read().expect("this test runs on Linux");
    assert!(process.resident_bytes >= 1_048_576.0, "{process:?}");
    assert!(process.virtual_bytes >= process.resident_bytes, "{process:?}");
    assert!(process.threads >= 1.0 && process.open_fds >= 3.0, "{process:?}");
    assert!(process.open_fds <= process.max_fds, "{process:?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.expect("a clock").as_secs_f64() - process.start_seconds;
    assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
}
