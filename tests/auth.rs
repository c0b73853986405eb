//! The auth layer, as a client and as the service behind it see it.

#[path = "support/tokens.rs"]
mod tokens;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::auth::{
    Algorithm, ApiKey, ApiKeys, AuthLayer, CachedKeyStore, Credential, CredentialFault, FailureLimit, Issuer, Jwt,
    JwtError, KeyDigest, KeySet, KeyStore, MemoryKeyStore, StoreUnavailable, Verdict, key_store_fn,
};
use tower_gateway::body::ResponseBody;
use tower_gateway::proxy::ProxyService;
use tower_gateway::{ClientIp, Clock, CredentialKind, Head, Identity, RequestContext};

use self::tokens::{Signer, base64url, claims, now};

type Seen = Arc<Mutex<Vec<Request<()>>>>;

/// A layer over a service that keeps what it is sent.
struct Guarded {
    service: BoxCloneService<Request<()>, Response<ResponseBody<Full<Bytes>>>, Infallible>,
    seen: Seen,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn challenge(&self) -> Vec<&str> {
        self.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
    }
}

fn guard(layer: &AuthLayer) -> Guarded {
    let seen = Seen::default();
    let keeper = seen.clone();
    let inner = service_fn(move |request: Request<()>| {
        keeper.lock().unwrap().push(request);
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("{}")))))
    });
    Guarded { service: BoxCloneService::new(layer.layer(inner)), seen }
}

impl Guarded {
    async fn send(&self, request: http::request::Builder) -> Answer {
        let mut request = request.body(()).unwrap();
        RequestContext::of(request.extensions_mut()).set_client_ip(ClientIp::from_peer(([192, 0, 2, 7], 1).into(), 64));
        let Ok(answer) = self.service.clone().oneshot(request).await;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: serde_json::from_slice(&body).unwrap() }
    }

    async fn status(&self, request: http::request::Builder) -> u16 {
        self.send(request).await.status
    }

    /// Who the inner service was told it is, with the last request.
    fn identity(&self) -> Option<Identity> {
        let seen = self.seen.lock().unwrap();
        seen.last()?.extensions().get::<RequestContext>()?.identity().cloned()
    }

    fn served(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path)
}

fn bearer(token: &str) -> http::request::Builder {
    get("/").header("authorization", format!("Bearer {token}"))
}

fn issuer(signer: &Signer) -> Issuer {
    Issuer::new(signer.key()).issuer("https://issuer.example/").audience(["gateway"])
}

fn jwt(signer: &Signer) -> Jwt {
    Jwt::new([issuer(signer)]).unwrap()
}

fn hs256() -> Signer {
    Signer::new(Algorithm::Hs256)
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn keys() -> MemoryKeyStore {
    MemoryKeyStore::new([
        (
            KeyDigest::of(b"good"),
            ApiKey::new("k1").subject("u1").plan("pro").scopes(["read"]).roles(["admin"]).limit(500),
        ),
        (KeyDigest::of(b"off"), ApiKey::new("k2").disabled(true)),
        (KeyDigest::of(b"old"), ApiKey::new("k3").expires_at(std::time::SystemTime::now() - Duration::from_secs(1))),
    ])
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_the_origin_never_sees_it() {
    let signer = hs256();
    let app = guard(&AuthLayer::new(jwt(&signer)));
    let claims = json!({
        "sub": "u1", "iss": "https://issuer.example/", "aud": ["x", "gateway"], "exp": now() + 60, "nbf": now(), "iat": now(),
        "scope": "a b", "roles": ["admin"], "plan": "pro", "tenant": {"id": 7},
    });
    for _ in 0..2 {
        assert_eq!(app.status(bearer(&signer.token(&claims))).await, 200);
        let identity = app.identity().unwrap();
        assert_eq!(
            (identity.subject(), identity.issuer(), identity.plan()),
            (Some("u1"), Some("https://issuer.example/"), Some("pro"))
        );
        assert_eq!(identity.scopes().collect::<Vec<_>>(), ["a", "b"]);
        assert!(identity.has_role("admin") && identity.credential() == CredentialKind::Jwt);
        assert_eq!(identity.claim("tenant.id"), Some(&json!(7)));
        #[derive(serde::Deserialize)]
        struct Typed {
            tenant: HashMap<String, u64>,
        }
        assert_eq!(identity.claims::<Typed>().unwrap().tenant["id"], 7);
    }
    let proxied =
        sent_by_a_proxy(&AuthLayer::new(jwt(&signer)), bearer(&signer.token(&claims)).header("x-api-key", "k")).await;
    assert!(!proxied.contains_key("authorization") && proxied.contains_key("x-api-key"), "that one was not for us");
}

/// The headers that an origin is sent.
async fn sent_by_a_proxy(layer: &AuthLayer, request: http::request::Builder) -> HeaderMap {
    let (sender, receiver) = std::sync::mpsc::channel();
    let client = service_fn(move |request: Request<tower_gateway::proxy::ForwardBody<Full<Bytes>>>| {
        sender.send(request.headers().clone()).unwrap();
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))))
    });
    let mut service = layer.layer(ProxyService::new(client));
    let answer = service.ready().await.unwrap().call(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    receiver.recv().unwrap()
}

