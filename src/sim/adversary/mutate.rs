//! How plays are made, changed and crossed.

use pulsegate_core::cadence::Config;

use super::play::{Cap, Fleet, Hint, MAX_MOVES, Move, Play, Wait};
use crate::random::Random;

/// Offsets around an instant: on it, a millisecond and a tick off.
const OFFSETS: [i8; 5] = [0, -1, 1, -16, 16];
/// Hints that are no intervals.
const ODD: [f64; 7] =
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, f64::MAX, f64::MIN_POSITIVE];
/// The guard's clock starts anew every 2^32 ticks of 16 ms. Source: `pulsegate_core::time`.
const WRAP_MS: u64 = 1 << 36;

/// Makes and changes plays for one configuration.
#[derive(Debug)]
pub(super) struct Maker<'a> {
    pub(super) config: &'a Config,
    pub(super) random: Random,
}

impl Maker<'_> {
    /// A play in plain numbers, as a property test draws it: knows nothing of the rules.
    pub(super) fn plain(&mut self) -> Play {
        let count = self.random.between(1, MAX_MOVES as u64);
        let moves = (0..count).map(|_| self.plain_move()).collect();
        let early = (0..self.random.below(4)).map(|_| self.plain_wait()).collect();
        let begin = self.begin();
        Play { begin, start_ms: self.interval(), moves, target_ms: self.interval(), early }
    }

    /// A short play in terms of the rules, to begin a search with.
    pub(super) fn knowing(&mut self) -> Play {
        let count = self.random.between(1, 8);
        let moves = (0..count).map(|_| self.knowing_move()).collect();
        let early = (0..self.random.below(4)).map(|_| self.knowing_wait()).collect();
        let begin = self.begin();
        Play { begin, start_ms: self.interval(), moves, target_ms: self.interval(), early }
    }

    /// Changes one to three things.
    pub(super) fn mutate(&mut self, play: &mut Play) {
        for _ in 0..self.random.between(1, 3) {
            match self.random.below(16) {
                0 => play.begin = self.begin(),
                1 => play.start_ms = self.near(play.start_ms),
                2 => play.target_ms = self.near(play.target_ms),
                3 => self.change_early(&mut play.early),
                4..=6 => self.insert(&mut play.moves),
                7 | 8 => self.remove(&mut play.moves),
                9 | 10 => self.repeat(&mut play.moves),
                11 => self.swap(&mut play.moves),
                _ => self.change(&mut play.moves),
            }
        }
        play.moves.truncate(MAX_MOVES);
    }

    /// The beginning of one play and the end of another.
    pub(super) fn cross(&mut self, one: &Play, other: &Play) -> Play {
        let mut play = one.clone();
        let keep = self.random.between(0, one.moves.len() as u64) as usize;
        let from = self.random.between(0, other.moves.len() as u64) as usize;
        play.moves.truncate(keep);
        play.moves.extend_from_slice(&other.moves[from..]);
        play.moves.truncate(MAX_MOVES);
        if self.random.happens(0.5) {
            (play.target_ms, play.early) = (other.target_ms, other.early.clone());
        }
        play
    }

    fn change_early(&mut self, early: &mut Vec<Wait>) {
        if early.len() < 4 && self.random.happens(0.6) {
            early.push(self.knowing_wait());
        } else if !early.is_empty() {
            early.swap_remove(self.random.below(early.len() as u64) as usize);
        }
    }

    fn insert(&mut self, moves: &mut Vec<Move>) {
        let at = self.random.between(0, moves.len() as u64) as usize;
        moves.insert(at, self.knowing_move());
    }

    fn remove(&mut self, moves: &mut Vec<Move>) {
        let (from, to) = self.range(moves.len(), 3);
        moves.drain(from..to);
    }

    /// Plays a part again, up to eight times: what gave two turns may give twenty.
    fn repeat(&mut self, moves: &mut Vec<Move>) {
        let (from, to) = self.range(moves.len(), 6);
        let times = self.random.between(1, 8) as usize;
        let part = moves[from..to].repeat(times);
        moves.splice(to..to, part);
    }

    fn swap(&mut self, moves: &mut [Move]) {
        if !moves.is_empty() {
            let count = moves.len() as u64;
            moves.swap(self.random.below(count) as usize, self.random.below(count) as usize);
        }
    }

    fn change(&mut self, moves: &mut [Move]) {
        let at = self.random.below(moves.len() as u64) as usize;
        let fresh = self.knowing_move();
        let Some(one) = moves.get_mut(at) else { return };
        match self.random.below(8) {
            0..=2 => one.wait = fresh.wait,
            3..=5 => one.hint = fresh.hint,
            6 => (one.cap, one.restart) = (fresh.cap, fresh.restart),
            _ => one.fleet = fresh.fleet,
        }
    }

    fn range(&mut self, count: usize, most: u64) -> (usize, usize) {
        let from = self.random.below(count as u64) as usize;
        let length = self.random.between(1, most) as usize;
        (from, (from + length).min(count))
    }

    fn plain_move(&mut self) -> Move {
        Move {
            wait: self.plain_wait(),
            hint: self.plain_hint(),
            cap: if self.random.happens(0.25) { Cap::Ms(self.interval()) } else { Cap::Open },
            fleet: Fleet::Agents(self.agents()),
            restart: self.random.happens(0.05),
        }
    }

    fn plain_wait(&mut self) -> Wait {
        let most = *self.random.pick(&[50, 70_000, 3_000_000]).unwrap_or(&50);
        Wait::Ms(self.random.below(most))
    }

    fn plain_hint(&mut self) -> Hint {
        match self.random.below(5) {
            0 => Hint::Ms(*self.random.pick(&ODD).unwrap_or(&f64::NAN)),
            1 => Hint::Ms(self.bound().into()),
            _ => Hint::Ms(self.random.share() * f64::from(self.config.max_ms) * 1.3),
        }
    }

    fn knowing_move(&mut self) -> Move {
        Move {
            wait: self.knowing_wait(),
            hint: self.knowing_hint(),
            cap: match self.random.below(16) {
                0 => Cap::Under,
                1 => Cap::Ms(self.interval()),
                _ => Cap::Open,
            },
            fleet: match self.random.below(4) {
                0 => Fleet::Over,
                1 => Fleet::Agents(self.agents()),
                _ => Fleet::Agents(0),
            },
            restart: self.random.happens(0.05),
        }
    }

    fn knowing_wait(&mut self) -> Wait {
        let offset = *self.random.pick(&OFFSETS).unwrap_or(&0);
        match self.random.below(12) {
            0..=2 => Wait::Ms(0),
            3 | 4 => Wait::Dwell(offset),
            5 | 6 => Wait::Turn(offset),
            7 => Wait::Step(offset),
            8 => Wait::Fall(offset),
            9 => Wait::Due(self.random.between(1, 100) as u8),
            10 => Wait::Tick(offset),
            _ => self.plain_wait(),
        }
    }

    fn knowing_hint(&mut self) -> Hint {
        match self.random.below(10) {
            0..=2 => Hint::Above,
            3..=5 => Hint::Below,
            6 => Hint::Within,
            7 => Hint::Ms(self.bound().into()),
            _ => self.plain_hint(),
        }
    }

    fn bound(&mut self) -> u32 {
        if self.random.happens(0.5) { self.config.min_ms } else { self.config.max_ms }
    }

    /// An interval, as likely between 1 and 2 s as between 100 and 200 s.
    fn interval(&mut self) -> u32 {
        if self.random.happens(0.2) {
            return self.bound();
        }
        let times = f64::from(self.config.max_ms) / f64::from(self.config.min_ms);
        (f64::from(self.config.min_ms) * times.powf(self.random.share())) as u32
    }

    /// Another interval, more often than not one not far off.
    fn near(&mut self, interval_ms: u32) -> u32 {
        if self.random.happens(0.3) {
            return self.interval();
        }
        let step = 1 << self.random.below(12);
        let offset = self.random.between(0, 2 * step) as i64 - step as i64;
        (i64::from(interval_ms) + offset)
            .clamp(self.config.min_ms.into(), self.config.max_ms.into()) as u32
    }

    fn agents(&mut self) -> u32 {
        if self.random.happens(0.5) { 0 } else { self.random.below(3_000_000) as u32 }
    }

    fn begin(&mut self) -> u64 {
        match self.random.below(4) {
            0 => WRAP_MS - self.random.below(4_000_000),
            1 => WRAP_MS / 2 - self.random.below(4_000_000),
            2 => self.random.below(1_000_000_000),
            _ => 0,
        }
    }
}
