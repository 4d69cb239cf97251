//! Real programs: what they are given, how they end, and what is left of them.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pulsegate_core::{ActionId, ClassId, IncidentKind, Slot, Stamp};
use tokio::sync::mpsc;

use super::*;
use crate::config::{Executor, Overrides};
use crate::durable::Durable;

/// A fleet that remembers what it was told.
struct Told {
    outcomes: mpsc::UnboundedSender<(ActionId, ActionOutcome)>,
    commands: Mutex<Vec<(TenantId, String, Command)>>,
    knows: bool,
}

impl Fleet for Told {
    fn handle_outcome(&self, action: &Action, outcome: ActionOutcome) {
        let _ = self.outcomes.send((action.id, outcome));
    }

    fn command(&self, tenant: TenantId, agent_id: &str, command: Command) -> bool {
        self.commands.lock().expect("a lock").push((tenant, agent_id.to_owned(), command));
        self.knows
    }
}

struct World {
    recovery: Recovery,
    fleet: Arc<Told>,
    outcomes: mpsc::UnboundedReceiver<(ActionId, ActionOutcome)>,
    telemetry: Telemetry,
    durable: Durable,
}

impl World {
    fn new(executors: &str) -> Self {
        Self::knowing(executors, true)
    }

    fn knowing(executors: &str, knows: bool) -> Self {
        let overrides = Overrides::default().flag("--ephemeral", "journal.ephemeral", "true");
        let config = Config::parse("test.toml", executors, Path::new("."), &overrides);
        let config = Arc::new(config.unwrap_or_else(|problems| panic!("{problems}")));
        let telemetry = Telemetry::new(&config);
        let runtime = tokio::runtime::Handle::current();
        let opened = Durable::open(&config, Arc::default(), &Arc::default());
        let (durable, _) = opened.expect("a journal in memory");
        let recovery = Recovery::new(config, durable.clone(), telemetry.clone(), runtime);
        let (sender, outcomes) = mpsc::unbounded_channel();
        let fleet = Arc::new(Told { outcomes: sender, commands: Mutex::default(), knows });
        let connected: Weak<Told> = Arc::downgrade(&fleet);
        recovery.connect(connected);
        Self { recovery, fleet, outcomes, telemetry, durable }
    }

    fn start(&self, action: Action) {
        self.recovery.start(action, self.durable.newest());
    }

    async fn outcome(&mut self) -> ActionOutcome {
        self.outcomes.recv().await.expect("an outcome").1
    }

    fn scrape(&self) -> String {
        self.telemetry.scrape(&crate::telemetry::Figures::default())
    }
}

fn action(executor: &str) -> Action {
    Action {
        id: ActionId(0xabc),
        stamp: Stamp { slot: Slot(3), generation: 1, incarnation: 1, sequence: 1 },
        tenant: TenantId(0),
        agent_id: "-rf".to_owned(),
        class: ClassId(0),
        executor: executor.to_owned(),
        incident: IncidentKind::Silence,
        reachable: true,
    }
}

/// A directory of its own for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pulsegate-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program(argv: &[&str], timeout: Duration, output_bytes: usize) -> Program {
    let argv = argv.iter().map(ToString::to_string).collect();
    let env = [("GREETING".to_owned(), "hello".to_owned())].into();
    Program { argv, env, timeout, output_bytes }
}

const LONG: Duration = Duration::from_secs(600);

async fn run(program: &Program) -> exec::Ended {
    let facts = Facts {
        agent_id: "-rf",
        tenant: "default",
        class: "critical",
        action_id: "0000000000000abc",
        incident: "silence",
    };
    let (_stop, stopped) = watch::channel(false);
    exec::run(program, &facts, stopped).await
}

fn exec_toml(argv: &str, timeout_ms: u32) -> String {
    format!(
        "[recovery]\nconcurrency = 1\nqueue = 2\n[recovery.executors.run]\nkind = \"exec\"\n\
         argv = {argv}\ntimeout_ms = {timeout_ms}\n[recovery.executors.ask]\nkind = \"command\"\n"
    )
}

#[tokio::test]
async fn a_program_gets_its_arguments_as_they_are_and_nothing_is_expanded() {
    let argv = ["/usr/bin/printf", "%s|", "$HOME", "a b", "*", "{agent_id}", "`id`"];
    let ended = run(&program(&argv, LONG, 4_096)).await;
    assert_eq!(ended.outcome, ActionOutcome::Done, "{}", ended.exit);
    assert_eq!(ended.output.to_string(), "$HOME|a b|*|{agent_id}|`id`|");
}

