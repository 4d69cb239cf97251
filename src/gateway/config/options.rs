//! Every option with its default and the reason for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::section::{Bounds, section};
use super::setting::words;

/// Bytes of a gibibyte.
const GIB: u64 = 1 << 30;

words! {
    /// Form of the log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// The least important happening that is logged.
    LogLevel {
        /// An operator must act.
        Error = "error",
        /// Odd, but handled.
        Warn = "warn",
        /// What an operator asked for is done.
        Info = "info",
        /// What helps to understand one agent.
        Debug = "debug",
        /// Every heartbeat.
        Trace = "trace",
    }
}

words! {
    /// Which policies must be signed where there is a public key.
    Signed {
        /// Those that are pulled from a registry.
        Pulled = "pulled",
        /// Those in files as well.
        All = "all",
    }
}

words! {
    /// Which heartbeats the journal keeps.
    Recorded {
        /// None.
        Off = "off",
        /// Whole streams of about a thousand agents, chosen by hash.
        Sample = "sample",
        /// Every one.
        All = "all",
    }
}

section! {
    /// What the gateway remembers over a restart, and for how long.
    Journal {
        /// Directory of the journal; made where it is not there. One gateway at a time uses it.
        data_dir: Option<PathBuf> = None =>
            Bounds::text("path").example("/var/lib/pulsegate"), restart,
            "none: $STATE_DIRECTORY, which systemd sets, else pulsegate in $XDG_STATE_HOME, else \
             ~/.local/state/pulsegate";
        /// Keeps nothing over a restart: for trying things out.
        ephemeral: bool = false => Bounds::text("true or false"), restart,
            "a gateway that forgets fails agents wrongly, or never";
        /// Events older than this are removed.
        max_age_ms: u32 = 604_800_000 => Bounds::ms(60_000, 2_592_000_000), restart,
            "a week: what happened last weekend can still be looked up";
        /// Events beyond this size are removed, the oldest first. The state of agents is not
        /// counted: it is kept as long as they are known.
        max_bytes: u64 = 4 * GIB => Bounds::rate("bytes", 16e6, 1e15), restart,
            "forty million events: a restless month of ten thousand agents";
        /// Which heartbeats are kept, so that policies can be tried on them.
        heartbeats: Recorded = Recorded::Sample => Bounds::text("off, sample or all"), restart,
            "a thousand agents tell how a policy does, at a fraction of the disk";
        /// Heartbeats older than this are removed.
        heartbeats_max_age_ms: u32 = 172_800_000 => Bounds::ms(60_000, 2_592_000_000), restart,
            "two days: last night is always there";
        /// Heartbeats beyond this size are removed, the oldest first.
        heartbeats_max_bytes: u64 = GIB =>
            Bounds::rate("bytes", 1e6, 1e15), restart,
            "a day of a thousand agents at 30 s";
    }
}

section! {
    /// Where the gateway listens.
    Server {
        /// Address that agents beat to. On loopback it serves the operator's routes as well.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8420)) =>
            Bounds::text("address:port"), restart,
            "loopback: nothing is reachable from outside before somebody decides so";
        /// Address of the operator's routes (API, metrics) where `listen` is not on loopback.
        admin_listen: Option<SocketAddr> = None =>
            Bounds::text("address:port").example("127.0.0.1:8421"), restart,
            "none: on loopback one address serves everything";
        /// File with the bearer token of the operator's routes; needed where they are reachable
        /// from outside.
        admin_token_file: Option<PathBuf> = None =>
            Bounds::text("path").example("/etc/pulsegate/admin.token"), live,
            "none: on loopback no token is asked for";
        /// Allows agents to be served outside loopback without TLS or without credentials.
        insecure: bool = false => Bounds::text("true or false"), restart,
            "a fleet that anybody can beat for is no fleet to rely on";
        /// Serves HTTP/3 and the compact protocol over QUIC, with the certificate of `[tls]`.
        quic: Option<bool> = None => Bounds::text("true or false").example("false"), restart,
            "none: wherever there is a certificate, because agents choose";
        /// Address of QUIC, over UDP.
        quic_listen: Option<SocketAddr> = None =>
            Bounds::text("address:port").example("0.0.0.0:8420"), restart,
            "none: as `listen`, so that agents need one name and one number";
        /// Threads that serve QUIC; one endpoint, whatever their number.
        quic_workers: Option<u32> = None => Bounds::count("threads", 1, 1_024).example("1"),
            restart, "none: one for two cores; the other half is for TCP and policies";
        /// Threads that serve HTTP over TCP, each with its own listener on the same address.
        workers: Option<u32> = None => Bounds::count("threads", 1, 1_024).example("2"), restart,
            "none: one a core; measured 11 to 66 % ahead of one runtime over all cores";
    }
}

