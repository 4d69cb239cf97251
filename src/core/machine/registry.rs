//! Who is known: a slab of records, an index by name, their deadlines and their census. Whatever
//! has to stay in step with another changes here and nowhere else.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::black_box;

use pulsegate_wire::{Health, State};

use super::Census;
use super::index::Index;
use super::record::{Cold, Flags, Record, Standing};
use crate::wheel::Wheel;
use crate::{AgentKey, ClassId, Classes, Millis, Slot};

#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) struct Registry {
    records: Vec<Record>,
    /// Slots by name.
    index: Index,
    free: Vec<u32>,
    census: Census,
    pub(super) wheel: Wheel,
    long_name_bytes: usize,
    cold_bytes: usize,
}

impl Registry {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            records: Vec::new(),
            index: Index::default(),
            free: Vec::new(),
            census: Census::new(classes),
            wheel: Wheel::default(),
            long_name_bytes: 0,
            cold_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Loads what handling a heartbeat will need while it compares the name: waiting for memory
    /// once for all of it, and not once for each.
    pub(super) fn find(&self, key: AgentKey<'_>) -> Option<Slot> {
        let guess = self.index.guess(key.hash)?;
        self.touch(guess);
        self.wheel.touch_neighbours(guess);
        if self.is_named(guess, key) {
            return Some(Slot(guess));
        }
        self.index.find(key.hash, |slot| self.is_named(slot, key)).map(Slot)
    }

    /// Finds without loading the timers: in replay none is armed.
    pub(super) fn find_record(&self, key: AgentKey<'_>) -> Option<Slot> {
        self.index.find(key.hash, |slot| self.is_named(slot, key)).map(Slot)
    }

    /// Loads every cache line of a record and the node of its timer.
    fn touch(&self, slot: u32) {
        let record = &self.records[slot as usize];
        black_box((record.hash, record.receipt, record.in_force_ms, record.cold.is_some()));
        self.wheel.touch(slot);
    }

    fn is_named(&self, slot: u32, key: AgentKey<'_>) -> bool {
        let record = &self.records[slot as usize];
        record.hash == key.hash
            && record.tenant == key.tenant
            && record.name.as_bytes() == key.id.as_bytes()
    }

