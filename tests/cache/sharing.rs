//! Who is given whose response.

use super::origin::Bench;
use tower_gateway::cache::{Authenticated, CacheLayer, PurgeOf};
use tower_gateway::{CacheOutcome, CredentialKind, Identity, RequestContext};

const FRESH: (&str, &str) = ("cache-control", "max-age=100");

fn subject(name: &str) -> RequestContext {
    let context = RequestContext::new();
    context.set_identity(Identity::builder(CredentialKind::ApiKey).subject(name).build());
    context
}

#[tokio::test]
async fn a_request_with_an_accepted_credential_passes_by() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH], "anonymous").answers(200, &[FRESH], "for one").answers(
        200,
        &[FRESH],
        "for two",
    );
    bench.get(&[]).await;
    for (name, content) in [("one", "for one"), ("two", "for two")] {
        let context = subject(name);
        let got = bench.send_as("GET", "/a", &[], context.clone()).await;
        assert_eq!((got.content.as_str(), got.outcome()), (content, "BYPASS"));
        assert_eq!(got.field("cache-status"), "tower-gateway; fwd=bypass");
        assert_eq!(context.cache_outcome(), Some(CacheOutcome::Bypass));
    }
    assert_eq!(bench.get(&[]).await.content, "anonymous");
}

#[tokio::test]
async fn each_subject_has_responses_of_its_own_where_the_layer_says_so() {
    let bench = Bench::with(|layer| layer.authenticated(Authenticated::PerSubject));
    for content in ["for one", "for two", "anonymous"] {
        bench.origin.answers(200, &[FRESH], content);
    }
    for outcome in ["MISS", "HIT"] {
        for (context, content) in
            [(subject("one"), "for one"), (subject("two"), "for two"), (RequestContext::new(), "anonymous")]
        {
            let got = bench
                .send_as(
                    "GET",
                    "/a",
                    &[("authorization", "Bearer x")][..usize::from(context.identity().is_some())],
                    context,
                )
                .await;
            assert_eq!((got.content.as_str(), got.outcome()), (content, outcome));
        }
    }
    // A write concerns the copies of all.
    bench.origin.answers(204, &[], "");
    bench.send_as("POST", "/a", &[], subject("one")).await;
    bench.origin.answers(200, &[FRESH], "new");
    assert_eq!(bench.send_as("GET", "/a", &[], subject("two")).await.content, "new");
}

#[tokio::test]
async fn one_without_a_subject_has_none_of_its_own() {
    let bench = Bench::with(|layer| layer.authenticated(Authenticated::PerSubject));
    let context = RequestContext::new();
    context.set_identity(Identity::builder(CredentialKind::ApiKey).key_id("k").build());
    bench.origin.answers(200, &[FRESH], "content");
    assert_eq!(bench.send_as("GET", "/a", &[], context).await.outcome(), "BYPASS");
}

#[tokio::test]
async fn an_answer_that_is_the_same_for_all_is_shared() {
    let bench = Bench::with(|layer| layer.authenticated(Authenticated::Shared));
    bench.origin.answers(200, &[FRESH], "for all");
    let bearer = [("authorization", "Bearer x")];
    assert_eq!(bench.send_as("GET", "/a", &bearer, subject("one")).await.outcome(), "MISS");
    assert_eq!(bench.send_as("GET", "/a", &bearer, subject("two")).await.outcome(), "HIT");
}

#[tokio::test]
async fn authorization_that_nobody_has_looked_at_is_stored_only_where_the_response_allows() {
    for (directives, outcome) in [
        ("max-age=9", "MISS"),
        ("max-age=9, public", "HIT"),
        ("s-maxage=9", "HIT"),
        ("max-age=9, must-revalidate", "HIT"),
    ] {
        let bench = Bench::new();
        for _ in 0..2 {
            bench.origin.answers(200, &[("cache-control", directives)], "content");
        }
        let bearer = [("authorization", "Bearer x")];
        bench.get(&bearer).await;
        assert_eq!(bench.get(&bearer).await.outcome(), outcome, "{directives}");
    }
}

