//! What RFC 9111 and its companions say of storing, reusing, validating and invalidating, as a client sees it.

use super::origin::Bench;

const FRESH: (&str, &str) = ("cache-control", "max-age=100");

#[tokio::test]
async fn a_fresh_response_is_served_from_the_store_with_its_age() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH, ("x-a", "1"), ("age", "7")], "content");
    let first = bench.get(&[]).await;
    assert_eq!((first.outcome(), first.content.as_str()), ("MISS", "content"));
    assert_eq!(first.field("cache-status"), "tower-gateway; fwd=uri-miss; ttl=93; stored");
    bench.passes(5);
    let second = bench.get(&[]).await;
    assert_eq!((second.outcome(), second.field("age"), second.field("x-a")), ("HIT", "12", "1"));
    assert_eq!(second.field("cache-status"), "tower-gateway; hit; ttl=88");
    assert_eq!((second.content.as_str(), bench.origin.asked()), ("content", 1));
    assert_ne!(second.field("date"), "", "what came without a date has one");
}

#[tokio::test]
async fn a_stale_response_is_validated_and_updated_by_a_304() {
    let bench = Bench::new();
    let modified = bench.date(-1000);
    bench.origin.answers(200, &[FRESH, ("etag", "\"a\""), ("last-modified", &modified), ("x-a", "1")], "content");
    bench.get(&[]).await;
    bench.passes(100);
    bench.origin.answers(304, &[FRESH, ("etag", "\"a\""), ("x-a", "2"), ("content-length", "99")], "");
    let validated = bench.get(&[]).await;
    assert_eq!((validated.status, validated.outcome()), (200, "REVALIDATED"));
    assert_eq!((validated.content.as_str(), validated.field("x-a"), validated.field("age")), ("content", "2", "0"));
    assert_eq!(validated.field("cache-status"), "tower-gateway; fwd=stale; fwd-status=304; ttl=100; stored");
    let asked = bench.origin.last();
    assert_eq!(
        (asked["if-none-match"].to_str().unwrap(), asked["if-modified-since"].to_str().unwrap()),
        ("\"a\"", &*modified)
    );
    let hit = bench.get(&[]).await;
    assert_eq!((hit.outcome(), hit.field("x-a"), bench.origin.asked()), ("HIT", "2", 2));
}

#[tokio::test]
async fn a_new_response_replaces_the_stale_one() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH, ("etag", "\"a\"")], "one").answers(200, &[FRESH, ("etag", "\"b\"")], "two");
    bench.get(&[]).await;
    bench.passes(100);
    assert_eq!(bench.get(&[]).await.content, "two");
    let hit = bench.get(&[]).await;
    assert_eq!((hit.content.as_str(), hit.outcome()), ("two", "HIT"));
}

#[tokio::test]
async fn a_clients_condition_is_answered_from_the_store_and_after_a_validation() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH, ("etag", "\"a\""), ("content-type", "text/plain")], "content");
    bench.get(&[]).await;
    let spared = bench.get(&[("if-none-match", "\"x\", W/\"a\"")]).await;
    assert_eq!((spared.status, spared.content.as_str(), spared.field("content-type")), (304, "", ""));
    assert_eq!((spared.field("etag"), spared.outcome()), ("\"a\"", "HIT"));
    assert_eq!(bench.get(&[("if-none-match", "\"x\"")]).await.status, 200);
    bench.passes(100);
    bench.origin.answers(304, &[FRESH], "");
    let spared = bench.get(&[("if-none-match", "\"x\", \"a\"")]).await;
    assert_eq!((spared.status, spared.outcome()), (304, "REVALIDATED"));
    assert_eq!(bench.origin.last()["if-none-match"], "\"a\"");
}

#[tokio::test]
async fn a_condition_on_what_is_not_stored_is_the_origins_to_answer() {
    let bench = Bench::new();
    bench.origin.answers(304, &[FRESH, ("etag", "\"a\"")], "").answers(200, &[FRESH], "content");
    assert_eq!(bench.get(&[("if-none-match", "\"a\"")]).await.status, 304);
    assert_eq!(bench.origin.last()["if-none-match"], "\"a\"");
    assert_eq!(bench.get(&[]).await.content, "content");
}

