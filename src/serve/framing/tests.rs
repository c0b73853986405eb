use std::cell::RefCell;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

fn doubt(wire: &[u8]) -> Option<u64> {
    FramingWatch::default().scan(wire)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn plain_messages_raise_no_doubt_wherever_they_end() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 27\r\n\r\nContent-Length: 5\r\nx: y\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1a;x=y\r\nContent-Length: 5\r\nx: y\r\n\r\r\n0\r\nX-Sum: 1\r\n\r\n";
    let wire = [GET, post, "\r\n", chunked, GET, chunked, post].concat();
    assert_eq!(doubt(wire.as_bytes()), None);
    let mut watch = FramingWatch::default();
    watch.scan(wire.as_bytes());
    assert_eq!((watch.heads, watch.place), (6, Place::Head));
}

#[test]
fn a_head_with_both_framings_or_two_lengths_is_in_doubt() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "transfer-encoding:chunked\r\nX: y\r\nCONTENT-LENGTH:5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense",
        "Content-Length: 0\r\nX: y\r\ncontent-length: 0",
        "Content-Length: 0\nTransfer-Encoding: chunked",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(doubt(head.as_bytes()), Some(0), "{fields}");
        let later = format!("{GET}{GET}{head}{GET}");
        assert_eq!(doubt(later.as_bytes()), Some(2), "{fields}");
    }
}

#[test]
fn a_length_that_may_go_on_is_in_doubt() {
    let head = format!("POST / HTTP/1.1\r\nContent-Length:{}5\r\n\r\n", " ".repeat(LINE));
    assert_eq!(doubt(head.as_bytes()), Some(0));
}

#[test]
fn names_that_only_begin_alike_are_other_fields() {
    let head = "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length-X: 5\r\nX-Content-Length: 5\r\n\
                Transfer-Encodings: chunked\r\n\r\n";
    assert_eq!(doubt(head.as_bytes()), None);
}

#[test]
fn after_trailers_that_end_elsewhere_all_is_in_doubt() {
    let wire = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n";
    assert_eq!(doubt(wire.as_bytes()), Some(1));
}

/// The requests hyper hands on, each with whether it carries `X-Bad`, and whether all went well.
fn hyper_sees(wire: &[u8]) -> (Vec<bool>, bool) {
    let (seen, whole) = (RefCell::new(Vec::new()), RefCell::new(true));
    let service = service_fn(async |request: Request<Incoming>| {
        seen.borrow_mut().push(request.headers().contains_key("x-bad"));
        *whole.borrow_mut() &= request.into_body().collect().await.is_ok();
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let served = runtime.block_on(async {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        near.write_all(wire).await.unwrap();
        near.shutdown().await.unwrap();
        http1::Builder::new().serve_connection(TokioIo::new(far), service).await
    });
    (seen.into_inner(), whole.into_inner() && served.is_ok())
}

proptest! {
    /// hyper is the oracle: where it takes a message to end, so does the watch, and no bad head passes.
    #[test]
    fn hyper_and_the_watch_see_the_same_messages(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:\t 0005 \r\n\r\n\r\n\r\nx",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\n\r\r\n0\r\nX: y\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Bad: 1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n12345",
            "POST / HTTP/1.1\r\nX-Bad: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Bad: 1\r\nContent-Length: 5\r\n\r\n",
            "3\r\nabc\r\n", "0A ; x=y\r\n0123456789\r\n", "0\r\n\r\n", "0\r\nX: y\r\n\r\n", "000;\r\nX: y\nZ: z\r\n\r\n",
            "\r\n", "\n", "\r", "5", "x",
        ]), 0..12),
    ) {
        let wire = pieces.concat();
        let mut watch = FramingWatch::default();
        let doubt = watch.scan(wire.as_bytes());
        let (seen, all_well) = hyper_sees(wire.as_bytes());
        for (request, bad) in seen.iter().enumerate() {
            let in_doubt = doubt.is_some_and(|from| request as u64 >= from);
            prop_assert!(in_doubt || !bad, "request {request} of {wire:?}");
        }
        match doubt {
            None if all_well => prop_assert_eq!(seen.len() as u64, watch.heads),
            None => prop_assert!(seen.len() as u64 <= watch.heads),
            // After odd trailers nothing is known any more; else a head that is in doubt is a bad one.
            Some(from) if all_well && !wire.contains("y\nZ") => prop_assert_eq!(seen.get(from as usize), Some(&true)),
            Some(_) => {}
        }
    }

    #[test]
    fn it_is_the_same_however_the_bytes_arrive(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "GET / HTTP/1.1\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "\r\n", "\n", "abc", "3\r\nabc\r\n",
            "0\r\n\r\n", "X: y\r\n", "fffffffffffffffff\r\n", "Content-Length: 99999999999999999999\r\n",
        ]), 0..24),
        cuts in proptest::collection::vec(1..40usize, 0..24),
    ) {
        let wire = pieces.concat();
        let mut watch = FramingWatch::default();
        let (mut rest, mut found) = (wire.as_bytes(), None);
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            found = found.or(watch.scan(now));
            rest = later;
        }
        found = found.or(watch.scan(rest));
        prop_assert_eq!(found, doubt(wire.as_bytes()));
    }

    #[test]
    fn any_bytes_are_followed_or_given_up(wire in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = doubt(&wire);
    }
}