section! {
    /// The certificate of the agents' address. It can change without a restart; whether there is
    /// one at all cannot.
    Tls {
        /// Certificate chain in PEM; read again when the file changes.
        cert_file: Option<PathBuf> = None =>
            Bounds::text("path").example("/etc/pulsegate/tls.crt"), live,
            "none: cleartext";
        /// Private key in PEM; read again when the file changes.
        key_file: Option<PathBuf> = None =>
            Bounds::text("path").example("/etc/pulsegate/tls.key"), live,
            "none: cleartext";
        /// Makes a certificate for localhost at each start, signed by nobody.
        development: bool = false => Bounds::text("true or false"), live,
            "agents must be told to trust it: for trying things out";
    }
}

section! {
    /// How intervals move.
    Cadence {
        /// Shortest interval that is ever directed.
        min_ms: u32 = 1_000 => Bounds::ms(100, 60_000), live,
            "a second: faster than people and most restarts react, slow enough for any agent";
        /// Longest interval that is ever directed, whatever a class promises.
        max_ms: u32 = 300_000 => Bounds::ms(1_000, 86_400_000), live,
            "five minutes: longer silence looks like absence to whoever reads a dashboard";
        /// No relaxing until this long after the last tightening. Larger: calmer, and costlier
        /// after each scare.
        dwell_ms: u32 = 60_000 => Bounds::ms(0, 3_600_000), live,
            "a minute covers two beats of a normal agent";
        /// One relaxing after a tightening in this time: bounds how often an interval can turn.
        turn_period_ms: u32 = 1_200_000 => Bounds::ms(1_000, 86_400_000), live,
            "twenty minutes: a queue that fills and drains within them turns it once at most";
        /// Heartbeats a second that the fleet may cost; above 80 % of it all intervals but those
        /// of exempt classes are stretched.
        budget_per_second: f64 = 20_000.0 => Bounds::rate("heartbeats a second", 1.0, 1e7),
            live, "a small share of what one core handles, and 600,000 agents at 30 s";
    }
}

section! {
    /// When agents nobody hears of are given up, and what counts as idle or erring.
    Detection {
        /// An agent that was registered but never heard fails after this.
        startup_grace_ms: u32 = 120_000 => Bounds::ms(1_000, 86_400_000), live,
            "two minutes: pulling an image and starting takes that long";
        /// A failed agent is forgotten after this.
        forget_failed_ms: u32 = 86_400_000 => Bounds::ms(60_000, 2_592_000_000), live,
            "a day: what failed at night is still listed in the morning";
        /// An agent that left gracefully is forgotten after this.
        forget_stopped_ms: u32 = 3_600_000 => Bounds::ms(1_000, 2_592_000_000), live,
            "an hour: longer than a rolling update";
        /// An agent that reports no work for this long is idle: its interval may be doubled.
        idle_after_ms: u32 = 300_000 => Bounds::ms(1_000, 86_400_000), live,
            "five minutes: a pause between two jobs is shorter";
        /// Window of error counts and of the trend of a queue.
        window_ms: u32 = 60_000 => Bounds::ms(1_000, 3_600_000), live,
            "a minute: two beats of a normal agent";
    }
}