#[tokio::test]
async fn variants_are_kept_side_by_side_and_validated_together() {
    let bench = Bench::new();
    for (tag, content) in [("\"en\"", "hello"), ("\"de\"", "hallo")] {
        bench.origin.answers(200, &[FRESH, ("vary", "accept-language"), ("etag", tag)], content);
    }
    assert_eq!(bench.get(&[("accept-language", "en")]).await.content, "hello");
    let german = bench.get(&[("accept-language", "de")]).await;
    assert_eq!(
        (german.content.as_str(), german.field("cache-status")),
        ("hallo", "tower-gateway; fwd=vary-miss; ttl=100; stored")
    );
    assert_eq!(bench.origin.last()["if-none-match"], "\"en\"");
    assert_eq!(bench.get(&[("accept-language", "EN")]).await.content, "hello");
    assert_eq!(bench.get(&[("accept-language", "de")]).await.outcome(), "HIT");

    // The origin answers a third language with the second variant.
    bench.origin.answers(304, &[FRESH, ("etag", "\"en\""), ("vary", "accept-language")], "");
    let third = bench.get(&[("accept-language", "fr")]).await;
    assert_eq!((third.content.as_str(), third.outcome()), ("hello", "REVALIDATED"));
    assert_eq!(bench.origin.last()["if-none-match"], "\"de\", \"en\"");
    assert_eq!(bench.get(&[("accept-language", "fr")]).await.outcome(), "HIT");
    assert_eq!(bench.get(&[("accept-language", "en")]).await.outcome(), "HIT");
}

#[tokio::test]
async fn a_304_that_means_none_of_several_is_a_bad_answer() {
    let bench = Bench::new();
    for tag in ["\"en\"", "\"de\""] {
        bench.origin.answers(200, &[FRESH, ("vary", "accept-language"), ("etag", tag)], "x");
    }
    bench.get(&[("accept-language", "en")]).await;
    bench.get(&[("accept-language", "de")]).await;
    bench.origin.answers(304, &[FRESH, ("vary", "accept-language")], "");
    assert_eq!(bench.get(&[("accept-language", "fr")]).await.status, 502);
}

#[tokio::test]
async fn ranges_are_cut_from_a_stored_whole() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH, ("etag", "\"a\"")], "0123456789");
    bench.get(&[]).await;
    for (range, content, place) in
        [("bytes=2-4", "234", "bytes 2-4/10"), ("bytes=7-", "789", "bytes 7-9/10"), ("bytes=-2", "89", "bytes 8-9/10")]
    {
        let part = bench.get(&[("range", range)]).await;
        assert_eq!((part.status, part.content.as_str(), part.field("content-range")), (206, content, place));
        assert_eq!(part.field("content-length"), content.len().to_string());
    }
    let beyond = bench.get(&[("range", "bytes=10-")]).await;
    assert_eq!((beyond.status, beyond.content.as_str(), beyond.field("content-range")), (416, "", "bytes */10"));
    assert_eq!(bench.get(&[("range", "bytes=0-1,3-4")]).await.status, 200);
    assert_eq!(bench.get(&[("range", "bytes=0-1"), ("if-range", "\"b\"")]).await.status, 200);
    assert_eq!(bench.get(&[("range", "bytes=0-1"), ("if-range", "\"a\"")]).await.status, 206);
    assert_eq!(bench.origin.asked(), 1);
}

