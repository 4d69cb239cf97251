//! Dead letters: what could not be handled is kept with its bytes, and can be taken after all.

use std::net::SocketAddr;

use prost::Message as _;
use pulsegate_core::TenantId;
use pulsegate_gateway::server::Gateway;
use pulsegate_wire::{AckOutcome, Command, CommandAck, CommandKind, Heartbeat, Outcome};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Scratch, Serving, eventually, pulsegate};
use crate::quic_client::{
    Stream, TLS, beat, connect, datagram, directive, heartbeat_frame, problem, run,
};
use crate::support::{Client, start};

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

/// The letters, with their bodies.
fn letters(client: &mut Client) -> Vec<Value> {
    let page = client.get("/v1/dead-letters").json();
    let listed = page["dead_letters"].as_array().expect("letters").clone();
    let whole = |letter: &Value| client.get(&format!("/v1/dead-letters/{}", letter["id"])).json();
    listed.iter().map(whole).collect()
}

fn of_schema_2(agent_id: &str) -> Heartbeat {
    Heartbeat { schema: 2, agent_id: agent_id.to_owned(), ..Heartbeat::default() }
}

/// Bytes in base64, as others would say them.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, place| {
            bits << 8 | u32::from(three.get(place).copied().unwrap_or_default())
        });
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[test]
fn a_heartbeat_of_an_unknown_schema_is_kept_as_it_came() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    // What another schema says may not even fit the types of this one.
    let json = r#"{"schema":2,"agent_id":"a","status":{"word":"fine"}}"#;
    let answer = client.beat(json);
    assert_eq!((answer.status, answer.problem().as_str()), (422, "schema_unsupported"));
    let protobuf = of_schema_2("b").encode_to_vec();
    let answer = client.request("POST", "/v1/heartbeats", PROTOBUF, &protobuf);
    assert_eq!((answer.status, answer.problem().as_str()), (422, "schema_unsupported"));
    let batch =
        r#"{"heartbeats":[{"agent_id":"fine"},{"schema": 9,"agent_id":"c"},{"agent_id":"/"}]}"#;
    let answer = client.request("POST", "/v1/heartbeats/batch", "", batch.as_bytes());
    assert_eq!(answer.json()["results"][1]["problem"]["code"], "schema_unsupported");
    let batch = pulsegate_wire::Batch {
        heartbeats: vec![beat("fine", 1), of_schema_2("d"), beat("fine", 2)],
    };
    let answer = client.request("POST", "/v1/heartbeats/batch", PROTOBUF, &batch.encode_to_vec());
    assert_eq!(answer.status, 200);
    let kept = letters(&mut client);
    let told: Vec<[&str; 4]> = kept
        .iter()
        .map(|letter| {
            ["agent_id", "reason", "transport", "media_type"]
                .map(|field| letter[field].as_str().expect("a text"))
        })
        .collect();
    let (json_type, protobuf_type) = ("application/json", "application/x-protobuf");
    let reason = "schema_unsupported";
    assert_eq!(
        told,
        [
            ["a", reason, "http1", json_type],
            ["b", reason, "http1", protobuf_type],
            ["c", reason, "http1", json_type],
            ["d", reason, "http1", protobuf_type],
        ]
    );
    assert_eq!(kept[0]["body"], json);
    assert_eq!(kept[2]["body"], r#"{"schema": 9,"agent_id":"c"}"#);
    for (place, id) in [(1, "b"), (3, "d")] {
        let bytes = of_schema_2(id).encode_to_vec();
        let shown = kept[place]["body"].as_str().map(str::as_bytes).map_or_else(
            || kept[place]["body_base64"].as_str().expect("a body").to_owned(),
            base64,
        );
        assert_eq!(shown, base64(&bytes));
        assert_eq!(kept[place]["bytes"], bytes.len());
    }
    let metrics = String::from_utf8(client.get("/metrics").body).expect("text");
    assert!(metrics.contains("\npulsegate_dead_letters 4\n"));
    assert!(metrics.contains("\npulsegate_dead_letters_total{result=\"kept\"} 4\n"));
}