#[tokio::test]
async fn credentials_are_removed_in_any_spelling_unless_they_are_to_be_forwarded() {
    let request = || get("/").header("x-api-key", "good").header("x_api_key", "other").header("X-Api_Key", "third");
    let layer = AuthLayer::new(ApiKeys::new(keys()));
    let sent = sent_by_a_proxy(&layer, request()).await;
    assert!(!sent.keys().any(|name| name.as_str().contains("api")), "{sent:?}");
    let sent = sent_by_a_proxy(&layer.clone().open_path("/"), request().header("authorization", "Basic x")).await;
    assert!(!sent.keys().any(|name| name.as_str().contains("api") || name == "authorization"), "open paths as well");
    let sent = sent_by_a_proxy(&layer.forward_credentials(true), request()).await;
    assert_eq!(sent["x-api-key"], "good");
}

#[tokio::test]
async fn each_fault_of_a_token_is_a_401_that_says_so() {
    let signer = hs256();
    let app = guard(&AuthLayer::new(jwt(&signer)).realm("api"));
    let good = claims("u1");
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    for (token, why) in [
        (signer.token(&with(&good, "exp", json!(now() - 31))), "the token has expired"),
        (signer.token(&with(&good, "exp", json!("9999999999"))), "the claims are malformed"),
        (signer.token(&with(&good, "nbf", json!(now() + 60))), "the token is not valid yet"),
        (signer.token(&with(&good, "iat", json!(now() + 60))), "the token is not valid yet"),
        (signer.token(&with(&good, "iss", json!("https://issuer.example"))), "the token is from another issuer"),
        (signer.token(&with(&good, "aud", json!("other"))), "the token is for another audience"),
        (signer.token(&without("exp")), "a required claim is missing"),
        (signer.token(&without("iss")), "a required claim is missing"),
        (signer.token(&without("aud")), "a required claim is missing"),
        (signer.token(&json!([])), "the claims are malformed"),
        (hs256().token(&good), "the signature is wrong"),
        (signer.sign_text(r#"{"alg":"none"}"#, "{}"), "the token is signed by an algorithm that is not accepted"),
        (signer.sign_text(r#"{"alg":"HS256","kid":"x"}"#, "{}"), "the token is signed with an unknown key"),
        ("junk".to_owned(), "the token is malformed"),
        (format!("a.{}.c", "A".repeat(20_000)), "the token is too long"),
    ] {
        let answer = app.send(bearer(&token)).await;
        assert_eq!((answer.status, answer.body["detail"].as_str()), (401, Some(why)));
        assert_eq!(answer.body["error"], "invalid_credential");
        let challenge = format!(r#"Bearer realm="api", error="invalid_token", error_description="{why}""#);
        assert_eq!(answer.challenge(), [challenge.as_str()]);
    }
    assert_eq!(app.served(), 0);
}

#[tokio::test]
async fn a_request_without_a_credential_is_a_401_that_names_no_error() {
    let app = guard(&AuthLayer::new(jwt(&hs256())).or(ApiKeys::new(keys())));
    let answer = app.send(get("/")).await;
    assert_eq!((answer.status, &answer.body["error"]), (401, &json!("authentication_required")));
    assert_eq!(answer.challenge(), [r#"Bearer realm="gateway""#, r#"ApiKey realm="gateway""#]);
}

#[tokio::test]
async fn the_scheme_is_in_any_case_and_there_is_one_field() {
    let signer = hs256();
    let app = guard(&AuthLayer::new(jwt(&signer)));
    let token = signer.token(&claims("u1"));
    for scheme in ["Bearer", "bearer", "BEARER"] {
        assert_eq!(app.status(get("/").header("authorization", format!("{scheme} {token}"))).await, 200);
    }
    for line in [
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer{token}"),
        token.clone(),
        format!("Basic {token}"),
        format!("Bearer {token},"),
        format!("Bearer {token} x"),
        String::new(),
        "Bearer".to_owned(),
    ] {
        let answer = app.send(get("/").header("authorization", &line)).await;
        assert_eq!(answer.status, 401, "{line}");
    }
    let twice = bearer(&token).header("authorization", format!("Bearer {token}"));
    let answer = app.send(twice).await;
    assert_eq!((answer.status, answer.challenge()), (401, vec![r#"Bearer realm="gateway", error="invalid_request""#]));
    assert_eq!(app.status(get("/").header("proxy-authorization", format!("Bearer {token}"))).await, 401);
}

#[test]
fn an_issuer_has_to_say_whom_it_believes_and_for_whom() {
    let key = || hs256().key();
    assert_eq!(Jwt::new([]).unwrap_err(), JwtError::NoIssuer);
    assert_eq!(Jwt::new([Issuer::new(key())]).unwrap_err(), JwtError::AnyIssuer(1));
    assert_eq!(Jwt::new([Issuer::new(key()).issuer("a")]).unwrap_err(), JwtError::AnyAudience(1));
    assert!(Jwt::new([Issuer::new(key()).allow_any_issuer().allow_any_audience()]).is_ok());
}

#[tokio::test]
async fn several_issuers_have_each_their_own_keys_algorithms_and_audience() {
    let (one, two) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let jwt = Jwt::new([
        Issuer::new(one.key()).issuer("one").audience(["a"]),
        Issuer::new(two.key()).issuer("two").audience(["b"]).allow_no_expiry(),
        // The same keys again for another audience, as tenants of one provider have.
        Issuer::new(one.key()).issuer("three").audience(["c"]),
    ])
    .unwrap();
    let app = guard(&AuthLayer::new(jwt));
    let token =
        |signer: &Signer, iss: &str, aud: &str| signer.token(&json!({"iss": iss, "aud": aud, "exp": now() + 60}));
    for (token, status) in [
        (token(&one, "one", "a"), 200),
        (token(&two, "two", "b"), 200),
        (token(&one, "three", "c"), 200),
        (two.token(&json!({"iss": "two", "aud": "b"})), 200),
        (one.token(&json!({"iss": "one", "aud": "a"})), 401),
        (token(&one, "two", "b"), 401),
        (token(&one, "one", "c"), 401),
        (token(&two, "one", "a"), 401),
    ] {
        assert_eq!(app.status(bearer(&token)).await, status);
    }
}

#[tokio::test]
async fn a_type_is_checked_where_it_is_asked_for() {
    let signer = hs256();
    let jwt = Jwt::new([issuer(&signer).token_type("at+jwt")]).unwrap();
    let app = guard(&AuthLayer::new(jwt));
    assert_eq!(app.status(bearer(&signer.token(&claims("u")))).await, 401, "its typ is JWT");
    let header = json!({"alg": "HS256", "typ": "application/at+jwt"}).to_string();
    assert_eq!(app.status(bearer(&signer.sign_text(&header, &claims("u").to_string()))).await, 200);
}

#[tokio::test]
async fn secrets_overlap_while_they_are_rotated() {
    let (old, new) = (Signer::with_secret(Algorithm::Hs256, [1; 32]), Signer::with_secret(Algorithm::Hs256, [2; 32]));
    let issuer = Issuer::new(KeySet::new([old.key(), new.key()])).allow_any_issuer().allow_any_audience();
    let app = guard(&AuthLayer::new(Jwt::new([issuer]).unwrap()));
    for signer in [&old, &new] {
        assert_eq!(app.status(bearer(&signer.token(&claims("u")))).await, 200);
    }
}

#[tokio::test]
async fn a_token_is_remembered_until_it_expires_and_not_longer() {
    let signer = hs256();
    let (clock, hand) = Clock::manual();
    let jwt = jwt(&signer).clock(clock);
    let app = guard(&AuthLayer::new(jwt.clone()));
    let token = signer.token(&with(&claims("u1"), "exp", json!(now() + 60)));
    for _ in 0..3 {
        assert_eq!(app.status(bearer(&token)).await, 200);
    }
    assert_eq!((jwt.cache_stats().hits, jwt.cache_stats().misses), (2, 1));
    hand.advance(Duration::from_secs(59 + 30));
    assert_eq!(app.status(bearer(&token)).await, 200, "within the leeway, and verified each time");
    assert_eq!(app.status(bearer(&token)).await, 200);
    assert_eq!(jwt.cache_stats().hits, 2);
    hand.advance(Duration::from_secs(2));
    assert_eq!(app.status(bearer(&token)).await, 401);
    hand.step_wall(-40_000);
    assert_eq!(app.status(bearer(&token)).await, 200);
}

#[tokio::test]
async fn a_token_is_remembered_no_longer_than_the_maximum_age() {
    let signer = hs256();
    let (clock, hand) = Clock::manual();
    let jwt = jwt(&signer).clock(clock).max_age(Duration::from_secs(10));
    let app = guard(&AuthLayer::new(jwt.clone()));
    let token = signer.token(&claims("u1"));
    app.status(bearer(&token)).await;
    hand.advance(Duration::from_secs(10));
    app.status(bearer(&token)).await;
    assert_eq!(jwt.cache_stats().hits, 0);
    app.status(bearer(&token)).await;
    assert_eq!(jwt.cache_stats().hits, 1);
    jwt.forget_all();
    app.status(bearer(&token)).await;
    assert_eq!(jwt.cache_stats().hits, 1);
}

#[tokio::test]
async fn clones_and_layers_share_what_was_verified_and_a_switch_turns_it_off() {
    let signer = hs256();
    let jwt = jwt(&signer);
    let (one, two) = (guard(&AuthLayer::new(jwt.clone())), guard(&AuthLayer::new(jwt.clone())));
    let token = signer.token(&claims("u1"));
    one.status(bearer(&token)).await;
    two.status(bearer(&token)).await;
    assert_eq!(jwt.cache_stats().hits, 1);
    let jwt = jwt.cache(0, 0);
    let app = guard(&AuthLayer::new(jwt.clone()));
    app.status(bearer(&token)).await;
    assert_eq!(app.status(bearer(&token)).await, 200);
    assert_eq!(jwt.cache_stats().hits, 0);
}

/// Also when it was sent before with the right signature: the cache compares the whole.
#[tokio::test]
async fn a_token_that_was_tampered_with_is_refused_after_the_true_one_was_seen() {
    let signer = hs256();
    let app = guard(&AuthLayer::new(jwt(&signer)));
    let good = signer.token(&claims("u1"));
    assert_eq!(app.status(bearer(&good)).await, 200);
    let signature = good.rsplit_once('.').unwrap().1;
    let header = good.split_once('.').unwrap().0;
    let forged = format!("{header}.{}.{signature}", base64url(claims("admin").to_string().as_bytes()));
    for _ in 0..3 {
        assert_eq!(app.status(bearer(&forged)).await, 401);
        assert_eq!(app.status(bearer(&good)).await, 200);
    }
}

#[tokio::test]
async fn an_api_key_says_whose_it_is_in_its_field_or_as_a_scheme() {
    let app = guard(&AuthLayer::new(ApiKeys::new(keys())));
    for request in [get("/").header("x-api-key", "good"), get("/").header("authorization", "apikey good")] {
        assert_eq!(app.status(request).await, 200);
        let identity = app.identity().unwrap();
        assert_eq!((identity.subject(), identity.key_id(), identity.plan()), (Some("u1"), Some("k1"), Some("pro")));
        assert_eq!((identity.limit(), identity.credential()), (Some(500), CredentialKind::ApiKey));
        assert!(identity.has_scope("read") && identity.has_role("admin"));
    }
    for (request, why) in [
        (get("/").header("x-api-key", "bad"), "the API key is not known"),
        (get("/").header("x-api-key", ""), "the API key is not known"),
        (get("/").header("x-api-key", "k".repeat(600)), "the API key is not known"),
        (get("/").header("x-api-key", "off"), "the API key is switched off"),
        (get("/").header("x-api-key", "old"), "the API key has expired"),
        (get("/").header("x-api-key", KeyDigest::of(b"good").to_string()), "the API key is not known"),
        (
            get("/").header("x-api-key", "good").header("x-api-key", "good"),
            "the credential must be one, in one field, behind one space",
        ),
        (
            get("/").header("x-api-key", "good").header("authorization", "ApiKey good"),
            "the credential must be one, in one field, behind one space",
        ),
    ] {
        let answer = app.send(request).await;
        assert_eq!((answer.status, answer.body["detail"].as_str()), (401, Some(why)));
    }
    assert_eq!(app.status(get("/").header("x_api_key", "good")).await, 401, "another spelling is no credential");
    let own = guard(&AuthLayer::new(ApiKeys::new(keys()).header("x-key".parse().unwrap())));
    assert_eq!(own.status(get("/").header("x-key", "good")).await, 200);
    assert_eq!(own.status(get("/").header("x-api-key", "good")).await, 401);
}

#[tokio::test]
async fn two_keys_of_one_subject_are_good_while_one_is_rotated() {
    let (clock, hand) = Clock::manual();
    let store = MemoryKeyStore::new([
        (KeyDigest::of(b"old"), ApiKey::new("k1").subject("u1").expires_at(clock.wall() + Duration::from_secs(60))),
        (KeyDigest::of(b"new"), ApiKey::new("k2").subject("u1")),
    ]);
    let app = guard(&AuthLayer::new(ApiKeys::new(store.clone()).clock(clock)));
    let status = async |key: &str| app.status(get("/").header("x-api-key", key)).await;
    assert_eq!((status("old").await, status("new").await), (200, 200));
    hand.advance(Duration::from_secs(60));
    assert_eq!((status("old").await, status("new").await), (401, 200));
    store.replace([]);
    assert_eq!(status("new").await, 401);
}

#[tokio::test]
async fn every_credential_on_a_request_has_to_be_good() {
    let signer = hs256();
    let layer = AuthLayer::new(jwt(&signer)).or(ApiKeys::new(keys()));
    let good = signer.token(&claims("token-user"));
    let app = guard(&layer);
    assert_eq!(app.status(bearer(&good).header("x-api-key", "good")).await, 200);
    assert_eq!(app.identity().unwrap().subject(), Some("token-user"), "the first kind says who it is");
    assert_eq!(app.status(bearer(&good).header("x-api-key", "bad")).await, 401);
    assert_eq!(app.status(bearer("bad").header("x-api-key", "good")).await, 401);
    let app = guard(&layer.allow_anonymous());
    assert_eq!(app.status(get("/")).await, 200);
    assert!(app.identity().is_none());
    assert_eq!(app.status(bearer("bad")).await, 401, "a bad credential is always a 401");
    assert_eq!(
        app.status(get("/").header("authorization", "Basic dTpw")).await,
        401,
        "also of a kind that nobody takes"
    );
}

#[tokio::test]
async fn scopes_roles_claims_and_rules_of_your_own_decide_who_may() {
    let signer = hs256();
    let token = signer.token(&{
        let mut all = claims("u1");
        for (name, value) in [
            ("scope", json!("read write")),
            ("roles", json!(["dev", "ops"])),
            ("org", json!({"id": 7, "tags": ["x", "y"]})),
        ] {
            all[name] = value;
        }
        all
    });
    let layer = || AuthLayer::new(jwt(&signer));
    let allows = async |layer: AuthLayer| guard(&layer).status(bearer(&token)).await;
    assert_eq!(allows(layer().require_scopes(["read", "write"]).unwrap()).await, 200);
    assert_eq!(allows(layer().require_scopes(["read", "admin"]).unwrap()).await, 403);
    assert_eq!(allows(layer().require_scopes(["rea"]).unwrap()).await, 403);
    assert_eq!(allows(layer().require_any_role(["admin", "ops"])).await, 200);
    assert_eq!(allows(layer().require_any_role(["admin"])).await, 403);
    assert_eq!(allows(layer().require_claim("org.id", 7)).await, 200);
    assert_eq!(allows(layer().require_claim("org.id", "7")).await, 403);
    assert_eq!(allows(layer().require_claim("org.missing", Value::Null)).await, 403);
    assert_eq!(allows(layer().require_claim_with("org.tags", "y")).await, 200);
    assert_eq!(allows(layer().require_claim_with("scope", "write")).await, 200);
    assert_eq!(allows(layer().require_claim_with("scope", "rit")).await, 403);
    assert_eq!(
        allows(layer().require_claim_that("sub", |sub| sub.as_str().is_some_and(|sub| sub.starts_with('u')))).await,
        200
    );
    assert_eq!(allows(layer().require_claim_that("sub", |_| false)).await, 403);
    assert_eq!(
        allows(layer().require(|identity, head| head.method() == Method::GET && identity.has_scope("read"))).await,
        200
    );
    assert_eq!(allows(layer().require(|_, head| head.method() == Method::POST)).await, 403);

    let answer = guard(&layer().require_scopes(["users:read", "users:write"]).unwrap()).send(bearer(&token)).await;
    assert_eq!((answer.status, &answer.body["error"]), (403, &json!("access_denied")));
    let challenge = r#"Bearer realm="gateway", error="insufficient_scope", scope="users:read users:write""#;
    assert_eq!(answer.challenge(), [challenge]);
    assert!(layer().require_scopes(["a b"]).is_err() && layer().require_scopes(["a\""]).is_err());
}

#[tokio::test]
async fn open_paths_are_whole_segments_in_normal_form() {
    let app = guard(&AuthLayer::new(jwt(&hs256())).open_path("/public").open_path("/docs/"));
    for (path, status) in [
        ("/public", 200),
        ("/public/", 200),
        ("/public/a/b?x=/../admin", 200),
        ("/docs", 200),
        ("/docs/a", 200),
        ("/publicity", 401),
        ("/public/../admin", 401),
        ("/public/%2e%2e/admin", 401),
        ("/public/..%2fadmin", 401),
        ("/public/..;/admin", 401),
        ("/public//admin", 401),
        ("/%70ublic/a", 401),
        ("/Public/a", 401),
        ("/a/public", 401),
        ("/", 401),
    ] {
        assert_eq!(app.status(get(path)).await, status, "{path}");
    }
    assert_eq!(app.status(get("/public").header("authorization", "Bearer junk")).await, 200, "nobody is asked there");
}

#[tokio::test]
async fn methods_and_preflights_are_open_where_it_is_said() {
    let app = guard(&AuthLayer::new(jwt(&hs256())).open_method(Method::HEAD));
    assert_eq!((app.status(Request::head("/")).await, app.status(get("/")).await), (200, 401));
    let preflight =
        || Request::options("/").header("origin", "https://a.example").header("access-control-request-method", "PUT");
    assert_eq!(app.status(preflight()).await, 401);
    let app = guard(&AuthLayer::new(jwt(&hs256())).open_preflight());
    assert_eq!(app.status(preflight()).await, 200);
    assert_eq!(app.status(Request::options("/").header("origin", "https://a.example")).await, 401);
    assert_eq!(
        app.status(Request::put("/").header("origin", "a").header("access-control-request-method", "PUT")).await,
        401
    );
}

#[tokio::test]
async fn the_gate_switches_off_skips_tries_and_words() {
    let layer = || AuthLayer::new(jwt(&hs256()));
    assert_eq!(guard(&layer().enabled(false)).status(get("/")).await, 200);
    let skipping = guard(&layer().skip(|head| head.uri().path() == "/a"));
    assert_eq!((skipping.status(get("/a")).await, skipping.status(get("/b")).await), (200, 401));
    let trying = guard(&layer().dry_run(true));
    assert_eq!(trying.status(bearer("junk")).await, 200);
    let context = trying.seen.lock().unwrap()[0].extensions().get::<RequestContext>().unwrap().clone();
    assert!(context.rejection().unwrap().is_dry_run() && context.credential_headers().is_none());
    let wording = guard(&layer().on_reject(|_, rejection, answer| {
        let code = rejection.reason().code().parse().unwrap();
        answer.headers_mut().insert("x-why", code);
    }));
    assert_eq!(wording.send(get("/")).await.headers["x-why"], "authentication_required");
}

#[tokio::test]
async fn an_origin_is_told_who_it_is_and_never_by_the_client() {
    let signer = hs256();
    let subject = |head: &Head<'_>| head.context()?.identity()?.subject().map(str::to_owned);
    let layer = AuthLayer::new(jwt(&signer)).identity_header("x-user".parse().unwrap(), subject).open_path("/open");
    let app = guard(&layer);
    let forged = |request: http::request::Builder| {
        request.header("x-user", "admin").header("x_user", "admin").header("connection", "x-user, close")
    };
    assert_eq!(app.status(forged(bearer(&signer.token(&claims("u1"))))).await, 200);
    assert_eq!(app.status(forged(get("/open"))).await, 200);
    let seen = app.seen.lock().unwrap().iter().map(|request| request.headers().clone()).collect::<Vec<_>>();
    assert_eq!(seen[0]["x-user"], "u1");
    assert_eq!(seen[0]["connection"], "close", "the client cannot have it removed as its own");
    for headers in &seen {
        assert!(!headers.contains_key("x_user") && !headers.values().any(|value| value == "admin"), "{headers:?}");
    }
    assert!(!seen[1].contains_key("x-user"));
    for subject in ["a\r\nx-admin: 1", " a", "a\u{7f}", "a\0"] {
        assert_eq!(app.status(bearer(&signer.token(&claims(subject)))).await, 403, "{subject:?}");
    }
}

#[tokio::test]
async fn an_identity_found_outside_is_enough_and_stays() {
    let outer = AuthLayer::new(ApiKeys::new(keys()));
    let inner = AuthLayer::new(jwt(&hs256())).require_scopes(["read"]).unwrap();
    let seen = Seen::default();
    let service = outer.layer(inner.layer(service_fn(move |request: Request<()>| {
        seen.lock().unwrap().push(request);
        std::future::ready(Ok::<_, Infallible>(Response::new(())))
    })));
    let request = get("/").header("x-api-key", "good").body(()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_identity_is_an_extension_for_handlers_that_ask_for_it() {
    let app = guard(&AuthLayer::new(ApiKeys::new(keys())).identity_as_extension());
    app.status(get("/").header("x-api-key", "good")).await;
    let seen = app.seen.lock().unwrap();
    assert_eq!(seen[0].extensions().get::<Identity>().unwrap().subject(), Some("u1"));
}

#[tokio::test]
async fn an_axum_handler_may_take_the_identity_as_an_argument() {
    use axum::Router;
    use axum::routing::get;
    let me = async |identity: Identity| identity.subject().unwrap().to_owned();
    let maybe = async |identity: Option<Identity>| identity.is_some().to_string();
    let app = Router::new().route("/me", get(me)).route("/maybe", get(maybe));
    let app = app.layer(AuthLayer::new(ApiKeys::new(keys())).allow_anonymous());
    for (path, key, status, body) in [
        ("/me", true, 200, "u1"),
        ("/me", false, 401, ""),
        ("/maybe", true, 200, "true"),
        ("/maybe", false, 200, "false"),
    ] {
        let mut request = Request::get(path);
        if key {
            request = request.header("x-api-key", "good");
        }
        let answer = app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let said = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status == 401 || said == body, "{path}: {said:?}");
    }
}

struct Session;

impl Credential for Session {
    fn authenticate(&self, head: &Head<'_>) -> Verdict {
        match head.headers().get("x-session").map(|value| value.as_bytes()) {
            None => Verdict::Absent,
            Some(b"slow") => Verdict::Pending(Box::pin(async {
                tokio::task::yield_now().await;
                Ok(Identity::builder(CredentialKind::Other("session")).subject("slow").build())
            })),
            Some(b"gone") => {
                Verdict::Pending(Box::pin(async { Err(CredentialFault::unavailable(Duration::from_millis(1500))) }))
            }
            Some(b"good") => Verdict::Accepted(Identity::builder(CredentialKind::Other("session")).build()),
            Some(_) => Verdict::Refused(CredentialFault::invalid("the session is over")),
        }
    }
}

#[tokio::test]
async fn a_credential_of_your_own_is_asked_like_the_others() {
    let app = guard(&AuthLayer::new(Session).or(ApiKeys::new(keys())));
    for (session, key, status) in [
        (Some("good"), None, 200),
        (Some("slow"), None, 200),
        (Some("slow"), Some("good"), 200),
        (Some("slow"), Some("bad"), 401),
        (Some("over"), None, 401),
        (Some("gone"), Some("good"), 503),
        (None, Some("good"), 200),
        (None, None, 401),
    ] {
        let mut request = get("/");
        for (name, value) in [("x-session", session), ("x-api-key", key)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let answer = app.send(request).await;
        assert_eq!(answer.status, status, "{session:?} {key:?}");
        if status == 503 {
            assert_eq!(
                (&answer.headers["retry-after"], &answer.body["error"]),
                (&"2".parse().unwrap(), &json!("authentication_unavailable"))
            );
        }
    }
}

#[tokio::test]
async fn a_store_that_is_down_closes_and_a_short_memory_bridges() {
    let (clock, hand) = Clock::manual();
    let (asked, down) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, fails) = (asked.clone(), down.clone());
    let slow = key_store_fn(move |digest| {
        count.fetch_add(1, Ordering::Relaxed);
        let fails = fails.load(Ordering::Relaxed) > 0;
        async move {
            tokio::task::yield_now().await;
            match fails {
                true => Err(StoreUnavailable::because("the database is gone: 10.0.0.1")),
                false => Ok((digest == KeyDigest::of(b"good")).then(|| ApiKey::new("k1"))),
            }
        }
    });
    let app = guard(&AuthLayer::new(ApiKeys::new(CachedKeyStore::new(slow).clock(clock))));
    let status = async |key: &str| app.status(get("/").header("x-api-key", key)).await;
    assert_eq!(
        (status("good").await, status("good").await, status("bad").await, status("bad").await),
        (200, 200, 401, 401)
    );
    assert_eq!(asked.load(Ordering::Relaxed), 2, "each answer is remembered, also that there is none");

    down.store(1, Ordering::Relaxed);
    hand.advance(Duration::from_millis(4999));
    assert_eq!((status("good").await, status("new").await), (200, 503));
    hand.advance(Duration::from_millis(1));
    let answer = app.send(get("/").header("x-api-key", "good")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after") && !answer.body.to_string().contains("10.0"));
    down.store(0, Ordering::Relaxed);
    assert_eq!(status("good").await, 200);
}

#[tokio::test]
async fn a_longer_bridge_is_for_a_store_that_is_down_and_not_for_one_that_answers() {
    let (clock, hand) = Clock::manual();
    let state = Arc::new(AtomicUsize::new(0));
    let state_of_store = state.clone();
    let store = key_store_fn(move |_| {
        let answer = match state_of_store.load(Ordering::Relaxed) {
            0 => Ok(Some(ApiKey::new("k1"))),
            1 => Err(StoreUnavailable::because("down")),
            _ => Ok(None),
        };
        std::future::ready(answer)
    });
    let store = CachedKeyStore::new(store).bridge(Duration::from_secs(60)).clock(clock);
    let digest = KeyDigest::of(b"k");
    assert!(store.find(&digest).await.unwrap().is_some());
    hand.advance(Duration::from_secs(64));
    state.store(1, Ordering::Relaxed);
    assert!(store.now(&digest).is_none() && store.find(&digest).await.unwrap().is_some());
    hand.advance(Duration::from_secs(1));
    assert!(store.find(&digest).await.is_err());
    state.store(2, Ordering::Relaxed);
    assert!(store.find(&digest).await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_with_too_many_bad_credentials_is_not_looked_at_and_a_known_one_stays() {
    let (clock, hand) = Clock::manual();
    let signer = hs256();
    let limit = FailureLimit::new(3, Duration::from_secs(60)).clock(clock);
    let layer = AuthLayer::new(jwt(&signer)).or(ApiKeys::new(keys())).limit_failures(limit.clone());
    let app = guard(&layer);
    let known = signer.token(&claims("u1"));
    assert_eq!(app.status(bearer(&known)).await, 200);
    // The same one again is no other guess.
    for junk in ["junk1", "junk2", "junk1", "junk2"] {
        assert_eq!(app.status(bearer(junk)).await, 401);
    }
    assert_eq!(app.status(get("/").header("x-api-key", "junk1")).await, 401);
    let answer = app.send(bearer("junk3")).await;
    assert_eq!((answer.status, &answer.body["error"]), (429, &json!("too_many_failed_credentials")));
    assert_eq!(answer.headers["retry-after"], "20");
    assert_eq!(app.status(bearer(&signer.token(&claims("new")))).await, 429, "good, and not known");
    assert_eq!(app.status(get("/").header("x-api-key", "bad")).await, 429);
    assert_eq!(app.status(bearer(&known)).await, 200);
    assert_eq!(app.status(get("/")).await, 401, "nothing to look at");

    let mut reloaded = AuthLayer::new(jwt(&signer)).limit_failures(limit);
    reloaded.adopt(&layer);
    assert_eq!(guard(&reloaded).status(bearer("junk")).await, 429);
    hand.advance(Duration::from_secs(20));
    assert_eq!(app.status(bearer(&signer.token(&claims("new")))).await, 200);
}

proptest! {
    #[test]
    fn no_field_makes_the_layer_panic_or_lets_anybody_in(line in proptest::collection::vec(32_u8..=255, 0..200), key in "[ -~]{0,40}") {
        let layer = AuthLayer::new(jwt(&hs256())).or(ApiKeys::new(keys()));
        prop_assume!(key != "good");
        let mut request = get("/").header("x-api-key", key);
        if let Ok(line) = http::HeaderValue::from_bytes(&line) {
            request = request.header("authorization", line);
        }
        let status = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(guard(&layer).status(request));
        prop_assert_eq!(status, 401);
    }
}
