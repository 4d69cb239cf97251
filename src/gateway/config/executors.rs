//! What recovery may do: executors are configured here and named by plans.

use std::collections::BTreeMap;
use std::time::Duration;

use pulsegate_wire::CommandKind;

use super::section::{Bounds, section};
use super::table::Table;

section! {
    /// What every executor has.
    ExecutorOptions {
        /// Time for the agent to come back before the next rung, where a plan says nothing else.
        wait_ms: u32 = 60_000 => Bounds::ms(100, 86_400_000), live,
            "a minute: a restart and the first heartbeats fit";
    }
}

section! {
    /// What an executor of kind `exec` has beside its argv.
    ExecOptions {
        /// The program is ended, with all its children, after this.
        timeout_ms: u32 = 30_000 => Bounds::ms(100, 3_600_000), live,
            "half a minute: restarting a service fits, a hang is noticed";
        /// Most bytes kept of its output.
        output_bytes: u32 = 4_096 => Bounds::count("bytes", 0, 1_048_576), live,
            "a screenful of a log";
    }
}

/// One thing that recovery may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Executor {
    /// What plans name.
    pub id: String,
    /// Time for the agent to come back before the next rung, in milliseconds.
    pub wait_ms: u32,
    /// What it does.
    pub kind: ExecutorKind,
}

/// What an executor does.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutorKind {
    /// Queues a command for the agent's next directive.
    Command {
        /// What is asked of the agent.
        kind: CommandKind,
        /// The word of a custom command; empty otherwise.
        name: String,
    },
    /// Runs a program.
    Exec(Program),
}

/// A program to run: no shell, no placeholders.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The program and its arguments, as they are.
    pub argv: Vec<String>,
    /// Variables beside `PATH` and the facts about the agent.
    pub env: BTreeMap<String, String>,
    /// It is ended, with all its children, after this.
    pub timeout: Duration,
    /// Most bytes kept of its output.
    pub output_bytes: usize,
}

impl Executor {
    /// Most executors.
    pub const MAX: usize = 64;

    /// The executors where none is configured: `command` asks an agent to restart. It only
    /// reaches agents that still beat, and they may say no.
    pub(super) fn defaults() -> Vec<Self> {
        vec![Self {
            id: "command".to_owned(),
            wait_ms: ExecutorOptions::default().wait_ms,
            kind: ExecutorKind::Command { kind: CommandKind::Restart, name: String::new() },
        }]
    }

    /// Reads one executor; `None` where a problem was reported.
    pub(super) fn read(id: &str, table: &mut Table<'_, '_>) -> Option<Self> {
        use super::section::Section;
        let options = ExecutorOptions::read(table, ExecutorOptions::default());
        let word: Option<String> = table.value("kind");
        let kind = match word.as_deref() {
            Some("command") => read_command(table),
            Some("exec") => read_exec(table).map(ExecutorKind::Exec),
            Some(_) => {
                table.problem("kind", "must be command or exec");
                None
            }
            None => {
                if !table.has("kind") {
                    table.problem("kind", "is needed: command or exec");
                }
                None
            }
        };
        if kind.is_some() {
            table.refuse_rest();
        }
        Some(Self { id: id.to_owned(), wait_ms: options.wait_ms, kind: kind? })
    }
}

fn read_command(table: &mut Table<'_, '_>) -> Option<ExecutorKind> {
    let word = table.value::<String>("command").unwrap_or_else(|| "restart".to_owned());
    let name = table.value::<String>("name").unwrap_or_default();
    let Ok(kind) = word.parse::<CommandKind>() else {
        let words = CommandKind::WORDS.join(", ");
        table.problem("command", format!("must be one of {words}"));
        return None;
    };
    if (kind == CommandKind::Custom) == name.is_empty() {
        table.problem("name", "is needed for a custom command, and for no other");
        return None;
    }
    Some(ExecutorKind::Command { kind, name })
}

fn read_exec(table: &mut Table<'_, '_>) -> Option<Program> {
    use super::section::Section;
    let options = ExecOptions::read(table, ExecOptions::default());
    let argv: Option<Vec<String>> = table.value("argv");
    let env = table.within("env", |env| {
        let names = env.names();
        names
            .into_iter()
            .filter_map(|name| {
                let value = env.value::<String>(&name)?;
                if name.contains(['=', '\0']) || name.is_empty() || value.contains('\0') {
                    env.problem(&name, "cannot be a variable of the environment");
                    return None;
                }
                Some((name, value))
            })
            .collect()
    });
    let Some(argv) = argv else {
        if !table.has("argv") {
            table.problem(
                "argv",
                "is needed: the program and its arguments, such as [\"/usr/bin/true\"]",
            );
        }
        return None;
    };
    if argv.first().is_none_or(String::is_empty) || argv.iter().any(|word| word.contains('\0')) {
        table.problem("argv", "must begin with a program, and hold no NUL");
        return None;
    }
    Some(Program {
        argv,
        env,
        timeout: Duration::from_millis(options.timeout_ms.into()),
        output_bytes: options.output_bytes as usize,
    })
}