#[test]
fn the_compact_protocol_keeps_what_the_others_keep() {
    let gateway = start(&format!("admin_listen = \"127.0.0.1:0\"\n{TLS}"));
    run(async {
        let (_endpoint, connection) = connect(&gateway).await;
        let mut stream = Stream::open(&connection).await;
        let refused = problem(stream.beat(of_schema_2("a")).await);
        assert_eq!(refused.code, "schema_unsupported");
        let frame = heartbeat_frame(of_schema_2("b")).encode_to_vec();
        connection.send_datagram(frame.into()).unwrap();
        datagram(&connection).await;
        // Overtaken, and with something to tell.
        assert_eq!(directive(stream.beat(beat("c", 2)).await).outcome(), Outcome::Accepted);
        let late = Heartbeat { endpoint: Some("x:1".into()), ..beat("c", 1) };
        assert_eq!(directive(stream.beat(late.clone()).await).outcome(), Outcome::Stale);
        let mut client = admin(&gateway);
        let kept = letters(&mut client);
        let told: Vec<[&str; 3]> = kept
            .iter()
            .map(|letter| {
                ["agent_id", "reason", "transport"]
                    .map(|field| letter[field].as_str().expect("a text"))
            })
            .collect();
        assert_eq!(
            told,
            [
                ["a", "schema_unsupported", "quic_stream"],
                ["b", "schema_unsupported", "quic_datagram"],
                ["c", "reordered", "quic_stream"],
            ]
        );
        assert_eq!(kept[2]["bytes"], late.encoded_len());
    });
}

fn admin(gateway: &Gateway) -> Client {
    let address: SocketAddr = gateway.addresses().admin.expect("an address for operators");
    Client::connect(address)
}

#[test]
fn what_tells_nothing_new_or_cannot_be_read_is_not_kept() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let labelled = |sequence: u64, region: &str| {
        json!({"agent_id": "a", "incarnation": 1, "sequence": sequence,
               "labels": {"region": region}})
        .to_string()
    };
    assert_eq!(client.beat(&labelled(3, "eu")).json()["outcome"], "accepted");
    // A duplicate; one that was overtaken and tells what is known; one that tells nothing.
    assert_eq!(client.beat(&labelled(3, "us")).json()["outcome"], "duplicate");
    assert_eq!(client.beat(&labelled(2, "eu")).json()["outcome"], "stale");
    let plain = r#"{"agent_id":"a","incarnation":1,"sequence":1,"metrics":{"queue_depth":9},
                    "command_acks":[{"id":"nobody-waits-for-it","outcome":"done"}]}"#;
    assert_eq!(client.beat(plain).json()["outcome"], "stale");
    for (body, code) in [
        ("{", "malformed"),
        (r#"{"schema":"two"}"#, "field_invalid"),
        (r#"{"agent_id":"/"}"#, "field_invalid"),
    ] {
        assert_eq!(client.beat(body).problem(), code);
    }
    assert_eq!(letters(&mut client), Vec::<Value>::new());
}

const CREDENTIALS: &str = r#"
[[credentials]]
tenant = "red"
token_sha256 = "429d447dc447f8b8a2363b30a02d0fb72af0284a5723460b086eb4c7d515e48f"
"#;

#[test]
fn only_what_came_with_a_credential_is_kept_and_under_its_tenant() {
    let gateway = start(CREDENTIALS);
    let mut client = Client::to(&gateway);
    let body = br#"{"schema":2,"agent_id":"a"}"#;
    assert_eq!(client.request("POST", "/v1/heartbeats", "", body).status, 401);
    assert_eq!(letters(&mut client).len(), 0);
    let header = "authorization: Bearer token-of-the-red-tenant\r\n";
    assert_eq!(client.request("POST", "/v1/heartbeats", header, body).status, 422);
    assert_eq!(letters(&mut client)[0]["tenant"], "red");
    let none = client.get("/v1/dead-letters?tenant=default").json();
    assert_eq!(none["dead_letters"], json!([]));
}

/// An agent whose second heartbeat came before its first, which told of labels and of a command.
fn overtaken(gateway: &Gateway, client: &mut Client) {
    let beat = |sequence: u64| json!({"agent_id": "a", "incarnation": 1, "sequence": sequence});
    assert_eq!(client.beat(&beat(2).to_string()).json()["outcome"], "accepted");
    let command =
        Command { id: "c1".to_owned(), kind: CommandKind::Drain as i32, ..Command::default() };
    assert_eq!(gateway.shards().command(TenantId(0), "a", command), Ok(true));
    let mut late = beat(1);
    late["labels"] = json!({"region": "eu"});
    late["class"] = json!("critical");
    late["command_acks"] = json!([{"id": "c1", "outcome": "done"}]);
    assert_eq!(client.beat(&late.to_string()).json()["outcome"], "stale");
}

#[test]
fn a_replayed_heartbeat_tells_what_it_told_and_is_no_sign_of_life() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    overtaken(&gateway, &mut client);
    assert_eq!(letters(&mut client)[0]["reason"], "reordered");
    let silent_ms = |agent: &Value| agent["silent_ms"].as_u64().expect("it was heard");
    let before = eventually("the agent is silent for a while", || {
        let agent = client.get("/v1/agents/a").json();
        (silent_ms(&agent) >= 100).then_some(agent)
    });
    assert_eq!(before["labels"], Value::Null);
    let replayed = client.request("POST", "/v1/dead-letters/1/replay", "", b"");
    assert_eq!(replayed.status, 200);
    assert_eq!(replayed.json(), json!({"id": 1, "agent_id": "a", "changed": true}));
    let mut after = client.get("/v1/agents/a").json();
    assert!(silent_ms(&after) >= silent_ms(&before), "the silence goes on");
    // All else is as it was: sequence, class, interval, what is in force.
    assert_eq!(after["labels"], json!({"region": "eu"}));
    after["labels"] = before["labels"].clone();
    after["silent_ms"] = before["silent_ms"].clone();
    let fields = after.as_object_mut().expect("an agent");
    fields.retain(|_, value| !value.is_null());
    assert_eq!(after, before);
    assert!(gateway.shards().commands(TenantId(0), "a").is_empty(), "the command was carried out");
    // Twice changes nothing.
    let again = client.request("POST", "/v1/dead-letters/1/replay", "", b"");
    assert_eq!((again.status, again.problem().as_str()), (410, "gone"));
    assert_eq!(letters(&mut client), Vec::<Value>::new());
}

