//! `pulsegate journal stats`.

use pulsegate_journal::offline::{Header, Stats};

use super::super::text::{self, print, print_json};
use super::{Data, Exit, Failure, Outcome};

/// Arguments of `pulsegate journal stats`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: Data,
    /// Print JSON: {"journal": …, "counts": …}
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let journal = args.data.open()?;
    let counts = journal.stats().map_err(|error| Failure::new(Exit::Refused, error))?;
    let header = journal.header();
    if args.json {
        print_json(&serde_json::json!({ "journal": header, "counts": counts }));
    } else {
        print(&describe(&header, &counts));
    }
    Ok(())
}

fn describe(header: &Header, counts: &Stats) -> String {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let snapshot = match header.snapshot_seq {
        None => "none".to_owned(),
        Some(seq) => format!(
            "{} agents, begun after event {seq}, {}",
            header.snapshot_agents,
            mebibytes(counts.snapshot_bytes)
        ),
    };
    let ended = if header.is_clean { "in order" } else { "by a crash, or it is a copy" };
    let lines = [
        ("journal", header.journal_id.clone()),
        ("format", header.format.to_string()),
        ("starts", format!("{} (restored {} times)", header.epoch, header.restores)),
        ("ended", ended.to_owned()),
        ("core time", text::duration(header.core_ms)),
        ("file", mebibytes(counts.file_bytes)),
        (
            "events",
            format!(
                "{}, from {} to {}, {}",
                counts.events,
                header.oldest_seq,
                header.newest_seq,
                mebibytes(counts.event_bytes)
            ),
        ),
        ("commits", format!("{} ({} rows of events)", counts.commits, counts.event_rows)),
        ("snapshot", snapshot),
        ("heartbeats", format!("{}, {}", counts.heartbeats, mebibytes(counts.heartbeat_bytes))),
        ("dead letters", counts.dead_letters.to_string()),
    ];
    let mut told: String =
        lines.iter().map(|(name, value)| format!("{name:<12}  {value}\n")).collect();
    let mut kinds: Vec<(&str, u64)> = counts.kinds.iter().map(|(kind, n)| (*kind, *n)).collect();
    kinds.extend((counts.unknown > 0).then_some(("(unknown)", counts.unknown)));
    let rows: Vec<Vec<String>> =
        kinds.iter().map(|(kind, count)| vec![(*kind).to_owned(), count.to_string()]).collect();
    if !rows.is_empty() {
        told.push_str(&format!("\n{}", text::table(&["KIND", "EVENTS"], &rows, &[1])));
    }
    let rows: Vec<Vec<String>> =
        counts.days.iter().map(|day| vec![date(day.wall_ms), day.events.to_string()]).collect();
    if !rows.is_empty() {
        told.push_str(&format!("\n{}", text::table(&["DAY (UTC)", "EVENTS"], &rows, &[1])));
    }
    for loss in &counts.losses {
        told.push_str(&format!("\nlost: {loss}"));
    }
    told
}

/// The date of an instant in Unix milliseconds, by the proleptic Gregorian calendar.
/// Source: Howard Hinnant, `civil_from_days`, <https://howardhinnant.github.io/date_algorithms.html>.
fn date(unix_ms: u64) -> String {
    let days = unix_ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let days = [0, 59, 11_016, 19_782, 20_780];
        let dates: Vec<String> = days.iter().map(|day| date(day * 86_400_000 + 5)).collect();
        assert_eq!(dates, ["1970-01-01", "1970-03-01", "2000-02-29", "2024-02-29", "2026-11-23"]);
    }
}
