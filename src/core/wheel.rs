//! A hashed timing wheel (Varghese & Lauck 1987, scheme 6): one deadline for each agent, moved at
//! every heartbeat in constant time.
//!
//! Timers are `u32` indices, those of the records that they belong to; their links live in a slab
//! of nodes parallel to the records, so that arming allocates nothing. A timer farther away than
//! one round stays in its slot for a later round. A bitmap of occupied slots makes a jump over
//! hours as cheap as a tick.
//!
//! Invariants: no timer fires early; one whose deadline passed is given out by the first
//! [`Wheel::pop`] of the next tick or later; each armed timer is linked exactly once.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::Millis;

#[cfg(test)]
pub(crate) mod image;
#[cfg(test)]
mod tests;

/// Length of a tick, in milliseconds. Smaller: more slots to visit; larger: later timers.
/// Source: chosen; a hundredth of the shortest interval.
pub const TICK_MS: u64 = 10;

/// Slots of one round, which lasts 11 min: longer than nearly every deadline, so that a slot
/// rarely holds timers of later rounds. Source: chosen.
const SLOTS: usize = 1 << 16;
const MASK: u64 = SLOTS as u64 - 1;
const NONE: u32 = u32::MAX;
const IDLE: u64 = u64::MAX;

/// Four to a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
struct Node {
    previous: u32,
    next: u32,
    /// The tick at which the timer fires; [`IDLE`] when it is not armed.
    tick: u64,
}

/// The deadlines of one machine.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    occupied: Bitmap,
    nodes: Vec<Node>,
    /// All ticks before this one are done.
    tick: u64,
    /// The node to look at next, while the slot of `tick` is being visited.
    visit: Option<u32>,
    armed: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            heads: alloc::vec![NONE; SLOTS].into_boxed_slice(),
            occupied: Bitmap::new(),
            nodes: Vec::new(),
            tick: 0,
            visit: None,
            armed: 0,
        }
    }
}

impl Wheel {
    /// Makes room for the timers below `count`.
    pub fn grow(&mut self, count: usize) {
        if count > self.nodes.len() {
            self.nodes.resize(count, Node { previous: NONE, next: NONE, tick: IDLE });
        }
    }

    /// Arms a timer, or moves it. One whose deadline has passed already fires with the next tick.
    ///
    /// # Panics
    /// If no room was made for the timer: see [`Wheel::grow`].
    pub fn arm(&mut self, timer: u32, deadline: Millis) {
        let earliest = self.tick + u64::from(self.visit.is_some());
        let tick = deadline.0.div_ceil(TICK_MS).clamp(earliest, IDLE - 1);
        if self.nodes[timer as usize].tick == tick {
            return;
        }
        self.cancel(timer);
        let slot = (tick & MASK) as usize;
        let next = core::mem::replace(&mut self.heads[slot], timer);
        self.nodes[timer as usize] = Node { previous: NONE, next, tick };
        if next == NONE {
            self.occupied.set(slot);
        } else {
            self.nodes[next as usize].previous = timer;
        }
        self.armed += 1;
    }

