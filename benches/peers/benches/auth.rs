//! What a token costs: by jsonwebtoken alone, by two peers around it, by `AuthLayer` the first time and every other time.
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench auth`
#![allow(missing_docs, reason = "the macros make items without any")]

#[path = "../../../tests/support/tokens.rs"]
mod tokens;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum_jwt_auth::{Claims, Decoder, LocalDecoder};
use axum07::body::Body;
use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{Request, Response};
use jwt_authorizer::{Authorizer, IntoLayer, JwtAuthorizer, Validation};
use serde_json::Value;
use tower::{Layer, Service};
use tower_gateway::auth::{Algorithm, AuthLayer, Issuer, Jwt};

use tokens::Signer;

#[derive(Clone)]
struct Answer;

impl<B> Service<Request<B>> for Answer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

fn request(bearer: &str) -> Request<()> {
    let request = Request::get("/api/users/42").header("host", "api.example.com").header("accept", "application/json");
    request.header("user-agent", "bench").header(AUTHORIZATION, bearer).body(()).unwrap()
}

/// One call. As the layers are given it, a request is made outside of what is measured.
fn call<S, R>(bencher: &mut Bencher<'_>, mut service: S, bearer: &str)
where
    S: Service<Request<()>, Response = Response<R>>,
    S::Error: std::fmt::Debug,
{
    assert_eq!(block_on(service.call(request(bearer))).unwrap().status(), 200);
    bencher.iter_batched(|| request(bearer), |request| block_on(service.call(request)).unwrap(), BatchSize::SmallInput);
}

/// The extractor of axum-jwt-auth, with what a handler would be given, and no router around it.
fn extract(bencher: &mut Bencher<'_>, decoder: LocalDecoder, bearer: &str) {
    use axum::extract::FromRequestParts;
    let decoder: Decoder<Value> = Arc::new(decoder);
    let take = |request: Request<()>| {
        let (mut parts, ()) = request.into_parts();
        let claims: Claims<Value> = block_on(Claims::from_request_parts(&mut parts, &decoder)).unwrap();
        claims.claims
    };
    take(request(bearer));
    bencher.iter_batched(|| request(bearer), take, BatchSize::SmallInput);
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn tokens(criterion: &mut Criterion) {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let signer = match algorithm {
            Algorithm::Hs256 => Signer::with_secret(algorithm, SECRET),
            other => Signer::new(other),
        };
        let token = tokens::typical(&signer);
        let bearer = format!("Bearer {token}");
        let mut group = criterion.benchmark_group(algorithm.name());
        group.bench_function("no_layer", |bencher| call(bencher, Answer, &bearer));

        let jwt =
            || Jwt::new([Issuer::new(signer.key()).issuer("https://issuer.example/").audience(["gateway"])]).unwrap();
        group.bench_function("tower_gateway/remembered", |bencher| {
            call(bencher, AuthLayer::new(jwt()).layer(Answer), &bearer);
        });
        group.bench_function("tower_gateway/verified", |bencher| {
            call(bencher, AuthLayer::new(jwt().cache(0, 0)).layer(Answer), &bearer);
        });

        let builder: jwt_authorizer::AuthorizerBuilder<Value> = match algorithm {
            Algorithm::Hs256 => JwtAuthorizer::from_secret(SECRET),
            Algorithm::Rs256 => JwtAuthorizer::from_rsa_pem_text(&signer.pem()),
            Algorithm::Es256 => JwtAuthorizer::from_ec_pem_text(&signer.pem()),
            _ => JwtAuthorizer::from_ed_pem_text(&signer.pem()),
        };
        let checks = Validation::new().iss(&["https://issuer.example/"]).aud(&["gateway"]);
        let authorizer: Authorizer<Value> = block_on(builder.validation(checks).build()).unwrap();
        let layer = authorizer.into_layer();
        group.bench_function("jwt_authorizer", |bencher| {
            call(bencher, layer.layer(Answer), &bearer);
        });

        group.bench_function("axum_jwt_auth", |bencher| {
            use axum_jwt_auth_jsonwebtoken as theirs;
            let key = match algorithm {
                Algorithm::Hs256 => theirs::DecodingKey::from_secret(SECRET.as_bytes()),
                Algorithm::Rs256 => theirs::DecodingKey::from_rsa_pem(signer.pem().as_bytes()).unwrap(),
                Algorithm::Es256 => theirs::DecodingKey::from_ec_pem(signer.pem().as_bytes()).unwrap(),
                _ => theirs::DecodingKey::from_ed_pem(signer.pem().as_bytes()).unwrap(),
            };
            let mut checks = theirs::Validation::new(algorithm.name().parse().unwrap());
            checks.set_audience(&["gateway"]);
            checks.set_issuer(&["https://issuer.example/"]);
            extract(bencher, LocalDecoder::builder().keys(vec![key]).validation(checks).build().unwrap(), &bearer);
        });

        group.bench_function("jsonwebtoken_alone", |bencher| {
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(signer.jwk()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let mut checks = jsonwebtoken::Validation::new(algorithm.name().parse().unwrap());
            checks.set_audience(&["gateway"]);
            checks.set_issuer(&["https://issuer.example/"]);
            bencher.iter(|| jsonwebtoken::decode::<Value>(&token, &key, &checks).unwrap().claims);
        });
        group.finish();
    }
}

criterion_group!(benches, tokens);
criterion_main!(benches);
