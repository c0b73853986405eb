use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use super::*;
use crate::classify::HttpClassifier;
use crate::{UpstreamError, UpstreamErrorKind};

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Outcome>>>, HttpClassifier);

impl Judge for Seen {
    fn classifier(&self) -> &dyn Classifier {
        &self.1
    }

    fn judged(self, outcome: Outcome) {
        self.0.lock().unwrap().push(outcome);
    }
}

impl Seen {
    fn outcomes(&self) -> Vec<Outcome> {
        self.0.lock().unwrap().clone()
    }

    fn watch(&self) -> Watch<Seen> {
        Watch::new(self.clone(), &Method::GET, None)
    }

    /// The body of an answer with this head, under watch.
    fn answer<B: Body<Error: 'static>>(&self, answer: Response<B>) -> WatchedBody<B, Seen> {
        let mut watch = self.watch();
        let (head, body) = answer.into_parts();
        watch.head(head.status, &head.headers, body.is_end_stream());
        WatchedBody::new(body, Some(watch))
    }
}

fn status(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from("body")).unwrap()
}

fn grpc(trailers: Option<(&'static str, &'static str)>) -> Response<impl Body<Data = Bytes, Error = UpstreamError>> {
    let trailers = trailers.map(|(name, value)| {
        let fields = [(name.parse().unwrap(), HeaderValue::from_static(value))];
        Ok(Frame::trailers(HeaderMap::from_iter(fields)))
    });
    let frames = [Ok(Frame::data(Bytes::from_static(b"message")))].into_iter().chain(trailers);
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Response::builder().header("content-type", "application/grpc+proto").body(body).unwrap()
}

#[tokio::test]
async fn a_success_counts_when_its_body_has_ended_and_once() {
    let seen = Seen::default();
    let body = seen.answer(status(200));
    assert_eq!(seen.outcomes(), []);
    body.collect().await.unwrap();
    assert_eq!(seen.outcomes(), [Outcome::Success]);
}

#[test]
fn what_the_head_says_for_good_counts_at_once() {
    for (code, outcome) in [(500, Outcome::Failure), (503, Outcome::Failure), (429, Outcome::Throttled)] {
        let seen = Seen::default();
        let _body = seen.answer(status(code));
        assert_eq!(seen.outcomes(), [outcome]);
    }
    let seen = Seen::default();
    let stream = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
    let _body = seen.answer(stream.body(Full::<Bytes>::from("data: 1")).unwrap());
    assert_eq!(seen.outcomes(), [Outcome::Success], "a stream without an end");
}

#[test]
fn a_client_error_is_a_success_of_the_origin() {
    let seen = Seen::default();
    for code in [400, 404, 499, 501] {
        drop(seen.answer(status(code).map(|_| Empty::<Bytes>::new())));
    }
    assert_eq!(seen.outcomes(), [Outcome::Success; 4]);
}

#[tokio::test]
async fn grpc_counts_by_the_status_in_its_trailers() {
    let cases = [
        (Some(("grpc-status", "0")), Outcome::Success),
        (Some(("grpc-status", "5")), Outcome::Success),
        (Some(("grpc-status", "14")), Outcome::Failure),
        (Some(("grpc-status", "8")), Outcome::Throttled),
        (Some(("x-other", "0")), Outcome::Failure),
        (None, Outcome::Failure),
    ];
    for (trailers, outcome) in cases {
        let seen = Seen::default();
        seen.answer(grpc(trailers)).collect().await.unwrap();
        assert_eq!(seen.outcomes(), [outcome], "{trailers:?}");
    }
}

#[test]
fn grpc_that_fails_at_once_has_its_status_in_the_head() {
    let seen = Seen::default();
    let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", "13");
    let _body = seen.answer(head.body(Full::<Bytes>::default()).unwrap());
    assert_eq!(seen.outcomes(), [Outcome::Failure]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    let seen = Seen::default();
    let frames = [Ok(Frame::data(Bytes::from_static(b"a"))), Err(UpstreamError::new(UpstreamErrorKind::Truncated))];
    let body = seen.answer(Response::new(StreamBody::new(futures_util::stream::iter(frames))));
    assert!(body.collect().await.is_err());
    assert_eq!(seen.outcomes(), [Outcome::Failure]);
}

#[test]
fn a_client_that_leaves_says_nothing_before_the_head_and_nothing_against_the_origin_after_it() {
    let seen = Seen::default();
    drop(seen.watch());
    drop(seen.answer(status(200)));
    assert_eq!(seen.outcomes(), [Outcome::Ignored, Outcome::Success]);

    let strict = Seen(Arc::default(), HttpClassifier::new().dropped(Outcome::Failure));
    drop(strict.watch());
    drop(strict.answer(status(200)));
    assert_eq!(strict.outcomes(), [Outcome::Failure; 2]);
}

#[test]
fn a_call_that_a_deadline_gave_up_is_a_failure() {
    let seen = Seen::default();
    let context = RequestContext::new();
    let watch = Watch::new(seen.clone(), &Method::GET, Some(context.clone()));
    context.set_upstream_error(UpstreamErrorKind::ResponseTimeout.into());
    drop(watch);
    assert_eq!(seen.outcomes(), [Outcome::Failure]);
}

#[test]
fn answers_that_nobody_reads_are_complete_with_their_head() {
    let seen = Seen::default();
    let mut watch = Watch::new(seen.clone(), &Method::HEAD, None);
    watch.head(StatusCode::OK, &HeaderMap::new(), false);
    let _unread = seen.answer(status(304));
    assert_eq!(seen.outcomes(), [Outcome::Success; 2]);
}

#[test]
fn errors_count_by_what_happened_whoever_tells_it() {
    let outcome = |watch: &dyn Fn(&mut Watch<Seen>)| {
        let seen = Seen::default();
        watch(&mut seen.watch());
        seen.outcomes()
    };
    for kind in [UpstreamErrorKind::Connect, UpstreamErrorKind::Reset, UpstreamErrorKind::ResponseTimeout] {
        assert_eq!(outcome(&|watch| watch.failed(&UpstreamError::new(kind))), [Outcome::Failure]);
    }
    let ours = UpstreamError::new(UpstreamErrorKind::Overloaded);
    assert_eq!(outcome(&|watch| watch.failed(&ours)), [Outcome::Throttled]);
    let boxed = || -> crate::BoxError { std::io::Error::other(crate::RequestBodyFailed::new("gone")).into() };
    assert_eq!(outcome(&|watch| watch.failed(&boxed())), [Outcome::Ignored], "the client's own fault");
    assert_eq!(outcome(&|watch| watch.failed(&"who knows")), [Outcome::Failure]);
}
