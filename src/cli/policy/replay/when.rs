//! Instants as people give them.

use std::str::FromStr;

/// An instant, or a time before the newest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// In Unix milliseconds.
    At(u64),
    /// So many milliseconds before.
    Before(u64),
}

impl When {
    /// The instant, in Unix milliseconds, where the newest record is of `newest_ms`.
    pub(super) fn before(self, newest_ms: u64) -> u64 {
        match self {
            Self::At(at_ms) => at_ms,
            Self::Before(span_ms) => newest_ms.saturating_sub(span_ms),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = span(text).map(Self::Before).or_else(|| instant(text).map(Self::At));
        parsed.ok_or_else(|| {
            "must be an instant as 2026-11-23T18:00:00Z, a day as 2026-11-23, or a time before \
             the newest record as 90m, 6h or 2d"
                .to_owned()
        })
    }
}

fn span(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let unit_ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let number = text.strip_suffix(unit)?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit_ms)
}

fn instant(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 || !(1..=12).contains(&month) {
        return None;
    }
    let days = days(year, month, day)?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000)
}

/// Three numbers of so many digits each.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let fits = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| fits)?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days from 1970 to a date; `None` for one that there is not.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = &months[..month as usize - 1];
    if year < 1_970 || day == 0 || day > months[month as usize - 1] {
        return None;
    }
    let years: u64 = (1_970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    Some(years + before.iter().sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::text;

    #[test]
    fn an_instant_is_the_one_that_is_printed() {
        for at in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2026-11-23T02:44:00Z"] {
            let Ok(When::At(at_ms)) = at.parse() else { panic!("{at} is an instant") };
            assert_eq!(text::instant(at_ms), at);
        }
        assert_eq!("2026-11-23".parse(), "2026-11-23T00:00:00Z".parse::<When>());
    }

    #[test]
    fn a_span_is_counted_from_the_newest_record() {
        let ago = |text: &str| text.parse::<When>().map(|when| when.before(100_000_000));
        assert_eq!(ago("90m"), Ok(94_600_000));
        assert_eq!(
            [ago("10s"), ago("1h"), ago("1d")],
            [Ok(99_990_000), Ok(96_400_000), Ok(13_600_000)]
        );
        assert_eq!(ago("9d"), Ok(0));
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for wrong in [
            "",
            "h",
            "-1h",
            "+1h",
            "1.5h",
            "5",
            "99999999999999999999d",
            "18446744073709551615h",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "2026-00-10",
            "2026-11-00",
            "1969-12-31",
            "2026-11-23T24:00:00Z",
            "2026-11-23T00:60:00Z",
            "2026-11-23T18:00:00",
            "26-11-23",
            "2026-11-23T18:00Z",
            "2026-11-23-01",
            "2026-1a-23",
            "é",
        ] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }
}
