//! Limits of request bodies: how long, and of which type.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::body::RequestBodyError;
use tower_gateway::limits::{BodyLimitLayer, ContentTypeLayer};
use tower_gateway::{BoxError, RequestContext};

/// Reads the body, and says how long it was, or why it could not be read.
async fn count<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let said = match request.into_body().collect().await {
        Ok(body) => body.to_bytes().len().to_string(),
        Err(error) => error.into().to_string(),
    };
    Ok(Response::new(said.into()))
}

/// A body that does not say how long it is.
fn pieces(sizes: &'static [usize]) -> impl Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(stream::iter(sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![0; *size]))))))
}

async fn answer<S, B, R>(service: S, request: Request<B>) -> (u16, String)
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    R: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let Ok(response) = service.oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_body_up_to_the_limit_passes_whether_it_says_its_length_or_not() {
    let limited = || BodyLimitLayer::new(10).layer(service_fn(count));
    assert_eq!(answer(limited(), Request::new(Full::from(vec![0; 10]))).await, (200, "10".into()));
    let limited = || BodyLimitLayer::new(10).layer(service_fn(count));
    assert_eq!(answer(limited(), Request::new(pieces(&[4, 6]))).await, (200, "10".into()));
    let none = BodyLimitLayer::new(0).layer(service_fn(count));
    assert_eq!(answer(none, Request::new(Empty::<Bytes>::new())).await, (200, "0".into()));
}

#[tokio::test]
async fn a_body_that_says_it_is_longer_is_refused_unread() {
    let unreached =
        service_fn(async |_: Request<_>| -> Result<Response<Full<Bytes>>, Infallible> { panic!("reached") });
    let limited = BodyLimitLayer::new(10).layer(unreached);
    let (status, said) = answer(limited, Request::new(Full::<Bytes>::from(vec![0; 11]))).await;
    assert_eq!(status, 413);
    assert!(said.contains("\"error\":\"body_too_large\""), "{said}");
}

#[tokio::test]
async fn a_body_that_turns_out_longer_is_refused_whatever_the_service_made_of_it() {
    let limited = BodyLimitLayer::new(10).on_reject(|head, rejection, answer| {
        assert_eq!((head.method(), rejection.layer()), (&Method::PUT, "body_limit"));
        answer.headers_mut().insert("x-limit", 10.into());
    });
    let mut request = Request::put("/").body(pieces(&[4, 6, 1, 100])).unwrap();
    let context = RequestContext::of(request.extensions_mut());
    let Ok(response) = limited.layer(service_fn(count)).oneshot(request).await;
    assert_eq!(
        (response.status(), &response.headers()["x-limit"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"10".parse().unwrap())
    );
    assert_eq!(context.rejection().unwrap().layer(), "body_limit");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_taken_back_and_the_body_fails() {
    let begins =
        service_fn(|request: Request<_>| async move { Ok::<_, Infallible>(Response::new(request.into_body())) });
    let Ok(response) = BodyLimitLayer::new(10).layer(begins).oneshot(Request::new(pieces(&[10, 1]))).await;
    assert_eq!(response.status(), 200);
    let error = response.into_body().collect().await.unwrap_err();
    assert_eq!(RequestBodyError::find(&*error), Some(RequestBodyError::TooLarge { limit: 10 }));
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_with_those_accepted() {
    let layer = ContentTypeLayer::new(["application/json", "image/*"]).unwrap();
    let with = |types: &[&str]| {
        let mut request = Request::new(Full::<Bytes>::from("body"));
        for content_type in types {
            request.headers_mut().append("content-type", content_type.parse().unwrap());
        }
        request
    };
    for accepted in ["application/json", "Application/JSON; charset=utf-8", "image/png"] {
        assert_eq!(answer(layer.layer(service_fn(count)), with(&[accepted])).await, (200, "4".into()));
    }
    for refused in [&["text/plain"][..], &[], &[""], &["application/json", "text/plain"], &["application/json, a/b"]] {
        let Ok(response) = layer.layer(service_fn(count)).oneshot(with(refused)).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{refused:?}");
        assert_eq!(response.headers()["accept"], "application/json, image/*");
    }
}

#[tokio::test]
async fn a_request_without_a_body_has_no_type_to_be_wrong() {
    let layer = ContentTypeLayer::new(["application/json"]).unwrap();
    let mut request = Request::new(Empty::<Bytes>::new());
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(answer(layer.layer(service_fn(count)), request).await, (200, "0".into()));
}
