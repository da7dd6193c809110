//! RFC 3339 date-times, read strictly: what an event says about when it happened.

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970-01-01T00:00:00Z of `2026-01-31T12:00:00.5+08:00`.
/// None if the text is not a date-time, or is before 1970.
pub(crate) fn parse_rfc3339_ms(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (year, month, day) = fields(date, b'-', [4, 2, 2])?;
    let (hour, minute, second) = fields(clock, b':', [2, 2, 2])?;
    let (fraction_ms, zone) = fraction(rest)?;
    // 60 is a leap second, which the count of milliseconds does not know.
    let in_range = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !in_range {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second.min(59) - offset_seconds(zone)?;
    u64::try_from(days_since_1970(year, month, day) * DAY_MS + seconds * 1_000 + fraction_ms).ok()
}

fn fields(text: &str, separator: u8, lengths: [usize; 3]) -> Option<(i64, i64, i64)> {
    let mut parts = text.split(separator as char).zip(lengths).map(|(part, length)| number(part, length));
    let fields = (parts.next()??, parts.next()??, parts.next()??);
    (text.bytes().filter(|b| *b == separator).count() == 2).then_some(fields)
}

fn number(text: &str, length: usize) -> Option<i64> {
    let digits = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The milliseconds of `.123456` and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = rest.split_at(end);
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let first_three: String = digits.chars().chain("00".chars()).take(3).collect();
    Some((first_three.parse().ok()?, zone))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" || zone == "z" {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = |y: i64| y * 365 + y / 4 - y / 100 + y / 400;
    let months: i64 = (1..month).map(|m| days_in(year, m)).sum();
    // Full years before this one, counted from year 1; 719_162 days lie before 1970.
    before(year - 1) + months + day - 1 - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_times_are_read_exactly() {
        let table = [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("2000-02-29T12:30:45Z", 951_827_445_000),
            ("2026-01-31T12:00:00.5+08:00", 1_769_832_000_500),
            ("2026-01-31t04:00:00.500999z", 1_769_832_000_500),
            ("2026-01-30T20:00:00-08:00", 1_769_832_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ];
        for (text, ms) in table {
            assert_eq!(parse_rfc3339_ms(text), Some(ms), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bad = [
            "",
            "2026-01-31",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+8:00",
            "2026-01-31T12:00:00+24:00",
            "2026-1-31T12:00:00Z",
            "+026-01-31T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-31T12:00:00Zx",
            "２026-01-31T12:00:00Z",
        ];
        for text in bad {
            assert_eq!(parse_rfc3339_ms(text), None, "{text}");
        }
    }
}
