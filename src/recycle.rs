//! The memory of messages that are done with, for those that come next on the same thread: a map that is empty and has its
//! tables costs a fraction of one that has to make them.

use std::cell::RefCell;

use http::{Extensions, HeaderMap, Request};

/// How many of each kind a thread keeps, and how large a map may be.
const KEPT: usize = 64;
const LARGEST: usize = 48;

#[derive(Default)]
struct Kept {
    headers: Vec<HeaderMap>,
    extensions: Vec<Extensions>,
}

thread_local! {
    static KEPT_HERE: RefCell<Kept> = RefCell::default();
}

/// An empty map with room for so many fields.
pub(crate) fn headers(fields: usize) -> HeaderMap {
    let kept = KEPT_HERE.with_borrow_mut(|kept| kept.headers.pop());
    kept.filter(|headers| headers.capacity() >= fields).unwrap_or_else(|| HeaderMap::with_capacity(fields))
}

/// Nobody needs these fields any more.
pub(crate) fn give_headers(mut headers: HeaderMap) {
    if (1..=LARGEST).contains(&headers.capacity()) {
        headers.clear();
        KEPT_HERE.with_borrow_mut(|kept| {
            if kept.headers.len() < KEPT {
                kept.headers.push(headers);
            }
        });
    }
}

/// Extensions that hold nothing.
#[cfg(feature = "serve")]
pub(crate) fn extensions() -> Extensions {
    KEPT_HERE.with_borrow_mut(|kept| kept.extensions.pop()).unwrap_or_default()
}

/// Nobody needs these extensions any more.
pub(crate) fn give_extensions(mut extensions: Extensions) {
    // What is dropped here may be somebody's own, and may do anything.
    extensions.clear();
    KEPT_HERE.with_borrow_mut(|kept| {
        if kept.extensions.len() < KEPT {
            kept.extensions.push(extensions);
        }
    });
}

/// A request that was answered without anybody behind.
pub(crate) fn give_request<B>(request: Request<B>) {
    let (parts, _) = request.into_parts();
    give_headers(parts.headers);
    give_extensions(parts.extensions);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::HOST;

    #[test]
    fn what_was_given_comes_back_empty() {
        std::thread::spawn(|| {
            let mut given = HeaderMap::with_capacity(10);
            given.insert(HOST, HeaderValue::from_static("secret"));
            let capacity = given.capacity();
            give_headers(given);
            let taken = headers(3);
            assert_eq!((taken.len(), taken.capacity()), (0, capacity));
            assert!(headers(3).capacity() < capacity);

            let mut given = Extensions::new();
            given.insert("secret");
            give_extensions(given);
            assert!(extensions().is_empty());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn only_so_much_is_kept() {
        std::thread::spawn(|| {
            give_headers(HeaderMap::with_capacity(1000));
            give_headers(HeaderMap::new());
            assert_eq!(headers(0).capacity(), 0);
            (0..1000).for_each(|_| give_headers(HeaderMap::with_capacity(8)));
            let kept = (0..1000).take_while(|_| headers(0).capacity() > 0).count();
            assert_eq!(kept, KEPT);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn one_that_is_too_small_is_not_handed_out() {
        std::thread::spawn(|| {
            give_headers(HeaderMap::with_capacity(3));
            assert!(headers(20).capacity() >= 20);
        })
        .join()
        .unwrap();
    }
}
