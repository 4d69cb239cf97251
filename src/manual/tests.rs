//! The manual against the code.

use prost::Message as _;
use pulsegate_core::Classes;
use pulsegate_gateway::{config, telemetry};
use pulsegate_wire::{
    ALPN, Answered, ClientFrame, Code, Directive, Event, FromClient, FromServer, Heartbeat, PROTO,
    ServerFrame, frame_length, lease, limits,
};

const PROTOCOL: &str = include_str!("protocol.md");
const COMPACT: &str = include_str!("compact.md");
const SILENCE: &str = include_str!("silence.md");
const POLICIES: &str = include_str!("policies.md");
const REPLAY: &str = include_str!("replay.md");
const DISTRIBUTION: &str = include_str!("distribution.md");
const LANGUAGES: &str = include_str!("languages.md");
const LEASES: &str = include_str!("leases.md");
const JOURNAL: &str = include_str!("journal.md");
const SIMULATOR: &str = include_str!("simulator.md");
const OPERATING: &str = include_str!("operating.md");
const FIRST_POLICY: &str = include_str!("first_policy.md");
const OBSERVATION: &str = include_str!("observation.md");
const POLICY_LIMITS: &str = include_str!("policy_limits.md");
const TESTING_POLICIES: &str = include_str!("testing_policies.md");
const PAGES: [&str; 24] = [
    include_str!("getting_started.md"),
    PROTOCOL,
    COMPACT,
    SILENCE,
    include_str!("cadence.md"),
    POLICIES,
    FIRST_POLICY,
    OBSERVATION,
    include_str!("hints.md"),
    POLICY_LIMITS,
    TESTING_POLICIES,
    REPLAY,
    DISTRIBUTION,
    include_str!("rollout.md"),
    LANGUAGES,
    include_str!("recovery.md"),
    LEASES,
    JOURNAL,
    OPERATING,
    SIMULATOR,
    include_str!("science.md"),
    include_str!("model.md"),
    include_str!("adversary.md"),
    include_str!("figures.md"),
];

/// The fenced blocks of a page whose fence says this.
fn blocks<'a>(page: &'a str, fence: &str) -> Vec<&'a str> {
    let open = format!("```{fence}\n");
    let parts = page.split(open.as_str()).skip(1);
    parts.filter_map(|part| part.split("\n```").next()).collect()
}

/// Holds a table to the code: prints all of it where a row differs, to be pasted.
fn assert_rows(page: &str, rows: &[String]) {
    let missing: Vec<&String> = rows.iter().filter(|row| !page.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "rows that the page should have:\n{}", rows.join("\n"));
}

