//! Each pool has limits of its own, and a policy in the wrong one is told so.

use super::*;

fn load(engine: &Engine, bytes: Vec<u8>, pool: Pool) -> Result<PolicySet, Error> {
    let source = Source { name: "it".into(), bytes, settings: serde_json::Value::Null, pool };
    let route = Route { cadence: Some("it".into()), ..Route::default() };
    PolicySet::load(engine, &Classes::default(), vec![source], vec![route], &executors())
}

fn refused(limits: Limits, bytes: Vec<u8>, pool: Pool) -> Error {
    load(&Engine::new(limits).expect("an engine"), bytes, pool).expect_err("it is refused")
}

const HINT: &str = "needs pool = \"interpreted\"";

#[test]
fn a_guest_that_needs_more_memory_to_start_is_told_of_the_other_pool() {
    let small = Limits { memory_bytes: 64 << 10, ..limits() };
    let error = refused(small.clone(), component("steady"), Pool::Native);
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().ends_with(HINT), "{error}");
    let engine = Engine::new(small.clone()).expect("an engine");
    load(&engine, component("steady"), Pool::Interpreted).expect("there it has enough");

    let mut both = small;
    both.interpreted.memory_bytes = 64 << 10;
    let error = refused(both, component("steady"), Pool::Interpreted);
    assert!(matches!(error, Error::Start { .. }) && !error.to_string().contains("pool"), "{error}");
}

#[test]
fn a_fault_that_no_pool_would_mend_is_not_blamed_on_the_pool() {
    let error = refused(limits(), component("describes-badly"), Pool::Native);
    assert!(!error.to_string().contains("pool"), "{error}");
}

#[test]
fn each_pool_has_a_size_of_its_own() {
    let native = Limits::default().of(Pool::Native).component_bytes;
    let interpreted = Limits::default().interpreted.component_bytes;
    let error = refused(limits(), vec![0; native + 1], Pool::Native);
    let said = error.to_string();
    assert!(matches!(error, Error::TooLarge { most, .. } if most == native), "{said}");
    assert!(said.contains("at most 8388608 in the pool native") && said.ends_with(HINT), "{said}");
    assert_eq!(error.policy(), Some("it"));
    let error = refused(limits(), vec![0; native + 1], Pool::Interpreted);
    assert!(matches!(error, Error::NotAComponent { .. }), "{error}");
    let fits = [native, native + 1].map(|bytes| limits().pool_for(bytes));
    assert_eq!(fits, [Pool::Native, Pool::Interpreted]);
    for pool in Pool::ALL {
        let error = refused(limits(), vec![0; interpreted + 1], pool);
        assert!(matches!(error, Error::TooLarge { hint: "", .. }), "{error}");
    }
}

#[test]
fn an_interpreted_guest_is_stopped_at_the_limits_of_its_own_pool() {
    let mut limits = Limits { call: Duration::from_millis(50), ..limits() };
    limits.interpreted.call = Duration::from_secs(10);
    limits.interpreted.memory_bytes = 4 << 20;
    let engine = Engine::new(limits.clone()).expect("an engine");
    let set = load(&engine, component("eats-memory"), Pool::Interpreted).expect("a set");
    let answer = evaluate(&mut Worker::new(), &set, &with_queue(1.0));
    assert_eq!(answer.calls[1].and_then(|call| call.fault), Some(Fault::Trap));

    limits.call = Duration::from_secs(10);
    limits.interpreted.call = Duration::from_millis(50);
    let engine = Engine::new(limits).expect("an engine");
    let set = load(&engine, component("spins"), Pool::Interpreted).expect("a set");
    let answer = evaluate(&mut Worker::new(), &set, &with_queue(1.0));
    assert_eq!(answer.calls[1].and_then(|call| call.fault), Some(Fault::Timeout));
}

#[test]
fn words_and_pools_are_the_same() {
    for pool in Pool::ALL {
        assert_eq!(Pool::find(pool.as_str()), Some(pool));
    }
    assert_eq!(Pool::find("fast"), None);
}

#[test]
fn what_a_set_still_uses_is_not_compiled_again() {
    let engine = Engine::new(limits()).expect("an engine");
    let compiled = || engine.shared.compiled.count();
    let one = load(&engine, component("steady"), Pool::Native).expect("a set");
    let other = load(&engine, component("steady"), Pool::Interpreted).expect("a set");
    assert_eq!(compiled(), 1);
    let third = load(&engine, component("queue-pressure"), Pool::Native).expect("a set");
    assert_eq!(compiled(), 2);
    drop((one, other));
    assert_eq!(compiled(), 1);
    drop(third);
    assert_eq!(compiled(), 0);
}

#[test]
fn a_module_that_does_not_say_what_it_is_becomes_no_component() {
    let module = wat::parse_str("(module (func (export \"f\")))").expect("text");
    let error = refused(limits(), module.clone(), Pool::Native);
    assert!(matches!(error, Error::NotAComponent { .. }), "{error}");
    assert!(error.to_string().contains("without a component-type section"), "{error}");
    let cut = r#"(module (@custom "component-type:it" "nonsense"))"#;
    let reason = crate::component(&wat::parse_str(cut).expect("text")).map(drop);
    assert!(reason.is_err());
    let is_component = component("steady");
    assert_eq!(&*crate::component(&is_component).expect("as it is"), &is_component[..]);
    assert_eq!(&*crate::component(b"nonsense").expect("as it is"), b"nonsense");
}
