"""The messages of the manual's page of the compact protocol (src/manual/compact.md), and their
bytes. Written by hand from that page: no library of protobuf, and nothing of the gateway's.

A message is a table of its fields, name -> (number, kind); a value is a dictionary. Fields that
are absent are not written, and fields that are not in the table are skipped when read. `[kind]`
is a repeated field; a map is a repeated message of `key` and `value`.
"""

import struct

UINT, BOOL, TEXT, DOUBLE = "uint", "bool", "text", "double"
# Wire types of protobuf that there are: a varint, eight bytes, a length and as many bytes, four.
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5

METRICS = {
    "queue_depth": (1, UINT),
    "active_tasks": (2, UINT),
    "cpu_percent": (3, DOUBLE),
    "memory_bytes": (4, UINT),
    "error_count": (5, UINT),
    "latency_ms": (6, DOUBLE),
    "custom": (7, [{"key": (1, TEXT), "value": (2, DOUBLE)}]),
}
COMMAND_ACK = {"id": (1, TEXT), "outcome": (2, UINT), "detail": (3, TEXT)}
PROGRESS = {
    "watermark": (1, UINT),
    "task": (2, TEXT),
    "percent": (3, DOUBLE),
    "stall_after_ms": (4, UINT),
}
HEARTBEAT = {
    "schema": (1, UINT),
    "agent_id": (2, TEXT),
    "incarnation": (3, UINT),
    "sequence": (4, UINT),
    "reason": (5, UINT),
    "sent_at_ms": (6, UINT),
    "status": (7, UINT),
    "directive_seen": (8, UINT),
    "metrics": (9, METRICS),
    "progress": (10, PROGRESS),
    "command_acks": (11, [COMMAND_ACK]),
    "class": (12, TEXT),
    "labels": (13, [{"key": (1, TEXT), "value": (2, TEXT)}]),
    "endpoint": (14, TEXT),
    "capabilities": (15, [TEXT]),
    "probe": (16, {"kind": (1, UINT), "port": (2, UINT), "path": (3, TEXT)}),
}
COMMAND = {"id": (1, TEXT), "kind": (2, UINT), "name": (3, TEXT)}
EARLY_RULE = {
    "metric": (1, TEXT),
    "above": (2, DOUBLE),
    "below": (3, DOUBLE),
    "rearm": (4, DOUBLE),
}
DIRECTIVE = {
    "number": (1, UINT),
    "outcome": (2, UINT),
    "next_interval_ms": (3, UINT),
    "suspect_after_ms": (4, UINT),
    "fail_after_ms": (5, UINT),
    "beat_early": (
        6,
        {"min_gap_ms": (1, UINT), "spread_ms": (2, UINT), "rules": (3, [EARLY_RULE])},
    ),
    "retry": (7, [UINT]),
    "explain": (
        8,
        {
            "reason": (1, TEXT),
            "bound": (2, TEXT),
            "policy": (3, TEXT),
            "policy_revision": (4, TEXT),
        },
    ),
    "commands": (9, [COMMAND]),
    "leases": (10, [{"name": (1, TEXT), "token": (2, UINT), "ttl_ms": (3, UINT)}]),
    "throttle": (11, DOUBLE),
}
PROBLEM = {
    "kind": (1, TEXT),
    "title": (2, TEXT),
    "status": (3, UINT),
    "code": (4, TEXT),
    "detail": (5, TEXT),
    "field": (6, TEXT),
    "limit": (7, DOUBLE),
    "retry_after_ms": (8, UINT),
}
CLIENT_FRAME = {"hello": (1, {"token": (1, TEXT)}), "heartbeat": (2, HEARTBEAT)}
SERVER_FRAME = {
    "welcome": (1, {"frame_bytes": (1, UINT), "in_flight": (2, UINT)}),
    "answer": (
        2,
        {
            "agent_id": (1, TEXT),
            "incarnation": (2, UINT),
            "sequence": (3, UINT),
            "directive": (4, DIRECTIVE),
            "problem": (5, PROBLEM),
            "more": (6, BOOL),
        },
    ),
    "push": (3, {"agent_id": (1, TEXT), "commands": (2, [COMMAND]), "beat_now": (3, BOOL)}),
}