#[tokio::test]
async fn parts_are_reused_joined_and_completed() {
    let bench = Bench::new();
    let part = |place: &'static str| [FRESH, ("etag", "\"a\""), ("content-range", place)];
    bench.origin.answers(206, &part("bytes 0-3/10"), "0123");
    assert_eq!(bench.get(&[("range", "bytes=0-3")]).await.status, 206);
    let sub = bench.get(&[("range", "bytes=1-2")]).await;
    assert_eq!((sub.content.as_str(), sub.field("content-range"), sub.outcome()), ("12", "bytes 1-2/10", "HIT"));

    bench.origin.answers(206, &part("bytes 4-6/10"), "456");
    assert_eq!(bench.get(&[("range", "bytes=4-6")]).await.content, "456");
    let across = bench.get(&[("range", "bytes=2-5")]).await;
    assert_eq!((across.content.as_str(), across.outcome()), ("2345", "HIT"));

    bench.origin.answers(206, &part("bytes 7-9/10"), "789");
    let whole = bench.get(&[]).await;
    assert_eq!((whole.status, whole.content.as_str(), whole.field("content-length")), (200, "0123456789", "10"));
    assert_eq!(whole.field("content-range"), "");
    let asked = bench.origin.last();
    assert_eq!((asked["range"].to_str().unwrap(), asked["if-range"].to_str().unwrap()), ("bytes=7-", "\"a\""));
    let hit = bench.get(&[]).await;
    assert_eq!((hit.content.as_str(), hit.outcome(), bench.origin.asked()), ("0123456789", "HIT", 3));
}

#[tokio::test]
async fn a_part_that_is_shorter_than_it_says_is_served_as_what_it_is() {
    let bench = Bench::new();
    bench.origin.answers(206, &[FRESH, ("content-range", "bytes 4-9/10")], "01234");
    assert_eq!(bench.get(&[("range", "bytes=-5")]).await.content, "01234");
    let again = bench.get(&[("range", "bytes=-5")]).await;
    assert_eq!((again.content.as_str(), again.outcome()), ("01234", "HIT"));
    assert_eq!((again.field("content-range"), again.field("content-length")), ("bytes 4-8/10", "5"));
    assert_eq!(bench.get(&[("range", "bytes=6-8")]).await.content, "234");
    // What it does not hold is the origin's to send.
    bench.origin.answers(206, &[FRESH, ("content-range", "bytes 9-9/10")], "9");
    assert_eq!(bench.get(&[("range", "bytes=-1")]).await.content, "9");

    bench.origin.answers(206, &[FRESH, ("content-range", "bytes 0-1/10")], "much more").answers(200, &[], "whole");
    bench.send("GET", "/longer", &[("range", "bytes=0-1")]).await;
    assert_eq!(bench.send("GET", "/longer", &[("range", "bytes=0-1")]).await.content, "whole");
}

#[tokio::test]
async fn a_head_is_answered_from_a_get_and_refreshes_it() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH, ("etag", "\"a\""), ("x-a", "1"), ("content-length", "7")], "content");
    bench.get(&[]).await;
    let head = bench.send("HEAD", "/a", &[]).await;
    assert_eq!(
        (head.status, head.field("content-length"), head.content.as_str(), head.outcome()),
        (200, "7", "", "HIT")
    );
    bench.passes(100);
    bench.origin.answers(200, &[FRESH, ("etag", "\"a\""), ("x-a", "2")], "");
    assert_eq!(bench.send("HEAD", "/a", &[]).await.outcome(), "MISS");
    let get = bench.get(&[]).await;
    assert_eq!((get.outcome(), get.field("x-a"), get.content.as_str()), ("HIT", "2", "content"));
    bench.passes(100);
    bench.origin.answers(200, &[FRESH, ("etag", "\"b\"")], "").answers(200, &[FRESH], "new");
    bench.send("HEAD", "/a", &[]).await;
    assert_eq!(bench.get(&[]).await.content, "new");
}

