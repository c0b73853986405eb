//! Dates (RFC 9110 section 5.6.7), read strictly: what is nearly a date is none, and what expires at no date has expired.

/// Seconds since 1970, of an IMF-fixdate, an RFC 850 date or an asctime date, in any case. `now` settles the century of
/// a year of two digits.
pub(in crate::cache) fn parse(value: &[u8], now: i64) -> Option<i64> {
    let value = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    imf_fixdate(value).or_else(|| rfc850(value, now)).or_else(|| asctime(value))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(value: &str) -> Option<i64> {
    let mut rest = Scanner(value);
    rest.one_of(&SHORT_DAYS)?;
    rest.literal(", ")?;
    let day = rest.digits(2)?;
    rest.literal(" ")?;
    let month = rest.one_of(&MONTHS)? + 1;
    rest.literal(" ")?;
    let year = rest.digits(4)?;
    rest.literal(" ")?;
    let time = rest.time()?;
    rest.literal(" gmt")?;
    rest.ends()?;
    seconds(year, month, day, time)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(value: &str, now: i64) -> Option<i64> {
    let mut rest = Scanner(value);
    rest.one_of(&LONG_DAYS)?;
    rest.literal(", ")?;
    let day = rest.digits(2)?;
    rest.literal("-")?;
    let month = rest.one_of(&MONTHS)? + 1;
    rest.literal("-")?;
    let year = rest.digits(2)?;
    rest.literal(" ")?;
    let time = rest.time()?;
    rest.literal(" gmt")?;
    rest.ends()?;
    // "MUST interpret a timestamp that appears to be more than 50 years in the future as representing the most recent year
    // in the past that had the same last two digits."
    let this_year = year_of(now);
    let mut full = this_year - this_year.rem_euclid(100) + year;
    if full > this_year + 50 {
        full -= 100;
    }
    seconds(full, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(value: &str) -> Option<i64> {
    let mut rest = Scanner(value);
    rest.one_of(&SHORT_DAYS)?;
    rest.literal(" ")?;
    let month = rest.one_of(&MONTHS)? + 1;
    rest.literal(" ")?;
    let day = if rest.0.starts_with(' ') {
        rest.literal(" ")?;
        rest.digits(1)?
    } else {
        rest.digits(2)?
    };
    rest.literal(" ")?;
    let time = rest.time()?;
    rest.literal(" ")?;
    let year = rest.digits(4)?;
    rest.ends()?;
    seconds(year, month, day, time)
}

const SHORT_DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

struct Scanner<'a>(&'a str);

impl Scanner<'_> {
    /// Literals are given in lower case.
    fn literal(&mut self, literal: &str) -> Option<()> {
        let head = self.0.get(..literal.len())?;
        if !head.eq_ignore_ascii_case(literal) {
            return None;
        }
        self.0 = &self.0[literal.len()..];
        Some(())
    }

    fn one_of(&mut self, names: &[&str]) -> Option<i64> {
        let found = names.iter().position(|name| self.literal(name).is_some())?;
        i64::try_from(found).ok()
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.0.get(..count).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        self.0 = &self.0[count..];
        digits.parse().ok()
    }

    /// Seconds of the day. 60 is a leap second.
    fn time(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.literal(":")?;
        let minute = self.digits(2)?;
        self.literal(":")?;
        let second = self.digits(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
    }

    fn ends(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn seconds(year: i64, month: i64, day: i64, time: i64) -> Option<i64> {
    (1..=days_in(year, month)).contains(&day).then(|| days_before(year, month, day) * 86_400 + time)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, by years that begin in March, so that the leap day is the last one.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn year_of(seconds: i64) -> i64 {
    let days = seconds.div_euclid(86_400);
    let guess = 1970 + days * 400 / 146_097;
    if days < days_before(guess, 1, 1) {
        guess - 1
    } else if days >= days_before(guess + 1, 1, 1) {
        guess + 1
    } else {
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: i64 = 1_795_000_000; // in 2026

    fn date(text: &str) -> Option<i64> {
        parse(text.as_bytes(), NOW)
    }

    #[test]
    fn the_three_formats_are_read_in_any_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUNDAY, 06-NOV-94 08:49:37 gmt",
        ] {
            assert_eq!(date(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_nearly_a_date_is_none() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        let year = |text: &str| year_of(date(text).unwrap());
        assert_eq!(year("Sunday, 06-Nov-76 08:49:37 GMT"), 2076);
        assert_eq!(year("Sunday, 06-Nov-77 08:49:37 GMT"), 1977);
        assert_eq!(year("Sunday, 06-Nov-26 08:49:37 GMT"), 2026);
    }

    proptest! {
        #[test]
        fn every_date_that_is_written_is_read_back(seconds in 0i64..253_402_300_800) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds as u64));
            prop_assert_eq!(date(&text), Some(seconds));
        }

        #[test]
        fn no_text_panics(text in any::<Vec<u8>>()) {
            let _ = parse(&text, NOW);
        }
    }
}