#[test]
fn the_table_of_errors_is_the_one_of_the_wire() {
    let row = |code: &Code| {
        let word = code.as_str();
        format!("| `{word}` | {} | {:#06x} | {} |", code.status(), code.quic(), code.title())
    };
    assert_rows(PROTOCOL, &Code::ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn the_table_of_classes_is_the_default_one() {
    let classes = Classes::default();
    let row = |class: &pulsegate_core::Class| {
        let seconds = |ms: u32| format!("{} s", ms / 1_000);
        format!(
            "| `{}` | {} | {} | {} | {} | {} past due |",
            class.name,
            seconds(class.interval_ms),
            seconds(class.detect_within_ms),
            seconds(class.suspect_grace_ms),
            seconds(class.fail_grace_ms),
            seconds(class.act_grace_ms),
        )
    };
    assert_rows(SILENCE, &classes.iter().map(|(_, class)| row(class)).collect::<Vec<_>>());
}

#[test]
fn the_table_of_metrics_is_the_catalogue() {
    let row = |metric: telemetry::Described| {
        let labels: Vec<String> = metric.labels.iter().map(|name| format!("`{name}`")).collect();
        format!("| `{}` | {} | {} |", metric.name, labels.join(", "), metric.help)
    };
    assert_rows(OPERATING, &telemetry::describe().map(row).collect::<Vec<_>>());
}

fn thousands(number: usize) -> String {
    let text = number.to_string();
    let (head, tail) = text.split_at(text.len() - text.len().min(3));
    if head.is_empty() { tail.to_owned() } else { format!("{head},{tail}") }
}

#[test]
fn the_limits_named_are_those_of_the_wire() {
    for claim in [
        format!("A body has at most {} bytes", thousands(limits::HEARTBEAT_BYTES)),
        format!("at most {} heartbeats and", thousands(limits::BATCH_ITEMS)),
        format!("1 to {} of `A-Z", limits::AGENT_ID_BYTES),
        format!("at most {}; detail ≤ {}", limits::COMMAND_ACKS, limits::ACK_DETAIL_BYTES),
        format!("≤ {} bytes of letters", limits::NAME_BYTES),
        format!("at most {}; value ≤ {}", limits::LABELS, limits::LABEL_VALUE_BYTES),
        format!("at most {} names", limits::CAPABILITIES),
        format!("path ≤ {} bytes", limits::PROBE_PATH_BYTES),
        format!("≤ {} bytes |", limits::TASK_BYTES),
        format!("at most {}; finite", limits::CUSTOM_METRICS),
        format!("at most {} `rules`", limits::EARLY_RULES),
        format!("at most {} wait", limits::COMMANDS),
    ] {
        assert!(PROTOCOL.contains(&claim), "the page does not say: {claim}");
    }
    assert_eq!(limits::BATCH_BYTES, 1_048_576);
    assert_eq!(limits::STALL_AFTER_MIN_MS, 1_000);
}

#[test]
fn the_limits_of_a_replay_are_those_of_its_crate() {
    use pulsegate_replay::{AGENT_BYTES, AGENTS_MAX, FAULTS_MAX, FORGIVEN_MS};
    assert_eq!((AGENT_BYTES, AGENTS_MAX), (1_024, 1_048_576));
    for claim in [
        format!("After {} faults the replay ends early", thousands(FAULTS_MAX as usize)),
        format!("more than {:.1} s late", FORGIVEN_MS as f64 / 1e3),
        "at most a kilobyte is kept of each agent, of a million agents at most".to_owned(),
    ] {
        assert!(REPLAY.replace('\n', " ").contains(&claim), "the page does not say: {claim}");
    }
}

#[test]
fn the_limits_of_leases_are_those_of_the_wire() {
    let seconds = |ms: u32| ms / 1_000;
    let good_ms = lease::holder_validity_ms(30_000);
    for claim in [
        format!(
            "from {} s to {} h",
            seconds(limits::LEASE_TTL_MIN_MS),
            seconds(limits::LEASE_TTL_MAX_MS) / 3_600
        ),
        format!("at most {} leases", limits::LEASES_PER_HOLDER),
        format!("a gateway {}", thousands(limits::LEASES)),
        format!("`wait_ms`, at most {}", thousands(limits::LEASE_WAIT_MAX_MS as usize)),
        format!("{} wait for one lease", limits::LEASE_LINE),
        format!("at most {} parts in a million", lease::CLOCK_DRIFT_PPM),
        format!("good for {:.2} s", good_ms as f64 / 1e3),
    ] {
        assert!(LEASES.replace('\n', " ").contains(&claim), "the page does not say: {claim}");
    }
}

#[test]
fn the_numbers_of_the_second_witness_are_the_defaults() {
    let probes = config::Config::default().probes;
    for claim in [
        format!("each of `timeout_ms` ({} s)", probes.timeout_ms / 1_000),
        format!("among the {} that are asked at once", probes.concurrency),
        format!("the {},{:03} that wait", probes.queue / 1_000, probes.queue % 1_000),
    ] {
        assert!(SILENCE.replace('\n', " ").contains(&claim), "the page does not say: {claim}");
    }
    assert!(probes.enabled && probes.pause_ms == 500);
}

#[test]
fn the_page_of_the_journal_names_every_event_of_agents_and_the_defaults() {
    // The events that concern agents have the tags up to 47: an empty message with each.
    let kinds = (16..48_u64).filter_map(|tag| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(tag << 3 | 2, &mut bytes);
        bytes.push(0);
        Event::decode(&bytes[..]).unwrap().kind
    });
    let mut count = 0;
    for kind in kinds {
        assert!(JOURNAL.contains(&format!("`{}`", kind.as_str())), "{}", kind.as_str());
        count += 1;
    }
    assert_eq!(count, 20);
    let journal = config::Config::default().journal;
    let days = |ms: u32| ms / 86_400_000;
    for claim in [
        format!("| {} days, {} GiB |", days(journal.max_age_ms), journal.max_bytes >> 30),
        format!("| `{}` | which heartbeats", journal.heartbeats.as_str()),
        format!(
            "| {} days, {} GiB | these |",
            days(journal.heartbeats_max_age_ms),
            journal.heartbeats_max_bytes >> 30
        ),
    ] {
        assert!(JOURNAL.contains(&claim), "the page does not say: {claim}");
    }
}

#[test]
fn the_heartbeats_shown_are_accepted() {
    let shown: Vec<&str> = PAGES.iter().flat_map(|page| blocks(page, "json heartbeat")).collect();
    assert!(shown.len() >= 2);
    for text in shown {
        let heartbeat: Heartbeat = serde_json::from_str(text).unwrap();
        assert_eq!(heartbeat.validate(), Ok(()), "{text}");
        assert_same(text, &serde_json::to_value(heartbeat).unwrap());
    }
}

#[test]
fn the_directives_shown_are_read() {
    let shown = blocks(PROTOCOL, "json directive");
    assert!(!shown.is_empty());
    for text in shown {
        let directive: Directive = serde_json::from_str(text).unwrap();
        assert_same(text, &serde_json::to_value(directive).unwrap());
    }
}

/// Everything shown was understood: nothing of it is missing from what was read.
fn assert_same(text: &str, read: &serde_json::Value) {
    fn within(shown: &serde_json::Value, read: &serde_json::Value) -> bool {
        match (shown, read) {
            (serde_json::Value::Object(shown), serde_json::Value::Object(read)) => shown
                .iter()
                .all(|(key, value)| read.get(key).is_some_and(|other| within(value, other))),
            _ => shown == read,
        }
    }
    let shown: serde_json::Value = serde_json::from_str(text).unwrap();
    assert!(within(&shown, read), "shown {shown}\nread {read}");
}

#[test]
fn the_limits_of_the_compact_protocol_are_those_of_the_wire() {
    for claim in [
        format!("at most {} bytes long", thousands(limits::FRAME_BYTES)),
        format!("is over {} bytes", thousands(limits::FRAME_BYTES)),
        format!("{} bytes: a heartbeat of", thousands(limits::FRAME_BYTES)),
        format!("heartbeat of {} and", thousands(limits::HEARTBEAT_BYTES)),
        format!("at most {} unanswered", limits::STREAM_HEARTBEATS),
        format!("that are read | {} |", limits::STREAM_HEARTBEATS),
        format!("`{ALPN}` over QUIC"),
    ] {
        assert!(COMPACT.contains(&claim), "the page does not say: {claim}");
    }
}

#[test]
fn the_messages_shown_are_the_published_ones_and_all_that_a_client_needs() {
    let shown = blocks(COMPACT, "proto").join("\n\n");
    let mut names = Vec::new();
    for message in shown.split("\n\n") {
        assert!(PROTO.contains(&format!("{}\n", message.trim())), "not published:\n{message}");
        names.extend(message.split_whitespace().nth(1));
    }
    let relays_only = ["Registration", "Batch", "BatchAnswer", "BatchItem"];
    let published =
        PROTO.lines().filter(|line| line.starts_with("message ") || line.starts_with("enum "));
    for line in published {
        let name = line.split(' ').nth(1).unwrap();
        assert_ne!(names.contains(&name), relays_only.contains(&name), "{name}");
    }
}

/// The bytes of a frame that is shown line by line, and where its length ends.
fn shown_frame(text: &str) -> (Vec<u8>, usize) {
    let digits = text.lines().map(|line| line.split('#').next().unwrap());
    let bytes: Vec<u8> = digits
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let (begin, length) = frame_length(&bytes).unwrap().unwrap();
    assert_eq!(begin + length, bytes.len(), "{text}");
    (bytes, begin)
}

#[test]
fn the_frames_shown_are_what_the_text_beside_them_says() {
    let mut kinds = Vec::new();
    for text in blocks(COMPACT, "text client frame") {
        let (bytes, begin) = shown_frame(text);
        let frame = ClientFrame::decode(&bytes[begin..]).unwrap();
        assert_eq!(frame.encode_length_delimited_to_vec(), bytes, "{text}");
        match frame.frame.unwrap() {
            FromClient::Heartbeat(heartbeat) => {
                assert_eq!(heartbeat.validate(), Ok(()));
                assert_eq!((heartbeat.agent_id.as_str(), heartbeat.sequence), ("worker-7", 42));
                assert_eq!(heartbeat.status().as_str(), "busy");
                assert_eq!(
                    (heartbeat.incarnation, heartbeat.directive_seen),
                    (1_760_000_000_000, 41)
                );
                kinds.push("heartbeat");
            }
            FromClient::Hello(hello) => {
                assert_eq!(hello.token, "0123456789abcdef");
                kinds.push("hello");
            }
        }
    }
    for text in blocks(COMPACT, "text server frame") {
        let (bytes, begin) = shown_frame(text);
        let frame = ServerFrame::decode(&bytes[begin..]).unwrap();
        assert_eq!(frame.encode_length_delimited_to_vec(), bytes, "{text}");
        kinds.push(match frame.frame.unwrap() {
            FromServer::Answer(answer) => {
                assert_eq!((answer.agent_id.as_str(), answer.sequence), ("worker-7", 42));
                let Some(Answered::Directive(directive)) = answer.result else { panic!("{text}") };
                assert_eq!(directive.number, 42);
                assert_eq!(directive.next_interval_ms, 29_713);
                assert_eq!(directive.fail_after_ms, 91_000);
                assert_eq!(directive.retry, [1_000, 2_000, 4_000, 8_000]);
                "answer"
            }
            FromServer::Welcome(welcome) => {
                assert_eq!(welcome.frame_bytes as usize, limits::FRAME_BYTES);
                assert_eq!(welcome.in_flight as usize, limits::STREAM_HEARTBEATS);
                "welcome"
            }
            FromServer::Push(push) => {
                assert_eq!(push.commands[0].kind().as_str(), "checkpoint");
                "push"
            }
        });
    }
    assert_eq!(kinds, ["heartbeat", "hello", "answer", "welcome", "push"]);
}

#[test]
fn the_close_codes_shown_are_those_of_the_wire() {
    let rows = COMPACT.lines().filter(|line| line.starts_with("| 0x5"));
    let mut shown = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let number = u64::from_str_radix(cells[1].trim_start_matches("0x"), 16).unwrap();
        let code = Code::from_quic(number).unwrap();
        assert_eq!(cells[2], format!("`{}`", code.as_str()));
        shown += 1;
    }
    assert_eq!(shown, 5);
}

