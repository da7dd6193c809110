//! PostgreSQL's binary forms of dates and times: days and microseconds since 2000.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, Timelike, Utc};

type Written = Result<Vec<u8>, &'static str>;

fn epoch() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default().and_time(NaiveTime::MIN)
}

pub(super) fn date(text: &str) -> Written {
    let date: NaiveDate = text.parse().map_err(|_| "it is not a date like 2026-02-28")?;
    let days = date.signed_duration_since(epoch().date()).num_days();
    Ok(i32::try_from(days).map_err(|_| "it is out of range")?.to_be_bytes().to_vec())
}

pub(super) fn time(text: &str) -> Written {
    let time: NaiveTime = text.parse().map_err(|_| "it is not a time like 23:59:59")?;
    let micros = i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000);
    Ok(micros.to_be_bytes().to_vec())
}

pub(super) fn local(text: &str) -> Written {
    let parsed = text.parse::<NaiveDateTime>().or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"));
    since(parsed.map_err(|_| "it is not a timestamp like 2026-02-28T23:59:59")?)
}

pub(super) fn timestamp(text: &str) -> Written {
    since(DateTime::parse_from_rfc3339(text).map_err(|_| "it is not a timestamp like 2026-02-28T23:59:59Z")?.naive_utc())
}

fn since(at: NaiveDateTime) -> Written {
    let micros = at.signed_duration_since(epoch()).num_microseconds();
    Ok(micros.ok_or("it is out of range")?.to_be_bytes().to_vec())
}

pub(super) fn read_date(days: i32) -> Option<String> {
    match days {
        i32::MAX => return Some("infinity".to_owned()),
        i32::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let distance = Days::new(u64::from(days.unsigned_abs()));
    let start = epoch().date();
    let date = if days < 0 { start.checked_sub_days(distance) } else { start.checked_add_days(distance) };
    date.map(|date| date.to_string())
}

pub(super) fn read_time(micros: i64) -> Option<String> {
    let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
    let rest = u32::try_from(micros.rem_euclid(1_000_000)).ok()?;
    // PostgreSQL knows 24:00:00, the end of a day.
    if seconds == 86_400 {
        return Some("24:00:00".to_owned());
    }
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, rest * 1_000).map(|time| time.to_string())
}

fn at(micros: i64) -> Option<NaiveDateTime> {
    epoch().checked_add_signed(TimeDelta::microseconds(micros))
}

fn endless(micros: i64) -> Option<String> {
    match micros {
        i64::MAX => Some("infinity".to_owned()),
        i64::MIN => Some("-infinity".to_owned()),
        _ => None,
    }
}

pub(super) fn read_local(micros: i64) -> Option<String> {
    endless(micros).or_else(|| at(micros).map(|at| at.format("%Y-%m-%dT%H:%M:%S%.f").to_string()))
}

pub(super) fn read_timestamp(micros: i64) -> Option<String> {
    endless(micros)
        .or_else(|| at(micros).map(|at| DateTime::<Utc>::from_naive_utc_and_offset(at, Utc).to_rfc3339_opts(SecondsFormat::AutoSi, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn i64_of(bytes: Vec<u8>) -> i64 {
        i64::from_be_bytes(bytes.try_into().unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["2000-01-01", "1999-12-31", "2026-02-28", "0001-01-01", "9999-12-31"] {
            assert_eq!(read_date(i32::from_be_bytes(date(text).unwrap().try_into().unwrap())).unwrap(), text);
        }
        for text in ["00:00:00", "23:59:59", "12:30:00.123456"] {
            assert_eq!(read_time(i64_of(time(text).unwrap())).unwrap(), text);
        }
        for text in ["2026-02-28T23:59:59", "1969-12-31T23:59:59.000001"] {
            assert_eq!(read_local(i64_of(local(text).unwrap())).unwrap(), text);
        }
        assert_eq!(read_timestamp(i64_of(timestamp("2026-02-28T23:59:59+01:00").unwrap())).unwrap(), "2026-02-28T22:59:59Z");
        assert_eq!((read_date(i32::MAX).unwrap(), read_local(i64::MIN).unwrap()), ("infinity".to_owned(), "-infinity".to_owned()));
        assert!(date("2026-02-30").is_err() && timestamp("2026-02-28T23:59:59").is_err() && time("25:00:00").is_err());
    }
}
