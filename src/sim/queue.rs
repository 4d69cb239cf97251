//! What will happen, in order: by time, and at the same time in the order in which it was asked
//! for, so that a run is one history.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::server::{AgentIndex, Micros};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An agent's timer.
    Timer(AgentIndex),
    /// Something in the life of an agent: it dies, starts, pauses, gets work.
    Life(AgentIndex),
    /// A heartbeat arrives; its place among those under way.
    Request(u32),
    /// An answer arrives; its place among those under way.
    Reply(u32),
    /// The next act of the script.
    Act,
    /// A server begins after one that was killed.
    Recover,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Micros,
    order: u64,
    what: What,
}

/// What will happen.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Entry>,
    order: u64,
}

impl Queue {
    #[inline]
    pub(crate) fn push(&mut self, at: Micros, what: What) {
        self.order += 1;
        self.heap.push(Entry { at, order: self.order, what });
    }

    /// When the next thing happens.
    #[inline]
    pub(crate) fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|entry| entry.at)
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Micros, What)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}

impl Ord for Entry {
    /// The largest of a heap comes first, so the earliest is the largest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// Things under way, by a place that is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new() }
    }
}

impl<T: Copy> Slab<T> {
    #[inline]
    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.items[place as usize] = item;
            return place;
        }
        self.items.push(item);
        (self.items.len() - 1) as u32
    }

    /// Takes an item out. Each place is taken once.
    #[inline]
    pub(crate) fn take(&mut self, place: u32) -> T {
        self.free.push(place);
        self.items[place as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_of_time_and_then_of_asking() {
        let mut queue = Queue::default();
        for (at, agent) in [(5, 1), (3, 2), (5, 3), (3, 4), (9, 5)] {
            queue.push(at, What::Timer(agent));
        }
        assert_eq!(queue.next_at(), Some(3));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let agents = [(3, 2), (3, 4), (5, 1), (5, 3), (9, 5)];
        assert_eq!(order, agents.map(|(at, agent)| (at, What::Timer(agent))));
    }

    #[test]
    fn a_place_is_used_again_once_it_was_taken() {
        let mut slab = Slab::default();
        let (first, second) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.take(first), 'a');
        assert_eq!(slab.insert('c'), first);
        assert_eq!((slab.take(second), slab.take(first)), ('b', 'c'));
    }
}
