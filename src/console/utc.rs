//! A moment as people write it.

use std::fmt;

/// Seconds since 1970, shown as `2026-11-22 23:51:46`.
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// The same as ISO 8601 wants it: `2026-11-22T23:51:46Z`.
pub(super) struct Iso(pub(super) u64);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", Utc(self.0).to_string().replace(' ', "T"))
    }
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970.
///
/// Years are counted from March here, so that the leap day is the last of its year, and the
/// months before a day follow from one multiplication.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let since_0000_03_01 = days + 719_468;
    let era = since_0000_03_01 / DAYS_OF_400_YEARS;
    let day_of_era = since_0000_03_01 % DAYS_OF_400_YEARS;
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / (DAYS_OF_400_YEARS - 1);
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, later) = match month_from_march {
        0..=9 => (month_from_march + 3, 0),
        _ => (month_from_march - 9, 1),
    };
    (era * 400 + year_of_era + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(Utc(0).to_string(), "1970-01-01 00:00:00");
        assert_eq!(Utc(951_782_400).to_string(), "2000-02-29 00:00:00");
        assert_eq!(Utc(1_795_391_506).to_string(), "2026-11-22 23:51:46");
        assert_eq!(Iso(1_795_391_506).to_string(), "2026-11-22T23:51:46Z");
        assert_eq!(Utc(4_107_542_399).to_string(), "2100-02-28 23:59:59");
        assert_eq!(Utc(4_107_542_400).to_string(), "2100-03-01 00:00:00");
    }

    #[test]
    fn days_follow_each_other() {
        let mut yesterday = civil(0);
        for days in 1..200_000 {
            let (year, month, day) = civil(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match yesterday.1 {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match yesterday {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, day) if day == last => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
            assert_eq!((year, month, day), expected);
            yesterday = expected;
        }
    }
}