    /// Finds many. Each pass only loads what the pass before has found, so that the cache misses
    /// of all keys overlap; and it loads what handling their heartbeats will need.
    pub(super) fn find_all(&self, keys: &[AgentKey<'_>], slots: &mut Vec<Option<Slot>>) {
        slots.clear();
        slots.extend(keys.iter().map(|key| self.index.guess(key.hash).map(Slot)));
        slots.iter().flatten().for_each(|slot| self.touch(slot.0));
        for slot in slots.iter().flatten() {
            self.wheel.touch_neighbours(slot.0);
        }
        for (slot, key) in slots.iter_mut().zip(keys) {
            if slot.is_some_and(|slot| !self.is_named(slot.0, *key)) {
                *slot = self.find(*key);
            }
        }
    }

    /// Gives a record a slot. Its generation is set here.
    pub(super) fn insert(&mut self, mut record: Record) -> Slot {
        record.flags.set(Flags::USED, true);
        self.long_name_bytes += record.name.heap_bytes();
        self.census.enter(record.class, record.state(), record.health());
        let hash = record.hash;
        let slot = if let Some(slot) = self.free.pop() {
            let place = &mut self.records[slot as usize];
            record.generation = place.generation.wrapping_add(1);
            *place = record;
            slot
        } else {
            self.records.push(record);
            self.wheel.grow(self.records.len());
            (self.records.len() - 1) as u32
        };
        let records = &self.records;
        self.index.insert(hash, slot, |slot| records[slot as usize].hash);
        Slot(slot)
    }

    /// Frees a slot; its generation stays, so that late answers do not reach the next agent.
    pub(super) fn remove(&mut self, slot: Slot) {
        let records = &self.records;
        let hash = records[slot.0 as usize].hash;
        self.index.remove(hash, slot.0, |slot| records[slot as usize].hash);
        let record = &mut self.records[slot.0 as usize];
        self.long_name_bytes -= record.name.heap_bytes();
        self.cold_bytes -= record.cold.as_ref().map_or(0, |cold| cold.bytes());
        self.census.leave(record.class, record.state(), record.health());
        record.flags = Flags::default();
        record.cold = None;
        record.name = super::record::Name::new("");
        self.wheel.cancel(slot.0);
        self.free.push(slot.0);
    }

    /// The record in a slot, if the slot is in use.
    pub(super) fn get(&self, slot: Slot) -> Option<&Record> {
        self.records.get(slot.0 as usize).filter(|record| record.flags.has(Flags::USED))
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Record> {
        self.records.get_mut(slot.0 as usize).filter(|record| record.flags.has(Flags::USED))
    }

    pub(super) fn slots(&self, from: Slot) -> impl Iterator<Item = Slot> + '_ {
        (from.0..self.records.len() as u32).map(Slot).filter(|&slot| self.get(slot).is_some())
    }

    /// Slots that are given out next, the last first.
    #[cfg(test)]
    pub(super) fn free(&self) -> &[u32] {
        &self.free
    }

    pub(super) fn census(&self) -> &Census {
        &self.census
    }

    pub(super) fn set_state(&mut self, slot: Slot, state: State) {
        let record = &self.records[slot.0 as usize];
        self.set_all(slot, record.class, state, record.health());
    }

    pub(super) fn set_health(&mut self, slot: Slot, health: Health) {
        let record = &self.records[slot.0 as usize];
        self.set_all(slot, record.class, record.state(), health);
    }

    pub(super) fn set_class(&mut self, slot: Slot, class: ClassId) {
        let record = &self.records[slot.0 as usize];
        self.set_all(slot, class, record.state(), record.health());
    }

    /// Sets class, state and health at once.
    pub(super) fn set_all(&mut self, slot: Slot, class: ClassId, state: State, health: Health) {
        let record = &mut self.records[slot.0 as usize];
        self.census.leave(record.class, record.state(), record.health());
        record.class = class;
        record.standing = Standing::new(state, health, record.status());
        self.census.enter(class, state, health);
    }

    /// Moves every agent to the class of the same name in a new configuration, or, if its class is
    /// gone, to `normal`. Returns those whose class has another name now.
    pub(super) fn reclassify(&mut self, old: &Classes, new: &Classes) -> Vec<Slot> {
        let moved: Vec<ClassId> = old
            .iter()
            .map(|(_, class)| new.find(&class.name).unwrap_or_else(|| new.normal()))
            .collect();
        self.census = Census::new(new.iter().count());
        let mut renamed = Vec::new();
        for (slot, record) in self.records.iter_mut().enumerate() {
            if record.flags.has(Flags::USED) {
                let asked = record.cold.as_ref().and_then(|cold| cold.registration.as_ref());
                let named = asked.and_then(|registration| registration.class.as_deref());
                let before = record.class;
                record.class =
                    named.and_then(|name| new.find(name)).unwrap_or(moved[usize::from(before.0)]);
                if new[record.class].name != old[before].name {
                    renamed.push(Slot(slot as u32));
                }
                self.census.enter(record.class, record.state(), record.health());
            }
        }
        renamed
    }

    pub(super) fn cold(&self, slot: Slot) -> Option<&Cold> {
        self.get(slot)?.cold.as_deref()
    }

    /// Changes the cold part, makes it if there is none, and keeps count of its bytes.
    pub(super) fn with_cold<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Cold) -> T) -> T {
        let place = &mut self.records[slot.0 as usize].cold;
        self.cold_bytes -= place.as_ref().map_or(0, |cold| cold.bytes());
        let cold = place.get_or_insert_with(Box::default);
        let result = change(cold);
        self.cold_bytes += cold.bytes();
        result
    }

    pub(super) fn arm(&mut self, slot: Slot, deadline: Millis) {
        self.wheel.arm(slot.0, deadline);
    }

    pub(super) fn bytes(&self) -> (usize, usize) {
        let hot = self.records.capacity() * size_of::<Record>()
            + self.index.bytes()
            + self.free.capacity() * size_of::<u32>()
            + self.wheel.bytes()
            + self.long_name_bytes;
        (hot, self.cold_bytes)
    }
}

/// For slots that are known to be in use.
impl core::ops::Index<Slot> for Registry {
    type Output = Record;
    fn index(&self, slot: Slot) -> &Record {
        &self.records[slot.0 as usize]
    }
}

impl core::ops::IndexMut<Slot> for Registry {
    fn index_mut(&mut self, slot: Slot) -> &mut Record {
        &mut self.records[slot.0 as usize]
    }
}