#[tokio::test]
async fn facts_stand_in_the_environment_and_nothing_of_ours_does() {
    let ended = run(&program(&["/usr/bin/env"], LONG, 65_536)).await;
    let output = ended.output.to_string();
    let mut lines: Vec<&str> = output.lines().filter(|line| !line.starts_with("PATH=")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "GREETING=hello",
            "PULSEGATE_ACTION_ID=0000000000000abc",
            "PULSEGATE_AGENT_ID=-rf",
            "PULSEGATE_CLASS=critical",
            "PULSEGATE_INCIDENT=silence",
            "PULSEGATE_TENANT=default",
        ]
    );
}

#[tokio::test]
async fn standard_input_is_empty() {
    let ended = run(&program(&["/usr/bin/wc", "-c"], LONG, 64)).await;
    assert_eq!(ended.output.to_string(), "0");
}

#[tokio::test]
async fn any_other_exit_than_zero_is_a_failure_and_says_which() {
    let ended = run(&program(&["/bin/sh", "-c", "echo no >&2; exit 3"], LONG, 64)).await;
    assert_eq!(ended.outcome, ActionOutcome::Failed);
    assert_eq!((ended.exit.as_str(), ended.output.to_string().as_str()), ("exit status: 3", "no"));
    let ended = run(&program(&["/bin/sh", "-c", "kill -9 $$"], LONG, 64)).await;
    assert_eq!(ended.outcome, ActionOutcome::Failed);
    assert!(ended.exit.contains("signal: 9"), "{}", ended.exit);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failure_that_names_it() {
    let ended = run(&program(&["/nowhere/restart"], LONG, 64)).await;
    assert_eq!(ended.outcome, ActionOutcome::Failed);
    assert!(ended.exit.starts_with("/nowhere/restart cannot be started"), "{}", ended.exit);
}

#[tokio::test]
async fn output_is_kept_up_to_its_limit_and_a_chatty_program_still_ends() {
    let argv = ["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"];
    let ended = run(&program(&argv, LONG, 100)).await;
    assert_eq!(ended.outcome, ActionOutcome::Done, "{}", ended.exit);
    let expected = format!("{} … and 999900 bytes more", "x".repeat(100));
    assert_eq!(ended.output.to_string(), expected);
}

/// Waits until every holder of the pipe's other end is gone.
async fn wait_for_end_of(fifo: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let mut file = std::fs::File::open(fifo).expect("the pipe opens");
        file.read_to_string(&mut text).expect("the pipe ends");
        text
    });
    read.await.expect("the reader ends")
}

