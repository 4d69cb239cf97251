//! What is refused before any agent depends on it, and the sentence that says why.

use super::*;

fn admit(bytes: Vec<u8>) -> Error {
    let source = Source {
        name: "it".into(),
        bytes,
        settings: serde_json::json!({ "always": true }),
        pool: Pool::Native,
    };
    refusal(vec![source], Vec::new())
}

fn refusal(sources: Vec<Source>, routes: Vec<Route>) -> Error {
    let limits = Limits { memory_bytes: 4 << 20, ..limits() };
    let engine = Engine::new(limits).expect("an engine");
    PolicySet::load(&engine, &Classes::default(), sources, routes, &executors())
        .expect_err("it must be refused")
}

/// A component of which every function is `() -> u32`, with these lines more.
fn hand_made(imports: &str, module: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            {imports}
            (core module $module
                {module}
                (func (export "f") (result i32) i32.const 0))
            (core instance $core (instantiate $module))
            (func $f (result u32) (canon lift (core func $core "f")))
            (instance $manifest (export "describe" (func $f)) (export "configure" (func $f)))
            (export "pulsegate:policy/manifest@1.0.0" (instance $manifest))
            (instance $cadence (export "suggest" (func $f)) (export "suggest-rows" (func $f)))
            (export "pulsegate:policy/cadence@1.0.0" (instance $cadence)))"#
    );
    wat::parse_str(text).expect("it is a component")
}

#[test]
fn every_reference_policy_is_admitted_and_small() {
    for (name, bytes) in reference::ALL {
        let engine = Engine::new(limits()).expect("an engine");
        let sources = vec![source(name)];
        PolicySet::load(&engine, &Classes::default(), sources, Vec::new(), &executors())
            .expect("it is admitted");
        assert!(bytes.len() < 96 << 10, "{name}: {} bytes", bytes.len());
    }
}

#[test]
fn bytes_that_are_no_component_are_refused() {
    let module = wat::parse_str("(module)").expect("a module");
    for bytes in [b"nonsense".to_vec(), Vec::new(), module] {
        assert!(matches!(admit(bytes), Error::NotAComponent { .. }));
    }
}

#[test]
fn a_foreign_import_is_refused_by_name() {
    let import = r#"(import "wasi:cli/environment@0.2.0" (instance (export "f" (func))))"#;
    let error = admit(hand_made(import, ""));
    assert!(matches!(&error, Error::ForeignImport { import, .. }
        if import == "wasi:cli/environment@0.2.0"));
    assert_eq!(
        error.to_string(),
        "policy it: imports wasi:cli/environment@0.2.0; a policy may import nothing but \
         pulsegate:policy/log@1.0.0 and interfaces that hold only types"
    );
    let import = r#"(import "wasi:sockets/tcp@0.2.0" (instance
        (export "connect" (func (param "port" u16)))))"#;
    assert!(matches!(admit(hand_made(import, "")), Error::ForeignImport { .. }));
    let import = r#"(import "now" (func (result u64)))"#;
    assert!(matches!(admit(hand_made(import, "")), Error::ForeignImport { .. }));
}

#[test]
fn an_import_of_nothing_but_types_is_fine() {
    let import = r#"(import "a:b/c" (instance (type $t u32) (export "t" (type (eq $t)))))"#;
    assert!(matches!(admit(hand_made(import, "")), Error::WrongType { .. }));
}

#[test]
fn a_component_that_exports_nothing_is_refused() {
    let error = admit(component("exports-nothing"));
    assert!(matches!(error, Error::MissingExport { export: "manifest.describe", .. }));
}

#[test]
fn a_policy_that_answers_nothing_is_refused() {
    let text = r#"(component
        (core module $module (func (export "f")))
        (core instance $core (instantiate $module))
        (func $f (canon lift (core func $core "f")))
        (instance $manifest (export "describe" (func $f)) (export "configure" (func $f)))
        (export "pulsegate:policy/manifest@1.0.0" (instance $manifest)))"#;
    let error = admit(wat::parse_str(text).expect("a component"));
    let Error::MissingExport { export, .. } = error else { panic!("{error}") };
    assert_eq!(export, "any of health, cadence and recovery");
}

#[test]
fn a_function_of_another_type_is_refused_by_name() {
    let error = admit(hand_made("", ""));
    assert!(matches!(error, Error::WrongType { item: "manifest.configure", .. }), "{error}");
    let import = r#"(import "pulsegate:policy/log@1.0.0"
        (instance (export "write" (func (param "level" u32)))))"#;
    let error = admit(hand_made(import, ""));
    assert!(matches!(error, Error::WrongType { item: "the import log", .. }), "{error}");
}

