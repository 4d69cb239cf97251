//! One suite for every transport: the same cases, sent by a driver for each.
//!
//! A case is a short story of one client and one gateway. It asserts what must be so, and what it
//! was answered and what the gateway counted meanwhile is written down. The stories of all
//! transports are then compared: they must be the same, word for word, but for what
//! [`differences::TABLE`] names.
//!
//! A new transport needs a driver, a line in [`drivers::TRANSPORTS`], and a row in the table for
//! each thing that it cannot do alike.

mod cases;
mod client;
mod cross;
mod differences;
mod drivers;
mod scrape;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pulsegate_gateway::server::Gateway;
use serde_json::Value;

use cases::Case;
use drivers::{TRANSPORTS, Transport};
use scrape::Counters;
use world::{Setting, World};

/// What one transport did with one case: what was answered, and what was counted.
type Story = (Vec<Value>, Counters);

/// What one transport did with all cases, and what went wrong.
#[derive(Default)]
struct Book {
    stories: BTreeMap<&'static str, Story>,
    failures: Vec<String>,
}

#[test]
fn every_transport_behaves_alike() {
    let books: Vec<Book> = std::thread::scope(|scope| {
        let tellers: Vec<_> = TRANSPORTS
            .iter()
            .map(|transport| {
                let name = transport.name.to_owned();
                let teller = std::thread::Builder::new().name(name);
                teller.spawn_scoped(scope, || tell(transport)).expect("a thread")
            })
            .collect();
        tellers.into_iter().map(|teller| teller.join().expect("panics are caught")).collect()
    });
    let mut failures: Vec<String> = Vec::new();
    for (transport, book) in TRANSPORTS.iter().zip(&books) {
        failures.extend(book.failures.iter().cloned());
        failures.extend(compare(transport, book, &books[0]));
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// Goes through all cases with one transport.
fn tell(transport: &'static Transport) -> Book {
    let mut book = Book::default();
    for setting in Setting::ALL {
        let gateway = setting.gateway(transport.is_tls);
        for case in cases::all().filter(|case| case.setting == *setting) {
            if case.without.is_some_and(|needed| transport.differs(needed)) {
                continue;
            }
            match story(transport, &gateway, case) {
                Ok(story) => {
                    book.stories.insert(case.name, story);
                }
                Err(why) => book.failures.push(format!("{}, {}: {why}", transport.name, case.name)),
            }
        }
    }
    book
}

fn story(transport: &'static Transport, gateway: &Gateway, case: Case) -> Result<Story, String> {
    let before = Counters::of(gateway, transport.label);
    let mut world = World::new(gateway, transport, case.name);
    let run = catch_unwind(AssertUnwindSafe(|| {
        (case.run)(&mut world);
        world.end()
    }));
    let (transcript, left_out) = run.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
    })?;
    let counted = Counters::of(gateway, transport.label).since(&before).without(&left_out);
    Ok((transcript, counted))
}

/// What a transport did otherwise than the first one.
fn compare(transport: &Transport, book: &Book, first: &Book) -> Vec<String> {
    let reference = TRANSPORTS[0].name;
    let mut failures = Vec::new();
    for (case, (answers, counted)) in &book.stories {
        let Some((their_answers, their_counted)) = first.stories.get(case) else { continue };
        let at = format!("{}, {case}", transport.name);
        if answers.len() != their_answers.len() {
            let (ours, theirs) = (answers.len(), their_answers.len());
            failures.push(format!("{at}: {ours} answers, over {reference} {theirs}"));
        }
        for (place, (ours, theirs)) in answers.iter().zip(their_answers).enumerate() {
            if ours != theirs {
                failures.push(format!("{at}, answer {place}:\n  {ours}\n{reference}:\n  {theirs}"));
            }
        }
        if counted != their_counted {
            failures.push(format!("{at} counts\n  {counted}\n{reference}:\n  {their_counted}"));
        }
    }
    failures
}

#[test]
fn every_case_is_told_by_the_first_transport_and_every_row_is_of_some_transport_but_not_of_all() {
    let names: std::collections::BTreeSet<_> = cases::all().map(|case| case.name).collect();
    assert_eq!(names.len(), cases::all().count(), "two cases of one name");
    for case in cases::all() {
        let is_told = case.without.is_none_or(|needed| !TRANSPORTS[0].differs(needed));
        assert!(is_told, "nobody is compared with the first transport in {}", case.name);
    }
    for row in differences::TABLE {
        let holds = TRANSPORTS.iter().filter(|transport| transport.differs(row.what)).count();
        assert!((1..TRANSPORTS.len()).contains(&holds), "{:?}", row.what);
        assert!(!row.why.is_empty());
    }
}
