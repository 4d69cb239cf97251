//! Texts for people: durations, tables, numbers.

use std::io::Write;

/// A duration as people read it: `740 ms`, `1.2 s`, `30 s`, `2 min`, `1 h 20 min`.
pub(super) fn duration(milliseconds: u64) -> String {
    let (minutes, hours) = (milliseconds / 60_000, milliseconds / 3_600_000);
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..120_000 if milliseconds % 1_000 < 50 => format!("{} s", milliseconds / 1_000),
        1_000..120_000 => format!("{:.1} s", milliseconds as f64 / 1_000.0),
        120_000..3_600_000 => format!("{minutes} min"),
        _ if minutes % 60 == 0 => format!("{hours} h"),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

/// An instant as people and machines read it: `2026-11-23T02:44:00Z`.
pub(super) fn instant(unix_ms: u64) -> String {
    let second = unix_ms / 1_000 % 86_400;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", date(unix_ms))
}

/// The date of an instant in Unix milliseconds, by the proleptic Gregorian calendar.
/// Source: Howard Hinnant, `civil_from_days`, <https://howardhinnant.github.io/date_algorithms.html>.
pub(super) fn date(unix_ms: u64) -> String {
    let days = unix_ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Rows under a head, each column as wide as it needs to be; `right` names the columns of
/// numbers.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate().take(widths.len()) {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if right.contains(&column) {
                line.push_str(&format!("{pad}{cell}  "));
            } else {
                line.push_str(&format!("{cell}{pad}  "));
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Writes to standard output; a reader that has gone away (as `head` does) is no error.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        // Nobody reads: there is nobody to tell.
    }
}

/// Writes one JSON document to standard output.
pub(super) fn print_json(value: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string());
    print(&format!("{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates_of_the_calendar() {
        let said = [0, 951_782_400_000, 951_868_799_999, 1_795_401_840_000, 4_102_444_800_000]
            .map(instant);
        let expected = [
            "1970-01-01T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "2026-11-23T02:44:00Z",
            "2100-01-01T00:00:00Z",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let days = [0, 59, 11_016, 19_782, 20_780];
        let dates: Vec<String> = days.iter().map(|day| date(day * 86_400_000 + 5)).collect();
        assert_eq!(dates, ["1970-01-01", "1970-03-01", "2000-02-29", "2024-02-29", "2026-11-23"]);
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let said: Vec<String> =
            [0, 999, 1_000, 1_249, 9_960, 30_000, 119_000, 180_000, 4_800_000, 7_200_000]
                .map(duration)
                .into();
        let expected = [
            "0 ms",
            "999 ms",
            "1 s",
            "1.2 s",
            "10.0 s",
            "30 s",
            "119 s",
            "3 min",
            "1 h 20 min",
            "2 h",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_table_aligns_numbers_right_and_ends_lines_clean() {
        let rows = vec![
            vec!["agent-1".to_owned(), "3".to_owned(), String::new()],
            vec!["a".to_owned(), "300".to_owned(), "x".to_owned()],
        ];
        let text = table(&["id", "n", "flags"], &rows, &[1]);
        assert_eq!(text, "id         n  flags\nagent-1    3\na        300  x\n");
    }
}
