//! The few pieces of JSON that writing a directive takes. A directive is the same dozen numbers
//! and short texts each time; through a general serializer it took three times as long.

use serde::Serialize;

/// Appends a number.
pub(super) fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a text with its quotes.
pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    // No early end, so that whole texts are looked at many bytes at a time.
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if value.bytes().fold(false, |found, byte| found | is_special(byte)) {
        return any(out, value);
    }
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Appends anything else.
pub(super) fn any<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // A Vec takes every write, and nothing here has keys that could fail.
    let _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_are_what_a_general_serializer_writes() {
        let texts = ["", "plain", "quo\"te", "back\\slash", "line\nend", "\u{0}", "größer als ∞"];
        for value in texts {
            let mut ours = Vec::new();
            text(&mut ours, value);
            assert_eq!(ours, serde_json::to_vec(value).unwrap());
        }
        for value in [0, 9, 10, u64::MAX] {
            let mut ours = Vec::new();
            number(&mut ours, value);
            assert_eq!(ours, serde_json::to_vec(&value).unwrap());
        }
    }
}
