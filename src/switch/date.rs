//! `Date` (RFC 3261 §20.17): phones set their clocks by it.

use std::io::Write;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes a whole `Date` header line for a time in seconds since 1970.
pub(super) fn write_date(out: &mut Vec<u8>, unix_seconds: u64) {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Days are counted from 1 March of year 0, so that a leap day ends its year.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "Date: {}, {of_month:02} {} {year} {:02}:{:02}:{:02} GMT\r\n",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (unix, text) in [
            (0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
            (951_826_554, "Date: Tue, 29 Feb 2000 12:15:54 GMT\r\n"),
            (1_290_000_000, "Date: Wed, 17 Nov 2010 13:20:00 GMT\r\n"),
            (4_102_444_799, "Date: Thu, 31 Dec 2099 23:59:59 GMT\r\n"),
        ] {
            let mut out = Vec::new();
            write_date(&mut out, unix);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }
}