#[test]
fn what_cannot_be_replayed_stays_and_says_why() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let replay = |client: &mut Client, id: u64| {
        let answer = client.request("POST", &format!("/v1/dead-letters/{id}/replay"), "", b"");
        (answer.status, answer.problem())
    };
    client.beat(r#"{"schema":2,"agent_id":"b"}"#);
    assert_eq!(replay(&mut client, 1), (422, "schema_unsupported".to_owned()));
    overtaken(&gateway, &mut client);
    let newer = r#"{"agent_id":"a","incarnation":2,"sequence":1}"#;
    assert_eq!(client.beat(newer).status, 200);
    assert_eq!(replay(&mut client, 2), (409, "incarnation_stale".to_owned()));
    assert_eq!(client.request("DELETE", "/v1/agents/a", "", b"").status, 204);
    assert_eq!(replay(&mut client, 2).0, 409);
    assert_eq!(replay(&mut client, 3), (410, "gone".to_owned()));
    assert_eq!(replay(&mut client, 0), (410, "gone".to_owned()));
    assert_eq!(letters(&mut client).len(), 2, "they stay");
    let answer = client.request("POST", "/v1/dead-letters/x/replay", "", b"");
    assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"));
    let answer = client.get("/v1/dead-letters/3");
    assert_eq!((answer.status, answer.problem().as_str()), (410, "gone"));
}

#[test]
fn letters_are_listed_page_by_page_and_removed_as_asked() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    for number in 1..=130 {
        let body = format!(r#"{{"schema":2,"agent_id":"a{number}"}}"#);
        assert_eq!(client.beat(&body).status, 422);
    }
    let ids = |page: &Value| -> Vec<u64> {
        let letters = page["dead_letters"].as_array().expect("letters");
        letters.iter().map(|letter| letter["id"].as_u64().expect("a number")).collect()
    };
    let (mut all, mut query) = (Vec::new(), "?limit=50".to_owned());
    loop {
        let page = client.get(&format!("/v1/dead-letters{query}")).json();
        assert!(page["dead_letters"][0].get("body").is_none(), "listings have no bodies");
        all.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=50&cursor={next}");
    }
    assert_eq!(all, (1..=130).collect::<Vec<u64>>());
    let none = client.get("/v1/dead-letters?reason=reordered").json();
    assert_eq!(ids(&none), Vec::<u64>::new());
    assert_eq!(client.request("DELETE", "/v1/dead-letters/5", "", b"").status, 204);
    assert_eq!(client.request("DELETE", "/v1/dead-letters/5", "", b"").status, 410);
    let purged = client.request("DELETE", "/v1/dead-letters?before=100", "", b"");
    assert_eq!(purged.json(), json!({"purged": 98}));
    assert_eq!(ids(&client.get("/v1/dead-letters").json())[0], 100);
    let purged = client.request("DELETE", "/v1/dead-letters", "", b"");
    assert_eq!(purged.json(), json!({"purged": 31}));
    for wrong in ["?limit=0", "?limit=1001", "?cursor=x", "?colour=red", "?tenant=nobody"] {
        let answer = client.get(&format!("/v1/dead-letters{wrong}"));
        assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"), "{wrong}");
    }
    for wrong in ["?before=0", "?before=x", "?all=true"] {
        let answer = client.request("DELETE", &format!("/v1/dead-letters{wrong}"), "", b"");
        assert_eq!((answer.status, answer.problem().as_str()), (422, "field_invalid"), "{wrong}");
    }
}

