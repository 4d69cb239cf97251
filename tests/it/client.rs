//! The library that agents link, against a gateway in a process of its own.

use std::time::Duration;

use pulsegate_client::{Agent, Status};

use crate::process::{Serving, eventually};

fn agent(url: &str, id: &str) -> Agent {
    let builder = Agent::builder(url, id).class("critical").label("region", "eu");
    // Half a second: a restarted gateway is found again without a long wait.
    builder.attempt_timeout(Duration::from_millis(500)).start().expect("it starts")
}

#[test]
fn a_program_without_a_runtime_beats_and_is_known() {
    let gateway = Serving::start("127.0.0.1:0");
    let agent = agent(&gateway.url, "plain");
    let directive = eventually("a directive comes", || agent.directive());
    assert_eq!(directive.number, 1);
    let listed = gateway.agent("plain").expect("it is listed");
    assert_eq!(listed["class"], "critical");
    assert_eq!(listed["labels"]["region"], "eu");
    assert_eq!(agent.counts().answered, 1);
}

#[test]
fn a_graceful_stop_tells_the_gateway() {
    let gateway = Serving::start("127.0.0.1:0");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let agent = agent(&gateway.url, "leaver");
        agent.status(Status::Busy);
        let mut directives = agent.directives();
        directives.wait_for(Option::is_some).await.expect("a directive comes");
        agent.stop().await;
    });
    let listed = gateway.agent("leaver").expect("it is listed");
    assert_eq!(listed["status"], "stopping");
    assert_eq!(listed["sequence"], 2);
}

#[test]
fn a_gateway_that_comes_later_or_comes_back_is_found_and_told_everything() {
    let address = Serving::start("127.0.0.1:0").address();
    let agent = agent(&format!("http://{address}"), "patient");
    eventually("somebody is missed", || (agent.counts().unanswered > 0).then_some(()));
    for _ in 0..2 {
        let answered = agent.counts().answered;
        let gateway = Serving::start(&address);
        eventually("it is answered", || (agent.counts().answered > answered).then_some(()));
        let listed = gateway.agent("patient").expect("it is listed");
        assert_eq!(listed["class"], "critical", "who knows nothing of it is told again");
    }
}
