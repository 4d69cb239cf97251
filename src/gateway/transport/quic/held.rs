//! Answers that wait for the disk, so that the agents behind them need not.
//!
//! Each stream has a line of its own, and so have the datagrams of a connection. A line keeps its
//! order, and what waits in it was recorded in about that order, so nobody waits for longer than
//! for a commit. Later answers of an agent wait behind its earlier ones: the shard hands them out
//! with a mark until all of the agent is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::compact::{Link, Stamp, Way};
use crate::admission::Rejection;
use crate::durable::{Mark, WAIT};

/// Answers that wait in one line; beyond, an agent is told to come again. Source: chosen; sixteen
/// full bursts of a stream, some 300 KiB.
const MOST: usize = 1_024;

/// A line of answers.
#[derive(Default)]
pub(super) struct Line {
    waiting: Mutex<Waiting>,
    emptied: Notify,
}

#[derive(Default)]
struct Waiting {
    answers: VecDeque<Held>,
    /// Somebody sees to it that they go out.
    is_served: bool,
}

/// An answer that waits.
pub(super) struct Held {
    pub(super) until: Mark,
    /// Whose it is.
    pub(super) stamp: Stamp,
    /// The frame, behind its length where it goes onto a stream.
    pub(super) frame: Bytes,
}

impl Line {
    /// Lets an answer wait; gives it back when there is no room.
    fn enter(&self, held: Held) -> Result<bool, Held> {
        let mut waiting = self.waiting.lock();
        if waiting.answers.len() >= MOST {
            return Err(held);
        }
        waiting.answers.push_back(held);
        Ok(!std::mem::replace(&mut waiting.is_served, true))
    }

    /// The next one; without any, nobody sees to them any more.
    fn leave(&self) -> Option<Held> {
        let mut waiting = self.waiting.lock();
        let next = waiting.answers.pop_front();
        waiting.is_served = next.is_some();
        if next.is_none() {
            self.emptied.notify_waiters();
        }
        next
    }

    /// Waits until nobody waits here any more, as long as an answer may take.
    pub(super) async fn emptied(&self) {
        let emptied = self.emptied.notified();
        if self.waiting.lock().is_served {
            let _ = tokio::time::timeout(WAIT, emptied).await;
        }
    }
}

impl Link {
    /// Lets an answer go out on its way once what it stands for is durable.
    pub(super) fn hold(self: &Arc<Self>, way: &Way, held: Held) {
        match self.line(way).enter(held) {
            Ok(false) => {}
            Ok(true) => {
                tokio::spawn(self.clone().serve_line(way.clone()));
            }
            Err(held) => {
                let this = self.clone();
                let way = way.clone();
                tokio::spawn(async move { this.undurable(&way, &held.stamp).await });
            }
        }
    }

    async fn serve_line(self: Arc<Self>, way: Way) {
        while let Some(held) = self.line(&way).leave() {
            if self.shared.durable.wait(held.until).await.is_ok() {
                self.release(&way, held.frame).await;
            } else {
                self.undurable(&way, &held.stamp).await;
            }
        }
    }

    /// Tells an agent that its heartbeat shall come again.
    async fn undurable(self: &Arc<Self>, way: &Way, stamp: &Stamp) {
        let rejection = Rejection::unavailable();
        self.shared.telemetry.rejected(rejection.code());
        self.release(way, self.framed_problem(way, stamp, &rejection)).await;
    }

    /// Sends a frame. A peer that is gone takes its answers with it.
    async fn release(&self, way: &Way, frame: Bytes) {
        match way {
            Way::Stream(writer) => {
                let _ = writer.write(frame).await;
            }
            Way::Datagram => {
                let _ = self.connection.send_datagram(frame);
            }
        }
    }

    fn line<'a>(&'a self, way: &'a Way) -> &'a Line {
        match way {
            Way::Stream(writer) => &writer.held,
            Way::Datagram => &self.held,
        }
    }
}
