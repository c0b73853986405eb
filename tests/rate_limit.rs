//! Limits as callers meet them: who is refused, what they are told, and what becomes of it all when something fails.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::body::ResponseBody;
use tower_gateway::rate_limit::{
    Algorithm, AsyncStore, Boxed, Charges, Decision, Key, Limit, MemoryStore, MissingKey, OnStoreError, Quota,
    RateLimitHeaders, RateLimitLayer, Store, StoreError,
};
use tower_gateway::{ClientIp, Clock, CredentialKind, Identity, ManualClock, RequestContext, RouteName};

type Answer = Response<ResponseBody<Full<Bytes>>>;

/// Answers each request with `tokens`, which it says it has used.
fn answering<St: Store>(
    layer: &RateLimitLayer<St>,
    tokens: u64,
) -> impl Service<Request<()>, Response = Answer, Error = Infallible> + Clone {
    layer.layer(service_fn(move |_: Request<()>| async move {
        Ok::<_, Infallible>(Response::builder().header("x-tokens", tokens).body(Full::from("hello")).unwrap())
    }))
}

async fn send<St: Store>(layer: &RateLimitLayer<St>, request: Request<()>) -> Answer {
    answering(layer, 1).oneshot(request).await.unwrap()
}

async fn status<St: Store>(layer: &RateLimitLayer<St>, request: Request<()>) -> u16 {
    send(layer, request).await.status().as_u16()
}

/// How many in a row are admitted.
async fn flood<St: Store>(layer: &RateLimitLayer<St>, request: impl Fn() -> Request<()>) -> usize {
    let mut admitted = 0;
    while status(layer, request()).await == 200 {
        admitted += 1;
        assert!(admitted < 100_000, "nothing is refused");
    }
    admitted
}

fn from(peer: &str) -> Request<()> {
    let mut request = Request::new(());
    let peer: SocketAddr = format!("{peer}:4711").parse().unwrap();
    RequestContext::of(request.extensions_mut()).set_client_ip(ClientIp::from_peer(peer, 64));
    request
}

fn by(
    subject: &str,
    change: impl FnOnce(tower_gateway::IdentityBuilder) -> tower_gateway::IdentityBuilder,
) -> Request<()> {
    let mut request = from("192.0.2.1");
    let identity = change(Identity::builder(CredentialKind::ApiKey).subject(subject)).build();
    RequestContext::of(request.extensions_mut()).set_identity(identity);
    request
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn by_hand(limits: impl IntoIterator<Item = Limit>) -> (RateLimitLayer, Arc<ManualClock>) {
    let (clock, hand) = Clock::manual();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    (RateLimitLayer::with_store(limits, store).clock(clock), hand)
}

#[tokio::test]
async fn each_client_has_its_own_quota_and_gets_it_back() {
    let (layer, hand) = by_hand([Limit::new("default", Quota::per_second(3))]);
    assert_eq!(flood(&layer, || from("192.0.2.1")).await, 3);
    assert_eq!(flood(&layer, || from("192.0.2.2")).await, 3);
    hand.advance(Duration::from_secs(1));
    assert_eq!(flood(&layer, || from("192.0.2.1")).await, 3);
}

#[tokio::test]
async fn clones_routes_and_layers_of_the_same_name_and_store_count_together() {
    let store = MemoryStore::new();
    let limit = || [Limit::new("shared", Quota::per_hour(4))];
    let (one, two) =
        (RateLimitLayer::with_store(limit(), store.clone()), RateLimitLayer::with_store(limit(), store.clone()));
    let other = RateLimitLayer::with_store([Limit::new("another", Quota::per_hour(4))], store);
    assert_eq!(status(&one, from("192.0.2.1")).await, 200);
    assert_eq!(status(&one.clone(), from("192.0.2.1")).await, 200);
    assert_eq!(flood(&two, || from("192.0.2.1")).await, 2);
    assert_eq!(flood(&other, || from("192.0.2.1")).await, 4);
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_that_names_the_quota() {
    let (layer, _) = by_hand([Limit::new("per_user", Quota::per_minute(2))]);
    flood(&layer, || from("192.0.2.1")).await;
    let refused = send(&layer, from("192.0.2.1")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&refused, "content-type"), "application/problem+json");
    assert_eq!(header(&refused, "retry-after"), "30");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        body,
        concat!(
            r#"{"type":"about:blank","title":"Too Many Requests","status":429,"#,
            r#""detail":"the quota per_user of 2 in 60 s is used up","error":"rate_limit_exceeded","#,
            r#""violated-policies":["per_user"]}"#
        )
    );
}

