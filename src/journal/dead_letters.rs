//! Dead letters: what mattered and could not be handled, kept with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Most bytes of a body. Source: the largest heartbeat (DESIGN §3).
const BODY_BYTES: usize = 16 << 10;

/// What mattered and could not be handled.
#[derive(Clone, PartialEq, Eq, prost::Message, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct DeadLetter {
    /// Its number, which the journal gives: 1 for the first, never reused.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// When, by the wall clock, in Unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub wall_ms: u64,
    /// Tenant that it came from or was meant for.
    #[prost(string, tag = "3")]
    pub tenant: String,
    /// What it was: `heartbeat`, `webhook` or `action`.
    #[prost(string, tag = "4")]
    pub source: String,
    /// Why it could not be handled: the code of a problem.
    #[prost(string, tag = "5")]
    pub reason: String,
    /// The same in a sentence.
    #[prost(string, tag = "6")]
    pub detail: String,
    /// The message; cut after 16 KiB.
    #[prost(bytes = "vec", tag = "7")]
    pub body: Vec<u8>,
    /// How it came: `http`, `quic`, …
    #[prost(string, tag = "8")]
    pub transport: String,
    /// Media type of the body.
    #[prost(string, tag = "9")]
    pub media_type: String,
    /// Agent that it names, as far as that could be read.
    #[prost(string, tag = "10")]
    pub agent_id: String,
}

/// How many dead letters are kept; the oldest give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterLimits {
    /// Most of them; default 10,000: a list that somebody can still go through.
    pub max_count: usize,
    /// Most bytes of them; default 64 MiB.
    pub max_bytes: u64,
}

impl Default for DeadLetterLimits {
    fn default() -> Self {
        Self { max_count: 10_000, max_bytes: 64 << 20 }
    }
}

/// Which dead letters there are, and what of it waits for a commit.
#[derive(Debug, Default)]
pub(crate) struct Book {
    limits: DeadLetterLimits,
    last_id: u64,
    /// All that there are, with their sizes.
    live: BTreeMap<u64, u32>,
    bytes: u64,
    /// What is not durable yet: `None` for a removal.
    waiting: BTreeMap<u64, Option<Arc<DeadLetter>>>,
    /// Letters that gave way to newer ones, so far.
    evicted: u64,
}

impl Book {
    /// The book of what the store has.
    pub(crate) fn new(
        limits: DeadLetterLimits,
        last_id: u64,
        stored: impl IntoIterator<Item = (u64, u32)>,
    ) -> Self {
        let live: BTreeMap<u64, u32> = stored.into_iter().collect();
        let bytes = live.values().map(|&size| u64::from(size)).sum();
        let mut book = Self { limits, last_id, live, bytes, ..Self::default() };
        book.make_room();
        book
    }

    /// Takes a letter, and gives it its number.
    pub(crate) fn push(&mut self, mut letter: DeadLetter) -> u64 {
        self.last_id += 1;
        letter.id = self.last_id;
        letter.body.truncate(BODY_BYTES);
        let size = prost::Message::encoded_len(&letter) as u32;
        self.live.insert(letter.id, size);
        self.bytes += u64::from(size);
        self.waiting.insert(letter.id, Some(Arc::new(letter)));
        self.make_room();
        self.last_id
    }

    fn make_room(&mut self) {
        while self.live.len() > self.limits.max_count || self.bytes > self.limits.max_bytes {
            let Some(&oldest) = self.live.keys().next() else { return };
            self.remove(oldest);
            self.evicted += 1;
        }
    }

    /// Strikes a letter. Whether it was there.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(size) = self.live.remove(&id) else { return false };
        self.bytes -= u64::from(size);
        self.waiting.insert(id, None);
        true
    }

    /// Numbers after `after`, at most `limit`.
    pub(crate) fn ids_after(&self, after: u64, limit: usize) -> Vec<u64> {
        self.live.range(after.saturating_add(1)..).map(|(&id, _)| id).take(limit).collect()
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.live.contains_key(&id)
    }

    /// A letter that is not in the store yet.
    pub(crate) fn waiting(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.waiting.get(&id)?.clone()
    }

    pub(crate) fn is_written(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is to be written, the oldest first, at most `limit` letters.
    pub(crate) fn unwritten(&self, limit: usize) -> Vec<(u64, Option<Arc<DeadLetter>>)> {
        self.waiting.iter().take(limit).map(|(&id, letter)| (id, letter.clone())).collect()
    }

    /// Notes what was written. What changed meanwhile still waits.
    pub(crate) fn written(&mut self, written: &[(u64, Option<Arc<DeadLetter>>)]) {
        for (id, letter) in written {
            let is_same = self.waiting.get(id).is_some_and(|now| now.is_some() == letter.is_some());
            if is_same {
                self.waiting.remove(id);
            }
        }
    }

    pub(crate) const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// How many there are, their bytes, and how many gave way.
    pub(crate) fn figures(&self) -> (u64, u64, u64) {
        (self.live.len() as u64, self.bytes, self.evicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(bytes: usize) -> DeadLetter {
        DeadLetter { body: vec![7; bytes], ..DeadLetter::default() }
    }

    #[test]
    fn the_oldest_give_way_by_number_and_by_size() {
        let limits = DeadLetterLimits { max_count: 3, max_bytes: 10_000 };
        let mut book = Book::new(limits, 10, [(4, 5), (9, 5)]);
        assert_eq!(book.push(letter(10)), 11);
        assert_eq!(book.push(letter(10)), 12);
        assert_eq!(book.ids_after(0, 9), [9, 11, 12]);
        book.push(letter(9_980));
        assert_eq!(book.ids_after(0, 9), [12, 13]);
        assert_eq!(book.figures().2, 3);
    }

    #[test]
    fn a_letter_is_taken_once_and_its_removal_is_written() {
        let mut book = Book::new(DeadLetterLimits::default(), 0, []);
        let id = book.push(letter(1));
        let batch = book.unwritten(9);
        assert!(book.remove(id));
        assert!(!book.remove(id));
        book.written(&batch);
        assert!(!book.is_written(), "the removal came after the letter");
        let batch = book.unwritten(9);
        assert_eq!(batch, [(id, None)]);
        book.written(&batch);
        assert!(book.is_written());
    }

    #[test]
    fn a_long_body_is_cut() {
        let mut book = Book::new(DeadLetterLimits::default(), 0, []);
        let id = book.push(letter(BODY_BYTES + 1));
        assert_eq!(book.waiting(id).unwrap().body.len(), BODY_BYTES);
    }
}
