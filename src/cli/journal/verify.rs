//! `pulsegate journal verify`.

use pulsegate_journal::offline::{self, Verdict};

use super::super::text::{print, print_json};
use super::{Data, Exit, Failure, Outcome};

/// Arguments of `pulsegate journal verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 when something is found that must not be.")]
pub(super) struct Args {
    #[command(flatten)]
    data: Data,
    /// Print JSON: the counts, the findings, and what could not be checked
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let mut journal = args.data.open()?;
    eprintln!("pulsegate: verifying {} events …", events(&journal.header()));
    let verdict =
        offline::verify(&mut journal).map_err(|error| Failure::new(Exit::Refused, error))?;
    if args.json {
        print_json(&verdict);
    } else {
        print(&describe(&verdict));
    }
    match verdict.count {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Refused, "1 thing is there that must not be")),
        count => {
            Err(Failure::new(Exit::Refused, format!("{count} things are there that must not be")))
        }
    }
}

/// Events that a journal still has.
pub(super) fn events(header: &offline::Header) -> u64 {
    (header.newest_seq + 1).saturating_sub(header.oldest_seq)
}

fn describe(verdict: &Verdict) -> String {
    let mut text = String::new();
    for finding in &verdict.findings {
        match finding.seq {
            0 => text.push_str(&format!("found: {}\n", finding.what)),
            seq => text.push_str(&format!("found: event {seq}: {}\n", finding.what)),
        }
    }
    if verdict.count > verdict.findings.len() as u64 {
        text.push_str(&format!("found: {} in all\n", verdict.count));
    }
    text.push_str(&format!(
        "checked: {} events, {} silences ({} of them against recorded heartbeats), {} moves \
         between states, {} grants of leases\n",
        verdict.events,
        verdict.silences,
        verdict.silences_with_heartbeats,
        verdict.moves,
        verdict.grants
    ));
    for unchecked in &verdict.unchecked {
        text.push_str(&format!("not checked: {unchecked}\n"));
    }
    if verdict.count == 0 {
        text.push_str("nothing is there that must not be\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use pulsegate_journal::offline::Finding;

    use super::*;

    #[test]
    fn a_verdict_says_what_was_found_and_what_was_not_checked() {
        let finding = Finding { seq: 7, what: "a/b is failed 5 ms early".to_owned() };
        let verdict = Verdict {
            events: 9,
            findings: vec![finding],
            count: 1,
            unchecked: vec!["2 gaps: what happened in them".to_owned()],
            ..Verdict::default()
        };
        let text = describe(&verdict);
        assert!(text.starts_with("found: event 7: a/b is failed 5 ms early\nchecked: 9 events"));
        assert!(text.ends_with("not checked: 2 gaps: what happened in them\n"), "{text}");
        assert!(describe(&Verdict::default()).ends_with("nothing is there that must not be\n"));
    }
}