section! {
    /// What the gateway takes at most.
    Limits {
        /// Heartbeats a second that one agent may send in the long run.
        agent_rate_per_second: f64 = 1.0 => Bounds::rate("a second", 0.01, 1_000.0), live,
            "the shortest interval is a second";
        /// Heartbeats that one agent may send at once.
        agent_burst: u32 = 8 => Bounds::count("heartbeats", 1, 10_000), live,
            "a start, a few early ones and four retries fit";
        /// First heartbeats of unknown agents that one address may send a second.
        unknown_rate_per_second: f64 = 1_000.0 => Bounds::rate("a second", 0.01, 1e6), live,
            "a fleet behind one relay registers in minutes; a flood of invented ids does not fit";
        /// First heartbeats of unknown agents that one address may send at once.
        unknown_burst: u32 = 10_000 => Bounds::count("heartbeats", 1, 1_000_000), live,
            "a fleet of that size may come back at once after a restart";
        /// Agents that are known at most; a registration beyond is refused.
        max_agents: u32 = 1 << 20 => Bounds::count("agents", 1, 100_000_000), restart,
            "at about 1 KiB an agent with everything it reports, a gigabyte";
        /// Connections that are open at most, of TCP and QUIC together; one beyond is turned away.
        connections: u32 = 65_536 => Bounds::count("connections", 1, 10_000_000), restart,
            "at 20 to 48 KiB each, three gigabytes at worst";
        /// Requests that may wait at once for the rest of their body, over all workers; those
        /// beyond are turned away. What came whole is handled at once and never counts.
        in_flight: u32 = 4_096 => Bounds::count("requests", 1, 1_000_000), live,
            "at up to 16 KiB each, 64 MiB that slow senders can hold";
        /// Time for the head of a request to arrive, and for a handshake of TLS or QUIC.
        header_timeout_ms: u32 = 10_000 => Bounds::ms(100, 600_000), restart,
            "ten seconds pass on any network that can carry a heartbeat";
        /// Time for the body of a request to arrive.
        body_timeout_ms: u32 = 10_000 => Bounds::ms(100, 600_000), restart,
            "as for the head";
        /// A connection without a request is closed after this. QUIC agrees on it in the handshake:
        /// a client may ask for less.
        idle_timeout_ms: u32 = 420_000 => Bounds::ms(1_000, 86_400_000), restart,
            "longer than the longest interval with a fail grace: an agent keeps its connection";
        /// Time for what is in flight to be answered at the end.
        shutdown_ms: u32 = 10_000 => Bounds::ms(0, 600_000), live,
            "well inside the 30 s that orchestrators wait before they kill";
    }
}

section! {
    /// What every policy is held to.
    PolicyLimits {
        /// Longest call, rounded up to ticks of a millisecond.
        call_ms: u32 = 3 => Bounds::ms(1, 1_000), restart,
            "a call takes well below a microsecond; a runaway costs one heartbeat 3 to 8 ms";
        /// Largest linear memory of an instance.
        memory_bytes: u64 = 16 * 1024 * 1024 => Bounds::count("bytes", 65_536, 2_147_483_648),
            restart, "a policy without a language runtime needs less than 2 MiB";
        /// Longest call of a policy in the pool `interpreted`, rounded up as above. Larger: more
        /// of its slowest calls are waited for. Smaller: a runaway holds others up for less.
        interpreted_call_ms: u32 = 10 => Bounds::ms(1, 1_000), restart,
            "a call takes microseconds; one in which the interpreter collects garbage, longer";
        /// Largest linear memory of an instance in the pool `interpreted`.
        interpreted_memory_bytes: u64 = 64 * 1024 * 1024
            => Bounds::count("bytes", 65_536, 2_147_483_648),
            restart, "a Python guest begins with 25 MiB, most of it shared by all instances";
        /// Policy time of a whole batch; then the built-in policy answers.
        batch_ms: u32 = 10 => Bounds::ms(1, 1_000), restart,
            "a batch of 1,000 takes well below a millisecond";
        /// Faults within the window that open the breaker of a policy.
        breaker_faults: u32 = 10 => Bounds::count("faults", 1, 1_000_000), restart,
            "one bad heartbeat is an accident, ten are a bad policy";
        /// Window of the breaker.
        breaker_window_ms: u32 = 60_000 => Bounds::ms(1_000, 3_600_000), restart,
            "a minute: two beats of a normal agent";
    }
}