#[test]
fn the_limits_of_the_pools_are_the_defaults() {
    use pulsegate_policy::Pool;
    let limits = config::Config::default().policy_limits();
    let [native, interpreted] = Pool::ALL.map(|pool| limits.of(pool));
    let ms = |time: std::time::Duration| time.as_millis();
    for claim in [
        format!("`call_ms`, {} ms |", ms(native.call)),
        format!("`interpreted_call_ms`, {} ms |", ms(interpreted.call)),
        format!("| {} ms | {} ms |", ms(native.start), ms(interpreted.start)),
        format!("`memory_bytes`, {} MiB |", native.memory_bytes >> 20),
        format!("`interpreted_memory_bytes`, {} MiB |", interpreted.memory_bytes >> 20),
        format!(
            "| {} MiB | {} MiB |",
            native.component_bytes >> 20,
            interpreted.component_bytes >> 20
        ),
    ] {
        assert!(LANGUAGES.contains(&claim), "the page does not say: {claim}");
    }
}

#[test]
fn the_configurations_shown_are_valid() {
    let shown: Vec<&str> = PAGES.iter().flat_map(|page| blocks(page, "toml config")).collect();
    assert!(shown.len() >= 2);
    for text in shown {
        let directory = std::path::Path::new("/");
        let parsed =
            config::Config::parse("manual", text, directory, &config::Overrides::default());
        assert!(parsed.is_ok(), "{text}\n{}", parsed.unwrap_err());
    }
}

