//! How many are in flight at once, as callers meet it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::RequestContext;
use tower_gateway::concurrency::ConcurrencyLayer;

const SECOND: Duration = Duration::from_secs(1);

/// Answers after a second.
fn slow(
    layer: &ConcurrencyLayer,
) -> impl Service<
    Request<()>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Infallible>>,
    Error = Infallible,
> + Clone {
    layer.layer(service_fn(async |_: Request<()>| {
        tokio::time::sleep(SECOND).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
    }))
}

async fn status(layer: &ConcurrencyLayer) -> u16 {
    slow(layer).oneshot(Request::new(())).await.unwrap().status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn one_more_than_the_limit_is_refused_until_there_is_room() {
    let layer = ConcurrencyLayer::new(2).retry_after(3 * SECOND);
    let (one, two, three) = tokio::join!(status(&layer), status(&layer), async {
        tokio::time::sleep(SECOND / 2).await;
        slow(&layer).oneshot(Request::new(())).await.unwrap()
    });
    assert_eq!((one, two, three.status().as_u16()), (200, 200, 503));
    assert_eq!(three.headers()["retry-after"], "3");
    let body = three.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("concurrency_exceeded"));
    assert_eq!(status(&layer).await, 200);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_its_body_has_ended_or_was_dropped() {
    let layer = ConcurrencyLayer::new(1);
    let mut answer = slow(&layer).oneshot(Request::new(())).await.unwrap();
    assert_eq!((layer.handle().in_flight(), status(&layer).await), (1, 503));
    answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(layer.handle().in_flight(), 0, "its last byte has been read");
    let answer = slow(&layer).oneshot(Request::new(())).await.unwrap();
    drop(answer);
    assert_eq!(layer.handle().in_flight(), 0);
    let mut head = Request::new(());
    *head.method_mut() = Method::HEAD;
    drop(slow(&layer).oneshot(head).await.unwrap());
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_in_flight_or_in_line_makes_room() {
    let layer = ConcurrencyLayer::new(1).queue(1, 60 * SECOND);
    let mut flying = Box::pin(status(&layer));
    assert!(flying.as_mut().now_or_never().is_none());
    let mut waiting = Box::pin(status(&layer));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (1, 1));
    assert_eq!(status(&layer).await, 503, "the queue has a length");
    drop(waiting);
    assert_eq!(layer.handle().waiting(), 0);
    drop(flying);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_are_served_in_turn_and_for_no_longer_than_they_may_wait() {
    let layer = ConcurrencyLayer::new(1).queue(10, 5 * SECOND / 2);
    let begin = tokio::time::Instant::now();
    let timed = || async {
        let status = status(&layer).await;
        (status, begin.elapsed().as_millis() as u64)
    };
    let answers = futures_util::future::join_all((0..5).map(|_| timed())).await;
    let served: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, at)| *at).collect();
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 503).map(|(_, at)| *at).collect();
    assert_eq!(served, [1_000, 2_000, 3_000]);
    assert!(refused.len() == 2 && refused.iter().all(|at| (2_500..2_510).contains(at)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_lets_all_pass_and_says_who_would_not() {
    let layer = ConcurrencyLayer::new(1).dry_run(true);
    let (one, two) = tokio::join!(status(&layer), async {
        tokio::time::sleep(SECOND / 2).await;
        let mut request = Request::new(());
        let context = RequestContext::of(request.extensions_mut());
        let status = slow(&layer).oneshot(request).await.unwrap().status().as_u16();
        (status, context.rejection().unwrap().is_dry_run())
    });
    assert_eq!((one, two), (200, (200, true)));
}

#[tokio::test(start_paused = true)]
async fn an_adopted_layer_counts_what_is_in_flight_and_keeps_its_own_limit() {
    let old = ConcurrencyLayer::new(1);
    let _flying = slow(&old).oneshot(Request::new(())).await.unwrap();
    let new = ConcurrencyLayer::new(2).adopt(&old);
    assert_eq!((new.handle().in_flight(), new.handle().limit()), (1, 2));
    let _second = slow(&new).oneshot(Request::new(())).await.unwrap();
    assert_eq!(status(&new).await, 503);
}

/// A service that does ten at once, and lets the others wait.
#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_finds_out_what_the_service_can_do() {
    let layer = ConcurrencyLayer::adaptive(1_000).queue(1_000, 60 * SECOND);
    let workers = std::sync::Arc::new(tokio::sync::Semaphore::new(10));
    let app = layer.layer(service_fn(move |_: Request<()>| {
        let workers = workers.clone();
        async move {
            let _worker = workers.acquire().await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        }
    }));
    futures_util::future::join_all((0..100).map(|_| async {
        for _ in 0..30 {
            let answer = app.clone().oneshot(Request::new(())).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    }))
    .await;
    let limit = layer.handle().limit();
    assert!((10..=30).contains(&limit), "{limit}");
}
