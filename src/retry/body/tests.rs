use std::convert::Infallible;

use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;

use super::*;

type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

fn streamed(frames: Frames) -> impl Body<Data = Bytes, Error = &'static str> {
    StreamBody::new(futures_util::stream::iter(frames))
}

fn pieces(pieces: &[&'static str]) -> Frames {
    pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect()
}

fn text<B: Body<Data = Bytes, Error: Into<BoxError>>>(body: ReplayBody<B>) -> String {
    let whole = body.collect().now_or_never().expect("no wait").expect("no error").to_bytes();
    String::from_utf8(whole.to_vec()).unwrap()
}

#[test]
fn a_try_gets_what_an_earlier_one_took_and_then_the_rest() {
    let (mut first, source) = ReplayBody::first(streamed(pieces(&["one ", "two ", "three"])), 100);
    let source = source.unwrap();
    first.frame().now_or_never().unwrap().unwrap().unwrap();
    first.frame().now_or_never().unwrap().unwrap().unwrap();
    assert!(!source.is_lost());
    assert_eq!(text(source.again()), "one two three");
    assert_eq!(text(source.again()), "one two three", "and again");
    let superseded = first.frame().now_or_never().unwrap().unwrap();
    assert!(superseded.is_err(), "the first one has it no more");
}

#[test]
fn trailers_are_sent_with_each_try() {
    let mut frames = pieces(&["data"]);
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), http::HeaderValue::from_static("1"))]);
    frames.push(Ok(Frame::trailers(trailers.clone())));
    let (mut body, source) = ReplayBody::first(streamed(frames), 100);
    for _ in 0..3 {
        let whole = body.collect().now_or_never().unwrap().unwrap();
        assert_eq!(whole.trailers(), Some(&trailers));
        body = source.as_ref().unwrap().again();
    }
}

#[test]
fn more_than_may_be_kept_is_passed_on_and_lost() {
    let (body, source) = ReplayBody::first(streamed(pieces(&["1234", "5678"])), 7);
    assert_eq!(text(body), "12345678");
    assert!(source.unwrap().is_lost());
}

#[test]
fn what_nobody_has_asked_for_can_be_had_again_however_long_it_is() {
    let (first, source) = ReplayBody::first(Full::<Bytes>::from("a long one"), 0);
    drop(first);
    let source = source.unwrap();
    assert!(!source.is_lost());
    assert_eq!(text(source.again()), "a long one");
    assert!(source.is_lost());
}

#[test]
fn a_body_that_fails_is_lost() {
    let mut frames = pieces(&["one"]);
    frames.push(Err("gone"));
    let (body, source) = ReplayBody::first(streamed(frames), 100);
    let error = body.collect().now_or_never().unwrap().unwrap_err();
    assert!(std::error::Error::source(&error).is_some_and(|cause| cause.to_string() == "gone"));
    assert!(source.unwrap().is_lost());
}

#[test]
fn a_request_without_a_body_needs_nothing_to_be_sent_again() {
    let (body, source) = ReplayBody::first(Full::<Bytes>::default(), 100);
    assert!(source.is_none() && body.is_end_stream());
}

proptest! {
    #[test]
    fn every_try_sees_the_same_body_wherever_the_ones_before_it_stopped(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..10),
        stops in prop::collection::vec(0usize..12, 0..5),
    ) {
        let whole = pieces.concat();
        let frames: Vec<Result<_, Infallible>> = pieces.into_iter().map(|piece| Ok(Frame::data(piece.into()))).collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let (mut body, source) = ReplayBody::first(body, 1_000);
        let source = source.unwrap();
        for stop in stops {
            let mut frames = body.into_data_stream().take(stop);
            while frames.next().now_or_never().unwrap().is_some() {}
            body = source.again();
        }
        prop_assert_eq!(body.collect().now_or_never().unwrap().unwrap().to_bytes(), whole);
    }
}
