//! The live view: plain ANSI, drawn again a few times a second.

use std::fmt::Write as _;
use std::time::Instant;

use pulsegate_wire::{Health, State};

use super::fleet::{CLASSES, Member, Phase};
use super::stage::Stage;
use crate::cli::text;

/// Upper edges of the interval chart, in seconds of the demo.
const EDGES: [f64; 8] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
/// Width of its longest bar.
const BAR: usize = 40;
/// Lines above the happenings.
const ABOVE: usize = 24;

/// Draws on a terminal.
pub(super) struct Screen {
    color: bool,
    /// When the rate was measured last, the heartbeats until then, and the rate.
    measured: (Instant, u64, f64),
}

impl Screen {
    /// Takes over the terminal.
    pub(super) fn open(now: Instant) -> Self {
        // The other screen, without a cursor: what stood there comes back at the end.
        text::print("\x1b[?1049h\x1b[?25l");
        let color = std::env::var_os("NO_COLOR").is_none();
        Self { color, measured: (now, 0, 0.0) }
    }

    /// Draws everything.
    pub(super) fn draw(&mut self, stage: &Stage, head: &str, now: Instant) {
        let (columns, rows) = size();
        let heartbeats = stage.tally.total().heartbeats;
        let elapsed = now.saturating_duration_since(self.measured.0).as_secs_f64();
        if elapsed >= 1.0 {
            let rate = (heartbeats - self.measured.1) as f64 / elapsed;
            self.measured = (now, heartbeats, rate);
        }
        let mut body = format!("{head}\n{}\n{}\n", self.agents(stage), intervals(stage));
        let fixed = stage.fleet.count(&[Phase::Well, Phase::Stalled, Phase::Starting]) as f64
            / stage.speed.fixed().as_secs_f64();
        let _ = writeln!(
            body,
            "heartbeats  {heartbeats} so far, {:.0}/s now; at the fixed cadence {fixed:.0}/s\n",
            self.measured.2
        );
        let room = rows.saturating_sub(ABOVE).max(3);
        let skip = stage.lines.len().saturating_sub(room);
        for line in stage.lines.iter().skip(skip) {
            let _ = writeln!(body, "{}", self.paint_line(line));
        }
        let mut frame = String::from("\x1b[H");
        for line in body.lines().take(rows.saturating_sub(1)) {
            frame.push_str(&clip(line, columns));
            frame.push_str("\x1b[K\n");
        }
        frame.push_str("\x1b[J");
        text::print(&frame);
    }

    /// Agents by class, state and health.
    fn agents(&self, stage: &Stage) -> String {
        let states = [State::Alive, State::Suspect, State::Failed, State::Stopped];
        let mut table = String::from("            ");
        for state in states {
            let _ = write!(table, "{:>9}", state.as_str());
        }
        table.push_str("   │");
        for health in Health::ALL {
            let _ = write!(table, "{:>10}", health.as_str());
        }
        table.push('\n');
        for class in CLASSES {
            let members = || stage.fleet.members.iter().filter(move |member| member.class == class);
            let _ = write!(table, "{class:<12}");
            for state in states {
                let count = members().filter(|member| member.state == Some(state)).count();
                let color = [32, 33, 31, 90][state as usize - 1];
                table.push_str(&self.paint(&format!("{count:>9}"), color, count));
            }
            table.push_str("   │");
            for &health in Health::ALL {
                let alive = |member: &&Member| {
                    member.state == Some(State::Alive) && member.health == health
                };
                let count = members().filter(alive).count();
                let color = [32, 33, 31, 35][health as usize];
                table.push_str(&self.paint(&format!("{count:>10}"), color, count));
            }
            table.push('\n');
        }
        table
    }

    fn paint(&self, text: &str, color: u8, count: usize) -> String {
        match (self.color, count) {
            (true, 0) => format!("\x1b[90m{text}\x1b[0m"),
            (true, _) => format!("\x1b[{color}m{text}\x1b[0m"),
            (false, _) => text.to_owned(),
        }
    }

    fn paint_line(&self, line: &str) -> String {
        let color = match line {
            _ if line.contains("→ failed")
                || line.contains("crashes")
                || line.contains("hangs") =>
            {
                31
            }
            _ if line.contains("→ suspect") || line.contains("stalled") => 33,
            _ if line.contains("back ") || line.contains("→ alive") => 32,
            _ => return line.to_owned(),
        };
        self.paint(line, color, 1)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        text::print("\x1b[?25h\x1b[?1049l");
    }
}

/// How many agents keep which interval.
fn intervals(stage: &Stage) -> String {
    let mut counts = [0_usize; EDGES.len() + 1];
    for member in &stage.fleet.members {
        let beats = member.state == Some(State::Alive) && member.report.interval_ms > 0;
        if beats {
            let seconds = member.report.interval_ms as f64 / 1_000.0;
            counts[EDGES.partition_point(|&edge| edge < seconds)] += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut chart = String::from("agents by interval\n");
    for (index, count) in counts.into_iter().enumerate() {
        let name = match EDGES.get(index) {
            Some(edge) => format!("≤ {edge} s"),
            None => format!("> {} s", EDGES[EDGES.len() - 1]),
        };
        let bar = "█".repeat((count * BAR).div_ceil(most));
        let _ = writeln!(chart, "{name:>10}  {bar} {count}");
    }
    chart
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (100, 40),
    }
}

/// Cuts a line at the terminal's edge; escape sequences take no room.
fn clip(line: &str, columns: usize) -> String {
    let mut clipped = String::with_capacity(line.len());
    let (mut shown, mut escaping) = (0, false);
    for character in line.chars() {
        if character == '\x1b' {
            escaping = true;
        }
        if !escaping {
            if shown == columns {
                continue;
            }
            shown += 1;
        }
        clipped.push(character);
        if escaping && character.is_ascii_alphabetic() {
            escaping = false;
        }
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn a_line_is_cut_at_the_edge_and_colors_end() {
        assert_eq!(clip("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mabc\x1b[0m");
        assert_eq!(clip("äöü", 2), "äö");
    }
}
