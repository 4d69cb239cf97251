//! The file of a journal, damaged: what is still told is true, and what is missing is said.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pulsegate_journal::offline::{Offline, backup_file, verify};
use pulsegate_journal::{
    DeadLetter, Entry, HeartbeatRecord, Journal, Opened, Options, Place, RecordingMode,
};
use pulsegate_wire::event::{InForce, Standing};
use pulsegate_wire::{AgentRecord, Event, EventKind, State};

/// Bytes that one change of the file takes in an input: the block, the place in it, the bits.
const CHANGE: usize = 4;
/// Bytes of a block: changes fall only into those that hold something.
const BLOCK: usize = 32;
/// Most changes of one input.
const MOST: usize = 64;
/// Events of the journal, and how many of them a commit has.
const EVENTS: u64 = 60;
const COMMIT: u64 = 12;
/// Wall time of everything, in Unix milliseconds.
const WALL_MS: u64 = 1_790_000_000_000;

/// A journal in order, as it lies in its file.
struct Sound {
    file: Vec<u8>,
    /// Blocks that are not empty.
    blocks: Vec<usize>,
    events: Vec<Event>,
}

/// Changes of the file of a journal. The first byte says who opens it then, and whether its end is
/// cut off.
pub fn journal_file(bytes: &[u8]) {
    static WORLD: OnceLock<(Sound, Mutex<PathBuf>)> = OnceLock::new();
    let (sound, directory) = WORLD.get_or_init(|| {
        hush_the_store();
        let directory = directory();
        (Sound::make(&directory), Mutex::new(directory))
    });
    let Some((&how, changes)) = bytes.split_first() else { return };
    let file = sound.damaged(how & 2 != 0, changes);
    // Of two tests in one process each has its turn.
    let directory = directory.lock().unwrap_or_else(PoisonError::into_inner);
    empty(&directory);
    fs::write(backup_file(&directory), &file).expect("a place for it");
    if how & 1 == 0 {
        offline(&directory, sound)
    } else {
        online(&directory, sound)
    }
    if file == sound.file {
        assert_eq!(told(&directory), sound.events, "nothing is lost of what is sound");
    }
    empty(&directory);
}

/// The store panics on pages that were damaged outside of it, and who opened it turns that into an
/// error: nobody is to be told of it, nor to take it for the end.
fn hush_the_store() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_stored = panic.location().is_some_and(|place| place.file().contains("/redb-"));
        if !is_stored {
            before(panic);
        }
    }));
}

