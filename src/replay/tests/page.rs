//! The page and the document.

use pulsegate_core::Signals;
use serde_json::Value;

use super::support::{candidate, made, replay};
use crate::{Options, Report};

fn report() -> Report {
    let records = made(30, 40, 30_000, |agent, sequence, record| {
        let seen = record.observed.as_mut().expect("it was made with one");
        seen.signals |= Signals::HAS_QUEUE_DEPTH.0;
        seen.queue_depth = ((sequence * 37 + agent * 11) % 1_500) as f64;
        record.reason = "<script>alert('x')</script> & co".to_owned();
    });
    replay(candidate("queue-pressure", Value::Null), Options::default(), &records, &[])
}

#[test]
fn the_page_is_whole_and_loads_nothing_and_runs_nothing() {
    let page = crate::page(&report(), &|ms| format!("{ms} ms"));
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg").count(), 3, "no silence, no plot of silences");
    for part in ["<h2>Exact</h2>", "<h2>Estimated</h2>", "lower bound", "1790000001000 ms"] {
        assert!(page.contains(part), "{part}");
    }
    for foreign in ["<script", "src=", "href=", "url(", "@import", "<link", "<iframe"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"));
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "what agents say is text");
    for (open, close) in [("<section", "</section>"), ("<table", "</table>"), ("<dl", "</dl>")] {
        assert_eq!(page.matches(open).count(), page.matches(close).count(), "{open}");
    }
}

#[test]
fn the_document_has_the_fields_that_the_manual_names() {
    let document = serde_json::to_value(report()).expect("JSON");
    for path in [
        "/version",
        "/policies/candidate",
        "/policies/enforced/0/0",
        "/scope/heartbeats",
        "/scope/unexplained",
        "/exact/differing",
        "/exact/interval/seconds/p90",
        "/exact/candidate/turns_per_agent_hour",
        "/exact/faults/count",
        "/exact/examples/0/candidate/interval_ms",
        "/exact/top/0/mean_ratio",
        "/estimate/heartbeats/low",
        "/estimate/detection/shift/middle",
        "/estimate/false_suspicions/gone/high",
        "/estimate/timeline/step_ms",
    ] {
        assert!(document.pointer(path).is_some(), "{path}");
    }
    assert_eq!(document["version"], 1);
}
