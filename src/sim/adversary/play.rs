//! What the adversary may do, and how it is written down.
//!
//! A move is told by its relation to the rules (until the dwell is over, just past the dead band)
//! rather than in numbers, so that it keeps its sense when a move before it changes.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Most moves of a play. More would find longer histories and take longer over each; the worst
/// six hours need 40. Source: chosen.
pub const MAX_MOVES: usize = 96;

/// Until when the adversary waits with its next heartbeat. Offsets are in milliseconds; an instant
/// that has passed means at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    /// So many milliseconds.
    Ms(u64),
    /// This share of the interval that was sent, in percent.
    Due(u8),
    /// The end of the dwell after the last tightening.
    Dwell(i8),
    /// The end of the turn period after the last relaxing that was a turn.
    Turn(i8),
    /// The first instant at which the slew allows another step.
    Step(i8),
    /// The end of the turn period after the floor last fell after a rise.
    Fall(i8),
    /// The next tick of the guard's clock.
    Tick(i8),
}

/// What the adversary proposes.
#[derive(Clone, Copy, Debug)]
pub enum Hint {
    /// This number, in milliseconds, whatever it is.
    Ms(f64),
    /// The shortest interval that is past the dead band.
    Above,
    /// The longest interval that is below the dead band.
    Below,
    /// The longest interval within the dead band.
    Within,
}

impl PartialEq for Hint {
    /// As written: one that is no number equals itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ms(one), Self::Ms(two)) => one.to_bits() == two.to_bits(),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// What else caps the interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cap {
    /// Nothing but the longest interval.
    Open,
    /// A class or a lease, at so many milliseconds.
    Ms(u32),
    /// A millisecond less than what is stored.
    Under,
}

/// How many agents the fleet has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fleet {
    /// So many, of class `normal`.
    Agents(u32),
    /// So many that the floor comes to lie above what is stored.
    Over,
}

/// One heartbeat and what came before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// Until when to wait.
    pub wait: Wait,
    /// What is proposed.
    pub hint: Hint,
    /// What else caps the interval.
    pub cap: Cap,
    /// How many agents there are.
    pub fleet: Fleet,
    /// Whether the gateway is restarted before the heartbeat.
    pub restart: bool,
}

/// A whole play.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// Core time at its start, in milliseconds.
    pub begin: u64,
    /// Interval at its start, in milliseconds.
    pub start_ms: u32,
    /// The moves.
    pub moves: Vec<Move>,
    /// What is proposed for ever after, in milliseconds; only objectives that ask what a constant
    /// hint does play it.
    pub target_ms: u32,
    /// Instants at which an agent that obeys beats early, while the hint is constant.
    pub early: Vec<Wait>,
}

/// A play that cannot be read; it names the part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no part of a play: `{0}`")]
pub struct Unreadable(String);

impl Display for Wait {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ms(ms) => write!(to, "{ms}"),
            Self::Due(percent) => write!(to, "due{percent}"),
            Self::Dwell(offset) => write!(to, "dwell{offset:+}"),
            Self::Turn(offset) => write!(to, "turn{offset:+}"),
            Self::Step(offset) => write!(to, "step{offset:+}"),
            Self::Fall(offset) => write!(to, "fall{offset:+}"),
            Self::Tick(offset) => write!(to, "tick{offset:+}"),
        }
    }
}

impl FromStr for Wait {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let digits = text.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(text.len());
        let (word, number) = text.split_at(digits);
        let offset = || number.parse::<i8>().ok();
        match word {
            "" => number.parse().ok().map(Self::Ms),
            "due" => number.parse().ok().map(Self::Due),
            "dwell" => offset().map(Self::Dwell),
            "turn" => offset().map(Self::Turn),
            "step" => offset().map(Self::Step),
            "fall" => offset().map(Self::Fall),
            "tick" => offset().map(Self::Tick),
            _ => None,
        }
        .ok_or_else(|| Unreadable(text.into()))
    }
}

impl Display for Hint {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ms(ms) => write!(to, "{ms:?}"),
            Self::Above => to.write_str("above"),
            Self::Below => to.write_str("below"),
            Self::Within => to.write_str("within"),
        }
    }
}

impl FromStr for Hint {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        match text {
            "above" => Ok(Self::Above),
            "below" => Ok(Self::Below),
            "within" => Ok(Self::Within),
            number => number.parse().map(Self::Ms).map_err(|_| Unreadable(text.into())),
        }
    }
}

