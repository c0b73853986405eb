//! Many requests for one key, and bodies that come slowly, break off or lie.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_gateway::cache::{CacheLayer, WhenAbandoned};

use super::origin::{Bench, response, sent};

const FRESH: (&str, &str) = ("cache-control", "max-age=100");

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Answers when it is told to.
fn held(
    bench: &Bench,
    status: u16,
    fields: &[(&'static str, &'static str)],
    content: &'static str,
) -> tokio::sync::oneshot::Sender<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let response = response(status, fields, content);
    bench.origin.answers_with(move |_| {
        Box::pin(async move {
            let _ = receiver.await;
            response
        })
    });
    sender
}

#[tokio::test]
async fn the_first_and_the_followers_get_bytes_as_they_come() {
    let bench = Bench::new();
    let (sender, answer) = sent(200, &[FRESH]);
    bench.origin.answers_with(move |_| Box::pin(async move { answer }));
    let mut bodies = Vec::new();
    for outcome in ["MISS", "HIT", "HIT"] {
        let response = bench.start(&[]).await;
        assert_eq!(response.headers()["x-cache"], outcome);
        bodies.push(Box::pin(response.into_body()));
    }
    for piece in ["one", "two"] {
        for body in &mut bodies {
            assert!(body.frame().now_or_never().is_none(), "nothing has come yet");
        }
        sender.send(Ok(Bytes::from_static(piece.as_bytes()))).unwrap();
        for body in &mut bodies {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
    }
    // Whoever comes late gets all of it from the beginning.
    let late = bench.start(&[]).await;
    drop(sender);
    assert_eq!(late.into_body().collect().await.unwrap().to_bytes(), "onetwo");
    for body in bodies {
        assert_eq!(body.collect().await.unwrap().to_bytes(), "");
    }
    let hit = bench.get(&[]).await;
    assert_eq!((hit.content.as_str(), hit.outcome(), bench.origin.asked()), ("onetwo", "HIT", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_clients_of_a_cold_key_make_one_request_and_get_the_same_bytes() {
    let bench = Bench::new();
    let pieces: Vec<Bytes> = (0..50u8).map(|piece| Bytes::from(vec![piece; 4000])).collect();
    let expected = pieces.concat();
    let (sender, answer) = sent(200, &[FRESH]);
    bench.origin.answers_with(move |_| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            answer
        })
    });
    let clients: Vec<_> = (0..1000)
        .map(|_| {
            let response = bench.start(&[]);
            tokio::spawn(async move { response.await.into_body().collect().await.unwrap().to_bytes() })
        })
        .collect();
    for piece in pieces {
        sender.send(Ok(piece)).unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(sender);
    for client in clients {
        assert!(client.await.unwrap() == expected);
    }
    assert_eq!(bench.origin.asked(), 1);
    assert_eq!(bench.layer.handle().statistics().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_for_all_releases_those_who_wait_each_to_its_own() {
    for (status, fields) in [
        (200, [("cache-control", "private, max-age=100"), ("x", "x")]),
        (200, [("cache-control", "no-store"), ("x", "x")]),
        (200, [FRESH, ("set-cookie", "session=1")]),
        (200, [("cache-control", "max-age=100, no-cache"), ("etag", "\"a\"")]),
        (200, [FRESH, ("vary", "*")]),
        (500, [("x", "x"), ("y", "y")]),
    ] {
        let bench = Bench::new();
        let release = held(&bench, status, &fields, "of the first");
        for content in ["of the second", "of the third"] {
            bench.origin.answers(200, &[("cache-control", "private")], content);
        }
        let mut first = pin!(bench.start(&[]));
        let (mut second, mut third) = (pin!(bench.start(&[])), pin!(bench.start(&[])));
        for waiting in [
            first.as_mut().now_or_never().is_none(),
            second.as_mut().now_or_never().is_none(),
            third.as_mut().now_or_never().is_none(),
        ] {
            assert!(waiting);
        }
        assert_eq!(bench.origin.asked(), 1);
        release.send(()).unwrap();
        let mut contents = Vec::new();
        for response in [first.await, second.await, third.await] {
            contents.push(response.into_body().collect().await.unwrap().to_bytes());
        }
        assert_eq!(contents, ["of the first", "of the second", "of the third"], "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn followers_that_the_answer_does_not_fit_ask_once_for_each_variant() {
    let bench = Bench::new();
    let vary = [FRESH, ("vary", "accept-language")];
    let (english, german) = (held(&bench, 200, &vary, "hello"), held(&bench, 200, &vary, "hallo"));
    let language = |value| bench.start(&[("accept-language", value)]);
    let all = ["en", "en", "de", "de", "de"].map(|value| {
        tokio::spawn(language(value).then(async |response| response.into_body().collect().await.unwrap().to_bytes()))
    });
    settle().await;
    assert_eq!(bench.origin.asked(), 1);
    english.send(()).unwrap();
    settle().await;
    german.send(()).unwrap();
    for (answer, expected) in all.into_iter().zip(["hello", "hello", "hallo", "hallo", "hallo"]) {
        assert_eq!(answer.await.unwrap(), expected);
    }
    assert_eq!(bench.origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_at_any_await_leaves_nobody_behind() {
    for polls in 0..12 {
        let bench = Bench::with(|layer| layer.when_abandoned(WhenAbandoned::Drop));
        for _ in 0..2 {
            bench.origin.answers_with(|_| {
                Box::pin(async {
                    tokio::task::yield_now().await;
                    tokio::task::yield_now().await;
                    let (sender, answer) = sent(200, &[FRESH]);
                    tokio::spawn(async move {
                        for piece in ["con", "te", "nt"] {
                            tokio::task::yield_now().await;
                            let _ = sender.send(Ok(Bytes::from_static(piece.as_bytes())));
                        }
                    });
                    answer
                })
            });
        }
        let mut leader =
            Box::pin(bench.start(&[]).then(async |response| response.into_body().collect().await.unwrap().to_bytes()));
        let _ = leader.as_mut().now_or_never();
        let followers = [(); 3].map(|()| {
            tokio::spawn(
                bench.start(&[]).then(async |response| response.into_body().collect().await.unwrap().to_bytes()),
            )
        });
        settle_once(polls, &mut leader).await;
        drop(leader);
        for follower in followers {
            let answer = tokio::time::timeout(Duration::from_secs(1), follower).await.expect("it is not left behind");
            assert_eq!(answer.unwrap(), "content", "after {polls} polls");
        }
        assert!(bench.origin.asked() <= 2, "one of them asks for all");
        settle().await;
        assert_eq!(bench.layer.handle().statistics().in_flight, 0);
        assert_eq!(bench.get(&[]).await.outcome(), "HIT");
    }
}

async fn settle_once(polls: usize, future: &mut Pin<Box<impl Future>>) {
    for _ in 0..polls {
        tokio::task::yield_now().await;
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_the_way_to_the_origin_releases_those_who_wait() {
    let bench = Bench::new();
    bench.origin.answers_with(|_| {
        Box::pin(async {
            tokio::task::yield_now().await;
            panic!("planned")
        })
    });
    bench.origin.answers(200, &[FRESH], "content");
    let leader = tokio::spawn(bench.start(&[]).map(drop));
    let follower = tokio::spawn(bench.start(&[]).map(|response| response.status()));
    assert!(leader.await.unwrap_err().is_panic());
    assert_eq!(follower.await.unwrap(), 200);
    assert_eq!(bench.origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed() {
    let bench = Bench::with(|layer| layer.max_wait(Duration::from_secs(2)));
    let _never = held(&bench, 200, &[FRESH], "late");
    bench.origin.answers(200, &[FRESH], "own");
    let mut leader = pin!(bench.start(&[]));
    assert!(leader.as_mut().now_or_never().is_none());
    let start = tokio::time::Instant::now();
    assert_eq!(bench.get(&[]).await.content, "own");
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_could_not_be_shared_does_not_queue_for_a_while() {
    let bench = Bench::with(|layer| layer.uncacheable_for(Duration::from_secs(10)));
    bench.origin.answers(200, &[("cache-control", "no-store")], "once");
    bench.get(&[]).await;
    let waits = async |expected: bool| {
        let asked = bench.origin.asked();
        let releases = [
            held(&bench, 200, &[("cache-control", "no-store")], "x"),
            held(&bench, 200, &[("cache-control", "no-store")], "x"),
        ];
        let answers = [tokio::spawn(bench.start(&[]).map(drop)), tokio::spawn(bench.start(&[]).map(drop))];
        settle().await;
        assert_eq!(bench.origin.asked() - asked, if expected { 1 } else { 2 });
        for release in releases {
            release.send(()).unwrap();
            settle().await;
        }
        for answer in answers {
            answer.await.unwrap();
        }
    };
    waits(false).await;
    bench.passes(10);
    waits(true).await;
}

#[tokio::test]
async fn conditions_and_ranges_of_one_client_are_no_answer_to_another() {
    let bench = Bench::new();
    for fields in [[("if-none-match", "\"a\"")], [("range", "bytes=0-1")]] {
        let _held = held(&bench, 200, &[FRESH], "x");
        bench.origin.answers(200, &[], "own");
        let mut first = pin!(bench.start(&fields));
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(bench.get(&[]).await.content, "own");
    }
}

#[tokio::test]
async fn a_body_that_outgrows_its_limit_is_passed_on_and_not_stored() {
    let bench = Bench::with(|layer| layer.max_body(5));
    let (sender, answer) = sent(200, &[FRESH]);
    bench.origin.answers_with(move |_| Box::pin(async move { answer }));
    let (first, second) = (bench.start(&[]).await.into_body(), bench.start(&[]).await.into_body());
    for piece in ["abc", "def", "ghi"] {
        sender.send(Ok(Bytes::from_static(piece.as_bytes()))).unwrap();
    }
    drop(sender);
    let (first, second) = tokio::join!(first.collect(), second.collect());
    for body in [first, second] {
        assert_eq!(body.unwrap().to_bytes(), "abcdefghi");
    }
    bench.origin.answers(200, &[FRESH], "again");
    assert_eq!(bench.get(&[]).await.content, "again");
    // And one that says so beforehand is nobody else's to begin with.
    bench.passes(100);
    bench.origin.answers(200, &[FRESH, ("content-length", "6")], "longer").answers(200, &[FRESH], "own");
    let longer = bench.start(&[]).await;
    assert_eq!(bench.get(&[]).await.content, "own");
    assert_eq!(longer.into_body().collect().await.unwrap().to_bytes(), "longer");
}

#[tokio::test]
async fn the_slowest_reader_of_a_long_body_sets_the_pace() {
    let bench = Bench::with(|layer| layer.max_body(4));
    let (sender, answer) = sent(200, &[FRESH]);
    bench.origin.answers_with(move |_| Box::pin(async move { answer }));
    let mut fast = Box::pin(bench.start(&[]).await.into_body());
    let slow = bench.start(&[]).await.into_body();
    for _ in 0..100 {
        sender.send(Ok(Bytes::from_static(b"abc"))).unwrap();
    }
    drop(sender);
    let mut ahead = 0;
    while let Some(Some(Ok(_))) = fast.frame().now_or_never() {
        ahead += 1;
    }
    assert!(ahead <= 3, "{ahead} pieces wait for the slow one");
    let (fast, slow) = tokio::join!(fast.collect(), slow.collect());
    assert_eq!((fast.unwrap().to_bytes().len(), slow.unwrap().to_bytes().len()), (300 - 3 * ahead, 300));
}

#[tokio::test]
async fn a_body_that_breaks_off_or_lies_about_its_length_is_not_stored() {
    for (fields, breaks) in [
        ([FRESH, ("x", "x")], true),
        ([FRESH, ("content-length", "9")], false),
        ([FRESH, ("content-length", "2")], false),
    ] {
        let bench = Bench::new();
        let (sender, answer) = sent(200, &fields);
        bench.origin.answers_with(move |_| Box::pin(async move { answer }));
        let (first, second) = (bench.start(&[]).await.into_body(), bench.start(&[]).await.into_body());
        sender.send(Ok(Bytes::from_static(b"abc"))).unwrap();
        if breaks {
            sender.send(Err("reset".into())).unwrap();
        }
        drop(sender);
        let (first, second) = tokio::join!(first.collect(), second.collect());
        if breaks {
            assert_eq!(first.unwrap_err().to_string(), "reset");
            assert!(second.unwrap_err().to_string().contains("another client"));
        } else {
            assert_eq!(
                (first.unwrap().to_bytes(), second.unwrap().to_bytes()),
                (Bytes::from("abc"), Bytes::from("abc"))
            );
        }
        bench.origin.answers(200, &[FRESH], "new");
        assert_eq!(bench.get(&[]).await.content, "new", "{fields:?}");
    }
}

#[tokio::test]
async fn what_a_client_leaves_behind_is_finished_or_dropped_as_configured() {
    for (when, stored) in [(WhenAbandoned::Finish, true), (WhenAbandoned::Drop, false)] {
        let bench = Bench::with(|layer| layer.when_abandoned(when));
        let (sender, answer) = sent(200, &[FRESH]);
        bench.origin.answers_with(move |_| Box::pin(async move { answer }));
        drop(bench.start(&[]).await);
        settle().await;
        assert_eq!(sender.is_closed(), !stored);
        let _ = sender.send(Ok(Bytes::from_static(b"content")));
        drop(sender);
        settle().await;
        bench.origin.answers(200, &[FRESH], "new");
        assert_eq!(bench.get(&[]).await.content, if stored { "content" } else { "new" });
    }
}

#[tokio::test]
async fn a_first_client_that_leaves_does_not_spoil_it_for_the_others() {
    let bench = Bench::with(|layer| layer.when_abandoned(WhenAbandoned::Drop));
    let (sender, answer) = sent(200, &[FRESH]);
    bench.origin.answers_with(move |_| Box::pin(async move { answer }));
    let first = bench.start(&[]).await;
    let second = tokio::spawn(bench.start(&[]).await.into_body().collect());
    settle().await;
    drop(first);
    sender.send(Ok(Bytes::from_static(b"content"))).unwrap();
    drop(sender);
    assert_eq!(second.await.unwrap().unwrap().to_bytes(), "content");
    assert_eq!(bench.get(&[]).await.outcome(), "HIT");
}

#[tokio::test]
async fn a_write_during_a_fetch_keeps_the_old_answer_out_of_the_store() {
    let bench = Bench::new();
    let release = held(&bench, 200, &[FRESH], "before");
    let before =
        tokio::spawn(bench.start(&[]).then(async |response| response.into_body().collect().await.unwrap().to_bytes()));
    settle().await;
    bench.origin.answers(204, &[], "");
    bench.send("PUT", "/a", &[]).await;
    release.send(()).unwrap();
    assert_eq!(before.await.unwrap(), "before");
    bench.origin.answers(200, &[FRESH], "after");
    assert_eq!(bench.get(&[]).await.content, "after");
}

#[tokio::test]
async fn memory_stays_within_its_budget_under_ten_times_its_size() {
    const BUDGET: u64 = 4 * 1024 * 1024;
    let layer = CacheLayer::in_memory(BUDGET);
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let origin = tower::service_fn(move |_: Request<()>| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, std::convert::Infallible>(response(200, &[FRESH], vec![7; 20_000])) }
    });
    let service = layer.layer(origin);
    let mut most = 0;
    for index in 0..10 * BUDGET / 20_000 {
        let request = Request::get(format!("http://a.test/{index}")).body(()).unwrap();
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 20_000);
        if index % 50 == 0 {
            most = most.max(layer.handle().statistics().bytes);
        }
    }
    assert!(count.load(Ordering::Relaxed) as u64 == 10 * BUDGET / 20_000);
    let held = layer.handle().statistics();
    assert!(most <= BUDGET && held.bytes <= BUDGET, "{most} and {held:?}");
    assert!(held.bytes > BUDGET / 2 && held.entries > 100, "{held:?}");
}
