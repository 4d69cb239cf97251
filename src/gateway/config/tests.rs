//! Every problem with its place, and a template that is true.

use std::ffi::OsString;
use std::path::PathBuf;

use pulsegate_core::TenantId;
use pulsegate_policy::Pool;
use pulsegate_wire::CommandKind;

use super::*;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse("pulsegate.toml", text, Path::new("."), &Overrides::default())
}

fn problems(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("it is wrong");
    error.problems().iter().map(ToString::to_string).collect()
}

/// What differs between two configurations: nothing, when they print alike.
fn shown(config: &Config) -> String {
    format!("{config:?}")
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(shown(&parse("").expect("it is fine")), shown(&Config::default()));
}

#[test]
fn the_template_is_the_default_as_it_stands_and_with_every_option_switched_on() {
    let template = template();
    let as_it_stands = parse(&template).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(shown(&as_it_stands), shown(&Config::default()));
    let is_option = |line: &str| {
        let rest = line.strip_prefix('#').unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ")
    };
    let mut switched_on = 0;
    let lines: Vec<&str> = template
        .lines()
        .map(|line| {
            if is_option(line) {
                switched_on += 1;
                &line[1..]
            } else {
                line
            }
        })
        .collect();
    assert!(switched_on > 50, "{switched_on} options");
    let all = parse(&lines.join("\n")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(shown(&all), shown(&Config::default()));
}

#[test]
fn the_examples_of_lists_in_the_template_are_right() {
    let template = template();
    let examples: Vec<&str> =
        template.lines().filter_map(|line| line.strip_prefix("#     ")).collect();
    assert!(examples.len() > 10, "{examples:?}");
    let config = parse(&examples.join("\n"));
    // The reference policies are not there in every build of the policy host.
    if pulsegate_policy::reference::ALL.is_empty() {
        return;
    }
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.executors.len(), 2);
    assert_eq!(config.routes.len(), 2);
    assert!(config.asks_credentials());
}

#[test]
fn the_template_explains_every_option() {
    let template = template();
    let lines: Vec<&str> = template.lines().collect();
    let reasons = lines.iter().filter(|line| line.contains("default because: ")).count();
    assert!(reasons > 45, "{reasons}");
    for line in &lines {
        assert!(!line.ends_with("default because: "), "{line}");
    }
}

#[test]
fn all_problems_come_at_once_with_line_and_key() {
    let text = "\
lisen = \"127.0.0.1:1\"
[cadence]
min_ms = \"fast\"
budget_per_second = -1
[classes.normal]
detect_within_ms = 20000
[classes.fast]
fail_grace_ms = 100
suspect_grace_ms = 200
[limits]
agent_burst = 0
zzz = 1
";
    assert_eq!(
        problems(text),
        [
            "pulsegate.toml:1: lisen: unknown option; did you mean listen?",
            "pulsegate.toml:3: cadence.min_ms: must be a whole number, not a text",
            "pulsegate.toml:4: cadence.budget_per_second: must be 1 to 10000000 heartbeats \
             a second",
            "pulsegate.toml:6: classes.normal.detect_within_ms: must be larger than \
             suspect_grace_ms and cadence.min_ms together, 21000",
            "pulsegate.toml:8: classes.fast.fail_grace_ms: must be larger than \
             suspect_grace_ms, 200",
            "pulsegate.toml:11: limits.agent_burst: must be 1 to 10000 heartbeats",
            "pulsegate.toml:12: limits.zzz: unknown option; known here: \
             agent_rate_per_second, agent_burst, unknown_rate_per_second, unknown_burst, \
             max_agents, connections, in_flight, header_timeout_ms, body_timeout_ms, \
             idle_timeout_ms, shutdown_ms",
        ]
    );
}

