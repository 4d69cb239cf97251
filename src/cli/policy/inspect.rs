//! `pulsegate policy inspect`.

use pulsegate_policy::{Candidate, Description};
use pulsegate_wire::EarlyRule;
use serde_json::json;

use super::subject::{Loaded, Subject, bytes, thousands};
use super::text::{print, print_json};
use super::{Outcome, refused};

/// Arguments of `pulsegate policy inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Only asks the policy to describe itself; `check` says whether it is fit.\n\
                        Example: pulsegate policy inspect queue-pressure"
)]
pub(super) struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.subject.load()?;
    let Loaded { engine, config, source } = &loaded;
    let candidate =
        Candidate::load(engine, &source.name, &source.bytes).map_err(|error| refused(&error))?;
    let executors = config.executor_waits();
    let mut described = None;
    let mut rules = Vec::new();
    let mut memory_bytes = 0;
    for (_, class) in config.classes.iter() {
        let trial = candidate
            .start(class, &executors, &source.settings)
            .map_err(|error| refused(&error))?;
        rules.push((class.name.clone(), trial.early_rules().to_vec()));
        memory_bytes = memory_bytes.max(trial.memory_bytes());
        described = Some(trial.description());
    }
    let Some(description) = described else { return Ok(()) };
    let (revision, digest) = (candidate.revision(), candidate.digest());
    if args.json {
        print_json(&json!({
            "name": description.name,
            "version": description.version,
            "revision": revision,
            "sha256": digest,
            "bytes": candidate.size(),
            "exports": candidate.exports(),
            "imports": candidate.imports(),
            "metrics": description.metrics,
            "memory_columns": description.memory_columns,
            "early_rules": rules.iter().map(|(class, rules)| {
                json!({ "class": class, "rules": rules })
            }).collect::<Vec<_>>(),
            "reasons": description.reasons,
            "instance_memory_bytes": memory_bytes,
        }));
        return Ok(());
    }
    let exports = candidate.exports();
    let mut all = facts(&description, (&revision, &digest), candidate.size(), &exports);
    all.push(imports(&candidate.imports()));
    all.extend(early_rules(&rules));
    all.push(("memory".into(), format!("{} of a new instance", bytes(memory_bytes))));
    for (index, reason) in description.reasons.iter().enumerate() {
        let key = if index == 0 { "reasons" } else { "" };
        all.push((key.into(), format!("{index:2} {reason}")));
    }
    let width = all.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let lines: String =
        all.iter().map(|(key, value)| format!("  {key:width$}  {value}\n")).collect();
    print(&format!("{}\n{lines}", source.name));
    Ok(())
}

/// What a component imports, as a row of key and value.
pub(super) fn imports(names: &[String]) -> (String, String) {
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    ("imports".to_owned(), names)
}

/// What a policy is and wants, as rows of key and value.
pub(super) fn facts(
    description: &Description,
    (revision, digest): (&str, &str),
    size: usize,
    exports: &[&str],
) -> Vec<(String, String)> {
    let metrics = match description.metrics.join(", ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    let columns = match description.memory_columns {
        0 => "nothing".to_owned(),
        1 => "1 number".to_owned(),
        many => format!("{many} numbers"),
    };
    let rows = [
        ("name", format!("{}, version {}", description.name, description.version)),
        ("revision", revision.to_owned()),
        ("sha256", digest.to_owned()),
        ("size", format!("{} bytes", thousands(size))),
        ("answers", exports.join(", ")),
        ("custom metrics", metrics),
        ("keeps", format!("{columns} with each agent")),
    ];
    rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Rules for early heartbeats as rows of key and value: one row for classes with the same rules.
pub(super) fn early_rules(by_class: &[(String, Vec<EarlyRule>)]) -> Vec<(String, String)> {
    let mut groups: Vec<(&[EarlyRule], Vec<&str>)> = Vec::new();
    for (class, rules) in by_class {
        match groups.iter_mut().find(|(known, _)| *known == rules.as_slice()) {
            Some((_, classes)) => classes.push(class),
            None => groups.push((rules, vec![class])),
        }
    }
    let is_one = groups.len() == 1;
    let row = |(rules, classes): (&[EarlyRule], Vec<&str>)| {
        let of = if is_one { String::new() } else { format!("{}: ", classes.join(", ")) };
        ("early beats".to_owned(), format!("{of}{}", told(rules)))
    };
    groups.into_iter().map(row).collect()
}

fn told(rules: &[EarlyRule]) -> String {
    let rule = |rule: &EarlyRule| {
        let EarlyRule { metric, above, below, rearm } = rule;
        match (above, below) {
            (Some(above), _) => format!("{metric} above {above} (again after {rearm})"),
            (_, Some(below)) => format!("{metric} below {below} (again after {rearm})"),
            _ => metric.clone(),
        }
    };
    let all: Vec<String> = rules.iter().map(rule).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