#[tokio::test]
async fn unsafe_methods_that_succeed_invalidate_their_target_and_what_they_name() {
    for (method, status, gone) in [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 302, true),
        ("FOO", 200, true),
        ("POST", 500, false),
        ("POST", 404, false),
    ] {
        let bench = Bench::new();
        for _ in 0..3 {
            bench.origin.answers(200, &[FRESH], "old");
        }
        for path in ["/a", "/b", "/c"] {
            bench.send("GET", path, &[]).await;
        }
        bench.origin.answers(status, &[("location", "/b"), ("content-location", "http://A.test/c")], "");
        assert_eq!(bench.send(method, "/a", &[]).await.outcome(), "BYPASS");
        for path in ["/a", "/b", "/c"] {
            bench.origin.answers(200, &[], "new");
            let content = bench.send("GET", path, &[]).await.content;
            assert_eq!(content, if gone { "new" } else { "old" }, "{method} {status} {path}");
        }
    }
}

#[tokio::test]
async fn a_post_is_stored_for_the_gets_that_it_can_answer() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH, ("content-location", "/a")], "posted");
    bench.send("POST", "/a", &[]).await;
    let hit = bench.get(&[]).await;
    assert_eq!((hit.content.as_str(), hit.outcome()), ("posted", "HIT"));
}

#[tokio::test]
async fn only_if_cached_is_a_504_where_nothing_is() {
    let bench = Bench::new();
    let refused = bench.get(&[("cache-control", "only-if-cached")]).await;
    assert_eq!((refused.status, bench.origin.asked()), (504, 0));
    assert!(refused.content.contains("not_cached"));
    bench.origin.answers(200, &[FRESH], "content");
    bench.get(&[]).await;
    assert_eq!(bench.get(&[("cache-control", "only-if-cached")]).await.content, "content");
}

#[tokio::test]
async fn clients_ask_for_a_validation_unless_they_are_not_heeded() {
    for (heeded, outcome) in [(true, "REVALIDATED"), (false, "HIT")] {
        for fields in [("cache-control", "no-cache"), ("pragma", "no-cache"), ("cache-control", "max-age=0")] {
            let bench = Bench::with(|layer| layer.client_directives(heeded));
            bench.origin.answers(200, &[FRESH, ("etag", "\"a\"")], "content").answers(304, &[FRESH], "");
            bench.get(&[]).await;
            assert_eq!(bench.get(&[fields]).await.outcome(), outcome, "{fields:?}");
        }
    }
}

#[tokio::test]
async fn an_error_is_stood_in_for_within_the_window_of_the_response_or_the_layer() {
    let stated = ("cache-control", "max-age=1, stale-if-error=60");
    for (fields, layers, stale) in
        [(stated, 0, true), (("cache-control", "max-age=1"), 60, true), (("cache-control", "max-age=1"), 0, false)]
    {
        let bench = Bench::with(|layer| layer.stale_if_error(std::time::Duration::from_secs(layers)));
        bench.origin.answers(200, &[fields], "old").answers(503, &[], "failed");
        bench.get(&[]).await;
        bench.passes(5);
        let got = bench.get(&[]).await;
        let expected = if stale { (200, "old", "STALE") } else { (503, "failed", "MISS") };
        assert_eq!((got.status, got.content.as_str(), got.outcome()), expected);
    }
}

#[tokio::test]
async fn a_directive_that_forbids_stale_is_kept_also_when_the_origin_fails() {
    for directives in ["max-age=1, must-revalidate", "max-age=1, proxy-revalidate", "s-maxage=1", "no-cache"] {
        let bench = Bench::with(|layer| layer.stale_if_error(std::time::Duration::from_secs(60)));
        bench.origin.answers(200, &[("cache-control", directives), ("etag", "\"a\"")], "old").answers(
            503,
            &[],
            "failed",
        );
        bench.get(&[]).await;
        bench.passes(5);
        assert_eq!(bench.get(&[]).await.status, 503, "{directives}");
    }
}

