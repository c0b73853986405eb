use std::cell::Cell;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::HeaderValue;

use super::random;
use super::uuid_v7::Sequence;
use crate::{Clock, Head, RequestId};

/// Makes the ids of requests that have none, where UUIDs are not what you want.
///
/// Any closure of this shape is one; give it to
/// [`RequestIdLayer::make_with`](super::RequestIdLayer::make_with).
pub trait MakeRequestId: Send + Sync + 'static {
    /// The id of the request with this head. `None` leaves it to the layer, which makes a UUID: no request goes without.
    fn make_request_id(&self, head: &Head<'_>) -> Option<RequestId>;
}

impl<F> MakeRequestId for F
where
    F: Fn(&Head<'_>) -> Option<RequestId> + Send + Sync + 'static,
{
    fn make_request_id(&self, head: &Head<'_>) -> Option<RequestId> {
        self(head)
    }
}

/// A UUID of version 7, in one allocation that all of its clones share.
pub(super) fn uuid_v7(clock: &Clock) -> RequestId {
    thread_local! {
        static SEQUENCE: Cell<Sequence> = Cell::default();
    }
    let since_epoch = clock.wall_to_a_tick().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_millis = since_epoch.as_secs().wrapping_mul(1000).wrapping_add(u64::from(since_epoch.subsec_millis()));
    let uuid = SEQUENCE.with(|sequence| {
        let mut next = sequence.get();
        let uuid = next.next(unix_millis, random::bits);
        sequence.set(next);
        uuid
    });
    HeaderValue::from_maybe_shared(Bytes::from_owner(uuid.text()))
        .ok()
        .and_then(RequestId::new)
        .expect("hexadecimal digits and dashes are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_made_in_many_threads_are_unique() {
        const THREADS: usize = 20;
        const IDS: usize = 50_000;
        let make = || (0..IDS).map(|_| uuid_v7(&Clock::system())).collect::<Vec<_>>();
        let threads: Vec<_> = (0..THREADS).map(|_| std::thread::spawn(make)).collect();
        let mut all = HashSet::with_capacity(THREADS * IDS);
        for thread in threads {
            all.extend(thread.join().unwrap());
        }
        assert_eq!(all.len(), THREADS * IDS);
    }

    #[test]
    fn ids_sort_by_the_clock() {
        let (clock, hand) = Clock::manual();
        hand.advance(std::time::Duration::from_secs(3600));
        let before = uuid_v7(&clock);
        hand.advance(std::time::Duration::from_millis(1));
        assert!(uuid_v7(&clock).as_str() > before.as_str());
    }

    #[test]
    fn a_clock_before_1970_is_no_obstacle() {
        let (clock, hand) = Clock::manual();
        hand.step_wall(i64::MIN / 2);
        assert!(uuid_v7(&clock).as_str().starts_with("00000000-0000-7"));
    }
}
