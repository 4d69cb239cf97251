//! Slots by the hash of a name: open addressing with linear probing in one array of four bytes a
//! place, so that a lookup misses the cache once here and once at the record. (A general hash
//! table keeps tags and values apart, which is one dependent miss more: a third of a heartbeat's
//! time among a million agents.)

use alloc::vec::Vec;

/// A free place. No slot looks like it: see [`Index::MAX`].
const FREE: u32 = u32::MAX;
const SLOT_BITS: u32 = 24;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;

/// A place holds a slot in its low 24 bits and a tag from the hash in its high eight.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Index {
    places: Vec<u32>,
    count: usize,
}

impl Index {
    /// Most slots: below 2^24, one less so that none looks free.
    pub(super) const MAX: u32 = SLOT_MASK - 1;

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    /// The first slot with this hash's tag from `place` on, and the place after it.
    fn next_alike(&self, hash: u64, mut place: usize) -> Option<(u32, usize)> {
        let tag = tag(hash);
        loop {
            let entry = *self.places.get(place)?;
            if entry == FREE {
                return None;
            }
            place = self.after(place);
            if entry & !SLOT_MASK == tag {
                return Some((entry & SLOT_MASK, place));
            }
        }
    }

    /// The slot that most likely is the one: right in all but one of hundreds of lookups.
    pub(super) fn guess(&self, hash: u64) -> Option<u32> {
        self.next_alike(hash, self.home(hash)).map(|(slot, _)| slot)
    }

    /// The slot with this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (mut slot, mut place) = self.next_alike(hash, self.home(hash))?;
        while !is_it(slot) {
            (slot, place) = self.next_alike(hash, place)?;
        }
        Some(slot)
    }

    /// Adds a slot that is not there yet; `hash_of` gives the hash of any slot that is.
    pub(super) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        assert!(slot < Self::MAX, "slot {slot} does not fit the index");
        // At most three quarters full: probes stay short, also for names that are not there.
        if (self.count + 1) * 4 > self.places.len() * 3 {
            let room = (self.places.len() * 2).max(16);
            let old = core::mem::replace(&mut self.places, alloc::vec![FREE; room]);
            for entry in old.into_iter().filter(|&entry| entry != FREE) {
                self.place(hash_of(entry & SLOT_MASK), entry & SLOT_MASK);
            }
        }
        self.place(hash, slot);
        self.count += 1;
    }

    fn place(&mut self, hash: u64, slot: u32) {
        let mut place = self.home(hash);
        while self.places[place] != FREE {
            place = self.after(place);
        }
        self.places[place] = tag(hash) | slot;
    }

    /// Takes a slot out, and moves those behind it forward so that none is cut off from its home.
    pub(super) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let wanted = tag(hash) | slot;
        let mut hole = self.home(hash);
        while self.places[hole] != wanted {
            assert!(self.places[hole] != FREE, "slot {slot} is not in the index");
            hole = self.after(hole);
        }
        self.count -= 1;
        let mut place = self.after(hole);
        while self.places[place] != FREE {
            let home = self.home(hash_of(self.places[place] & SLOT_MASK));
            let (from_home, from_hole) = (self.distance(home, place), self.distance(hole, place));
            if from_home >= from_hole {
                self.places[hole] = self.places[place];
                hole = place;
            }
            place = self.after(place);
        }
        self.places[hole] = FREE;
    }

    /// Where the search for a hash begins. The lowest eight bits of a hash are the partition, of
    /// which one machine has only a few; the highest eight are the tag.
    fn home(&self, hash: u64) -> usize {
        (hash >> 16) as usize & self.places.len().wrapping_sub(1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

const fn tag(hash: u64) -> u32 {
    ((hash >> 56) as u32) << SLOT_BITS
}