#[tokio::test]
async fn stale_is_served_while_it_is_revalidated_once_in_the_background() {
    let bench = Bench::new();
    let fields = [("cache-control", "max-age=1, stale-while-revalidate=60"), ("etag", "\"a\"")];
    bench.origin.answers(200, &fields, "old");
    bench.get(&[]).await;
    bench.passes(5);
    bench.origin.answers_with(|_| {
        Box::pin(async {
            tokio::task::yield_now().await;
            super::origin::response(200, &[("cache-control", "max-age=100")], "new")
        })
    });
    let (one, two) = tokio::join!(bench.get(&[]), bench.get(&[("if-none-match", "\"x\"")]));
    for got in [one, two] {
        assert_eq!((got.content.as_str(), got.outcome(), got.field("age")), ("old", "STALE", "5"));
        assert_eq!(got.field("cache-status"), "tower-gateway; hit; ttl=-4");
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let hit = bench.get(&[]).await;
    assert_eq!((hit.content.as_str(), hit.outcome(), bench.origin.asked()), ("new", "HIT", 2));
    assert_eq!(bench.origin.last()["if-none-match"], "\"a\"");
}

#[tokio::test]
async fn fields_of_the_connection_are_not_stored() {
    let bench = Bench::new();
    bench.origin.answers(
        200,
        &[FRESH, ("connection", "x-hop"), ("x-hop", "1"), ("x-end", "2"), ("set-cookie", "a=b")],
        "content",
    );
    bench.get(&[]).await;
    let hit = bench.get(&[]).await;
    assert_eq!((hit.field("x-hop"), hit.field("x-end"), hit.field("set-cookie")), ("", "2", "a=b"));
    assert_eq!(hit.field("connection"), "");
}

#[tokio::test]
async fn a_new_answer_that_may_not_be_stored_takes_the_place_of_the_old_one() {
    let bench = Bench::new();
    bench.origin.answers(200, &[FRESH], "old").answers(200, &[("cache-control", "no-store")], "secret");
    bench.get(&[]).await;
    assert_eq!(bench.get(&[("cache-control", "no-cache")]).await.content, "secret");
    bench.origin.answers(200, &[], "third");
    assert_eq!(bench.get(&[]).await.content, "third");
}

#[tokio::test]
async fn what_the_cache_has_to_do_with_nothing_of_passes_by() {
    let bench = Bench::new();
    for (method, fields) in [
        ("OPTIONS", &[][..]),
        ("GET", &[("content-length", "3")]),
        ("GET", &[("transfer-encoding", "chunked")]),
        // For two places: it has no key of its own.
        ("GET", &[("host", "b.test")]),
    ] {
        for _ in 0..2 {
            bench.origin.answers(200, &[FRESH], "content");
            assert_eq!(bench.send(method, "/a", fields).await.outcome(), "BYPASS");
        }
    }
    bench.origin.answers(200, &[FRESH], "content");
    let handshake = bench.get(&[("connection", "upgrade"), ("upgrade", "websocket")]).await;
    assert_eq!((handshake.outcome(), handshake.field("cache-status")), ("", ""));
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_forth_makes_nothing_older_or_younger() {
    const HOUR: i64 = 3_600_000;
    for step in [-HOUR, HOUR] {
        let bench = Bench::new();
        // Dated by an origin whose clock is right.
        let date = bench.date(0);
        bench.origin.answers(200, &[FRESH, ("date", &date)], "before");
        bench.get(&[]).await;
        bench.passes(10);
        bench.hand.step_wall(step);
        let hit = bench.get(&[]).await;
        assert_eq!((hit.outcome(), hit.field("age"), hit.content.as_str()), ("HIT", "10", "before"), "{step}");
        bench.passes(89);
        assert_eq!(bench.get(&[]).await.outcome(), "HIT");
        // It is stale when its time is over, and no sooner or later.
        bench.passes(2);
        let date = bench.date(-step / 1_000);
        bench.origin.answers(200, &[FRESH, ("date", &date)], "after");
        assert_eq!(bench.get(&[]).await.content, "after");
        if step < 0 {
            // What comes from the future has no age (RFC 9111 section 4.2.3).
            bench.passes(99);
            let hit = bench.get(&[]).await;
            assert_eq!((hit.outcome(), hit.field("age")), ("HIT", "99"));
        } else {
            // And what seems to be an hour old is taken to be.
            bench.origin.answers(200, &[FRESH], "again");
            assert_eq!(bench.get(&[]).await.content, "again");
        }
    }
}