#[tokio::test]
async fn every_answer_says_how_things_stand() {
    let (layer, hand) = by_hand([Limit::new("per_user", Quota::per_minute(100))]);
    let layer = layer.headers(RateLimitHeaders::default().older_draft(true));
    let answer = send(&layer, from("192.0.2.1")).await;
    assert_eq!(header(&answer, "ratelimit-policy"), r#""per_user";q=100;w=60"#);
    assert_eq!(header(&answer, "ratelimit"), r#""per_user";r=99;t=1"#);
    assert_eq!((header(&answer, "x-ratelimit-limit"), header(&answer, "x-ratelimit-remaining")), ("100", "99"));
    assert_eq!(
        (
            header(&answer, "ratelimit-limit"),
            header(&answer, "ratelimit-remaining"),
            header(&answer, "ratelimit-reset")
        ),
        ("100", "99", "1")
    );
    let reset: u64 = header(&answer, "x-ratelimit-reset").parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(reset.abs_diff(now) <= 3, "{reset} {now}");
    flood(&layer, || from("192.0.2.1")).await;
    hand.advance(Duration::from_millis(100));
    let refused = send(&layer, from("192.0.2.1")).await;
    assert_eq!((header(&refused, "ratelimit"), header(&refused, "retry-after")), (r#""per_user";r=0;t=60"#, "1"));
    let silent = layer.headers(RateLimitHeaders::none());
    assert!(send(&silent, from("192.0.2.2")).await.headers().keys().all(|name| !name.as_str().contains("ratelimit")));
    assert_eq!(status(&silent, from("192.0.2.1")).await, 429);
}

#[tokio::test]
async fn of_several_quotas_all_admit_or_none_is_charged_and_the_tightest_is_told() {
    let user = || Key::client_ip();
    let limits = [
        Limit::new("burst", Quota::per_second(10)).key(user()),
        Limit::new("hourly", Quota::per_hour(12)).key(user()),
        Limit::new("all", Quota::per_hour(1000)).key(Key::global()),
    ];
    let (layer, hand) = by_hand(limits);
    let first = send(&layer, from("192.0.2.1")).await;
    assert_eq!(header(&first, "ratelimit-policy"), r#""burst";q=10;w=1, "hourly";q=12;w=3600, "all";q=1000;w=3600"#);
    assert_eq!(header(&first, "x-ratelimit-limit"), "10");
    assert_eq!(flood(&layer, || from("192.0.2.1")).await, 9);
    for _ in 0..100 {
        assert_eq!(status(&layer, from("192.0.2.1")).await, 429);
    }
    hand.advance(Duration::from_secs(1));
    assert_eq!(flood(&layer, || from("192.0.2.1")).await, 2, "the hourly quota was charged for what passed alone");
    let refused = send(&layer, from("192.0.2.1")).await;
    assert_eq!((header(&refused, "x-ratelimit-limit"), header(&refused, "retry-after")), ("12", "299"));
    let other = send(&layer, from("192.0.2.2")).await;
    assert_eq!(header(&other, "x-ratelimit-remaining"), "9");
}

#[tokio::test]
async fn two_layers_tell_of_the_tighter_quota_and_list_both() {
    let (outer, _) = by_hand([Limit::new("address", Quota::per_minute(10))]);
    let (inner, _) = by_hand([Limit::new("user", Quota::per_minute(3)).key(Key::subject())]);
    let app = outer.layer(answering(&inner, 1));
    let answer = app.clone().oneshot(by("alice", |identity| identity)).await.unwrap();
    let listed: Vec<_> =
        answer.headers().get_all("ratelimit-policy").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(listed, [r#""user";q=3;w=60"#, r#""address";q=10;w=60"#]);
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "2");
    for n in 0..9 {
        let alice = by(&format!("u{n}"), |identity| identity);
        app.clone().oneshot(alice).await.unwrap();
    }
    let answer = app.oneshot(by("bob", |identity| identity)).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["x-ratelimit-limit"]), (429, &http::HeaderValue::from(10)));
}

#[tokio::test]
async fn an_identitys_own_limit_goes_before_its_plan_and_that_before_the_limits() {
    let limit = Limit::new("per_user", Quota::per_hour(2)).key(Key::subject()).plan("pro", Quota::per_hour(5));
    let (layer, _) = by_hand([limit.clone()]);
    assert_eq!(flood(&layer, || by("a", |identity| identity)).await, 2);
    assert_eq!(flood(&layer, || by("b", |identity| identity.plan("pro"))).await, 5);
    assert_eq!(flood(&layer, || by("c", |identity| identity.plan("unheard of"))).await, 2);
    assert_eq!(flood(&layer, || by("d", |identity| identity.plan("pro").limit(7))).await, 7);
    let answer = send(&layer, by("e", |identity| identity.limit(7))).await;
    assert_eq!(header(&answer, "ratelimit-policy"), r#""per_user";q=7;w=3600"#);
    for (own, counted) in [(0, 1), (u64::MAX, 7_200_000_000_000u64)] {
        let answer = send(&layer, by(&format!("f{own}"), |identity| identity.limit(own))).await;
        assert_eq!(header(&answer, "x-ratelimit-limit"), counted.to_string());
    }
    let (layer, _) = by_hand([limit.own_limits(false)]);
    assert_eq!(flood(&layer, || by("d", |identity| identity.limit(7))).await, 2);
}

#[tokio::test]
async fn the_quota_and_the_cost_may_depend_on_the_request() {
    let by_header = |head: &tower_gateway::Head<'_>, name: &str| head.headers().get(name)?.to_str().ok()?.parse().ok();
    let limit = Limit::new("units", Quota::per_hour(10))
        .quota_by(move |head| Quota::new(by_header(head, "x-quota")?, Duration::from_secs(3600)).ok())
        .cost_by(move |head| by_header(head, "x-cost").unwrap_or(1));
    let (layer, _) = by_hand([limit]);
    let asking = |peer: &str, name: &'static str, value: u64| {
        let mut request = from(peer);
        request.headers_mut().insert(name, value.into());
        request
    };
    assert_eq!(flood(&layer, || asking("192.0.2.1", "x-cost", 3)).await, 3);
    assert_eq!(flood(&layer, || from("192.0.2.1")).await, 1);
    assert_eq!(flood(&layer, || asking("192.0.2.2", "x-quota", 20)).await, 20);
    assert_eq!(status(&layer, asking("192.0.2.3", "x-cost", 11)).await, 429, "more than there ever is");
    assert_eq!(flood(&layer, || asking("192.0.2.3", "x-cost", 10)).await, 1);
}

#[tokio::test]
async fn what_the_answer_cost_is_charged_or_given_back() {
    let limit = Limit::new("tokens", Quota::per_hour(100))
        .cost(10)
        .price(|answer| answer.headers.get("x-tokens")?.to_str().ok()?.parse().ok());
    let (layer, _) = by_hand([limit]);
    let mut cheap = answering(&layer, 2);
    let answer = cheap.ready().await.unwrap().call(from("192.0.2.1")).await.unwrap();
    assert_eq!(header(&answer, "x-ratelimit-remaining"), "98");
    let mut exact = answering(&layer, 10);
    let answer = exact.ready().await.unwrap().call(from("192.0.2.1")).await.unwrap();
    assert_eq!(header(&answer, "x-ratelimit-remaining"), "88");
    let mut dear = answering(&layer, 150);
    let answer = dear.ready().await.unwrap().call(from("192.0.2.1")).await.unwrap();
    assert_eq!(header(&answer, "x-ratelimit-remaining"), "0");
    let refused = dear.ready().await.unwrap().call(from("192.0.2.1")).await.unwrap();
    assert_eq!(refused.status(), 429);
    // 62 beyond the quota, and the 10 it asks for: 72 hundredths of an hour.
    assert_eq!(header(&refused, "retry-after"), "2592");
}

#[tokio::test]
async fn a_request_without_its_key_is_refused_skipped_or_counted_by_another() {
    let tenant = || Key::header(HeaderName::from_static("x-tenant"));
    let limit = || Limit::new("per_tenant", Quota::per_hour(1));
    let (refusing, _) = by_hand([limit().key(tenant())]);
    let refused = send(&refusing, from("192.0.2.1")).await;
    assert_eq!(refused.status(), 400);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("rate_limit_key_missing"));
    assert_eq!(refusing.handle().statistics().missing_keys, 1);
    let (skipping, _) = by_hand([limit().key(tenant()).missing_key(MissingKey::Skip)]);
    for _ in 0..3 {
        assert_eq!(status(&skipping, from("192.0.2.1")).await, 200);
    }
    let (falling_back, _) = by_hand([limit().key(tenant().or(Key::client_ip()))]);
    assert_eq!(flood(&falling_back, || from("192.0.2.1")).await, 1);
}

#[tokio::test]
async fn a_dry_run_counts_and_labels_and_refuses_nobody() {
    let (layer, _) = by_hand([Limit::new("trial", Quota::per_hour(1))]);
    let layer = layer.dry_run(true);
    for n in 0..3 {
        let mut request = from("192.0.2.1");
        let context = RequestContext::of(request.extensions_mut());
        assert_eq!(status(&layer, request).await, 200);
        let rejection = context.rejection();
        assert_eq!(rejection.is_some_and(|rejection| rejection.is_dry_run()), n > 0);
    }
    let statistics = layer.handle().statistics();
    assert_eq!((statistics.would_refuse, statistics.refused), (2, 0));
}

#[tokio::test]
async fn what_is_skipped_or_switched_off_is_not_counted() {
    let (layer, _) = by_hand([Limit::new("default", Quota::per_hour(1))]);
    let off = layer.clone().enabled(false);
    let some = layer.clone().skip(|head| head.uri().path() == "/health");
    for _ in 0..3 {
        assert_eq!(status(&off, from("192.0.2.1")).await, 200);
        let mut health = from("192.0.2.1");
        *health.uri_mut() = "/health".parse().unwrap();
        assert_eq!(status(&some, health).await, 200);
    }
    assert_eq!(flood(&some, || from("192.0.2.1")).await, 1);
}

#[tokio::test]
async fn an_adopted_layer_counts_on_under_other_terms() {
    let old = RateLimitLayer::new([Limit::new("per_user", Quota::per_hour(5))]);
    assert_eq!(flood(&old, || from("192.0.2.1")).await, 5);
    let same = RateLimitLayer::new([Limit::new("per_user", Quota::per_hour(5))]).adopt(&old);
    assert_eq!(status(&same, from("192.0.2.1")).await, 429);
    assert_eq!(same.handle().statistics().refused, 2, "one that ended the flood, and this");
    let more = RateLimitLayer::new([Limit::new("per_user", Quota::per_hour(10))]).adopt(&old);
    assert_eq!(status(&more, from("192.0.2.1")).await, 429, "an hour's debt is paid at the new rate");
    let fresh = RateLimitLayer::new([Limit::new("per_user", Quota::per_hour(5))]);
    assert_eq!(status(&fresh, from("192.0.2.1")).await, 200);
}

#[tokio::test]
async fn an_operator_sees_how_somebody_stands_and_forgets_it() {
    let (layer, _) = by_hand([Limit::new("per_user", Quota::per_hour(5)).key(Key::subject())]);
    let alice = || by("alice", |identity| identity);
    let handle = layer.handle();
    assert_eq!(handle.peek(&alice()).await.unwrap().remaining, 5);
    flood(&layer, alice).await;
    assert!(!handle.peek(&alice()).await.unwrap().admitted);
    handle.reset(&alice()).await.unwrap();
    assert_eq!(flood(&layer, alice).await, 5);
}

#[tokio::test]
async fn other_algorithms_and_keys_serve_as_well() {
    let fixed = Quota::per_day(3).algorithm(Algorithm::FixedWindow).unwrap();
    let key = Key::subject().and(Key::route()).and(Key::method());
    let (layer, hand) = by_hand([Limit::new("daily", fixed).key(key)]);
    let on = |route: &str| {
        let mut request = by("alice", |identity| identity);
        RequestContext::of(request.extensions_mut()).set_route(RouteName::from(route));
        request
    };
    assert_eq!(flood(&layer, || on("a")).await, 3);
    assert_eq!(flood(&layer, || on("b")).await, 3);
    hand.advance(Duration::from_secs(86_400));
    assert_eq!(flood(&layer, || on("a")).await, 3);
}

/// Counts in one number, and fails when it is told to.
#[derive(Clone, Default)]
struct Fickle {
    used: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl AsyncStore for Fickle {
    async fn acquire(&self, charges: Charges) -> Result<Decision, StoreError> {
        tokio::task::yield_now().await;
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::new("broken"));
        }
        let used = self.used.fetch_add(charges[0].cost, Ordering::Relaxed);
        match charges[0].quota.limit().checked_sub(used + 1) {
            Some(remaining) => Ok(Decision::admit(remaining, Duration::ZERO)),
            None => Ok(Decision::refuse(0, Duration::ZERO, Duration::from_secs(5))),
        }
    }

    async fn debit(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.acquire(charges).await
    }

    async fn refund(&self, _: Charges) -> Result<Decision, StoreError> {
        tokio::task::yield_now().await;
        self.used.fetch_sub(1, Ordering::Relaxed);
        Ok(Decision::admit(77, Duration::ZERO))
    }

    async fn peek(&self, _: Charges) -> Result<Decision, StoreError> {
        Err(StoreError::new("not known"))
    }

    async fn reset(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.peek(charges).await
    }
}

fn over(store: &Fickle) -> RateLimitLayer<Boxed<Fickle>> {
    RateLimitLayer::with_store([Limit::new("default", Quota::per_hour(4))], Boxed::new(store.clone()))
}

#[tokio::test]
async fn a_store_that_has_to_be_waited_for_decides_as_well() {
    let store = Fickle::default();
    assert_eq!(flood(&over(&store), || from("192.0.2.1")).await, 4);
    let priced = Limit::new("default", Quota::per_hour(100)).cost(2).price(|_| Some(1));
    let layer = RateLimitLayer::with_store([priced], Boxed::new(Fickle::default()));
    assert_eq!(header(&send(&layer, from("192.0.2.1")).await, "x-ratelimit-remaining"), "77");
}

#[tokio::test]
async fn without_an_answer_of_the_store_requests_pass_fail_or_are_counted_here() {
    let store = Fickle::default();
    store.broken.store(true, Ordering::Relaxed);
    let closed = send(&over(&store), from("192.0.2.1")).await;
    assert_eq!((closed.status().as_u16(), header(&closed, "retry-after")), (503, "1"));
    let open = over(&store).on_store_error(OnStoreError::Open);
    for _ in 0..10 {
        assert_eq!(status(&open, from("192.0.2.1")).await, 200);
    }
    assert_eq!(open.handle().statistics().store_errors, 10);
    let local = OnStoreError::Local { store: MemoryStore::new(), share: (1, 2) };
    let local = over(&store).on_store_error(local);
    assert_eq!(flood(&local, || from("192.0.2.1")).await, 2);
    store.broken.store(false, Ordering::Relaxed);
    assert_eq!(flood(&local, || from("192.0.2.1")).await, 4, "the store counts again, as if nothing had been");
    let dry = over(&store).dry_run(true);
    store.broken.store(true, Ordering::Relaxed);
    assert_eq!(status(&dry, from("192.0.2.1")).await, 200);
}

#[tokio::test]
async fn refused_callers_are_told_different_times_where_that_is_asked_for() {
    let (layer, _) = by_hand([Limit::new("default", Quota::per_hour(1))]);
    let layer = layer.retry_jitter(Duration::from_secs(1_000_000));
    flood(&layer, || from("192.0.2.1")).await;
    let mut waits = Vec::new();
    for _ in 0..20 {
        waits.push(header(&send(&layer, from("192.0.2.1")).await, "retry-after").parse::<u64>().unwrap());
    }
    assert!(waits.iter().all(|wait| (3_600..=1_003_601).contains(wait)), "{waits:?}");
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 10, "{waits:?}");
}

#[test]
fn many_threads_through_one_layer_are_admitted_the_quota() {
    let layer = RateLimitLayer::per_hour(1_000);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for _ in 0..500 {
                    if runtime.block_on(status(&layer, from("192.0.2.1"))) == 200 {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 1_000);
}
