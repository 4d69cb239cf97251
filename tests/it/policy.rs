//! `pulsegate policy` as somebody types it: what it prints, its exit codes, and the commands of
//! the manual.

use std::path::PathBuf;
use std::process::Output;

use pulsegate_policy::fixtures;
use serde_json::Value;

use crate::process::{pulsegate, pulsegate_in, stderr, stdout};

/// A directory of one test; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pulsegate-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// Writes a file; answers its path.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file");
        path.to_str().expect("a text").to_owned()
    }

    /// Writes the component of a fixture; answers its path.
    fn fixture(&self, name: &str) -> String {
        self.file(&format!("{name}.wasm"), fixture(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

fn fixture(name: &str) -> &'static [u8] {
    fixtures::ALL.iter().find(|(known, _)| *known == name).expect("it is embedded").1
}

fn policy(args: &[&str]) -> Output {
    pulsegate(&[&["policy"], args].concat())
}

fn json(args: &[&str]) -> Value {
    let output = policy(args);
    let text = stdout(&output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", stderr(&output)))
}

#[test]
fn the_cases_of_every_reference_policy_hold() {
    for (name, least) in [("steady", 12), ("queue-pressure", 8), ("ladder", 7)] {
        let cases = format!("{}/plugins/{name}/cases.toml", env!("CARGO_MANIFEST_DIR"));
        let output = policy(&["test", name, &cases]);
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        let told = json(&["test", name, &cases, "--json"]);
        assert!(told["passed"].as_u64() >= Some(least), "{told}");
        assert_eq!(told["failed"], 0);
    }
}

#[test]
fn a_policy_is_checked_and_looked_into() {
    let folder = Folder::new("checked");
    let file = folder.fixture("remembers");
    let output = policy(&["check", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("remembers: fit\n"), "{text}");
    for row in ["custom metrics  extra, other", "keeps           2 numbers with each agent"] {
        assert!(text.contains(row), "{row}\nis missing in\n{text}");
    }
    let report = json(&["check", &file, "--json"]);
    assert_eq!((&report["fit"], &report["memory_columns"]), (&true.into(), &2.into()));
    let inspected = json(&["inspect", &file, "--json"]);
    for key in ["name", "version", "sha256", "revision", "bytes", "exports", "metrics"] {
        assert_eq!(inspected[key], report[key], "{key}");
    }
    let text =
        stdout(&policy(&["inspect", "queue-pressure", "--settings", "{\"full_depth\": 10}"]));
    assert!(text.contains("queue_depth above 5 (again after 2.5)"), "{text}");
}

#[test]
fn a_policy_that_is_not_fit_is_refused_with_the_observation() {
    let folder = Folder::new("refused");
    for (name, said) in [
        ("counts-calls", "cadence.suggest does not always answer the same"),
        ("leans-on-the-last", "health.judge does not always answer the same"),
        ("mixes-rows", "among other rows"),
        ("plans-by-turns", "[command, restart, replace, alert]"),
        ("describes-anew", "it is not the same after some calls"),
        ("traps", "fails for class critical on queue_depth = 1.0: trap"),
        ("exports-nothing", "does not export manifest.describe"),
    ] {
        let file = folder.fixture(name);
        let output = policy(&["check", &file]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(stdout(&output), "", "{name}");
        assert!(stderr(&output).contains(said), "{name}: {}", stderr(&output));
        let told = json(&["check", &file, "--json"]);
        assert_eq!(told["fit"], false, "{name}");
        assert!(told["refused"].as_str().is_some_and(|text| text.contains(said)), "{told}");
    }
}

#[test]
fn what_is_typed_wrong_is_told_with_its_place() {
    let folder = Folder::new("typed-wrong");
    let cases = folder.file("cases.toml", b"[[case]]\nname = \"a\"\nexpectt = 3\n[[case]]\n");
    let gold = folder
        .file("gold.toml", b"[[case]]\nname = \"a\"\nclass = \"gold\"\nexpect = { score = 1 }\n");
    let good = folder.file("good.toml", b"[[case]]\nname = \"a\"\nexpect = { score = 100 }\n");
    let settings = folder.file("settings.toml", b"degraded_errors = 5\nunhealthy = = 3\n");
    let config = folder.file("pulsegate.toml", b"listen = 7\n");
    let large = folder.file("large.toml", &b"#".repeat((1 << 20) + 1));
    for (args, code, said) in [
        (&["check", "/no/such.wasm"][..], 64, "/no/such.wasm: cannot be read"),
        (&["check", &cases], 1, "not a WebAssembly component"),
        (&["check", "steady", "--settings", "{}}"], 64, "--settings: "),
        (&["check", "steady", "--settings", "[1]"], 64, "[1]: cannot be read"),
        (&["check", "steady", "--settings", &settings], 64, "settings.toml: line 2: "),
        (&["check", "steady", "--settings", "{\"x\": 1}"], 1, "refuses its settings for class"),
        (&["check", "steady", "--config", &config], 64, "pulsegate.toml:1: listen"),
        (&["test", "steady", &cases], 64, "cases.toml:3: case[0].expectt: unknown key"),
        (&["test", "steady", &cases], 64, "the cases have 2 problems"),
        (&["test", "steady", &gold], 64, "gold.toml:3: class: no class is called \"gold\""),
        (&["test", "steady", "/no/such.toml"], 64, "/no/such.toml: cannot be read"),
        (&["test", "steady", &large], 64, "1048577 bytes, at most 1048576"),
        (&["test", "steady", &good, "--filter", "b"], 1, "no case's name contains \"b\""),
        (&["run", "steady", "--class", "gold"], 64, "no class is called \"gold\""),
        (&["run", "steady", "--observation", "erors=3"], 64, "did you mean errors?"),
        (&["run", "steady", "--incident", "kind=noise"], 64, "\"noise\" is not one of silence"),
        (&["run", "steady", "--incident"], 1, "does not export recovery"),
        (&["run", "steady", "--observation", "metrics.a=1"], 1, "it names: none"),
        (&["run", "ladder"], 1, "it answers only incidents: ask with --incident"),
        (&["bench", "steady", "--rounds", "0"], 2, "must be a whole number from 1"),
    ] {
        let output = policy(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn a_case_that_fails_shows_question_expectation_and_answer() {
    let folder = Folder::new("fails");
    let file = folder.fixture("traps");
    let cases = folder.file(
        "cases.toml",
        b"[[case]]\nname = \"an ordinary agent\"\nexpect = { interval_ms = 30000 }\n\
          [[case]]\nname = \"a queue\"\n[[case.step]]\n[[case.step]]\nrepeat = 2\n\
          observation = { queue_depth = 3 }\nexpect = { interval_ms = 30000 }\n\
          [[case]]\nname = \"a wrong number\"\nexpect = { interval_ms = { max = 5 } }\n\
          [[case]]\nname = \"settings\"\nsettings = { never = 1 }\nexpect = { interval_ms = 1 }\n",
    );
    let output = policy(&["test", &file, &cases]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "pulsegate: 3 of 4 cases failed\n");
    let text = stdout(&output).replace(&cases, "cases.toml");
    let (told, refusal) = text.split_once("FAILED  settings").expect("the last case");
    assert_eq!(
        told,
        "ok      an ordinary agent\n\
         FAILED  a queue  (cases.toml:4)\n        \
         step 2 at line 7\n        \
         observation  now_ms = 3630000, queue_depth = 3.0\n        \
         no answer    it trapped: a panic, an unreachable, or too much memory\n\
         FAILED  a wrong number  (cases.toml:11)\n        \
         observation  nothing out of the ordinary\n        \
         expected     interval_ms at most 5\n        \
         answered     interval_ms 30000\n        \
         in full      30000 ms (a habit)\n"
    );
    assert!(refusal.contains("refuses its settings for class normal"), "{refusal}");
    assert!(refusal.ends_with("4 cases: 1 passed, 3 failed\n"), "{refusal}");
    let told = json(&["test", &file, &cases, "--json"]);
    assert_eq!((&told["passed"], &told["failed"]), (&1.into(), &3.into()));
    assert_eq!(told["cases"][2]["steps"][0]["misses"][0]["answered"], "30000");
    assert_eq!(told["cases"][1]["steps"][1]["line"], 7);
    let one = policy(&["test", &file, &cases, "--filter", "ordinary"]);
    assert_eq!(stdout(&one), "ok      an ordinary agent\n1 case: 1 passed, 0 failed\n");
}

#[test]
fn what_a_policy_writes_is_shown() {
    let folder = Folder::new("writes");
    let file = folder.fixture("full-contract");
    let output = policy(&["run", &file, "--observation", "missed=2,metrics.extra=3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "full-contract: warn: heartbeats are missing\n");
    assert!(stdout(&output).contains("observation  missed = 2, metrics.extra = 3.0\n"));
    let cases = folder.file(
        "cases.toml",
        b"[[case]]\nname = \"a\"\nobservation = { missed = 1 }\nexpect = { score = 0 }\n",
    );
    let text = stdout(&policy(&["test", &file, &cases]));
    assert!(text.contains("        it wrote warn: heartbeats are missing\n"), "{text}");
}

#[test]
fn one_observation_is_put_from_flags_or_standard_input() {
    let told = json(&["run", "steady", "--observation", "errors=50,interval_ms=10000", "--json"]);
    assert_eq!(told["judgement"]["health"], "unhealthy");
    assert_eq!(told["hint"]["interval_ms"], 5_000.0);
    assert_eq!(told["guard"]["stored_ms"], serde_json::json!([5_000]));
    assert_eq!(told["guard"]["sent_ms"], serde_json::json!([4_500, 5_000]));
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let asked = ["policy", "run", "queue-pressure", "--json", "--observation", "-"];
    let put = |text: &str| pulsegate_in(&root, &asked, text);
    let output = put("{\"queue_depth\": 5000, \"signals\": [\"idle\"]}");
    let told: Value = serde_json::from_str(&stdout(&output)).expect("a document");
    assert_eq!(told["observation"], "signals = [\"idle\"], queue_depth = 5000.0");
    assert_eq!(told["hint"]["reason"], "the queue is full: beats as fast as it may");
    for (text, said) in [
        ("[]", "--observation: must be a JSON object"),
        ("{", "--observation: EOF"),
        ("{\"queue_depth\": -1}", "queue_depth: must be a finite number from 0"),
        ("{\"metrics\": {\"a\": \"b\"}}", "metrics.a: must be a finite number"),
    ] {
        let output = put(text);
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(stderr(&output).contains(said), "{text}: {}", stderr(&output));
    }
}

#[test]
fn an_incident_is_planned_over_the_executors_of_a_configuration() {
    let folder = Folder::new("planned");
    let config = folder.file(
        "pulsegate.toml",
        b"[recovery.executors.alert]\nkind = \"exec\"\nargv = [\"/bin/true\"]\nwait_ms = 5000\n\
          [recovery.executors.restart-worker]\nkind = \"exec\"\nargv = [\"/bin/true\"]\n\
          wait_ms = 7000\n",
    );
    let output = policy(&["run", "ladder", "--config", &config, "--incident", "number=1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("1. restart-worker, then 7000 ms\n"), "{text}");
    assert!(text.contains("2. alert, then 5000 ms\n"), "{text}");
    let told = json(&["run", "ladder", "--config", &config, "--incident", "number=3", "--json"]);
    assert_eq!(told["plan"]["rungs"][0]["executor"], "alert");
    let text = stdout(&policy(&["run", "ladder", "--incident"]));
    assert!(text.contains("no executor fits\n") && text.contains("nothing is done\n"), "{text}");
}

#[test]
fn a_policy_is_measured_beside_an_empty_call_and_the_built_in_one() {
    let told = json(&["bench", "ladder", "--rounds", "3", "--json"]);
    let names: Vec<&str> = told["calls"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(names, ["an empty call", "recovery, built in", "recovery"]);
    for key in ["compile_ms", "load_ms", "instance_ms"] {
        assert!(told[key].as_f64() > Some(0.0), "{key}");
    }
    let text = stdout(&policy(&["bench", "steady", "--rounds", "3"]));
    assert!(text.contains("cadence, rows of 64") && text.contains("steady: "), "{text}");
}

/// A block of a page: what follows its fence, and its lines.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let inside = page.split("\n```").skip(1).step_by(2);
    inside.filter_map(|block| block.split_once('\n'))
}

/// Splits a command as a shell does that knows double quotes only.
fn words(command: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut is_quoted = false;
    for letter in command.chars() {
        match letter {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => all.push(String::new()),
            _ => all.last_mut().expect("at least one").push(letter),
        }
    }
    all.retain(|word| !word.is_empty());
    all
}

/// The lines of an output whose figures depend on build and machine, by what stands before.
fn keys(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.trim().split("  ").next().unwrap_or_default()).collect()
}

#[test]
fn the_commands_of_the_manual_print_what_it_shows() {
    let pages = [
        include_str!("../../src/manual/first_policy.md"),
        include_str!("../../src/manual/hints.md"),
        include_str!("../../src/manual/testing_policies.md"),
    ];
    let folder = Folder::new("manual");
    folder.fixture("busy-bees");
    let mut ran = 0;
    for page in pages {
        for (fence, text) in blocks(page) {
            match fence {
                "toml cases busy-bees" => drop(folder.file("cases.toml", text.as_bytes())),
                "toml wrong" => drop(folder.file("wrong.toml", text.as_bytes())),
                "toml cases steady" => {
                    let file = folder.file("steady.toml", text.as_bytes());
                    let output = policy(&["test", "steady", &file]);
                    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
                }
                _ => {}
            }
        }
        for (fence, text) in blocks(page) {
            if let Some(name) = fence.strip_prefix("text fixture ") {
                let output = policy(&["check", &folder.fixture(name)]);
                let said = stderr(&output).replace('\n', " ");
                let shown = text.replace('\n', " ");
                assert!(said.contains(shown.trim()), "shown\n{shown}\nsaid\n{said}");
                ran += 1;
                continue;
            }
            let wanted = match fence {
                "text run" | "text like" => 0,
                "text run fails" => 1,
                _ => continue,
            };
            let (command, shown) = text.split_once('\n').expect("a command and its output");
            let words = words(command.strip_prefix("$ pulsegate ").expect("a command"));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = pulsegate_in(&folder.0, &words, "");
            assert_eq!(output.status.code(), Some(wanted), "{command}: {}", stderr(&output));
            let said = stdout(&output);
            if fence == "text like" {
                assert_eq!(keys(shown), keys(&said), "{command}\n{said}");
            } else {
                assert_eq!(shown.trim_end(), said.trim_end(), "{command}\n{said}");
            }
            ran += 1;
        }
    }
    assert!(ran >= 7, "{ran}");
}
