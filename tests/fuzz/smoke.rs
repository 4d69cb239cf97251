//! Every target over its corpus, and over mutations of it that are the same in every run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::{TARGETS, Target};

/// Most bytes of a mutation. Source: chosen, what libFuzzer takes as its most by itself.
const MOST: usize = 4_096;
/// Most files of a corpus, and most bytes of a file.
const FILES: usize = 32;
/// Begins the chain of mutations of every target.
const SEED: u64 = 0x5eed_0b5e_55ed;
/// Bytes and lengths at which parsers turn: ends of ranges, signs, quotes, wire types.
const TURNS: &[&[u8]] = &[
    b"\0",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"[[[[[[[[",
    b"]}",
    b"-",
    b".",
    b":",
    b",",
    b"\n",
    b"null",
    b"true",
    b"1e999",
    b"-0.0",
    b"4294967296",
    b"9007199254740992",
    b"18446744073709551615",
    b"18446744073709551616",
    b"\xf0\x9f\x92\x93",
];

/// Splitmix64: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A place in these bytes, their end included.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.below(bytes.len() + 1)
    }

    /// A range in these bytes; short ones are more frequent.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let (from, most) = (self.place(bytes), 1 << self.below(8));
        from..(from + self.below(most + 1)).min(bytes.len())
    }
}

/// One of the corpus, changed in a few places.
fn mutation(chance: &mut Chance, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(4) {
        let other = &corpus[chance.below(corpus.len())];
        change(chance, &mut bytes, other);
    }
    // What a corpus holds may be longer than what is invented.
    bytes.truncate(corpus.iter().map(Vec::len).max().unwrap_or(0).max(MOST));
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    let range = chance.range(bytes);
    let at = range.start;
    match chance.below(8) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        2 if at < bytes.len() => bytes[at] = chance.next() as u8,
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(range)),
        5 => {
            let again = bytes[range].to_vec();
            bytes.splice(at..at, again);
        }
        6 => {
            let from = chance.range(other);
            bytes.splice(range, other[from].iter().copied());
        }
        _ => {
            let turn = TURNS[chance.below(TURNS.len())];
            let end = if chance.below(2) == 0 { at } else { (at + turn.len()).min(bytes.len()) };
            bytes.splice(at..end, turn.iter().copied());
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// The files of a corpus, in the order of their names, with what is too large to be committed.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let read = fs::read_dir(folder(target.name)).expect("every target has a corpus");
    let mut files: Vec<(String, Vec<u8>)> = read
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("it can be read"))
        })
        .collect();
    assert!(!files.is_empty(), "the corpus of {} is empty", target.name);
    assert!(files.len() <= FILES, "the corpus of {} has {} files", target.name, files.len());
    for (name, bytes) in &files {
        assert!(bytes.len() <= MOST, "{}/{name} has {} bytes", target.name, bytes.len());
    }
    files.sort();
    if target.name == "policy_component" {
        let all = pulsegate_policy::reference::ALL.iter();
        files.extend(all.map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())));
    }
    files
}

fn smoke(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("it is listed");
    let began = Instant::now();
    let files = corpus(target);
    for (file, bytes) in &files {
        run(target, bytes, &format!("corpus/{name}/{file}"));
    }
    let inputs: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
    let mut chance = Chance(SEED);
    for number in 0..target.mutations {
        let bytes = mutation(&mut chance, &inputs);
        run(target, &bytes, &format!("mutation {number} of seed {SEED:#x}"));
    }
    let runs = inputs.len() as u32 + target.mutations;
    // Past the harness, which shows what tests print only when they fail.
    let told =
        format!("fuzz {name}: {runs} executions in {:.1} s\n", began.elapsed().as_secs_f64());
    let _ = std::io::stderr().write_all(told.as_bytes());
}

fn run(target: &Target, bytes: &[u8], what: &str) {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    assert!(
        outcome.is_ok(),
        "{}: {what} fails; keep it in its corpus: b\"{}\"",
        target.name,
        bytes.escape_ascii()
    );
}

macro_rules! smokes {
    ($($claim:ident: $target:ident,)+) => {
        $(#[test]
        fn $claim() {
            smoke(stringify!($target));
        })+

        /// Targets that a test above runs.
        const SMOKED: &[&str] = &[$(stringify!($target),)+];
    };
}

smokes! {
    any_json_is_a_heartbeat_or_is_refused: heartbeat_json,
    any_protobuf_is_a_heartbeat_or_is_refused: heartbeat_protobuf,
    a_heartbeat_in_a_json_batch_is_judged_as_if_alone: batch_json,
    a_heartbeat_in_a_protobuf_batch_is_judged_as_if_alone: batch_protobuf,
    any_json_is_a_registration_or_is_refused: registration_json,
    any_stream_is_the_same_frames_however_packets_cut_it: compact_frames,
    any_stream_of_http3_passes_only_without_a_large_frame: http3_frames,
    any_row_of_the_journal_is_read_or_said_to_be_damaged: journal_row,
    any_events_of_a_journal_can_be_restarted_from: journal_events,
    any_damage_of_a_journal_is_said: journal_file,
    any_configuration_is_right_or_says_where_it_is_not: config,
    any_component_is_a_policy_or_is_refused: policy_component,
    any_answer_of_a_policy_is_taken_or_is_a_fault: policy_answers,
    any_place_that_is_handed_back_is_one_or_is_refused: cursors,
    anything_that_a_registry_says_is_understood_or_is_refused: registry,
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_smoke_run() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len());
    assert_eq!(names, SMOKED.iter().map(|name| (*name).to_owned()).collect());
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let manifest = manifest.expect("the manifest");
    let programs = manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1));
    assert_eq!(names, programs.map(str::to_owned).collect());
    // They are not built here, so that nobody waits for the fuzzer.
    for name in &names {
        let program = format!("{}/bin/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let program = fs::read_to_string(program).expect("its program");
        assert!(program.contains(&format!("pulsegate_fuzz::{name}(bytes)")), "{program}");
    }
    let folders = fs::read_dir(folder("")).expect("the corpora").map(|entry| entry.expect("one"));
    assert_eq!(names, folders.map(|f| f.file_name().to_string_lossy().into_owned()).collect());
}

#[test]
fn mutations_are_the_same_in_every_run_and_differ() {
    let corpus = [b"{\"agent_id\":\"a\"}".to_vec(), b"{}".to_vec()];
    let all = || {
        let mut chance = Chance(SEED);
        (0..500).map(|_| mutation(&mut chance, &corpus)).collect::<Vec<_>>()
    };
    assert_eq!(all(), all());
    let different: BTreeSet<Vec<u8>> = all().into_iter().collect();
    assert!(different.len() > 300, "{} of 500 differ", different.len());
}
