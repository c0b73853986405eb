//! Whatever a client sends for a credential, and whatever is loaded for a key: nothing panics, and nobody is let in by it.
#![no_main]

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use http::{HeaderValue, Request, Response};
use libfuzzer_sys::fuzz_target;
use tower::{Layer, Service, service_fn};
use tower_gateway::auth::{Algorithm, ApiKey, ApiKeys, AuthLayer, Issuer, Jwt, Key, KeyDigest, KeySet, MemoryKeyStore};

static LAYER: LazyLock<AuthLayer> = LazyLock::new(|| {
    let ed = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    let issuers = [
        Issuer::new(Key::secret(Algorithm::Hs256, [7; 32]).unwrap()).allow_any_issuer().allow_any_audience(),
        Issuer::new(Key::pem(Algorithm::EdDsa, ed).unwrap()).issuer("i").audience(["a"]),
    ];
    let keys = MemoryKeyStore::new([(KeyDigest::of(&[1; 32]), ApiKey::new("k1"))]);
    AuthLayer::new(Jwt::new(issuers).unwrap()).or(ApiKeys::new(keys))
});

fuzz_target!(|input: (Vec<u8>, Vec<u8>, String)| {
    let (authorization, key, text) = input;
    let mut request = Request::new(());
    for (name, value) in [("authorization", &authorization), ("x-api-key", &key)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(name, value);
        }
    }
    let mut service = LAYER.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
    let answer = pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer.status() == 401));

    for algorithm in Algorithm::ALL {
        let _ = Key::pem(algorithm, &text);
        if let Ok(key) = Key::jwk(algorithm, &text) {
            let _ = key.verify(&text);
        }
        let _ = KeySet::from_json(&text, &[algorithm]);
    }
});
