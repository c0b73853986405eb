//! Without anything that verifies signatures: keys are refused when they are loaded, nothing panics, and what needs no
//! signature works.
#![cfg(not(feature = "rust-crypto"))]

use std::convert::Infallible;

use futures_util::FutureExt;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::auth::{Algorithm, ApiKey, ApiKeys, AuthLayer, Key, KeyDigest, KeyError, KeySet, MemoryKeyStore};

const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";

#[test]
fn a_key_says_that_nothing_is_there_to_verify_by_it() {
    assert_eq!(Key::secret(Algorithm::Hs256, [7; 32]).unwrap_err(), KeyError::NoProvider);
    assert_eq!(Key::pem(Algorithm::EdDsa, PEM).unwrap_err(), KeyError::NoProvider);
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(Key::jwk(Algorithm::EdDsa, jwk).unwrap_err(), KeyError::NoProvider);
    assert!(KeySet::from_json(format!(r#"{{"keys":[{jwk}]}}"#), &Algorithm::ALL).is_err());
    assert!(KeyError::NoProvider.to_string().contains("switch on the feature"));
}

#[test]
fn api_keys_need_no_signature() {
    let keys = MemoryKeyStore::new([(KeyDigest::of(b"k"), ApiKey::new("k1"))]);
    let layer = AuthLayer::new(ApiKeys::new(keys));
    let status = |key: &str| {
        let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
        let request = Request::get("/").header("x-api-key", key).body(()).unwrap();
        service.oneshot(request).now_or_never().unwrap().unwrap().status().as_u16()
    };
    assert_eq!((status("k"), status("other")), (200, 401));
}
