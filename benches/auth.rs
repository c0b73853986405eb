//! What a token costs: verified, remembered and refused, for each algorithm, beside jsonwebtoken alone.
//! `cargo bench --bench auth`
#![allow(missing_docs, reason = "the macros make items without any")]

mod support;
#[path = "../tests/support/tokens.rs"]
mod tokens;

use criterion::{BatchSize, Bencher, Criterion, criterion_group, criterion_main};
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::Value;
use tower::{Layer, Service};
use tower_gateway::auth::{Algorithm, ApiKey, ApiKeys, AuthLayer, Issuer, Jwt, KeyDigest, MemoryKeyStore};

use support::{Answer, NoBody, block_on};
use tokens::{Signer, claims};

fn jwt(signer: &Signer) -> Jwt {
    Jwt::new([Issuer::new(signer.key()).issuer("https://issuer.example/").audience(["gateway"])]).unwrap()
}

fn request(authorization: Option<&str>) -> Request<NoBody> {
    let mut request = support::request();
    if let Some(value) = authorization {
        request.headers_mut().insert(AUTHORIZATION, value.parse().unwrap());
    }
    request
}

/// One call, without making the request or dropping the answer.
fn call<S>(bencher: &mut Bencher<'_>, mut service: S, authorization: Option<&str>, status: u16)
where
    S: Service<Request<NoBody>, Response: Status>,
    S::Error: std::fmt::Debug,
{
    assert_eq!(block_on(service.call(request(authorization))).unwrap().status_code(), status);
    let make = || request(authorization);
    bencher.iter_batched(make, |request| block_on(service.call(request)).unwrap(), BatchSize::SmallInput);
}

trait Status {
    fn status_code(&self) -> u16;
}

impl<B> Status for http::Response<B> {
    fn status_code(&self) -> u16 {
        self.status().as_u16()
    }
}

const MEASURED: [Algorithm; 7] = [
    Algorithm::Hs256,
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
    Algorithm::Hs512,
];

fn tokens(criterion: &mut Criterion) {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let mut group = criterion.benchmark_group("auth");
    group.bench_function("no_layer", |bencher| call(bencher, Answer, None, 200));
    for algorithm in MEASURED {
        let signer = Signer::new(algorithm);
        let token = tokens::typical(&signer);
        let bearer = format!("Bearer {token}");
        group.bench_function(format!("no_layer/{algorithm}"), |bencher| call(bencher, Answer, Some(&bearer), 200));
        group.bench_function(format!("cached/{algorithm}"), |bencher| {
            call(bencher, AuthLayer::new(jwt(&signer)).layer(Answer), Some(&bearer), 200);
        });
        group.bench_function(format!("cold/{algorithm}"), |bencher| {
            call(bencher, AuthLayer::new(jwt(&signer).cache(0, 0)).layer(Answer), Some(&bearer), 200);
        });
        group.bench_function(format!("jsonwebtoken/{algorithm}"), |bencher| {
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(signer.jwk()).unwrap();
            let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
            let mut validation = jsonwebtoken::Validation::new(algorithm.name().parse().unwrap());
            validation.set_audience(&["gateway"]);
            validation.set_issuer(&["https://issuer.example/"]);
            bencher.iter(|| jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims);
        });
    }
    group.finish();
}

fn keys_and_refusals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("auth");
    let store =
        MemoryKeyStore::new((0..10_000).map(|n| (KeyDigest::of(format!("key-{n}").as_bytes()), ApiKey::new("k"))));
    let keys = AuthLayer::new(ApiKeys::new(store));
    group.bench_function("api_key/10000", |bencher| call(bencher, keys.layer(Answer), Some("ApiKey key-77"), 200));
    group.bench_function("refused/api_key", |bencher| call(bencher, keys.layer(Answer), Some("ApiKey no"), 401));

    let (own, other) = (Signer::new(Algorithm::Hs256), Signer::new(Algorithm::Hs256));
    let layer = || AuthLayer::new(jwt(&own)).layer(Answer);
    let bearer = |token: &str| format!("Bearer {token}");
    group.bench_function("refused/nothing", |bencher| call(bencher, layer(), None, 401));
    group.bench_function("refused/junk", |bencher| call(bencher, layer(), Some("Bearer junk"), 401));
    let none = own.sign_text(r#"{"alg":"none"}"#, "{}");
    group.bench_function("refused/none", |bencher| call(bencher, layer(), Some(&bearer(&none)), 401));
    let long = bearer(&format!("a.{}.c", "A".repeat(20_000)));
    group.bench_function("refused/too_long", |bencher| call(bencher, layer(), Some(&long), 401));
    let wrong = bearer(&tokens::typical(&other));
    group.bench_function("refused/other_secret/again", |bencher| call(bencher, layer(), Some(&wrong), 401));

    // Each another one, so that no memory helps.
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256] {
        let (own, other) = (Signer::new(algorithm), Signer::new(algorithm));
        let mut service = AuthLayer::new(jwt(&own)).layer(Answer);
        let mut count = 0_u64;
        let payload = claims("u").to_string();
        let mut make = || {
            count += 1;
            let wrong = match algorithm {
                // Made by hand: another signature for each would take longer than all that is measured.
                Algorithm::Hs256 => other.sign_text(&other.header().to_string(), &format!("{payload}{count}")),
                _ => {
                    let signature = [&count.to_be_bytes()[..], &[7; 256]].concat();
                    let length = if algorithm == Algorithm::Rs256 { 256 } else { 64 };
                    let header = own.header().to_string();
                    let parts = [header.as_bytes(), payload.as_bytes(), &signature[..length]].map(tokens::base64url);
                    parts.join(".")
                }
            };
            request(Some(&bearer(&wrong)))
        };
        group.bench_function(format!("refused/wrong_signature/{algorithm}"), |bencher| {
            bencher.iter_batched(&mut make, |request| block_on(service.call(request)).unwrap(), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, tokens, keys_and_refusals);
criterion_main!(benches);
