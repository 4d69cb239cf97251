//! Every maximum of the wire, in one place.
//!
//! Source of all of them, where nothing else is said: chosen, as sizes that the largest honest
//! agent stays well below.

/// Largest body of a single heartbeat, in bytes.
pub const HEARTBEAT_BYTES: usize = 16 * 1024;
/// Largest frame of the compact protocol, in bytes: the largest heartbeat, and the four bytes that
/// say what it is.
pub const FRAME_BYTES: usize = HEARTBEAT_BYTES + 4;
/// Heartbeats of one stream of the compact protocol that are read before the oldest of them is
/// answered. Larger: a relay waits less for the disk; smaller: one stream holds less memory.
pub const STREAM_HEARTBEATS: usize = 64;
/// Largest body of a batch, in bytes.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Most heartbeats in a batch.
pub const BATCH_ITEMS: usize = 1_000;
/// Longest agent id, in bytes.
pub const AGENT_ID_BYTES: usize = 128;
/// Largest integer on the wire: the largest that every JSON reader keeps exactly (RFC 8259 §6).
pub const INTEGER: u64 = (1 << 53) - 1;
/// Most custom metrics in a heartbeat.
pub const CUSTOM_METRICS: usize = 16;
/// Longest name of a metric, label, class or capability, in bytes.
pub const NAME_BYTES: usize = 63;
/// Most labels of an agent.
pub const LABELS: usize = 32;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES: usize = 255;
/// Most capabilities of an agent.
pub const CAPABILITIES: usize = 32;
/// Longest endpoint, in bytes.
pub const ENDPOINT_BYTES: usize = 255;
/// Longest path of a probe, in bytes.
pub const PROBE_PATH_BYTES: usize = 255;
/// Longest name of a task in progress, in bytes.
pub const TASK_BYTES: usize = 128;
/// Most command acknowledgements in a heartbeat.
pub const COMMAND_ACKS: usize = 16;
/// Longest id of a command, in bytes.
pub const COMMAND_ID_BYTES: usize = 64;
/// Longest detail of a command acknowledgement, in bytes.
pub const ACK_DETAIL_BYTES: usize = 256;
/// Most rules for an early heartbeat in a directive.
pub const EARLY_RULES: usize = 8;
/// Most commands waiting for one agent; the oldest unanswered one gives way.
pub const COMMANDS: usize = 8;
/// Shortest time without progress that may be called a stall, in milliseconds.
pub const STALL_AFTER_MIN_MS: u64 = 1_000;
/// Deepest nesting of a JSON body; a heartbeat needs four.
pub const JSON_DEPTH: usize = 128;
/// Longest name of a lease, in bytes: that of an agent id, whose characters it shares, so that an
/// agent can name a lease after itself.
pub const LEASE_NAME_BYTES: usize = AGENT_ID_BYTES;
/// Shortest TTL of a lease, in milliseconds. A third of it is the shortest interval, 1 s: so
/// heartbeats can carry any lease and two of them may be lost. A grant may wait 1 s for the disk.
pub const LEASE_TTL_MIN_MS: u32 = 3_000;
/// Longest TTL of a lease, in milliseconds: a day. A holder that died keeps others out for its TTL,
/// and a restart of the gateway counts the whole TTL anew.
pub const LEASE_TTL_MAX_MS: u32 = 86_400_000;
/// Most leases of a gateway; some hundred bytes each.
pub const LEASES: usize = 100_000;
/// Most leases of one holder: its directive names all of them, and must fit into a frame of the
/// compact protocol (a test says so).
pub const LEASES_PER_HOLDER: usize = 64;
/// Most requests that wait in line for one lease. Longer: the last waits for many TTLs.
pub const LEASE_LINE: usize = 64;
/// Most requests that wait in line for any lease; each also holds a connection.
pub const LEASE_WAITERS: usize = 10_000;
/// Longest time that one request waits in line, in milliseconds: below the 30 s that any request
/// may take, and that common proxies allow. Who wants to wait longer asks again.
pub const LEASE_WAIT_MAX_MS: u32 = 25_000;
/// Longest text of a problem, in bytes; it may quote the request, and what is longer is cut.
/// Longer: a request can have more of itself sent back. Source: chosen, some above the longest
/// sentence of our own.
pub const PROBLEM_TEXT_BYTES: usize = 256;
/// Longest opaque cursor of a listing, in bytes.
pub const CURSOR_BYTES: usize = 128;
/// Most agents in one page of a listing.
pub const PAGE_ITEMS: usize = 1_000;