async fn make_fifo(path: &Path) {
    let made = tokio::process::Command::new("mkfifo").arg(path).status().await;
    assert!(made.expect("mkfifo runs").success());
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group_even_members_that_ignore_the_request() {
    let scratch = Scratch::new("group");
    let fifo = scratch.path("alive");
    make_fifo(&fifo).await;
    // The background process ignores SIGTERM and holds the pipe for as long as it lives.
    let script = format!(
        "(trap '' TERM; exec 9>{}; echo up >&9; while :; do sleep 600; done) & wait",
        fifo.display()
    );
    let slow = program(&["/bin/sh", "-c", &script], LONG, 64);
    let (stop, stopped) = watch::channel(false);
    let facts = Facts { agent_id: "a", tenant: "", class: "", action_id: "", incident: "" };
    let watching = tokio::task::spawn_blocking(move || {
        let mut alive = std::io::BufReader::new(std::fs::File::open(fifo).expect("it opens"));
        let mut line = String::new();
        alive.read_line(&mut line).expect("it speaks");
        // The program as good as ran into its timeout: both end it alike.
        stop.send(true).expect("it runs");
        alive.read_to_string(&mut line).expect("the pipe ends");
        line
    });
    let ended = exec::run(&slow, &facts, stopped).await;
    assert_eq!(ended.outcome, ActionOutcome::TimedOut);
    assert_eq!(watching.await.expect("it watched"), "up\n");
}

#[tokio::test]
async fn what_a_program_starts_for_good_outlives_it_and_is_not_waited_for() {
    let scratch = Scratch::new("lasting");
    let fifo = scratch.path("go");
    make_fifo(&fifo).await;
    // The background process inherits our output and waits for a word.
    let script = format!("(read word < {0}; echo $word > {0}.out) & echo started", fifo.display());
    let ended = run(&program(&["/bin/sh", "-c", &script], LONG, 64)).await;
    assert_eq!(ended.outcome, ActionOutcome::Done, "{}", ended.exit);
    assert_eq!(ended.output.to_string(), "started");
    let answer = scratch.path("go.out");
    make_fifo(&answer).await;
    tokio::fs::write(&fifo, "alive\n").await.expect("it still reads");
    assert_eq!(wait_for_end_of(answer).await, "alive\n");
}

#[tokio::test]
async fn the_outcome_of_a_program_goes_back_to_the_fleet() {
    let mut world = World::new(&exec_toml("[\"/bin/true\"]", 60_000));
    world.start(action("run"));
    assert_eq!(world.outcome().await, ActionOutcome::Done);
    let mut world = World::new(&exec_toml("[\"/bin/false\"]", 60_000));
    world.start(action("run"));
    assert_eq!(world.outcome().await, ActionOutcome::Failed);
    let mut world = World::new(&exec_toml("[\"/bin/sleep\", \"600\"]", 100));
    world.start(action("run"));
    assert_eq!(world.outcome().await, ActionOutcome::TimedOut);
}

#[tokio::test]
async fn an_id_that_is_not_configured_is_unknown() {
    let mut world = World::new(&exec_toml("[\"/bin/true\"]", 60_000));
    world.start(action("elsewhere"));
    assert_eq!(world.outcome().await, ActionOutcome::Unknown);
}

#[tokio::test]
async fn a_command_is_queued_for_a_reachable_agent_under_the_id_of_its_action() {
    let mut world = World::new("");
    world.start(action("command"));
    assert_eq!(world.outcome().await, ActionOutcome::Done);
    let commands = world.fleet.commands.lock().expect("a lock").clone();
    let [(tenant, agent_id, command)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((*tenant, agent_id.as_str()), (TenantId(0), "-rf"));
    assert_eq!(command.id, "action-0000000000000abc");
    assert_eq!(command.kind, CommandKind::Restart as i32);
}

#[tokio::test]
async fn a_command_is_unreachable_without_a_beating_or_known_agent() {
    let mut world = World::new("");
    world.start(Action { reachable: false, ..action("command") });
    assert_eq!(world.outcome().await, ActionOutcome::Unreachable);
    assert!(world.fleet.commands.lock().expect("a lock").is_empty());
    let mut world = World::knowing("", false);
    world.start(action("command"));
    assert_eq!(world.outcome().await, ActionOutcome::Unreachable);
}

#[tokio::test]
async fn programs_beyond_the_queue_fail_at_once_and_the_others_have_their_turn() {
    let scratch = Scratch::new("queue");
    let gate = scratch.path("gate");
    make_fifo(&gate).await;
    // One runs and waits at the gate, two wait for their turn.
    let argv = format!("[\"/bin/cat\", {:?}]", gate.display().to_string());
    let mut world = World::new(&exec_toml(&argv, 600_000));
    world.start(action("run"));
    let opened = tokio::fs::OpenOptions::new().write(true).open(&gate).await.expect("it runs");
    for _ in 0..3 {
        world.start(action("run"));
    }
    assert_eq!(world.outcome().await, ActionOutcome::Failed);
    assert!(world.scrape().contains("pulsegate_actions_open 1\n"));
    assert!(world.scrape().contains("pulsegate_actions_queued 2\n"));
    drop(opened);
    assert_eq!(world.outcome().await, ActionOutcome::Done);
    for _ in 0..2 {
        drop(tokio::fs::OpenOptions::new().write(true).open(&gate).await.expect("it runs"));
        assert_eq!(world.outcome().await, ActionOutcome::Done);
    }
    assert!(world.scrape().contains("pulsegate_actions_open 0\n"));
}

#[tokio::test]
async fn a_shutdown_ends_what_runs_too_long_and_fails_what_waits() {
    let scratch = Scratch::new("shutdown");
    let gate = scratch.path("gate");
    make_fifo(&gate).await;
    let argv = format!("[\"/bin/cat\", {:?}]", gate.display().to_string());
    let mut world = World::new(&exec_toml(&argv, 600_000));
    world.start(action("run"));
    let opened = tokio::fs::OpenOptions::new().write(true).open(&gate).await.expect("it runs");
    world.start(action("run"));
    world.recovery.shutdown(Duration::from_millis(50)).await;
    let mut outcomes = [world.outcome().await, world.outcome().await];
    outcomes.sort_by_key(|outcome| *outcome as usize);
    assert_eq!(outcomes, [ActionOutcome::Failed, ActionOutcome::TimedOut]);
    drop(opened);
}

#[tokio::test]
async fn a_new_configuration_takes_over_for_the_next_action() {
    let mut world = World::new(&exec_toml("[\"/bin/false\"]", 60_000));
    world.start(action("run"));
    assert_eq!(world.outcome().await, ActionOutcome::Failed);
    let mut config = Config::default();
    let kind = ExecutorKind::Exec(program(&["/bin/true"], LONG, 64));
    config.executors = vec![Executor { id: "run".to_owned(), wait_ms: 1_000, kind }];
    world.recovery.reconfigure(Arc::new(config));
    world.start(action("run"));
    assert_eq!(world.outcome().await, ActionOutcome::Done);
}