#[test]
fn a_flood_of_what_cannot_be_handled_is_counted_and_not_all_kept() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let heartbeats: Vec<Heartbeat> =
        (0..1_000).map(|number| of_schema_2(&format!("a{number}"))).collect();
    let batch = pulsegate_wire::Batch { heartbeats }.encode_to_vec();
    for _ in 0..3 {
        let answer = client.request("POST", "/v1/heartbeats/batch", PROTOBUF, &batch);
        assert_eq!(answer.status, 200);
    }
    let metrics = String::from_utf8(client.get("/metrics").body).expect("text");
    let counted = |result: &str| -> u64 {
        let name = format!("pulsegate_dead_letters_total{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("a sample");
        line.parse().expect("a number")
    };
    assert_eq!(counted("kept") + counted("dropped"), 3_000);
    assert!(counted("kept") >= 1_000, "what comes at once within reason is kept");
    assert!(counted("dropped") > 0, "three batches took longer than ten seconds");
}

#[test]
fn letters_outlive_the_gateway_and_the_command_deals_with_them() {
    let scratch = Scratch::new("command");
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let mut client = Client::connect(gateway.address().parse().expect("an address"));
    for id in ["a", "b", "c"] {
        client.beat(&json!({"schema": 2, "agent_id": id}).to_string());
    }
    let beat = |sequence: u64| json!({"agent_id": "d", "incarnation": 1, "sequence": sequence});
    assert_eq!(client.beat(&beat(2).to_string()).status, 200);
    let mut late = beat(1);
    late["endpoint"] = json!("d.example:7");
    assert_eq!(client.beat(&late.to_string()).status, 200);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.exit_code(), Some(0));
    let gateway = Serving::start_durable(scratch.path(), &[]);
    let listed = gateway.ask(&["dead-letters", "list"]);
    let of = |letters: &Value| -> Vec<String> {
        let letters = letters["dead_letters"].as_array().expect("letters").iter();
        letters.map(|letter| letter["agent_id"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(of(&listed), ["a", "b", "c", "d"]);
    assert_eq!(of(&gateway.ask(&["dead-letters", "list", "--reason", "reordered"])), ["d"]);
    let shown = gateway.ask(&["dead-letters", "show", "2"]);
    assert_eq!(shown["body"], r#"{"agent_id":"b","schema":2}"#);
    let replayed = gateway.ask(&["dead-letters", "replay", "4"]);
    assert_eq!(replayed, json!({"id": 4, "agent_id": "d", "changed": true}));
    let agent = gateway.agent("d").expect("it is known over the restart");
    assert_eq!(agent["endpoint"], "d.example:7");
    let refused = pulsegate(&["dead-letters", "replay", "1", "--url", &gateway.url]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(gateway.ask(&["dead-letters", "purge", "--id", "1"]), json!({"purged": 1}));
    assert_eq!(gateway.ask(&["dead-letters", "purge", "--before", "3"]), json!({"purged": 1}));
    assert_eq!(gateway.ask(&["dead-letters", "purge", "--all"]), json!({"purged": 1}));
    let none = pulsegate(&["dead-letters", "list", "--url", &gateway.url]);
    assert_eq!(none.stdout, b"no dead letters\n");
    let vague = pulsegate(&["dead-letters", "purge", "--url", &gateway.url]);
    assert_eq!(vague.status.code(), Some(2), "what to remove has to be said");
}

/// An acknowledgement has a meaning only for the command that waits.
#[test]
fn an_acknowledgement_that_came_late_is_kept_while_its_command_waits() {
    let gateway = start("");
    let mut client = Client::to(&gateway);
    let beat = |sequence: u64| Heartbeat {
        command_acks: vec![CommandAck {
            id: "c1".to_owned(),
            outcome: AckOutcome::Done as i32,
            detail: String::new(),
        }],
        ..beat("a", sequence)
    };
    let plain = crate::quic_client::beat("a", 3).encode_to_vec();
    assert_eq!(client.request("POST", "/v1/heartbeats", PROTOBUF, &plain).status, 200);
    let late = beat(1).encode_to_vec();
    assert_eq!(client.request("POST", "/v1/heartbeats", PROTOBUF, &late).status, 200);
    assert_eq!(letters(&mut client).len(), 0);
    let command =
        Command { id: "c1".to_owned(), kind: CommandKind::Drain as i32, ..Command::default() };
    assert_eq!(gateway.shards().command(TenantId(0), "a", command), Ok(true));
    assert_eq!(client.request("POST", "/v1/heartbeats", PROTOBUF, &late).status, 200);
    assert_eq!(letters(&mut client).len(), 1);
}
