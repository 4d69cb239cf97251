//! What every refusal must be.

use pulsegate_wire::Problem;

/// Longest text of a problem, in bytes. Source: chosen, some above what the gateway itself cuts
/// at: a refusal never gives back a body.
const TEXT_BYTES: usize = 400;

/// A problem has a code of the table with its status, and short texts that cannot forge a line of
/// a log.
pub(crate) fn assert_clear(problem: &Problem) {
    let code = problem.code().expect("a problem has a code of the table");
    assert_eq!(problem.status, u32::from(code.status()));
    assert_eq!(problem.kind, format!("urn:pulsegate:problem:{}", code.as_str()));
    assert!(!problem.detail.is_empty(), "{problem:?}");
    for text in [Some(&problem.detail), problem.field.as_ref()].into_iter().flatten() {
        assert!(text.len() <= TEXT_BYTES, "{} bytes in {problem:?}", text.len());
        assert!(!text.chars().any(char::is_control), "{problem:?}");
    }
}
