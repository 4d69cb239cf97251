//! Configuration as operators meet it: the template, the check, and a reload.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::{Client, config, start};

fn pulsegate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pulsegate"));
    command.args(arguments).output().expect("it runs")
}

struct File(PathBuf);

impl File {
    fn new(test: &str, text: &str) -> Self {
        let name = format!("pulsegate-it-{}-{test}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_template_passes_the_check() {
    let template = pulsegate(&["config", "template"]);
    assert!(template.status.success());
    let text = String::from_utf8(template.stdout).expect("text");
    let file = File::new("template", &text);
    let check = pulsegate(&["config", "check", file.name()]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn a_wrong_file_ends_with_64_and_every_problem_with_its_line() {
    let file = File::new("wrong", "[cadence]\nmin_ms = 0\nmux_ms = 5\n[log]\nlevel = \"loud\"\n");
    let check = pulsegate(&["config", "check", file.name()]);
    assert_eq!(check.status.code(), Some(64));
    let said = [check.stdout, check.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    for (line, key) in [(2, "cadence.min_ms"), (3, "cadence.mux_ms"), (5, "log.level")] {
        assert!(said.contains(&format!("{}:{line}: {key}: ", file.name())), "{said}");
    }
    let serve = pulsegate(&["serve", "--config", file.name()]);
    assert_eq!(serve.status.code(), Some(64), "a wrong file is found before a port is bound");
}

#[test]
fn a_reload_reaches_the_next_heartbeat_and_names_what_it_kept() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let early = |client: &mut Client| client.beat(r#"{"agent_id":"a"}"#).json()["retry"].clone();
    assert_eq!(early(&mut client), serde_json::json!([1_000, 2_000, 4_000, 8_000]));
    let new = config("[directives]\nretry_ms = [700]\n[limits]\nmax_agents = 9\n");
    let kept = gateway.reload(&new).expect("a reload");
    assert!(kept.contains(&"limits.max_agents".to_owned()), "{kept:?}");
    assert_eq!(early(&mut client), serde_json::json!([700]));
}