impl Default for Move {
    fn default() -> Self {
        Self {
            wait: Wait::Ms(0),
            hint: Hint::Ms(f64::NAN),
            cap: Cap::Open,
            fleet: Fleet::Agents(0),
            restart: false,
        }
    }
}

impl Display for Move {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.wait, self.hint)?;
        match self.cap {
            Cap::Open => {}
            Cap::Ms(ms) => write!(to, " cap:{ms}")?,
            Cap::Under => to.write_str(" cap:under")?,
        }
        match self.fleet {
            Fleet::Agents(0) => {}
            Fleet::Agents(agents) => write!(to, " fleet:{agents}")?,
            Fleet::Over => to.write_str(" fleet:over")?,
        }
        if self.restart { to.write_str(" restart") } else { Ok(()) }
    }
}

impl FromStr for Move {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(text.into());
        let mut words = text.split_whitespace();
        let mut made = Self {
            wait: words.next().ok_or_else(unreadable)?.parse()?,
            hint: words.next().ok_or_else(unreadable)?.parse()?,
            ..Self::default()
        };
        for word in words {
            match word.split_once(':') {
                None if word == "restart" => made.restart = true,
                Some(("cap", "under")) => made.cap = Cap::Under,
                Some(("cap", ms)) => made.cap = Cap::Ms(ms.parse().map_err(|_| unreadable())?),
                Some(("fleet", "over")) => made.fleet = Fleet::Over,
                Some(("fleet", agents)) => {
                    made.fleet = Fleet::Agents(agents.parse().map_err(|_| unreadable())?);
                }
                _ => return Err(unreadable()),
            }
        }
        Ok(made)
    }
}

impl Play {
    /// How often the moves from `from` on repeat, and how many they are: the pair that saves most.
    fn repeats(&self, from: usize) -> (usize, usize) {
        let rest = &self.moves[from..];
        let times = |block: usize| {
            let first = &rest[..block];
            rest.chunks_exact(block).take_while(|chunk| *chunk == first).count()
        };
        let blocks = (1..=6.min(rest.len())).map(|block| (times(block), block));
        blocks
            .max_by_key(|(times, block)| ((times - 1) * block, usize::MAX - block))
            .unwrap_or((1, 1))
    }
}

impl Display for Play {
    /// `begin start | move, 3*(move, move), … | target early …`
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{} {} | ", self.begin, self.start_ms)?;
        let mut from = 0;
        while from < self.moves.len() {
            let (times, block) = self.repeats(from);
            let moves = self.moves[from..from + block].iter().map(Move::to_string);
            let moves = moves.collect::<Vec<_>>().join(", ");
            let comma = if from == 0 { "" } else { ", " };
            match times {
                1 => write!(to, "{comma}{moves}")?,
                _ => write!(to, "{comma}{times}*({moves})")?,
            }
            from += times * block;
        }
        write!(to, " | {}", self.target_ms)?;
        self.early.iter().try_for_each(|wait| write!(to, " {wait}"))
    }
}

impl FromStr for Play {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        fn number<T: FromStr>(word: Option<&str>, text: &str) -> Result<T, Unreadable> {
            word.and_then(|word| word.parse().ok()).ok_or_else(|| Unreadable(text.into()))
        }
        let mut parts = text.split('|').map(str::trim);
        let mut part = || parts.next().ok_or_else(|| Unreadable(text.into()));
        let (head, moves, tail) = (part()?, part()?, part()?);
        let (mut head, mut tail) = (head.split_whitespace(), tail.split_whitespace());
        Ok(Self {
            begin: number(head.next(), text)?,
            start_ms: number(head.next(), text)?,
            moves: moves_of(moves)?,
            target_ms: number(tail.next(), text)?,
            early: tail.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}

/// Reads moves, those in brackets as often as it says before them.
fn moves_of(text: &str) -> Result<Vec<Move>, Unreadable> {
    let (mut moves, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let comma = rest.find(',').unwrap_or(rest.len());
        let (part, after) = match rest.find("*(").filter(|open| *open < comma) {
            None => (rest[..comma].parse::<Move>().map(|one| vec![one])?, comma),
            Some(open) => {
                let close = rest.find(')').ok_or_else(|| Unreadable(rest.into()))?;
                let times = rest[..open].parse::<usize>().ok().filter(|times| *times <= MAX_MOVES);
                let times = times.ok_or_else(|| Unreadable(rest.into()))?;
                (moves_of(&rest[open + 2..close])?.repeat(times), close + 1)
            }
        };
        moves.extend(part);
        rest = rest[after..].trim_start_matches([',', ' ']);
    }
    Ok(moves)
}
