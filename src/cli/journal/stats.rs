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
    let rows: Vec<Vec<String>> = counts
        .days
        .iter()
        .map(|day| vec![text::date(day.wall_ms), day.events.to_string()])
        .collect();
    if !rows.is_empty() {
        told.push_str(&format!("\n{}", text::table(&["DAY (UTC)", "EVENTS"], &rows, &[1])));
    }
    for loss in &counts.losses {
        told.push_str(&format!("\nlost: {loss}"));
    }
    told
}
