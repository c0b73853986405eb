//! The memory of messages that are done with, for those that come next on the same thread: a map that is empty and has its
//! tables costs a fraction of one that has to make them.

use std::cell::RefCell;

use http::{Extensions, HeaderMap, Request};

use crate::RequestContext;
#[cfg(feature = "serve")]
use crate::{Connection, InterimSink};

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

/// Extensions that hold the context of a request that was just received, and nothing else.
#[cfg(feature = "serve")]
pub(crate) fn received(connection: Connection, interim_sink: Option<InterimSink>) -> Extensions {
    let mut extensions = KEPT_HERE.with_borrow_mut(|kept| kept.extensions.pop()).unwrap_or_default();
    match extensions.get_mut::<RequestContext>() {
        Some(context) => context.renew(connection, interim_sink),
        None => drop(extensions.insert(RequestContext::of_received(connection, interim_sink))),
    }
    extensions
}

/// Nobody needs these extensions any more.
pub(crate) fn give_extensions(mut extensions: Extensions) {
    // A context that the server has made keeps its place for the next one. Somebody may still read it: what it knows is
    // forgotten when it is taken again.
    let is_servers = extensions.len() == 1 && extensions.get().is_some_and(RequestContext::is_received);
    if !is_servers {
        // What is dropped here may be somebody's own, and may do anything.
        extensions.clear();
    }
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
        })
        .join()
        .unwrap();
    }

    #[cfg(feature = "serve")]
    #[test]
    fn a_context_that_is_taken_again_knows_nothing_of_the_request_before() {
        std::thread::spawn(|| {
            let connection = |port| Connection::plain(([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], 80).into());
            for somebody_reads_it in [false, true] {
                let first = received(connection(1), None);
                let context = first.get::<RequestContext>().unwrap().clone();
                context.set_route("first".into());
                context.set_request_id(crate::RequestId::new(HeaderValue::from_static("first")).unwrap());
                context.record_try("a:1".into());
                let reader = somebody_reads_it.then_some(context);
                give_extensions(first);

                let second = received(connection(2), None);
                let context = second.get::<RequestContext>().unwrap();
                assert_eq!((second.len(), context.connection().unwrap().peer.port()), (1, 2));
                assert!(
                    context.route().is_none() && context.request_id().is_none() && context.upstream_server().is_none()
                );
                assert_eq!(context.tries(), 0);
                assert!(reader.is_none_or(|reader| reader.route().unwrap().as_str() == "first"));
            }
        })
        .join()
        .unwrap();
    }

    #[cfg(feature = "serve")]
    #[test]
    fn what_others_have_put_into_extensions_is_dropped_with_them() {
        std::thread::spawn(|| {
            let mut given = Extensions::new();
            given.insert("secret");
            give_extensions(given);
            let connection = Connection::plain(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 80).into());
            let mut given = received(connection.clone(), None);
            assert_eq!(given.len(), 1);
            given.insert("secret");
            give_extensions(given);
            assert_eq!(received(connection, None).len(), 1);
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
