//! From bytes to heartbeats that make sense, or to a problem that names what does not.

use std::fmt;
use std::marker::PhantomData;

use http::HeaderValue;
use prost::Message as _;
use pulsegate_wire::{Code, Heartbeat, Problem, SCHEMA, limits};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`, or `application/protobuf`.
    Protobuf,
}

/// Longest text of a parser that is passed on, in bytes: it may quote the body.
const DETAIL_BYTES: usize = 200;

impl Format {
    /// The form that a content type names; JSON where it is absent.
    ///
    /// # Errors
    /// `media_type`: neither JSON nor protobuf.
    pub fn of(content_type: Option<&HeaderValue>) -> Result<Self, Box<Problem>> {
        let Some(content_type) = content_type else { return Ok(Self::Json) };
        let bytes = content_type.as_bytes();
        let essence = bytes.split(|&byte| byte == b';').next().unwrap_or(bytes).trim_ascii();
        let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
        if is("application/json") {
            Ok(Self::Json)
        } else if is("application/x-protobuf") || is("application/protobuf") {
            Ok(Self::Protobuf)
        } else {
            let detail = "send application/json or application/x-protobuf";
            Err(Problem::new(Code::MediaType, detail).into())
        }
    }

    /// The content type of an answer in this form.
    #[must_use]
    pub const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(self.media_type())
    }

    /// The media type of a body in this form.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }
}

/// Reads and validates one heartbeat.
///
/// # Errors
/// `malformed`, `field_invalid` or `schema_unsupported`, naming the place.
pub fn heartbeat(format: Format, body: &[u8]) -> Result<Heartbeat, Box<Problem>> {
    let heartbeat: Heartbeat = match format {
        Format::Json => json_heartbeat(body)?,
        Format::Protobuf => Heartbeat::decode(body).map_err(protobuf_problem)?,
    };
    heartbeat.validate()?;
    Ok(heartbeat)
}

/// The heartbeats of a batch as they came, in order; none where it cannot be taken apart.
#[must_use]
pub fn items(format: Format, body: &[u8]) -> Vec<&[u8]> {
    match format {
        Format::Json => json::<Bounded<&RawValue>>(body).map_or_else(
            |_| Vec::new(),
            |Bounded(items)| items.into_iter().map(|raw| raw.get().as_bytes()).collect(),
        ),
        Format::Protobuf => protobuf_items(body, BATCH_ITEM).unwrap_or_default(),
    }
}

/// The heartbeat in a frame of the compact protocol, as it came; empty where there is none.
#[must_use]
pub fn framed(frame: &[u8]) -> &[u8] {
    let items = protobuf_items(frame, FRAMED_HEARTBEAT).unwrap_or_default();
    items.last().copied().unwrap_or_default()
}

/// The name in a heartbeat that may be bad otherwise; empty where there is none to be found.
#[must_use]
pub fn named(format: Format, body: &[u8]) -> String {
    match format {
        Format::Json => json_id(body),
        Format::Protobuf => {
            Heartbeat::decode(body).map_or_else(|_| String::new(), |beat| shown_id(beat.agent_id))
        }
    }
}

/// Reads a batch: each heartbeat validated, or its problem, with the name that it gave.
///
/// # Errors
/// `malformed`, or `too_large` when it has more than [`limits::BATCH_ITEMS`]: then nothing of it
/// is handled.
pub fn batch(format: Format, body: &[u8]) -> Result<Vec<Checked>, Box<Problem>> {
    let heartbeats = match format {
        Format::Json => json_batch(body)?,
        Format::Protobuf => protobuf_batch(body)?,
    };
    Ok(heartbeats.into_iter().map(check).collect())
}

/// A heartbeat of a batch, or the name that it gave and what is wrong with it.
pub type Checked = Result<Heartbeat, (String, Box<Problem>)>;

fn check(heartbeat: Checked) -> Checked {
    let heartbeat = heartbeat?;
    match heartbeat.validate() {
        Ok(()) => Ok(heartbeat),
        Err(problem) => Err((shown_id(heartbeat.agent_id), problem)),
    }
}

/// A name as it is given back: nothing that was no name to begin with.
fn shown_id(agent_id: String) -> String {
    if pulsegate_wire::AgentId::check(&agent_id).is_ok() { agent_id } else { String::new() }
}

/// Tag of a heartbeat in a [`pulsegate_wire::Batch`].
const BATCH_ITEM: u32 = 1;
/// Tag of a heartbeat in a [`pulsegate_wire::ClientFrame`].
const FRAMED_HEARTBEAT: u32 = 2;

/// Reads one heartbeat in JSON. One of another schema may have fields of other types: what is
/// wrong with it is its schema.
fn json_heartbeat(body: &[u8]) -> Result<Heartbeat, Box<Problem>> {
    #[derive(serde::Deserialize)]
    struct Marked {
        schema: u32,
    }
    json(body).map_err(|problem| {
        let marked = serde_json::from_slice::<Marked>(body).ok();
        let schema = marked.map_or(SCHEMA, |marked| marked.schema);
        let is_known = schema <= SCHEMA || problem.code() != Some(Code::FieldInvalid);
        let unknown = || Heartbeat { schema, ..Heartbeat::default() }.validate().err();
        if is_known { problem } else { unknown().unwrap_or(problem) }
    })
}

/// Reads one JSON object.
fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Box<Problem>> {
    // A sequence would do for serde, field by field; for us it would be a guess.
    if body.trim_ascii_start().first().is_some_and(|&byte| byte != b'{') {
        return Err(Problem::new(Code::Malformed, "the body is not a JSON object").into());
    }
    // JSON is UTF-8 (RFC 8259). Checked once for the whole body it costs a sixth of what checking
    // every string costs.
    let text = std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8 from byte {} on", error.valid_up_to());
        Problem::new(Code::Malformed, &detail)
    })?;
    serde_json::from_str(text).map_err(|error| json_problem::<T>(text, &error).into())
}

/// Reads the body once more to say what is wrong with it, and where.
fn json_problem<'a, T: Deserialize<'a>>(body: &'a str, error: &serde_json::Error) -> Problem {
    let is_number = error.to_string().starts_with("number out of range");
    if error.classify() != Category::Data && !is_number {
        return Problem::new(Code::Malformed, &shorten(error));
    }
    let mut deserializer = serde_json::Deserializer::from_str(body);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => Problem::new(Code::Malformed, &shorten(error)),
        Err(located) => {
            let detail = shorten(error);
            match field(&located.path().to_string(), error) {
                Some(field) => Problem::on_field(&field, &detail),
                None => Problem::new(Code::FieldInvalid, &detail),
            }
        }
    }
}

/// The field that an error is about. A field that comes twice is named by the error, not by the
/// path.
fn field(path: &str, error: &serde_json::Error) -> Option<String> {
    let path = path.trim_start_matches('.');
    let message = error.to_string();
    let twice = message.strip_prefix("duplicate field `").and_then(|rest| rest.split_once('`'));
    match twice {
        Some((name, _)) if path.is_empty() || path == name => Some(name.to_owned()),
        Some((name, _)) if path.ends_with(&format!(".{name}")) => Some(path.to_owned()),
        Some((name, _)) => Some(format!("{path}.{name}")),
        None if path.is_empty() => None,
        None => Some(path.to_owned()),
    }
}