section! {
    /// Whom to believe that a policy is the one that was meant.
    PolicyTrust {
        /// Public keys in PEM, ECDSA on P-256 or Ed25519, of whoever signs policies: with them a
        /// policy that is pulled must be signed by one.
        public_key_file: Option<PathBuf> = None => Bounds::text("path").example("cosign.pub"), live,
            "none: a digest pins the bytes, and no signature is checked, which the log says";
        /// Which policies must be signed: those that are pulled, or those in files too.
        require: Signed = Signed::Pulled => Bounds::text("pulled or all"), live,
            "whoever can write the files here can write the key as well";
    }
}

section! {
    /// How registries of policies are spoken to.
    PolicyRegistry {
        /// Directory of what was pulled, so that a gateway starts while its registry is down.
        store_dir: Option<PathBuf> = None =>
            Bounds::text("path").example("/var/cache/pulsegate/policies"), live,
            "none: `pulled` in the directory of the journal; nothing where that is ephemeral";
        /// Room for what was pulled; the least recently used make room.
        store_bytes: u64 = GIB => Bounds::rate("bytes", 1e6, 1e12), live,
            "hundreds of policies in Rust, or sixteen of the largest";
        /// Longest time for one policy, from connecting to the last byte.
        timeout_ms: u32 = 120_000 => Bounds::ms(1_000, 3_600_000), live,
            "the largest policy, 64 MiB, at 4.5 Mbit/s";
        /// Certificate authorities in PEM to trust instead of those of the web; a registry on
        /// loopback is then spoken to with TLS as well.
        ca_file: Option<PathBuf> = None => Bounds::text("path").example("/etc/ssl/own.pem"), live,
            "none: a registry on the internet has a certificate of the web";
        /// Registries that are spoken to without TLS, as HOST or HOST:PORT; those on loopback
        /// need not stand here.
        plain_http: Vec<String> = Vec::new() => Bounds::text("list of hosts"), live,
            "none: whoever is in between would read the credentials";
        /// Credentials in the form of Docker's config.json, without credential helpers.
        credentials_file: Option<PathBuf> = None =>
            Bounds::text("path").example("/etc/pulsegate/registries.json"), live,
            "none: config.json in $DOCKER_CONFIG or ~/.docker where there is one, else nobody";
    }
}

section! {
    /// Policies that operators upload, and how long they are kept.
    Rollout {
        /// Directory of uploaded policies and of what is enforced; made where it is not there. One
        /// gateway at a time uses it.
        dir: Option<PathBuf> = None =>
            Bounds::text("path").example("/var/lib/pulsegate/policies"), restart,
            "none: `policies` in the directory of the journal; an ephemeral gateway keeps none";
        /// Keeps compiled code in `compiled` in the directory of the journal, authenticated, so
        /// that the next start is quick.
        cache: bool = true => Bounds::text("true or false"), restart,
            "an interpreter takes long to compile; code that was touched is not used";
        /// Uploaded revisions of one policy that are kept beside those in use; the oldest go
        /// first. Larger: more to go back to; smaller: less disk.
        revisions: u32 = 8 => Bounds::count("revisions", 1, 64), live,
            "a week of daily releases, and one";
        /// All components together; an upload beyond is refused.
        max_bytes: u64 = GIB => Bounds::rate("bytes", 1e6, 1e12), live,
            "sixty guests in Python, or thirteen thousand policies in Rust";
    }
}

section! {
    /// What every directive carries.
    Directives {
        /// When to repeat an unanswered heartbeat: delays, each from the attempt before it.
        retry_ms: Vec<u32> = vec![1_000, 2_000, 4_000, 8_000] => Bounds::ms(100, 600_000), live,
            "four attempts within fifteen seconds, inside every default grace";
        /// Shortest distance between two early heartbeats of an agent.
        early_min_gap_ms: u32 = 5_000 => Bounds::ms(100, 600_000), live,
            "as the fastest built-in cadence";
        /// Early heartbeats are delayed by up to this, at random, so that a fleet that sees the
        /// same cause does not beat at once.
        early_spread_ms: u32 = 1_000 => Bounds::ms(0, 60_000), live,
            "a second: hardly later, and a thousand agents a second instead of all at once";
    }
}

