//! A recorded heartbeat read where it lies: texts are borrowed, and nothing is allocated.
//!
//! A replay reads hundreds of millions of them. Taking each apart into owned texts and a map costs
//! more than everything that is done with it afterwards (`benches/replay.rs`). What this reader
//! takes, prost takes too, and both read the same (held by a test over generated and damaged
//! messages); groups, which nothing of ours ever wrote, it refuses.

use super::{HeartbeatRecord, Observed};

/// A [`HeartbeatRecord`] that borrows the bytes it was read from. Its fields are described there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "each is described at HeartbeatRecord")]
pub struct HeartbeatView<'a> {
    pub at_ms: u64,
    pub wall_ms: u64,
    pub tenant: &'a str,
    pub agent_id: &'a str,
    pub class: &'a str,
    pub incarnation: u64,
    pub sequence: u64,
    pub observed: Option<Observed>,
    pub custom: CustomView<'a>,
    pub judged: &'a str,
    pub score: f64,
    pub hint_ms: f64,
    pub policy: &'a str,
    pub reason: &'a str,
    pub stored_ms: u32,
    pub effective_ms: u32,
    pub sent_ms: u32,
    pub bound: &'a str,
}

/// Custom metrics of a heartbeat, as they were written. A name that comes twice has the value that
/// comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CustomView<'a> {
    /// From the first of their entries to the last; other fields may lie between.
    bytes: &'a [u8],
}

/// Field number of custom metrics.
const CUSTOM: u32 = 9;

impl<'a> HeartbeatView<'a> {
    /// Reads a message; `None` where it is none.
    #[must_use]
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let mut view = Self::default();
        let mut rest = Reader { rest: message };
        let mut custom: Option<(usize, usize)> = None;
        while !rest.rest.is_empty() {
            let start = message.len() - rest.rest.len();
            let key = rest.key()?;
            match key {
                (1, VARINT) => view.at_ms = rest.varint()?,
                (2, VARINT) => view.wall_ms = rest.varint()?,
                (3, BYTES) => view.tenant = rest.text()?,
                (4, BYTES) => view.agent_id = rest.text()?,
                (5, BYTES) => view.class = rest.text()?,
                (6, VARINT) => view.incarnation = rest.varint()?,
                (7, VARINT) => view.sequence = rest.varint()?,
                (8, BYTES) => read_observed(rest.bytes()?, view.observed.get_or_insert_default())?,
                (CUSTOM, BYTES) => {
                    entry(rest.bytes()?)?;
                    let end = message.len() - rest.rest.len();
                    custom = Some((custom.map_or(start, |(first, _)| first), end));
                }
                (10, BYTES) => view.judged = rest.text()?,
                (11, FIXED64) => view.score = rest.double()?,
                (12, FIXED64) => view.hint_ms = rest.double()?,
                (13, BYTES) => view.policy = rest.text()?,
                (14, BYTES) => view.reason = rest.text()?,
                (15, VARINT) => view.stored_ms = rest.varint()? as u32,
                (16, VARINT) => view.effective_ms = rest.varint()? as u32,
                (17, VARINT) => view.sent_ms = rest.varint()? as u32,
                (18, BYTES) => view.bound = rest.text()?,
                (1..=18, _) => return None,
                (_, wire) => rest.skip(wire)?,
            }
        }
        if let Some((start, end)) = custom {
            view.custom.bytes = &message[start..end];
        }
        Some(view)
    }

    /// The same with texts of its own.
    #[must_use]
    pub fn to_record(&self) -> HeartbeatRecord {
        HeartbeatRecord {
            at_ms: self.at_ms,
            wall_ms: self.wall_ms,
            tenant: self.tenant.to_owned(),
            agent_id: self.agent_id.to_owned(),
            class: self.class.to_owned(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            observed: self.observed,
            custom: self.custom.iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            judged: self.judged.to_owned(),
            score: self.score,
            hint_ms: self.hint_ms,
            policy: self.policy.to_owned(),
            reason: self.reason.to_owned(),
            stored_ms: self.stored_ms,
            effective_ms: self.effective_ms,
            sent_ms: self.sent_ms,
            bound: self.bound.to_owned(),
        }
    }
}

impl<'a> CustomView<'a> {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Names and values, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, f64)> {
        let mut rest = Reader { rest: self.bytes };
        // All of it was read once before, so nothing ends this but its end.
        std::iter::from_fn(move || {
            while !rest.rest.is_empty() {
                match rest.key()? {
                    (CUSTOM, BYTES) => return entry(rest.bytes()?),
                    (_, wire) => rest.skip(wire)?,
                }
            }
            None
        })
    }
}

fn read_observed(message: &[u8], seen: &mut Observed) -> Option<()> {
    let mut rest = Reader { rest: message };
    while !rest.rest.is_empty() {
        match rest.key()? {
            (1, VARINT) => seen.now_ms = rest.varint()?,
            (2, VARINT) => seen.status = rest.varint()? as i32,
            (3, VARINT) => seen.health = rest.varint()? as i32,
            (4, VARINT) => seen.signals = rest.varint()? as u32,
            (5, VARINT) => seen.interval_ms = rest.varint()? as u32,
            (6, VARINT) => seen.lateness_ms = zigzag(rest.varint()?),
            (7, VARINT) => seen.missed = rest.varint()? as u32,
            (8, FIXED64) => seen.queue_depth = rest.double()?,
            (9, FIXED64) => seen.queue_trend = rest.double()?,
            (10, FIXED64) => seen.active_tasks = rest.double()?,
            (11, FIXED64) => seen.cpu_percent = rest.double()?,
            (12, FIXED64) => seen.memory_bytes = rest.double()?,
            (13, VARINT) => seen.errors = rest.varint()? as u32,
            (14, FIXED64) => seen.latency_ms = rest.double()?,
            (15, VARINT) => seen.progress_age_ms = rest.varint()?,
            (16, FIXED64) => seen.fleet_load = rest.double()?,
            (1..=16, _) => return None,
            (_, wire) => rest.skip(wire)?,
        }
    }
    Some(())
}

