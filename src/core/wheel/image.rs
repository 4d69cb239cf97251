//! Timers apart from their wheel: the wheel is a quarter of a megabyte, and an explorer of states
//! keeps a hundred thousand of them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Bitmap, IDLE, NONE, SLOTS, Wheel};
use crate::Millis;

/// The armed timers of a wheel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    /// All ticks before this one are done.
    pub(crate) tick: u64,
    /// The timer to look at next, while the slot of that tick is being visited.
    pub(crate) visit: Option<u32>,
    /// Each timer with its tick; of those in one slot of the wheel, the last to be visited first.
    pub(crate) armed: Vec<(u32, u64)>,
}

impl Wheel {
    /// A wheel on which nothing can be armed.
    pub(crate) fn stub() -> Self {
        let occupied = Bitmap { words: Box::default(), summary: [0; SLOTS / 64 / 64] };
        Self { heads: Box::default(), occupied, nodes: Vec::new(), tick: 0, visit: None, armed: 0 }
    }

    /// Its timers.
    pub(crate) fn timers(&self) -> Timers {
        let mut armed = Vec::with_capacity(self.armed);
        for (last, node) in self.nodes.iter().enumerate() {
            if node.tick == IDLE || node.next != NONE {
                continue;
            }
            let mut timer = last as u32;
            while timer != NONE {
                let node = self.nodes[timer as usize];
                armed.push((timer, node.tick));
                timer = node.previous;
            }
        }
        Timers { tick: self.tick, visit: self.visit, armed }
    }

    /// Sets it to these timers.
    pub(crate) fn set(&mut self, timers: &Timers) {
        (0..self.nodes.len()).for_each(|timer| self.cancel(timer as u32));
        (self.tick, self.visit) = (timers.tick, None);
        for &(timer, tick) in &timers.armed {
            self.grow(timer as usize + 1);
            self.arm(timer, Millis(tick * super::TICK_MS));
        }
        self.visit = timers.visit;
    }
}