#[test]
fn broken_toml_is_a_problem_with_its_line_and_nothing_else_is_guessed() {
    let found = problems("listen = \"127.0.0.1:1\"\n[cadence\nmin_ms = 5\n");
    assert!(found[0].starts_with("pulsegate.toml:2: "), "{found:?}");
    let found = problems("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert!(found[0].starts_with("pulsegate.toml:2: "), "{found:?}");
}

#[test]
fn a_file_that_is_not_there_is_a_problem_that_names_it() {
    let error = Config::load(Some(Path::new("/nowhere/pulsegate.toml")), &Overrides::default());
    let error = error.expect_err("it is not there");
    assert!(error.to_string().starts_with("/nowhere/pulsegate.toml: cannot be read"), "{error}");
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let overrides = Overrides::from_environment([
        variable("PULSEGATE_CADENCE_MIN_MS", "2000"),
        variable("PULSEGATE_LISTEN", "127.0.0.1:2"),
        variable("PULSEGATE_DIRECTIVES_RETRY_MS", "500, 1000"),
        variable("PULSEGATE_CLASSES_NORMAL_INTERVAL_MS", "40000"),
        variable("HOME", "/"),
    ])
    .flag("--listen", "listen", "127.0.0.1:3");
    let text = "listen = \"127.0.0.1:1\"\n[cadence]\nmin_ms = 3000\nmax_ms = 200000\n";
    let config = Config::parse("pulsegate.toml", text, Path::new("."), &overrides);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!((config.cadence.min_ms, config.cadence.max_ms), (2_000, 200_000));
    assert_eq!(config.directives.retry_ms, [500, 1_000]);
    assert_eq!(config.classes[config.classes.normal()].interval_ms, 40_000);
}

#[test]
fn a_problem_names_the_flag_or_variable_that_it_stands_in() {
    let variables = [(OsString::from("PULSEGATE_LOG_LEVEL"), OsString::from("loud"))];
    let overrides = Overrides::from_environment(variables).flag("--listen", "listen", "localhost");
    let error = Config::load(None, &overrides).expect_err("both are wrong");
    assert_eq!(
        error.to_string(),
        "--listen: listen: must be an IP address and a port, such as 127.0.0.1:8420\n\
         PULSEGATE_LOG_LEVEL: log.level: must be one of error, warn, info, debug, trace"
    );
}

#[test]
fn an_agents_address_outside_loopback_needs_tls_and_credentials_or_the_word_insecure() {
    assert_eq!(
        problems("listen = \"0.0.0.0:8420\"\n"),
        [
            "pulsegate.toml:1: listen: is not on loopback: set tls, or insecure = true",
            "pulsegate.toml:1: listen: is not on loopback: set credentials, or insecure = true",
        ]
    );
    assert!(parse("listen = \"0.0.0.0:8420\"\ninsecure = true\n").is_ok());
    assert_eq!(
        problems("admin_listen = \"0.0.0.0:8421\"\n"),
        ["pulsegate.toml:1: admin_listen: is not on loopback: set admin_token_file"]
    );
    assert_eq!(
        problems("admin_listen = \"127.0.0.1:8420\"\n"),
        ["pulsegate.toml:1: admin_listen: must not be the same address as listen"]
    );
}

#[test]
fn a_certificate_is_a_pair_of_files_or_made_for_development() {
    let development = parse("[tls]\ndevelopment = true\n").expect("it is fine");
    assert_eq!(development.tls, Some(Certificate::Development));
    assert_eq!(
        problems("[tls]\ncert_file = \"a.pem\"\n"),
        ["pulsegate.toml:1: tls: key_file is needed as well"]
    );
    let both = problems("[tls]\ncert_file = \"a.pem\"\ndevelopment = true\n");
    assert!(both[0].starts_with("pulsegate.toml:3: tls.development: "), "{both:?}");
    let missing = problems("[tls]\ncert_file = \"/nowhere/a\"\nkey_file = \"/nowhere/b\"\n");
    assert!(missing[0].starts_with("pulsegate.toml:2: tls.cert_file: /nowhere/a cannot be read"));
}

#[test]
fn credentials_speak_for_their_tenant_and_are_never_shown() {
    let token = "correct-horse-battery";
    let file = std::env::temp_dir().join(format!("pulsegate-token-{}", std::process::id()));
    std::fs::write(&file, format!("{token}\n")).expect("a file");
    let text = format!(
        "admin_token_file = {file:?}\n[[credentials]]\ntenant = \"acme\"\ntoken_file = {file:?}\n\
         [[credentials]]\ntoken_sha256 = \"{}\"\n",
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let config = parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    std::fs::remove_file(&file).expect("it was there");
    let acme = config.tenants.find("acme").expect("it is known");
    assert_eq!(config.credentials.tenant(token.as_bytes()), Some(acme));
    assert_eq!(config.credentials.tenant(b"abc"), Some(TenantId(0)));
    assert_eq!(config.credentials.tenant(b"abd"), None);
    assert!(config.admin_token.expect("it is set").fits(token.as_bytes()));
    assert!(!shown(&config).contains(token));
}

#[test]
fn bad_credentials_are_refused() {
    let found = problems(
        "[[credentials]]\ntoken_sha256 = \"abc\"\n[[credentials]]\ntenant = \"a b\"\n\
         [[credentials]]\n",
    );
    assert_eq!(
        found,
        [
            "pulsegate.toml:2: credentials[0].token_sha256: must be 64 hexadecimal digits",
            "pulsegate.toml:4: credentials[1].tenant: must be 1 to 63 of letters, digits and . _ -",
            "pulsegate.toml:5: credentials[2]: needs either token_file or token_sha256",
        ]
    );
}

#[test]
fn classes_change_or_add_and_take_what_they_leave_out_from_normal() {
    let text = "[classes.critical]\ninterval_ms = 5000\n[classes.batch]\nfloor_weight = 8\n";
    let config = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<&str> = config.classes.iter().map(|(_, class)| class.name.as_str()).collect();
    assert_eq!(names, ["critical", "normal", "background", "batch"]);
    let class = |name: &str| &config.classes[config.classes.find(name).expect("it is there")];
    assert_eq!((class("critical").interval_ms, class("critical").floor_weight), (5_000, 0));
    assert_eq!((class("batch").interval_ms, class("batch").floor_weight), (30_000, 8));
}

#[test]
fn the_defaults_are_those_of_the_core() {
    let ours = Config::default().core(1);
    assert_eq!(ours, pulsegate_core::Config::default());
}

#[test]
fn executors_keep_the_order_of_the_file() {
    let text = "\
[recovery.executors.zebra]
kind = \"exec\"
argv = [\"/bin/true\", \"-x\"]
timeout_ms = 5000
env = { A = \"b\" }
[recovery.executors.alpha]
kind = \"command\"
command = \"custom\"
name = \"flush\"
wait_ms = 1500
";
    let config = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    let waits = config.executor_waits();
    assert_eq!(waits, [("zebra".to_owned(), 60_000), ("alpha".to_owned(), 1_500)]);
    let ExecutorKind::Exec(program) = &config.executors[0].kind else { panic!("exec") };
    assert_eq!(
        (program.argv.len(), program.timeout.as_secs(), program.output_bytes),
        (2, 5, 4_096)
    );
    assert_eq!(program.env["A"], "b");
    let custom = ExecutorKind::Command { kind: CommandKind::Custom, name: "flush".to_owned() };
    assert_eq!(config.executors[1].kind, custom);
}

#[test]
fn a_wrong_executor_is_refused_where_it_is_wrong() {
    let text = "\
[recovery.executors.a]
kind = \"shell\"
[recovery.executors.b]
kind = \"exec\"
[recovery.executors.c]
kind = \"exec\"
argv = []
[recovery.executors.d]
kind = \"command\"
command = \"explode\"
[recovery.executors.e]
kind = \"command\"
argv = [\"/bin/true\"]
[recovery.executors.f]
argv = []
";
    let found = problems(text);
    let starts = [
        "pulsegate.toml:2: recovery.executors.a.kind: must be command or exec",
        "pulsegate.toml:3: recovery.executors.b.argv: is needed",
        "pulsegate.toml:7: recovery.executors.c.argv: must begin with a program",
        "pulsegate.toml:10: recovery.executors.d.command: must be one of restart",
        "pulsegate.toml:13: recovery.executors.e.argv: unknown option",
        "pulsegate.toml:14: recovery.executors.f.kind: is needed",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn a_route_names_only_what_is_there() {
    let text = "\
[[routes]]
health = \"nobody\"
[[routes]]
classes = [\"absent\"]
health = \"builtin\"
[[routes]]
tenant = \"absent\"
cadence = \"builtin\"
[[routes]]
labels = { tier = \"x\" }
";
    let found = problems(text);
    let starts = [
        "pulsegate.toml:2: routes[0].health: no policy of this name; known: ",
        "pulsegate.toml:4: routes[1].classes: no class is called absent",
        "pulsegate.toml:7: routes[2].tenant: no credential names this tenant",
        "pulsegate.toml:9: routes[3]: names no policy",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn policies_are_read_from_files_and_each_name_stands_once() {
    let file = std::env::temp_dir().join(format!("pulsegate-policy-{}", std::process::id()));
    std::fs::write(&file, b"component").expect("a file");
    let entry = |name: &str| format!("[[policies]]\nname = \"{name}\"\nfile = {file:?}\n");
    let route = "[[routes]]\nhealth = \"mine\"\n";
    let text = format!("{}settings = {{ limit = 3, on = true }}\n{route}", entry("mine"));
    let config = parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let mine = config.policies.iter().find(|policy| policy.name == "mine").expect("it is named");
    assert_eq!(&*mine.bytes, b"component");
    assert_eq!(mine.settings, serde_json::json!({"limit": 3, "on": true}));
    assert_eq!(mine.pool, Pool::Native);
    let pool = |word: &str| format!("{}pool = {word:?}\n{route}", entry("mine"));
    let config = parse(&pool("interpreted")).unwrap_or_else(|problems| panic!("{problems}"));
    let mine = config.policies.iter().find(|policy| policy.name == "mine").expect("it is named");
    assert_eq!(mine.source().pool, Pool::Interpreted);
    let none = problems(&pool("fast"));
    assert!(none[0].contains("policies[0].pool: must be native or interpreted"), "{none:?}");
    let twice = problems(&format!("{}{}", entry("mine"), entry("mine")));
    assert!(twice[0].contains("policies[1].name: another policy has this name"), "{twice:?}");
    let builtin = problems(&entry("builtin"));
    assert!(builtin[0].contains("policies[0].name: builtin is the name"), "{builtin:?}");
    std::fs::remove_file(&file).expect("it was there");
    let gone = problems(&text);
    assert!(gone[0].contains("policies[0].file: "), "{gone:?}");
}

#[test]
fn a_reload_takes_what_changes_live_and_names_the_rest() {
    let old = parse(
        "[[credentials]]\ntenant = \"b\"\ntoken_sha256 = \"00\"\n"
            .replace("\"00\"", &format!("\"{}\"", "0".repeat(64)))
            .as_str(),
    );
    let old = old.unwrap_or_else(|problems| panic!("{problems}"));
    let text = format!(
        "listen = \"127.0.0.1:9\"\n[cadence]\nmin_ms = 2000\n[limits]\nmax_agents = 5\n\
         [classes.normal]\ninterval_ms = 25000\n\
         [[credentials]]\ntenant = \"a\"\ntoken_sha256 = \"{}\"\n\
         [[routes]]\ntenant = \"a\"\nhealth = \"builtin\"\n",
        "1".repeat(64)
    );
    let new = parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let Reload { config, kept } = old.reload(&new);
    assert_eq!(kept, ["listen", "limits.max_agents"]);
    assert_eq!(config.server.listen.port(), 8420);
    assert_eq!(config.cadence.min_ms, 2_000);
    assert_eq!(config.classes[config.classes.normal()].interval_ms, 25_000);
    // A tenant keeps its number for as long as the process lives.
    assert_eq!(config.tenants.names(), ["default", "b", "a"]);
    assert_eq!(config.routes[0].agents.tenant, Some(TenantId(2)));
}

#[test]
fn a_reload_that_adds_a_class_keeps_the_old_ones() {
    let old = Config::default();
    let new = parse("[classes.batch]\n[classes.normal]\ninterval_ms = 20000\n").expect("fine");
    let Reload { config, kept } = old.reload(&new);
    assert_eq!(kept, ["classes (added, removed or in another order)"]);
    assert_eq!(shown(&config), shown(&old));
}

#[test]
fn relative_paths_begin_at_the_directory_of_the_file() {
    let directory = std::env::temp_dir().join(format!("pulsegate-conf-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("token"), "a-token-that-is-long").expect("a file");
    let file: PathBuf = directory.join("pulsegate.toml");
    std::fs::write(&file, "admin_token_file = \"token\"\n").expect("a file");
    let config = Config::load(Some(&file), &Overrides::default());
    std::fs::remove_dir_all(&directory).expect("it was there");
    assert!(config.unwrap_or_else(|problems| panic!("{problems}")).admin_token.is_some());
}

#[test]
fn a_file_that_does_not_end_is_refused() {
    let text =
        "admin_token_file = \"/dev/zero\"\n[[policies]]\nname = \"a\"\nfile = \"/dev/zero\"\n";
    assert_eq!(
        problems(text),
        [
            "pulsegate.toml:1: admin_token_file: /dev/zero must hold a token of 16 to 4096 bytes",
            "pulsegate.toml:4: policies[0].file: is larger than 67108864 bytes, and no more are \
             taken",
        ]
    );
}

#[test]
fn what_is_nested_too_deeply_is_no_toml() {
    let key = format!("a{} = 1", ".a".repeat(500));
    assert_eq!(problems(&key), ["pulsegate.toml: no TOML: recursion limit"]);
    let list = format!("a = {}{}", "[".repeat(500), "]".repeat(500));
    let found = problems(&list);
    assert!(found[0].starts_with("pulsegate.toml:1: cannot recurse further"), "{found:?}");
}