/// An entry of a map: a name and a number, each empty where it is absent.
fn entry(message: &[u8]) -> Option<(&str, f64)> {
    let mut rest = Reader { rest: message };
    let (mut name, mut value) = ("", 0.0);
    while !rest.rest.is_empty() {
        match rest.key()? {
            (1, BYTES) => name = rest.text()?,
            (2, FIXED64) => value = rest.double()?,
            (1 | 2, _) => return None,
            (_, wire) => rest.skip(wire)?,
        }
    }
    Some((name, value))
}

const fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Wire types of protobuf. Source: <https://protobuf.dev/programming-guides/encoding/>.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// What is left of a message.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Field number and wire type.
    #[inline]
    fn key(&mut self) -> Option<(u32, u8)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let field = key >> 3;
        (field != 0).then_some((field, (key & 7) as u8))
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        if first < 0x80 {
            return Some(first.into());
        }
        let mut number = u64::from(first & 0x7f);
        for place in 1..10 {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return (place < 9 || byte < 2).then_some(number);
            }
        }
        None
    }

    #[inline]
    fn double(&mut self) -> Option<f64> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(f64::from_le_bytes(*bytes))
    }

    #[inline]
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Steps over a field that is not known here.
    fn skip(&mut self, wire: u8) -> Option<()> {
        match wire {
            VARINT => self.varint().map(drop),
            FIXED64 => self.double().map(drop),
            BYTES => self.bytes().map(drop),
            FIXED32 => {
                self.rest = self.rest.get(4..)?;
                Some(())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), any::<f64>().prop_filter("equal to itself", |n| !n.is_nan())]
    }

    fn observed() -> impl Strategy<Value = Observed> {
        let whole = (any::<u64>(), any::<i32>(), any::<u32>(), any::<i64>(), 0..9_u32);
        (whole, prop::array::uniform4(number())).prop_map(|((a, b, c, d, e), f)| Observed {
            now_ms: a,
            status: b,
            health: b.wrapping_add(1),
            signals: c,
            interval_ms: c.wrapping_mul(7),
            lateness_ms: d,
            missed: e,
            queue_depth: f[0],
            queue_trend: f[1],
            active_tasks: f[2],
            cpu_percent: f[3],
            memory_bytes: f[0],
            errors: e,
            latency_ms: f[1],
            progress_age_ms: a / 3,
            fleet_load: f[2],
        })
    }

    fn record() -> impl Strategy<Value = HeartbeatRecord> {
        let texts = prop::array::uniform7("[a-zß]{0,12}");
        let custom = prop::collection::btree_map("[a-z.]{0,6}", number(), 0..4);
        let seen = prop::option::of(observed());
        let whole = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>());
        let numbers = prop::array::uniform2(number());
        (texts, custom, seen, whole, numbers).prop_map(|(texts, custom, observed, w, n)| {
            let [tenant, agent_id, class, judged, policy, reason, bound] = texts;
            HeartbeatRecord {
                at_ms: w.0,
                wall_ms: w.1,
                incarnation: w.1 / 3,
                sequence: w.0 / 7,
                score: n[0],
                hint_ms: n[1],
                stored_ms: w.2,
                effective_ms: w.3,
                sent_ms: w.2 / 2,
                tenant,
                agent_id,
                class,
                observed,
                custom,
                judged,
                policy,
                reason,
                bound,
            }
        })
    }

    /// Fields that this version does not know, as a newer one might write them.
    const LATER: [&[u8]; 4] = [
        &[0x98, 0x06, 0x96, 0x01],
        &[0x9a, 0x06, 0x02, b'h', b'i'],
        &[0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x9d, 0x06, 1, 2, 3, 4],
    ];

    proptest! {
        #[test]
        fn what_was_written_is_read_as_prost_reads_it(record in record(), later in 0..5_usize) {
            let mut bytes = record.encode_to_vec();
            if let Some(field) = LATER.get(later) {
                bytes.splice(0..0, field.iter().copied());
                bytes.extend_from_slice(field);
            }
            let view = HeartbeatView::decode(&bytes).expect("it was written");
            prop_assert_eq!(view.custom.is_empty(), record.custom.is_empty());
            prop_assert_eq!(view.to_record(), record);
        }

        #[test]
        fn what_is_damaged_is_read_as_prost_reads_it_or_refused(
            record in record(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = record.encode_to_vec();
            if !bytes.is_empty() {
                let at = place.index(bytes.len());
                bytes[at] = byte;
                bytes.truncate(cut.index(bytes.len() * 4).max(at + 1));
            }
            let known = HeartbeatRecord::decode(&*bytes);
            if let Some(view) = HeartbeatView::decode(&bytes) {
                // A number that is none equals nothing; as text it equals itself.
                prop_assert_eq!(format!("{:?}", view.to_record()), format!("{:?}", known.unwrap()));
            } else if let Ok(known) = known {
                let groups = bytes.iter().any(|byte| matches!(byte & 7, 3 | 4));
                prop_assert!(groups, "refused what prost reads: {known:?}");
            }
        }

        #[test]
        fn two_messages_after_each_other_are_merged_as_prost_merges_them(
            one in record(),
            two in record(),
        ) {
            let bytes = [one.encode_to_vec(), two.encode_to_vec()].concat();
            let view = HeartbeatView::decode(&bytes).expect("both were written");
            prop_assert_eq!(view.to_record(), HeartbeatRecord::decode(&*bytes).unwrap());
        }
    }
}
