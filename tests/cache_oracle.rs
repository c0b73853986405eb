//! The cache beside http-cache-semantics, on what the two should agree: whether a second request needs the origin.
//!
//! Left out on purpose, since the two differ there and the RFCs are on this side: numbers that are no numbers (RFC 9111
//! section 4.2.1 has them stale), several values of one directive, `Pragma` in responses, `Expires` that is no date.

use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;
use tower::{Layer, ServiceExt};
use tower_gateway::Clock;
use tower_gateway::cache::CacheLayer;

fn directives() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        (0u32..200).prop_map(|seconds| format!("max-age={seconds}")),
        (0u32..200).prop_map(|seconds| format!("s-maxage={seconds}")),
        Just("no-store".to_owned()),
        Just("private".to_owned()),
        Just("public".to_owned()),
        Just("must-revalidate".to_owned()),
        Just("unknown=\"a, b\"".to_owned()),
    ];
    proptest::collection::hash_map(0u8..7, one, 0..4).prop_map(|all| {
        let mut all: Vec<_> = all.into_values().collect();
        all.sort_unstable();
        all.dedup_by(|a, b| a.split('=').next() == b.split('=').next());
        all.join(", ")
    })
}

proptest! {
    #[test]
    fn both_say_the_same_of_a_second_request(
        directives in directives(),
        status in prop_oneof![Just(200u16), Just(203), Just(301), Just(404), Just(410)],
        age in proptest::option::of(0u32..100),
        authorized: bool,
        passed in 0u64..200,
    ) {
        let mut request = Request::get("http://a.test/");
        if authorized {
            request = request.header("authorization", "Basic x");
        }
        let request = request.body(()).unwrap();
        let (clock, hand) = Clock::manual();
        let date = httpdate::fmt_http_date(clock.wall());
        let mut response = Response::builder().status(status).header("date", date);
        if !directives.is_empty() {
            response = response.header("cache-control", &directives);
        }
        if let Some(age) = age {
            response = response.header("age", age);
        }
        let response = response.body(()).unwrap();

        let now: SystemTime = clock.wall();
        let policy = CachePolicy::new_options(&request, &response, now, CacheOptions::default());
        let theirs = policy.is_storable() && policy.time_to_live(now + Duration::from_secs(passed)) > Duration::ZERO;

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ours = runtime.block_on(async {
            let service = CacheLayer::new().clock(clock).x_cache(true).layer(tower::service_fn(move |_: Request<()>| {
                let answer = response.clone().map(|()| Full::new(bytes::Bytes::from_static(b"x")));
                async { Ok::<_, std::convert::Infallible>(answer) }
            }));
            let mut outcome = String::new();
            for wait in [passed, 0] {
                let Ok(answer) = service.clone().oneshot(request.clone()).await;
                outcome = answer.headers()["x-cache"].to_str().unwrap().to_owned();
                answer.into_body().collect().await.unwrap();
                hand.advance(Duration::from_secs(wait));
            }
            outcome == "HIT"
        });
        prop_assert_eq!(ours, theirs, "{} {:?}", directives, age);
    }
}