section! {
    /// When recovery begins and ends, and how much of it runs at once.
    Recovery {
        /// Unhealthy or stalled for this many heartbeats opens an incident.
        incident_after: u8 = 3 => Bounds::count("heartbeats", 1, 100), live,
            "one may be chance, three are a state";
        /// Healthy for this many heartbeats closes an incident.
        success_after: u8 = 3 => Bounds::count("heartbeats", 1, 100), live,
            "as many as opened it";
        /// Programs of executors that run at once.
        concurrency: u32 = 8 => Bounds::count("programs", 1, 1_024), restart,
            "enough for single failures; a mass failure should not be answered all at once";
        /// Actions that wait for their turn; one beyond fails at once.
        queue: u32 = 1_024 => Bounds::count("actions", 1, 1_000_000), restart,
            "at eight at once and a second each, two minutes of work";
    }
}

section! {
    /// The second witness: probes of silent agents.
    Probes {
        /// Asks an agent that is silent, and that registered a probe, for a sign of life at the
        /// address that it beat from. Switch it off where that is the address of a proxy or NAT.
        enabled: bool = true => Bounds::text("true or false"), live,
            "a critical agent that is gone is acted upon forty seconds sooner";
        /// Time for one try; two must fail. Larger: a slow network is no false witness. Smaller:
        /// more can be asked before they fail.
        timeout_ms: u32 = 2_000 => Bounds::ms(100, 60_000), live,
            "the kernel repeats a lost packet after a second, so each try has two";
        /// Pause between the two tries.
        pause_ms: u32 = 500 => Bounds::ms(0, 60_000), live,
            "half a second: what lost the first try may be over";
        /// Agents that are asked at once.
        concurrency: u32 = 64 => Bounds::count("agents", 1, 4_096), restart,
            "fourteen a second where nobody answers; a socket each";
        /// Agents that wait to be asked, of those whose class is acted upon later without a
        /// witness; one beyond is not asked, and acted upon later.
        queue: u32 = 1_024 => Bounds::count("agents", 1, 1_000_000), restart,
            "what waits longer would be acted upon anyway";
    }
}

section! {
    /// The log, on standard error.
    Log {
        /// Form of the lines.
        format: LogFormat = LogFormat::Text => Bounds::text("text or json"), restart,
            "people first; a collector is told to ask for json";
        /// The least important happening that is logged.
        level: LogLevel = LogLevel::Info => Bounds::text("error, warn, info, debug or trace"), live,
            "what an operator asked for and what went wrong; heartbeats are at trace";
    }
}

section! {
    /// What is promised for the agents of one class.
    ClassOptions {
        /// Interval when nothing else is said.
        interval_ms: u32 = 30_000 => Bounds::ms(100, 86_400_000), live,
            "three beats fit into the promise";
        /// The promise: silence is noticed within this time. It caps the interval at
        /// `detect_within_ms - suspect_grace_ms`.
        detect_within_ms: u32 = 90_000 => Bounds::ms(1_000, 86_400_000), live,
            "three beats of 30 s: what people know";
        /// Slack past the due time before an agent is suspect. Smaller: earlier, and more false
        /// alarms.
        suspect_grace_ms: u32 = 20_000 => Bounds::ms(100, 86_400_000), live,
            "four retries fit";
        /// Slack past the due time before an agent has failed.
        fail_grace_ms: u32 = 61_000 => Bounds::ms(100, 86_400_000), live,
            "two more beats and a margin: a deadline of exactly three beats races the third";
        /// Slack past the due time before recovery acts without a second witness.
        act_grace_ms: u32 = 61_000 => Bounds::ms(100, 86_400_000), live,
            "for the default class, as soon as it has failed";
        /// How much the class gives way when the fleet is over its budget: 2 is slowed down
        /// twice as much as 1, and 0 never.
        floor_weight: u32 = 1 => Bounds::count("", 0, 1_000), live,
            "the classes that promise least give way first";
    }
}