fn shorten(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.replace("struct Heartbeat", "an object").replace("struct ", "an object of ");
    if text.len() <= DETAIL_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(DETAIL_BYTES);
    format!("{}… at line {} column {}", &text[..end], error.line(), error.column())
}

fn protobuf_problem(error: prost::DecodeError) -> Box<Problem> {
    let text = error.to_string();
    let end = text.floor_char_boundary(DETAIL_BYTES);
    Problem::new(Code::Malformed, &text[..end]).into()
}

fn too_many() -> Box<Problem> {
    Box::new(Problem {
        field: Some("heartbeats".to_owned()),
        ..Problem::new(Code::TooLarge, "a batch has at most 1,000 heartbeats")
            .with_limit(limits::BATCH_ITEMS as f64)
    })
}

/// Reads a batch heartbeat by heartbeat: a bad one costs only itself.
fn protobuf_batch(body: &[u8]) -> Result<Vec<Checked>, Box<Problem>> {
    let items = protobuf_items(body, BATCH_ITEM)?.into_iter();
    let read = |item| Heartbeat::decode(item).map_err(|e| (String::new(), protobuf_problem(e)));
    Ok(items.map(read).collect())
}

/// The messages with this tag: a million empty ones (two bytes each) never become a million
/// values.
fn protobuf_items(mut body: &[u8], wanted: u32) -> Result<Vec<&[u8]>, Box<Problem>> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let mut items = Vec::new();
    while !body.is_empty() {
        let (tag, wire_type) = decode_key(&mut body).map_err(protobuf_problem)?;
        if (tag, wire_type) != (wanted, WireType::LengthDelimited) {
            skip_field(wire_type, tag, &mut body, DecodeContext::default())
                .map_err(protobuf_problem)?;
            continue;
        }
        let length = decode_varint(&mut body).map_err(protobuf_problem)?;
        let item = usize::try_from(length).ok().and_then(|length| body.split_at_checked(length));
        let (item, rest) =
            item.ok_or_else(|| Problem::new(Code::Malformed, "the last heartbeat is cut off"))?;
        body = rest;
        if items.len() == limits::BATCH_ITEMS {
            return Err(too_many());
        }
        items.push(item);
    }
    Ok(items)
}

/// Reads a batch at once; where a heartbeat is bad, once more, heartbeat by heartbeat.
fn json_batch(body: &[u8]) -> Result<Vec<Checked>, Box<Problem>> {
    if let Ok(Bounded(heartbeats)) = json::<Bounded<Heartbeat>>(body) {
        return Ok(heartbeats.into_iter().map(Ok).collect());
    }
    let Bounded(items) = json::<Bounded<&RawValue>>(body).map_err(|problem| {
        if problem.detail.starts_with(TOO_MANY) { too_many() } else { problem }
    })?;
    let item = |raw: &RawValue| {
        let body = raw.get().as_bytes();
        json_heartbeat(body).map_err(|problem| (json_id(body), problem))
    };
    Ok(items.into_iter().map(item).collect())
}

/// The name in a heartbeat that is bad otherwise; empty where there is none to be found.
fn json_id(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Named {
        agent_id: String,
    }
    let named = serde_json::from_slice::<Named>(body);
    named.map_or_else(|_| String::new(), |named| shown_id(named.agent_id))
}

const TOO_MANY: &str = "more than 1,000 heartbeats";

/// The items of a batch: a [`pulsegate_wire::Batch`] whose list ends with an error where it is too
/// long, before memory is spent on the rest.
struct Bounded<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Bounded<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a list of heartbeats")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bounded<T>, A::Error> {
                let mut items = None;
                while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    match (&*key, &items) {
                        ("heartbeats", None) => {
                            items = Some(map.next_value_seed(List(PhantomData))?);
                        }
                        ("heartbeats", Some(_)) => {
                            return Err(serde::de::Error::duplicate_field("heartbeats"));
                        }
                        _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                }
                items.map(Bounded).ok_or_else(|| serde::de::Error::missing_field("heartbeats"))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for List<T> {
    type Value = Vec<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == limits::BATCH_ITEMS {
                return Err(serde::de::Error::custom(TOO_MANY));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests;
