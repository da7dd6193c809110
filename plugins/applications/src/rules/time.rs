//! Calendar arithmetic in UTC, from milliseconds since 1970.

/// Days in a month, or 0 for a month that does not exist.
fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// Whether the day exists and lies in a year a living person can name.
pub(super) fn valid_date(year: i64, month: i64, day: i64) -> bool {
    (1800..=2199).contains(&year) && (1..=days_in(year, month)).contains(&day)
}

/// Year, month and day of a count of days since 1970, by the 400-year cycle of
/// the Gregorian calendar with years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The year an instant lies in.
pub fn year_of(ms: i64) -> i64 {
    civil(ms.div_euclid(86_400_000)).0
}

/// `2026-11-22T08:30:00.000Z`.
pub fn rfc3339(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(86_400_000));
    let rest = ms.rem_euclid(86_400_000);
    let (hour, minute, second, millis) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_763_800_201_007), "2025-11-22T08:30:01.007Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!((year_of(1_767_225_599_999), year_of(1_767_225_600_000)), (2025, 2026));
    }

    #[test]
    fn every_day_of_a_cycle_follows_the_one_before() {
        let mut expected = (1970, 1, 1);
        for day in 0..146_097 {
            assert_eq!(civil(day), expected);
            let (year, month, date) = expected;
            expected = match () {
                () if date < days_in(year, month) => (year, month, date + 1),
                () if month < 12 => (year, month + 1, 1),
                () => (year + 1, 1, 1),
            };
        }
    }
}