#[test]
fn a_policy_that_does_not_start_is_refused() {
    for module in [
        "(func $start unreachable) (start $start)",
        "(func $start (loop $again br $again)) (start $start)",
        "(memory 1000)",
    ] {
        let error = admit(hand_made("", module));
        assert!(matches!(error, Error::Start { .. }), "{module}: {error}");
    }
}

#[test]
fn settings_that_a_policy_does_not_know_are_refused() {
    let error = admit(component("steady"));
    let Error::Settings { class, .. } = &error else { panic!("{error}") };
    assert_eq!(class, "critical");
}

#[test]
fn a_description_against_the_rules_is_refused() {
    let error = admit(component("describes-badly"));
    assert!(matches!(error, Error::Description { .. }), "{error}");
    assert_eq!(error.policy(), Some("it"));
}

/// So many types, each made of the one before.
fn grown_types(n: u32, from_one: impl Fn(u32) -> String) -> String {
    let grown = (0..n).map(|at| format!("(type $t{} {})", at + 1, from_one(at)));
    grown.fold("(type $t0 (tuple u8 u8))".to_owned(), |types, next| types + &next)
}

#[test]
fn types_without_an_end_are_refused_and_cost_nothing() {
    let doubled = |n| grown_types(n, |at| format!("(tuple $t{at} $t{at})"));
    let nested = |n| grown_types(n, |at| format!("(list $t{at})"));
    for (types, is_fine) in [
        ("(type $t (list $t))".to_owned(), false),
        (doubled(4), true),
        (doubled(40), false),
        (doubled(400), false),
        (nested(4), true),
        (nested(2_000), false),
    ] {
        let error = admit(hand_made(&types, ""));
        let refused = matches!(error, Error::NotAComponent { .. });
        assert_eq!(refused, !is_fine, "{error}");
    }
}

#[test]
fn a_description_without_an_end_is_refused_before_it_is_copied() {
    let engine = Engine::new(Limits { memory_bytes: 64 << 20, ..limits() }).expect("an engine");
    let sources = vec![source("describes-hugely")];
    let refused = PolicySet::load(&engine, &Classes::default(), sources, Vec::new(), &executors());
    let error = refused.expect_err("it must be refused");
    assert!(matches!(error, Error::Start { .. }), "{error}");
}

#[test]
fn a_policy_that_fails_on_an_ordinary_observation_is_refused() {
    let cases = [
        ("traps", "cadence.suggest"),
        ("spins", "cadence.suggest"),
        ("returns-unknown-reason", "cadence.suggest"),
        ("returns-short-rows", "cadence.suggest-rows"),
        ("returns-oversized-rows", "cadence.suggest-rows"),
        ("returns-many-rungs", "recovery.propose"),
    ];
    for (name, wanted) in cases {
        let error = admit(component(name));
        let Error::Canary { function, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(function, wanted);
    }
}

#[test]
fn a_name_that_is_taken_or_none_is_refused() {
    for names in [vec!["builtin"], vec!["a b"], vec![""], vec!["it", "it"]] {
        let sources =
            names.into_iter().map(|name| Source { name: name.into(), ..source("ladder") });
        assert!(matches!(refusal(sources.collect(), Vec::new()), Error::Name { .. }));
    }
}

#[test]
fn routes_that_lead_nowhere_are_refused() {
    let sources = || vec![source("ladder")];
    let name = || Some("ladder".to_owned());
    let unknown = Route { health: Some("steady".into()), ..Route::default() };
    let error = refusal(sources(), vec![Route::default(), unknown]);
    assert!(matches!(error, Error::UnknownPolicy { route: 2, .. }));
    let error = refusal(sources(), vec![Route { cadence: name(), ..Route::default() }]);
    assert!(matches!(error, Error::WrongQuestion { question: "cadence", .. }));
    let agents = Match { classes: vec!["gold".into()], ..Match::default() };
    let error = refusal(sources(), vec![Route { agents, ..Route::default() }]);
    assert!(matches!(error, Error::UnknownClass { route: 1, .. }));
}

#[test]
fn more_than_a_set_may_hold_is_refused() {
    let error = refusal(Vec::new(), vec![Route::default(); 257]);
    assert!(matches!(error, Error::TooMany { what: "routes", count: 257, most: 256 }));
}