/// A directory of this process, in memory where there is such a place.
fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = base.join(format!("pulsegate-fuzz-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory
}

fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

fn open(directory: &Path) -> Option<Opened> {
    let mut options = Options::new(Place::Directory(directory.to_owned()));
    options.recording.mode = RecordingMode::All;
    // Its times are of some day; nothing is to be too old for it.
    (options.retention.max_age, options.recording.max_age) = (Duration::MAX, Duration::MAX);
    Journal::open(options, WALL_MS, Box::new(|_| ())).ok()
}

impl Sound {
    /// Makes one with something in every room, commit by commit, so that it is the same each time
    /// but for its random name and key.
    fn make(directory: &Path) -> Self {
        empty(directory);
        let journal = open(directory).expect("a new journal").journal;
        for number in 1..=EVENTS {
            journal.record(HeartbeatRecord { at_ms: number, ..HeartbeatRecord::default() });
            let appended = journal.append([event(number)]).expect("there is room");
            if number % COMMIT == 0 {
                while journal.committed() < appended {
                    std::thread::yield_now();
                }
            }
            if number == EVENTS / 2 {
                let mut snapshot = journal.begin_snapshot();
                snapshot.add((0..20).map(agent).collect());
                snapshot.finish().expect("a snapshot");
            }
        }
        journal.dead_letter(DeadLetter { body: vec![7; 100], ..DeadLetter::default() });
        journal.close(event(EVENTS + 1)).expect("it is closed in order");
        drop(journal);
        let events = told(directory);
        assert_eq!(events.len() as u64, EVENTS + 1);
        let file = fs::read(backup_file(directory)).expect("its file");
        let is_used = |block: &usize| {
            let end = (block + BLOCK).min(file.len());
            file[*block..end].iter().any(|&byte| byte != 0)
        };
        let blocks = (0..file.len()).step_by(BLOCK).filter(is_used).collect();
        Self { file, blocks, events }
    }

    fn damaged(&self, is_cut: bool, mut changes: &[u8]) -> Vec<u8> {
        let mut file = self.file.clone();
        if let Some((&[low, high], rest)) = changes.split_first_chunk::<2>().filter(|_| is_cut) {
            let share = usize::from(u16::from_le_bytes([low, high]));
            file.truncate(file.len() * share / usize::from(u16::MAX));
            changes = rest;
        }
        for change in changes.chunks_exact(CHANGE).take(MOST) {
            let block = usize::from(u16::from_le_bytes([change[0], change[1]]));
            let place = self.blocks[block % self.blocks.len()] + usize::from(change[2]) % BLOCK;
            if let Some(byte) = file.get_mut(place) {
                *byte ^= change[3];
            }
        }
        file
    }

    /// Events that are told are those that happened, each under its number and in order.
    fn assert_true(&self, events: &[Event]) {
        let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for event in events {
            let happened = (event.seq as usize).checked_sub(1).and_then(|at| self.events.get(at));
            assert_eq!(Some(event), happened);
        }
    }
}

/// What a journal that nobody has open tells.
fn told(directory: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    if let Ok(journal) = Offline::open(directory) {
        journal.events(|event| events.push(event), drop).expect("it can be read");
    }
    events
}

/// As the commands read it that look at a journal.
fn offline(directory: &Path, sound: &Sound) {
    let mut journal = match Offline::open(directory) {
        Ok(journal) => journal,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let header = journal.header();
    let (mut events, mut losses) = (Vec::new(), Vec::new());
    let read = journal.events(|event| events.push(event), |loss| losses.push(loss));
    sound.assert_true(&events);
    let mut accounted: Vec<u64> = events.iter().map(|event| event.seq).collect();
    accounted.extend(losses.iter().flat_map(|loss| lost(loss)));
    accounted.sort_unstable();
    let all: Vec<u64> = (header.oldest_seq..=header.newest_seq).collect();
    assert!(read.is_err() || accounted == all, "each is told or said to be lost: {losses:?}");
    // Whatever these say of a damaged file, they say it.
    let _ = journal.heartbeats(|_, _| true);
    let _ = journal.replay(drop);
    let _ = journal.stats();
    if let Ok(verdict) = verify(&mut journal) {
        let is_whole = events.len() == sound.events.len();
        assert!(is_whole || verdict.count > 0 || header.newest_seq < EVENTS + 1);
    }
}

/// The numbers of a sentence such as `events 3 to 5 are damaged and lost`.
fn lost(loss: &str) -> RangeInclusive<u64> {
    let words = loss.split(' ').filter_map(|word| word.parse().ok());
    let numbers: Vec<u64> = words.collect();
    assert!(matches!(numbers.len(), 1 | 2), "{loss}");
    numbers[0]..=numbers[numbers.len() - 1]
}

/// As a gateway starts from it, and goes on.
fn online(directory: &Path, sound: &Sound) {
    let Some(opened) = open(directory) else { return };
    let (journal, last_seq) = (opened.journal, opened.last_seq);
    let mut replayed = Vec::new();
    let read = opened.replay.for_each(|entry| {
        if let Entry::Event(event) = entry {
            replayed.push(event);
        }
    });
    sound.assert_true(&replayed);
    assert!(read.is_err() || last_seq <= EVENTS + 1);
    let mut after = 0;
    while let Ok(events) = journal.read(after, 16) {
        let Some(last) = events.last() else { break };
        assert!(last.seq > after);
        after = last.seq;
        // What is appended now tells of what is lost.
        let old: Vec<Event> = events.into_iter().filter(|event| event.seq <= last_seq).collect();
        sound.assert_true(&old);
    }
    let _ = journal.heartbeats(0, 100);
    let _ = journal.dead_letters(0, 100);
}

fn event(number: u64) -> Event {
    Event {
        at_ms: number * 10,
        wall_ms: WALL_MS + number,
        tenant: "default".to_owned(),
        agent_id: format!("agent-{}", number % 7),
        class: "normal".to_owned(),
        standing: Some(standing(number)),
        kind: Some(EventKind::InForce(InForce { from_ms: 30_000 })),
        ..Event::default()
    }
}

fn standing(number: u64) -> Standing {
    let state = State::Alive as i32;
    Standing { state, incarnation: number, in_force_ms: 30_000, ..Standing::default() }
}

fn agent(number: u64) -> AgentRecord {
    AgentRecord {
        tenant: "default".to_owned(),
        agent_id: format!("agent-{number}"),
        class: "normal".to_owned(),
        standing: Some(standing(number)),
        ..AgentRecord::default()
    }
}
