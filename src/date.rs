//! The date of an answer that came without one (RFC 9110 section 6.6.1), written once a second on each thread.

use std::cell::RefCell;
use std::time::UNIX_EPOCH;

use http::HeaderValue;

use crate::aside::aside;
use crate::clock::wall_to_a_tick;

/// The value of `Date` right now.
pub(crate) fn now() -> HeaderValue {
    thread_local! {
        static WRITTEN: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let time = wall_to_a_tick();
    let second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    WRITTEN.with_borrow_mut(|(written, value)| {
        if *written != second || value.is_empty() {
            aside();
            *written = second;
            *value = HeaderValue::try_from(httpdate::fmt_http_date(time)).unwrap_or_else(|_| value.clone());
        }
        value.clone()
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_date_is_a_date_of_this_second() {
        // The kernel's last tick was no longer ago.
        let before = SystemTime::now() - Duration::from_millis(10);
        let date = httpdate::parse_http_date(now().to_str().unwrap()).unwrap();
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((since(before)..=since(SystemTime::now())).contains(&since(date)));
    }
}