#[tokio::test]
async fn cookies_are_not_stored_where_the_layer_refuses_them() {
    let bench = Bench::with(|layer| layer.set_cookie(false));
    for _ in 0..2 {
        bench.origin.answers(200, &[FRESH, ("set-cookie", "a=b")], "content");
        assert_eq!(bench.get(&[]).await.outcome(), "MISS");
    }
}

#[tokio::test]
async fn purges_are_of_a_uri_a_prefix_a_tag_or_all() {
    let purges = [
        (PurgeOf::Url("http://a.test/x/1".parse().unwrap()), [true, false, false]),
        (PurgeOf::Prefix("http://a.test/x/".into()), [true, true, false]),
        (PurgeOf::Tag("t1".into()), [true, false, true]),
        (PurgeOf::Tag("t2".into()), [false, true, false]),
        (PurgeOf::All, [true, true, true]),
    ];
    for (purge, gone) in purges {
        for soft in [false, true] {
            let bench = Bench::new();
            let cacheable = ("cache-control", "max-age=100, stale-while-revalidate=100");
            bench.origin.answers(200, &[cacheable, ("surrogate-key", "t0 t1")], "old");
            bench.origin.answers(200, &[cacheable, ("cache-tag", "t3, t2")], "old");
            bench.origin.answers(200, &[cacheable, ("surrogate-key", "t1")], "old");
            let paths = ["/x/1", "/x/2", "/y"];
            for path in paths {
                bench.send("GET", path, &[]).await;
            }
            if soft {
                bench.layer.handle().purge_softly(&purge)
            } else {
                bench.layer.handle().purge(&purge)
            }
            bench.passes(1);
            for (path, gone) in paths.into_iter().zip(gone) {
                let expected = match (gone, soft) {
                    (true, false) => "MISS",
                    (true, true) => "STALE",
                    (false, _) => "HIT",
                };
                if gone {
                    bench.origin.answers(200, &[cacheable], "new");
                }
                assert_eq!(bench.send("GET", path, &[]).await.outcome(), expected, "{purge:?} {soft} {path}");
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                // What came since is not purged.
                assert_eq!(bench.send("GET", path, &[]).await.outcome(), "HIT", "{purge:?} {soft} {path}");
            }
        }
    }
}

#[tokio::test]
async fn partitions_of_one_state_are_apart_and_purged_together() {
    let bench = Bench::with(|layer| layer.partition("one"));
    let other = tower::Layer::layer(&bench.layer.clone().partition("two"), bench.origin.clone());
    bench.origin.answers(200, &[FRESH], "one").answers(200, &[FRESH], "two");
    bench.get(&[]).await;
    let two = Bench { service: other, ..bench };
    assert_eq!(two.get(&[]).await.content, "two");
    two.layer.handle().purge(&PurgeOf::Url("http://a.test/a".parse().unwrap()));
    two.passes(1);
    two.origin.answers(200, &[FRESH], "new");
    assert_eq!(two.get(&[]).await.content, "new");
}

#[tokio::test]
async fn a_reload_keeps_what_is_stored() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH], "content");
    bench.get(&[]).await;
    let old = bench.layer.handle();
    let reloaded = CacheLayer::new().x_cache(true).adopt(&bench.layer);
    let bench = Bench { service: tower::Layer::layer(&reloaded, bench.origin.clone()), ..bench };
    assert_eq!(bench.get(&[]).await.outcome(), "HIT");
    assert_eq!(reloaded.handle().statistics().hits, 1);
    // And so does the handle that an operator holds.
    old.purge(&PurgeOf::All);
    bench.origin.answers(200, &[FRESH], "new");
    bench.passes(1);
    assert_eq!(bench.get(&[]).await.content, "new");
    assert_eq!(old.statistics(), reloaded.handle().statistics());
}
