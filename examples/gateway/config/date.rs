//! Points in time: `2027-01-01T00:00:00Z`, RFC 3339 with its offset, as TOML has it.

use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};
use toml::de::DeValue;
use toml::value::{Datetime, Offset};

use super::value::{Form, Value};

/// A date and a time with an offset, from 1970 on: without an offset nobody can say when that is.
pub(super) struct PointInTime;

impl Form for PointInTime {
    type Output = SystemTime;

    fn expects() -> String {
        "a date and time with its offset such as 2027-01-01T00:00:00Z".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<SystemTime> {
        let read = match value.node.get_ref() {
            DeValue::Datetime(written) => since_1970(written),
            // From a variable it arrives as text.
            DeValue::String(_) => {
                let text = value.text::<Self>()?;
                text.text.parse().ok().as_ref().and_then(since_1970)
            }
            _ => None,
        };
        if read.is_none() {
            value.is_not::<Self>();
        }
        SystemTime::UNIX_EPOCH.checked_add(read?)
    }

    fn schema() -> Json {
        // TOML's dates have no type in JSON: editors show them as text.
        json!({ "type": "string", "examples": ["2027-01-01T00:00:00Z"] })
    }
}

fn since_1970(written: &Datetime) -> Option<Duration> {
    let (date, time) = (written.date?, written.time?);
    let offset_minutes = match written.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_minutes;
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = days * 86_400 + minutes * 60 + i64::from(time.second.unwrap_or(0));
    Some(Duration::new(u64::try_from(seconds).ok()?, time.nanosecond.unwrap_or(0)))
}

/// Of the Gregorian calendar. Years are counted from March, so that the day that comes and goes is the last of one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, months_since_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // March has 31 days, April 30, and so on: 153 in five months, twice, and then what is left of the year.
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let day_0_is_1970 = 719_468;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - day_0_is_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(written: &str) -> Option<u64> {
        since_1970(&written.parse().expect("a date of TOML")).map(|since| since.as_secs())
    }

    #[test]
    fn dates_are_counted_from_1970_whatever_their_offset() {
        for (written, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2027-01-01T00:00:00Z", 1_798_761_600),
            ("2027-01-01 00:00:00.5-00:30", 1_798_763_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(seconds(written), Some(expected), "{written}");
        }
    }

    #[test]
    fn a_date_that_could_be_any_of_several_moments_is_none() {
        for written in ["2027-01-01", "2027-01-01T00:00:00", "00:00:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(seconds(written), None, "{written}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let month_ends = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut expected = 0;
        for year in 1970..2200_i64 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, days) in (1..).zip(month_ends) {
                for day in 1..=days + i64::from(is_leap && month == 2) {
                    assert_eq!(days_since_1970(year, month, day), expected, "{year}-{month}-{day}");
                    expected += 1;
                }
            }
        }
    }
}
