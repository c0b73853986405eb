//! The loading, with a source that does as it is told, in paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::auth::Algorithm;

/// Ed25519 keys need no parent to make one for a test: any point will do.
fn set(ids: &[&str]) -> String {
    let key = |id: &&str| {
        let x = format!("{:A<42}E", id.repeat(4));
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#)
    };
    format!(r#"{{"keys":[{}]}}"#, ids.iter().map(key).collect::<Vec<_>>().join(","))
}

#[derive(Clone)]
enum Says {
    Set(String, Option<Duration>),
    Fails,
    Stalls,
}

/// Says one thing after the other, and the last one for ever.
#[derive(Clone)]
struct Script {
    says: Arc<Mutex<VecDeque<Says>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Script {
    fn new(says: impl IntoIterator<Item = Says>) -> Self {
        Self { says: Arc::new(Mutex::new(says.into_iter().collect())), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn then(&self, says: Says) {
        *self.says.lock().unwrap() = [says].into();
    }
}

impl JwksSource for Script {
    fn fetch(&self) -> FetchFuture {
        self.asked.lock().unwrap().push(Instant::now());
        let mut says = self.says.lock().unwrap();
        let now = if says.len() > 1 { says.pop_front().unwrap() } else { says[0].clone() };
        Box::pin(async move {
            // Like a network, a little later.
            sleep(Duration::from_millis(100)).await;
            match now {
                Says::Set(set, fresh_for) => Ok(Fetched { set: set.into(), fresh_for }),
                Says::Fails => Err("down".into()),
                Says::Stalls => std::future::pending().await,
            }
        })
    }
}

fn ids(jwks: &Jwks) -> Vec<String> {
    let keys = jwks.current();
    keys.iter().flat_map(|keys| keys.iter()).filter_map(|key| key.id().map(str::to_owned)).collect()
}

fn start(script: &Script) -> Jwks {
    builder(script).start(&tokio::runtime::Handle::current())
}

fn builder(script: &Script) -> JwksBuilder {
    Jwks::source(script.clone()).algorithms([Algorithm::EdDsa])
}

fn says(ids: &[&str]) -> Says {
    Says::Set(set(ids), None)
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_before_the_first_load_waits_for_it() {
    let script = Script::new([says(&["a"])]);
    let jwks = start(&script);
    assert!(jwks.current().is_none());
    let began = Instant::now();
    let (one, two) = (jwks.demand().unwrap(), jwks.demand().unwrap());
    one.ended().await;
    two.ended().await;
    assert_eq!((ids(&jwks), script.asked(), began.elapsed()), (vec!["a".to_owned()], 1, Duration::from_millis(100)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_asks_for_one_load_in_each_cooldown_however_many_ask() {
    let script = Script::new([says(&["a"])]);
    let jwks = start(&script);
    sleep(Duration::from_secs(20)).await;
    for _ in 0..100 {
        // Thousands of random ids within ten seconds.
        let waiting: Vec<_> = (0..100).filter_map(|_| jwks.demand()).collect();
        for load in waiting {
            load.ended().await;
        }
        advance(Duration::from_millis(100)).await;
    }
    assert!(script.asked() <= 1 + 2, "{}", script.asked());
    assert!(jwks.demand().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_seen_by_the_first_who_asks_for_the_new_key() {
    let script = Script::new([says(&["a"])]);
    let jwks = start(&script);
    sleep(Duration::from_secs(60)).await;
    let before = jwks.version();
    script.then(says(&["a", "b"]));
    jwks.demand().unwrap().ended().await;
    assert_eq!(ids(&jwks), ["a", "b"]);
    assert!(jwks.version() > before);
}

#[tokio::test(start_paused = true)]
async fn the_same_set_again_is_no_change() {
    let script = Script::new([says(&["a"])]);
    let jwks = start(&script);
    sleep(Duration::from_secs(1)).await;
    let version = jwks.version();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!((script.asked(), jwks.version()), (7, version), "once, and every ten minutes");
}

#[tokio::test(start_paused = true)]
async fn freshness_is_believed_within_bounds() {
    for (stated, pause) in [(300, 300), (0, 60), (10_000_000, 86_400)] {
        let script = Script::new([Says::Set(set(&["a"]), Some(Duration::from_secs(stated)))]);
        let jwks = start(&script);
        sleep(Duration::from_secs(pause * 2)).await;
        let asked = script.asked.lock().unwrap().clone();
        let apart = asked[1] - asked[0];
        assert!(apart >= Duration::from_secs(pause) && apart < Duration::from_secs(pause + 1), "{stated}: {apart:?}");
        drop(jwks);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_stay_while_the_source_is_down_and_go_when_they_are_too_old() {
    let script = Script::new([says(&["a"]), Says::Fails]);
    let jwks = builder(&script).max_stale(Duration::from_secs(3600)).start(&tokio::runtime::Handle::current());
    sleep(Duration::from_secs(3590)).await;
    let status = jwks.status();
    assert!(status.stale && status.keys == 1 && status.loads == 1 && status.failures > 10, "{status:?}");
    sleep(Duration::from_secs(20)).await;
    assert_eq!((ids(&jwks), jwks.status().keys), (vec![], 0));
    script.then(says(&["b"]));
    sleep(Duration::from_secs(61)).await;
    assert_eq!(ids(&jwks), ["b"]);
    assert!(!jwks.status().stale);
}

#[tokio::test(start_paused = true)]
async fn loads_that_fail_are_tried_again_after_pauses_that_grow() {
    let script = Script::new([Says::Fails]);
    let jwks = start(&script);
    sleep(Duration::from_secs(600)).await;
    let asked = script.asked.lock().unwrap().clone();
    let pauses: Vec<_> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(jwks.current().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stalls_is_given_up_and_nobody_waits_longer_than_that() {
    let script = Script::new([says(&["a"]), Says::Stalls]);
    let jwks = start(&script);
    sleep(Duration::from_secs(30)).await;
    let began = Instant::now();
    jwks.demand().unwrap().ended().await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    assert_eq!(ids(&jwks), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_unfit_leaves_the_old_one() {
    let script = Script::new([says(&["a"])]);
    let jwks = start(&script);
    sleep(Duration::from_secs(1)).await;
    let lies = [
        set(&["b", "b"]),
        set(&[]),
        "<html>".to_owned(),
        set(&["b"]).replace("]}", r#",{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#),
        format!("{}{}", set(&["b"]), " ".repeat(2 << 20)),
    ];
    for (at, lie) in lies.into_iter().enumerate() {
        script.then(Says::Set(lie, None));
        sleep(Duration::from_secs(700)).await;
        assert_eq!((ids(&jwks), jwks.status().stale), (vec!["a".to_owned()], true), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait_for_a_load() {
    let script = Script::new([Says::Stalls]);
    let jwks = start(&script);
    let waiting: Vec<_> = (0..5000).filter_map(|_| jwks.demand()).collect();
    assert_eq!(waiting.len(), 1024);
    drop(waiting);
    assert!(jwks.demand().is_some(), "places are given back");
}

#[tokio::test(start_paused = true)]
async fn the_loading_ends_with_the_last_handle() {
    let script = Script::new([says(&["a"])]);
    let jwks = start(&script);
    let clone = jwks.clone();
    drop(jwks);
    sleep(Duration::from_secs(700)).await;
    assert_eq!(script.asked(), 2);
    drop(clone);
    sleep(Duration::from_secs(7000)).await;
    assert_eq!(script.asked(), 2);
}
