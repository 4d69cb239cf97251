//! The few pieces of protobuf that writing a directive takes (proto3 encoding, wire types 0, 1
//! and 2). Absent and default values are left away, as the format wants it.

/// Appends a number.
pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field with a number; 0 is left away.
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        varint(out, u64::from(field) << 3);
        varint(out, value);
    }
}

/// Appends a field with a floating-point number, 0 as well.
pub(crate) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field with a text; an empty one is left away.
pub(crate) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

/// Appends a field with bytes.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a field with a message, or with packed numbers, that `write` appends.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    varint(out, u64::from(field) << 3 | 2);
    delimited(out, write);
}

/// Appends what `write` appends, behind its length.
pub(crate) fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Nearly every message here is shorter than 128 bytes, so its length takes one; a longer one
    // is moved to make room.
    let length_at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - length_at - 1;
    if length < 0x80 {
        out[length_at] = length as u8;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    varint(&mut prefix, length as u64);
    out.splice(length_at..=length_at, prefix);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_gets_a_long_length() {
        for size in [0, 1, 127, 128, 300, 20_000] {
            let mut out = vec![0xff];
            message(&mut out, 2, |out| out.resize(out.len() + size, 7));
            let mut expected = vec![0xff];
            bytes(&mut expected, 2, &vec![7; size]);
            assert_eq!(out, expected);
        }
    }
}