    /// Disarms a timer; nothing happens if it is not armed.
    pub fn cancel(&mut self, timer: u32) {
        let Node { previous, next, tick } = self.nodes[timer as usize];
        if tick == IDLE {
            return;
        }
        if self.visit == Some(timer) {
            self.visit = Some(next);
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else {
            let slot = (tick & MASK) as usize;
            self.heads[slot] = next;
            if next == NONE {
                self.occupied.clear(slot);
            }
        }
        self.nodes[timer as usize].tick = IDLE;
        self.armed -= 1;
    }

    /// Disarms and gives out one timer whose deadline has passed at `now`.
    pub fn pop(&mut self, now: Millis) -> Option<u32> {
        let target = now.0 / TICK_MS;
        // After more than a round every slot needs one visit, not one for each round.
        let first = (target + 1).saturating_sub(SLOTS as u64);
        if self.tick < first {
            (self.tick, self.visit) = (first, None);
        }
        while self.tick <= target {
            let mut candidate = match self.visit {
                Some(node) => node,
                None => self.enter(target)?,
            };
            while candidate != NONE {
                let node = self.nodes[candidate as usize];
                self.visit = Some(node.next);
                if node.tick <= target {
                    self.cancel(candidate);
                    return Some(candidate);
                }
                candidate = node.next;
            }
            (self.tick, self.visit) = (self.tick + 1, None);
        }
        None
    }

    /// Goes to the next occupied slot up to `target`; `None` leaves the wheel past it.
    fn enter(&mut self, target: u64) -> Option<u32> {
        let here = (self.tick & MASK) as usize;
        let ahead = self.occupied.distance_from(here).map_or(u64::MAX, |slots| slots as u64);
        if ahead > target - self.tick {
            self.tick = target + 1;
            return None;
        }
        self.tick += ahead;
        Some(self.heads[(self.tick & MASK) as usize])
    }

    /// No timer fires before this instant; `None` when none is armed. It may be too careful: a
    /// slot may hold only timers of later rounds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let slots = self.occupied.distance_from((self.tick & MASK) as usize)?;
        Some(Millis((self.tick + slots as u64).saturating_mul(TICK_MS)))
    }

    /// Loads a timer's node, so that moving it soon does not wait for memory.
    pub(crate) fn touch(&self, timer: u32) {
        core::hint::black_box(self.nodes[timer as usize].tick);
    }

    /// Loads the neighbours of a timer's node, which moving it changes.
    pub(crate) fn touch_neighbours(&self, timer: u32) {
        let Node { previous, next, .. } = self.nodes[timer as usize];
        let tick = |index: u32| self.nodes.get(index as usize).map(|node| node.tick);
        core::hint::black_box((tick(previous), tick(next)));
    }

    /// Number of armed timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Bytes in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.heads.len() * size_of::<u32>()
            + size_of::<Bitmap>()
            + size_of_val(&*self.occupied.words)
    }
}

/// Which slots hold timers: a bit each, and a bit for each word that has one.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Bitmap {
    words: Box<[u64]>,
    summary: [u64; SLOTS / 64 / 64],
}

impl Bitmap {
    fn new() -> Self {
        Self { words: alloc::vec![0; SLOTS / 64].into_boxed_slice(), summary: [0; SLOTS / 64 / 64] }
    }

    fn set(&mut self, slot: usize) {
        self.words[slot / 64] |= 1 << (slot % 64);
        self.summary[slot / 4096] |= 1 << (slot / 64 % 64);
    }

    fn clear(&mut self, slot: usize) {
        self.words[slot / 64] &= !(1 << (slot % 64));
        if self.words[slot / 64] == 0 {
            self.summary[slot / 4096] &= !(1 << (slot / 64 % 64));
        }
    }

    /// Slots from `slot` forward to the next that is set, once around; 0 when `slot` itself is.
    fn distance_from(&self, slot: usize) -> Option<usize> {
        let found = self.first_from(slot).or_else(|| self.first_from(0))?;
        Some(found.wrapping_sub(slot) & MASK as usize)
    }

    fn first_from(&self, slot: usize) -> Option<usize> {
        let word = slot / 64;
        let bits = self.words[word] & (u64::MAX << (slot % 64));
        if bits != 0 {
            return Some(word * 64 + bits.trailing_zeros() as usize);
        }
        let word = self.first_word_from(word + 1)?;
        Some(word * 64 + self.words[word].trailing_zeros() as usize)
    }

    fn first_word_from(&self, word: usize) -> Option<usize> {
        let group = word / 64;
        let bits = self.summary.get(group)? & (u64::MAX << (word % 64));
        if bits != 0 {
            return Some(group * 64 + bits.trailing_zeros() as usize);
        }
        let later = self.summary.iter().enumerate().skip(group + 1);
        let (group, bits) = later.into_iter().find(|(_, bits)| **bits != 0)?;
        Some(group * 64 + bits.trailing_zeros() as usize)
    }
}
