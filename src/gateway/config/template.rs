//! The annotated template: every option with what it does, its unit, default and reason.

use std::fmt::Write as _;

use super::executors::{ExecOptions, ExecutorOptions};
use super::options::{
    Cadence, ClassOptions, Detection, Directives, Journal, Limits, Log, PolicyLimits,
    PolicyRegistry, PolicyTrust, Probes, Recovery, Rollout, Server, Tls,
};
use super::overrides::variable;
use super::section::Section;

const HEAD: &str = "\
# Pulsegate. Every option with its default: a line that begins with `#` and a name shows the
# default, and takes effect once the `#` is gone. A flag wins over the environment
# (PULSEGATE_CADENCE_MIN_MS sets cadence.min_ms), which wins over this file. Relative paths begin
# at the directory of this file. Options marked `live` change at SIGHUP, others at a restart.
";

/// The lists, which have no defaults to show: an example each, indented.
const LISTS: &str = r#"
# Who may beat. Without any, everybody who reaches the address, as tenant `default`.
# The token stands in a file of its own, or here as its SHA-256. Live.
#
#     [[credentials]]
#     tenant = "default"
#     token_sha256 = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"

# Policies to load beside the reference ones, which need no entry: from a `file`, with a
# `signature_file` beside it or not; from a registry by digest, `oci = "oci://HOST/NAME@sha256:…"`;
# a `reference` policy under a name and with settings of one's own; or `uploaded = true` for one
# that operators upload (PUT /v1/policies/NAME): until they do, routes that name it decide nothing.
# The pool `interpreted` has more memory and time, for guests that bring an interpreter along, as
# those in Python and JavaScript do. Live.
#
#     [[policies]]
#     name = "my-steady"
#     reference = "steady"
#     pool = "native"
#     settings = {}

# Which policies judge (health), pace (cadence) and recover which agents. The first route that
# matches decides, for each of the three apart; `builtin` is the built-in policy. What no route
# decides: health and cadence `steady`, recovery `ladder`. Live.
#
#     [[routes]]
#     classes = ["background"]
#     labels = { tier = "batch" }
#     tenant = "default"
#     health = "builtin"
#     cadence = "queue-pressure"
#     recovery = "ladder"
"#;

const EXECUTORS: &str = r#"
# What recovery may do. A plan names executors by id and never carries a command line. `command`
# asks an agent that still beats; `exec` runs a program, without a shell, with the facts in its
# environment: PULSEGATE_AGENT_ID, _TENANT, _CLASS, _ACTION_ID, _INCIDENT. Without any executor
# here there is one, `command`, which asks for a restart. Live.
#
#     [recovery.executors.command]
#     kind = "command"
#     command = "restart"
#
#     [recovery.executors.restart]
#     kind = "exec"
#     argv = ["/usr/bin/true"]
#     env = { SERVICE = "worker" }
#
# Options of every executor, and of `exec`:
"#;

/// The annotated template of a configuration file: what `pulsegate config template` prints.
#[must_use]
pub fn template() -> String {
    let mut out = String::from(HEAD);
    section(&mut out, "", "Where the gateway listens.", &Server::default());
    let tls = "The certificate of the agents' address: it changes live, having one does not.";
    section(&mut out, "tls", tls, &Tls::default());
    let journal = Journal::default();
    section(&mut out, "journal", "What is remembered over a restart, how long.", &journal);
    section(&mut out, "cadence", "How intervals move.", &Cadence::default());
    let detection = Detection::default();
    section(&mut out, "detection", "When agents nobody hears of are given up.", &detection);
    section(&mut out, "limits", "What the gateway takes at most.", &Limits::default());
    let policies = PolicyLimits::default();
    section(&mut out, "policy_limits", "What every policy is held to.", &policies);
    let trust = "Whom to believe that a policy is the one that was meant.";
    section(&mut out, "policy_trust", trust, &PolicyTrust::default());
    let registries = "How registries of policies are spoken to.";
    section(&mut out, "policy_registry", registries, &PolicyRegistry::default());
    let rollout = "Policies that operators upload, and how long they are kept.";
    section(&mut out, "rollout", rollout, &Rollout::default());
    section(&mut out, "directives", "What every directive carries.", &Directives::default());
    let recovery = Recovery::default();
    section(&mut out, "recovery", "When recovery begins and ends, and how much runs.", &recovery);
    section(&mut out, "probes", "The second witness: probes of silent agents.", &Probes::default());
    section(&mut out, "log", "The log, on standard error.", &Log::default());
    classes(&mut out);
    out.push_str(LISTS);
    out.push_str(EXECUTORS);
    options(&mut out, &ExecutorOptions::default(), "# - ", "");
    options(&mut out, &ExecOptions::default(), "# - ", "");
    out
}

fn section<S: Section>(out: &mut String, name: &str, title: &str, values: &S) {
    let _ = write!(out, "\n# {title}\n");
    if !name.is_empty() {
        let _ = writeln!(out, "[{name}]");
    }
    options(out, values, "#", name);
}

/// Every option of a section; after `mark` the option itself.
fn options<S: Section>(out: &mut String, values: &S, mark: &str, section: &str) {
    for (opt, value) in S::OPTIONS.iter().zip(values.values()) {
        out.push_str("#\n");
        for line in opt.doc {
            let _ = writeln!(out, "#{line}");
        }
        let live = if opt.live { "live" } else { "restart" };
        let _ =
            writeln!(out, "# {} · {live} · default because: {}", opt.bounds.describe(), opt.why);
        let _ = match value {
            Some(value) => writeln!(out, "{mark}{} = {value}", opt.key),
            None => {
                let example = example(opt.bounds.example);
                let dot = if section.is_empty() { "" } else { "." };
                let variable = variable(&format!("{section}{dot}{}", opt.key));
                writeln!(out, "# Not set. Example: {} = {example} (or {variable})", opt.key)
            }
        };
    }
}

/// Numbers, `true` and `false` as they are, anything else in quotes.
fn example(text: &str) -> String {
    let is_plain = text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok();
    if is_plain { text.to_owned() } else { format!("{text:?}") }
}

fn classes(out: &mut String) {
    out.push_str(
        "\n# The classes of agents. Another `[classes.NAME]` adds one; what it leaves out is\n",
    );
    out.push_str("# as for normal. An agent without a class, or with an unknown one, is normal.\n");
    for (index, (_, class)) in pulsegate_core::Classes::default().iter().enumerate() {
        let values = ClassOptions::of(class);
        let _ = writeln!(out, "\n[classes.{}]", class.name);
        if index == 0 {
            options(out, &values, "#", "");
            continue;
        }
        for (opt, value) in ClassOptions::OPTIONS.iter().zip(values.values()) {
            let _ = writeln!(out, "#{} = {}", opt.key, value.unwrap_or_default());
        }
    }
}