#[test]
fn the_policy_shown_is_the_one_that_the_sdk_compiles() {
    let documented: String = include_str!("../../plugins/sdk/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let readme = include_str!("../../README.md");
    let pages =
        [("the manual", POLICIES), ("the first policy", FIRST_POLICY), ("README.md", readme)];
    for (name, page) in pages {
        let shown = [blocks(page, "rust,ignore"), blocks(page, "rust")].concat();
        assert_eq!(shown.len(), 1, "{name} shows one policy");
        assert!(documented.contains(shown[0]), "{name} shows another policy:\n{documented}");
    }
    let built = include_str!("../../plugins/misbehaving/busy_bees.rs");
    let shown = blocks(FIRST_POLICY, "rust,ignore");
    assert!(built.contains(shown[0]), "the commands of that page ask another policy");
}

#[test]
fn the_page_of_the_observation_names_every_field_and_word() {
    let rows = OBSERVATION.lines().filter(|line| line.starts_with("| `"));
    let named: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    let wit = include_str!("../../wit/types.wit");
    let record = wit.split("record observation {").nth(1).unwrap();
    let fields = record.lines().map(str::trim).filter(|line| !line.starts_with("///"));
    let fields = fields.filter_map(|line| line.strip_suffix(',')?.split_once(": "));
    let fields: Vec<String> = fields.map(|(name, _)| name.replace('-', "_")).collect();
    assert_eq!(fields.len(), 16);
    assert_eq!(named[..16], fields, "in the order of the contract");
    for word in pulsegate_core::Signals::WORDS {
        assert!(OBSERVATION.contains(&format!("`{word}`")), "{word}");
        assert!(wit.contains(&format!("        {},", word.replace('_', "-"))), "{word}");
    }
}

#[test]
fn the_limits_of_policies_are_the_defaults() {
    let limits = pulsegate_policy::Limits::default();
    let interval = |name: &str| format!("`policy_limits.{name}`");
    for claim in [
        format!("{} ms of its own running", limits.call.as_millis()),
        format!("| {} MiB | {}", limits.memory_bytes >> 20, interval("memory_bytes")),
        format!("| stack | {} KiB |", limits.stack_bytes >> 10),
        format!("| {} ms | {}", limits.batch.as_millis(), interval("batch_ms")),
        format!("| {} | {}", limits.breaker_faults, interval("breaker_faults")),
        format!("| rows in a call | {} |", pulsegate_policy::ROWS_PER_CALL),
        format!("| rungs of a plan | {} |", pulsegate_core::Plan::MAX_RUNGS),
    ] {
        assert!(POLICY_LIMITS.contains(&claim), "the page does not say: {claim}");
    }
    for claim in [
        format!("at most {} cases", thousands(pulsegate_cases::CASES_MAX)),
        format!("{} steps", thousands(pulsegate_cases::STEPS_MAX)),
        format!("at most {} MiB", pulsegate_cases::FILE_BYTES >> 20),
    ] {
        let page = TESTING_POLICIES.replace('\n', " ");
        assert!(page.contains(&claim), "the page does not say: {claim}");
    }
}

#[test]
fn every_fault_of_the_simulator_is_told() {
    for word in pulsegate_sim::hunt::Fault::words() {
        assert!(SIMULATOR.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn the_limits_of_distribution_are_those_of_the_code() {
    let registry = config::PolicyRegistry::default();
    let mib = |bytes: u64| bytes >> 20;
    for claim in [
        format!("| a component | {} MiB |", mib(pulsegate_registry::COMPONENT_BYTES)),
        format!("| a manifest or index | {} MiB |", mib(pulsegate_registry::MANIFEST_BYTES)),
        format!("`timeout_ms`, {} s", registry.timeout_ms / 1_000),
        format!("at most {} blobs", pulsegate_registry::STORE_FILES),
        format!("`store_bytes` ({} GiB)", mib(registry.store_bytes) >> 10),
        format!("up to {}, ECDSA", pulsegate_registry::KEYS),
        format!("`require = \"{}\"` (default)", config::PolicyTrust::default().require.as_str()),
        pulsegate_registry::media::WASM.to_owned(),
        pulsegate_registry::media::WASM_CONFIG.to_owned(),
    ] {
        assert!(DISTRIBUTION.contains(&claim), "the page does not say: {claim}");
    }
    assert_eq!(registry.store_bytes, pulsegate_registry::STORE_BYTES);
    assert_eq!(u128::from(registry.timeout_ms), pulsegate_registry::TIMEOUT.as_millis());
}

/// Brings an empty component for every policy.
struct Anything;

impl config::Fetch for Anything {
    fn fetch(&self, wanted: &config::Wanted<'_>) -> Vec<Result<config::Brought, String>> {
        assert!(wanted.keys.is_some(), "the page shows how to check signatures");
        let empty = || config::Brought { bytes: std::sync::Arc::default(), origin: String::new() };
        wanted.policies.iter().map(|_| Ok(empty())).collect()
    }
}

#[test]
fn the_configuration_of_distribution_is_valid() {
    let shown = blocks(DISTRIBUTION, "toml config-with-files");
    assert_eq!(shown.len(), 1);
    let name = format!("pulsegate-manual-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let key = rcgen::KeyPair::generate().unwrap().public_key_pem();
    std::fs::write(directory.join("cosign.pub"), key).unwrap();
    let file = directory.join("pulsegate.toml");
    std::fs::write(&file, shown[0]).unwrap();
    let loaded = config::Config::load_with(Some(&file), &config::Overrides::default(), &Anything);
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
}