# Words of the enumerations, by number.
STATUS = {"healthy": 0, "degraded": 1, "busy": 2, "recovering": 3, "stopping": 4}
ACCEPTED, DUPLICATE, STALE = 0, 1, 2


class Malformed(Exception):
    """Bytes that are no message."""


def varint(number):
    """Seven bits a byte, lowest first, the highest bit set in all bytes but the last."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data, at):
    """A number and where it ends; None where the bytes end before it does."""
    number = 0
    for index in range(10):
        if at + index >= len(data):
            return None
        byte = data[at + index]
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise Malformed("a varint of more than ten bytes")


def encode(fields, message):
    """The bytes of a message, in the order of its table."""
    out = bytearray()
    for name, (number, kind) in fields.items():
        if name not in message:
            continue
        repeated = isinstance(kind, list)
        for value in message[name] if repeated else [message[name]]:
            out += encode_field(number, kind[0] if repeated else kind, value)
    unknown = message.keys() - fields.keys()
    assert not unknown, f"no such fields: {unknown}"
    return bytes(out)


def encode_field(number, kind, value):
    if kind in (UINT, BOOL):
        return varint(number << 3 | VARINT) + varint(int(value))
    if kind == DOUBLE:
        return varint(number << 3 | EIGHT) + struct.pack("<d", value)
    data = value.encode() if kind == TEXT else encode(kind, value)
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def decode(fields, data):
    """The message that these bytes are. What is 0 or empty is absent from them, and from it."""
    by_number = {number: (name, kind) for name, (number, kind) in fields.items()}
    message = {}
    at = 0
    while at < len(data):
        tag, at = whole(read_varint(data, at))
        value, at = read_value(data, at, tag & 7)
        if tag >> 3 not in by_number:
            continue
        name, kind = by_number[tag >> 3]
        if isinstance(kind, list):
            # Repeated numbers stand packed in one field, or one by one.
            packed = kind[0] == UINT and tag & 7 == BYTES
            values = unpack(value) if packed else [decode_value(kind[0], value)]
            message.setdefault(name, []).extend(values)
        else:
            message[name] = decode_value(kind, value)
    return message


def read_value(data, at, wire_type):
    if wire_type == VARINT:
        return whole(read_varint(data, at))
    if wire_type == BYTES:
        length, at = whole(read_varint(data, at))
    elif wire_type in (EIGHT, FOUR):
        length = 8 if wire_type == EIGHT else 4
    else:
        raise Malformed(f"wire type {wire_type}")
    if at + length > len(data):
        raise Malformed("it ends within a field")
    return data[at : at + length], at + length


def whole(read):
    if read is None:
        raise Malformed("it ends within a number")
    return read


def decode_value(kind, value):
    if isinstance(value, int) != (kind in (UINT, BOOL)):
        raise Malformed(f"the wire type is not that of {kind}")
    if kind == UINT:
        return value
    if kind == BOOL:
        return value != 0
    if kind == DOUBLE:
        return struct.unpack("<d", value)[0]
    if kind == TEXT:
        return bytes(value).decode()
    return decode(kind, value)


def unpack(data):
    values = []
    at = 0
    while at < len(data):
        value, at = whole(read_varint(data, at))
        values.append(value)
    return values


def delimited(frame):
    """A frame as it stands on a stream: behind its length."""
    return varint(len(frame)) + frame


def take_frame(buffer):
    """Takes the first frame out of what came on a stream; None while it is not whole."""
    read = read_varint(buffer, 0)
    if read is None or len(buffer) < read[0] + read[1]:
        return None
    length, begin = read
    frame = bytes(buffer[begin : begin + length])
    del buffer[: begin + length]
    return decode(SERVER_FRAME, frame)
