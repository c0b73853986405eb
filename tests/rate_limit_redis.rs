//! Limits that several gateways share: exact across them, and bearable when their Redis fails.

#[path = "support/redis.rs"]
mod server;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::rate_limit::{
    Algorithm, Charge, Decision, Digest, Limit, MemoryStore, OnStoreError, Quota, RateLimitLayer, RedisStore, Store,
};
use tower_gateway::redis::Redis;
use tower_gateway::{ClientIp, RequestContext};

use server::{RedisCluster, RedisServer};

const DEADLINE: Duration = Duration::from_millis(100);
/// How long a test waits for what must happen, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits as long as it takes.
fn store(server: &RedisServer) -> RedisStore {
    waiting(server, PATIENCE)
}

fn waiting(server: &RedisServer, deadline: Duration) -> RedisStore {
    RedisStore::new(Redis::builder(&server.url()).unwrap().timeout(deadline).key_prefix("t:").build())
}

fn key(n: u64) -> Digest {
    Digest::from_bits(u128::from(n))
}

fn charge(n: u64, quota: Quota) -> Charge {
    Charge::new(key(n), quota)
}

/// As the layer asks: first here, then there.
async fn admits(store: &RedisStore, charges: &[Charge]) -> bool {
    match store.now(charges) {
        Some(decision) => decision.admitted,
        None => store.acquire(charges).await.unwrap().admitted,
    }
}

async fn flood(store: &RedisStore, charges: &[Charge]) -> u64 {
    let mut admitted = 0;
    while admits(store, charges).await {
        admitted += 1;
    }
    admitted
}

fn each_algorithm(limit: u32) -> [Quota; 3] {
    let quota = Quota::per_hour(limit);
    [quota, quota.algorithm(Algorithm::SlidingWindow).unwrap(), quota.algorithm(Algorithm::FixedWindow).unwrap()]
}

fn from(peer: u64) -> Request<()> {
    let mut request = Request::new(());
    let peer = SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + peer as u32), 4711));
    RequestContext::of(request.extensions_mut()).set_client_ip(ClientIp::from_peer(peer, 64));
    request
}

async fn status(layer: &RateLimitLayer<RedisStore>, peer: u64) -> u16 {
    let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(()))));
    service.oneshot(from(peer)).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn gateways_share_one_count_by_any_algorithm() {
    let server = RedisServer::start();
    let (one, two) = (store(&server), store(&server));
    for quota in each_algorithm(10) {
        for round in 0..3 {
            for store in [&one, &two] {
                let decision = store.acquire(&[charge(1, quota)]).await.unwrap();
                assert!(decision.admitted, "{round} {quota:?} {decision:?}");
            }
        }
        assert_eq!(flood(&one, &[charge(1, quota)]).await, 4, "{quota:?}");
        assert!(!admits(&two, &[charge(1, quota)]).await);
        assert_eq!(flood(&two, &[charge(2, quota)]).await, 10);
    }
}

#[tokio::test]
async fn several_quotas_admit_together_or_charge_nothing() {
    let server = RedisServer::start();
    let store = store(&server);
    let [few, many, windowed] = [each_algorithm(3)[0], each_algorithm(100)[0], each_algorithm(50)[2]];
    let all = [charge(1, few), charge(2, many), charge(3, windowed)];
    assert_eq!(flood(&store, &all).await, 3);
    let refused = store.acquire(&all).await.unwrap();
    assert_eq!((refused.admitted, refused.charge, refused.remaining), (false, 0, 0));
    assert_eq!(store.peek(&all[1..2]).await.unwrap().remaining, 97);
    assert_eq!(store.peek(&all[2..]).await.unwrap().remaining, 47);
}

#[tokio::test]
async fn a_refund_gives_back_a_debit_takes_and_a_reset_forgets() {
    let server = RedisServer::start();
    let store = store(&server);
    for quota in each_algorithm(10) {
        let one = [charge(7, quota)];
        assert_eq!(flood(&store, &one).await, 10);
        assert_eq!(store.refund(&[charge(7, quota).cost(4)]).await.unwrap().remaining, 4);
        assert_eq!(flood(&store, &one).await, 4, "and what was known to be refused is asked again");
        assert_eq!(store.reset(&one).await.unwrap().remaining, 10);
        assert_eq!(store.debit(&[charge(7, quota).cost(8)]).await.unwrap().remaining, 2);
        assert_eq!(flood(&store, &one).await, 2);
        assert_eq!(store.debit(&[charge(7, quota).cost(5)]).await.unwrap().remaining, 0);
        assert!(!store.peek(&one).await.unwrap().admitted);
        let beyond = store.acquire(&[charge(8, quota).cost(u64::MAX)]).await.unwrap();
        assert!(!beyond.admitted && beyond.remaining == 10, "{beyond:?}");
    }
}

#[tokio::test]
async fn a_thousand_million_a_second_is_a_quota_as_well() {
    let server = RedisServer::start();
    let store = store(&server);
    let quota = Quota::per_second(1_000_000_000);
    let decision = store.acquire(&[charge(1, quota)]).await.unwrap();
    assert_eq!((decision.admitted, decision.remaining), (true, 999_999_999));
    let most = store.acquire(&[charge(2, quota).cost(1_000_000_000)]).await.unwrap();
    assert_eq!((most.admitted, most.remaining), (true, 0));
}

#[tokio::test]
async fn keys_end_by_themselves_when_nothing_is_owed_any_more() {
    let server = RedisServer::start();
    let store = store(&server);
    // What is owed for one of ten an hour is owed for six minutes; a window is kept until the one after it has ended.
    for (quota, longest) in each_algorithm(10).into_iter().zip([360_000, 7_200_000, 7_200_000]) {
        store.acquire(&[charge(1, quota)]).await.unwrap();
        let key = server.command(&["RANDOMKEY"]);
        let left = server.command(&["PTTL", &key]);
        let left: i64 = left.strip_prefix(':').unwrap().parse().unwrap();
        // To which a second is added.
        assert!((1..=longest + 1_000).contains(&left), "{quota:?}: {left} ms");
        server.command(&["FLUSHALL"]);
    }
    store.acquire(&[charge(1, Quota::per_second(10))]).await.unwrap();
    let end = Instant::now() + PATIENCE;
    while server.command(&["DBSIZE"]) != ":0" {
        assert!(Instant::now() < end, "keys stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn whoever_is_out_of_quota_costs_no_trip_until_it_may_try_again() {
    let server = RedisServer::start();
    let store = store(&server);
    // One comes back every two seconds.
    let quota = Quota::new(2, Duration::from_secs(4)).unwrap();
    let begin = Instant::now();
    assert_eq!(flood(&store, &[charge(1, quota)]).await, 2);
    let before = server.calls("evalsha");
    let mut refused = 0;
    while !admits(&store, &[charge(1, quota)]).await {
        refused += 1;
        tokio::task::yield_now().await;
    }
    assert!(refused > 100 && begin.elapsed() >= Duration::from_secs(1), "{refused} in {:?}", begin.elapsed());
    assert!(server.calls("evalsha") - before <= 3, "{}", server.calls("evalsha") - before);
}

/// Until so many more signs were asked for.
async fn signs(server: &RedisServer, more: u64) {
    let (before, end) = (server.calls("ping"), Instant::now() + PATIENCE);
    while server.calls("ping") < before + more {
        assert!(Instant::now() < end, "nobody asks for a sign");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn whoever_is_refused_for_long_costs_no_trip_at_all_neither_at_once_nor_after_a_pause() {
    let server = RedisServer::start();
    let store = store(&server);
    let one = [charge(1, Quota::per_hour(2))];
    assert_eq!(flood(&store, &one).await, 2);
    let before = server.calls("evalsha");
    for _ in 0..2 {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            assert!(!admits(&store, &one).await);
            tokio::task::yield_now().await;
        }
        // Nobody asks for longer than a server would be believed unseen.
        signs(&server, 4).await;
    }
    assert!(!admits(&store, &one).await);
    assert_eq!(server.calls("evalsha"), before);
}

#[tokio::test]
async fn what_others_delete_is_not_seen_until_its_time() {
    let server = RedisServer::start();
    let store = store(&server);
    let one = [charge(1, Quota::per_hour(2))];
    assert_eq!(flood(&store, &one).await, 2);
    server.command(&["FLUSHALL"]);
    signs(&server, 2).await;
    assert!(!admits(&store, &one).await);
    assert_eq!(flood(&store, &[charge(2, Quota::per_hour(2))]).await, 2);
}

#[tokio::test]
async fn the_server_is_watched_for_as_long_as_somebody_is_refused() {
    let server = RedisServer::start();
    let store = store(&server);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(admits(&store, &[charge(1, Quota::per_hour(2))]).await);
    let end = Instant::now() + PATIENCE;
    let ends = async |what: &str, so_many: usize| {
        while tasks() != so_many {
            assert!(Instant::now() < end, "{what}: {} tasks", tasks());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    ends("the batch", 1).await;
    assert_eq!(flood(&store, &[charge(2, Quota::new(2, Duration::from_secs(1)).unwrap())]).await, 2);
    signs(&server, 1).await;
    ends("its time has come", 1).await;
    let long = [charge(3, Quota::per_hour(2))];
    assert_eq!(flood(&store, &long).await, 2);
    store.reset(&long).await.unwrap();
    ends("it was forgiven", 1).await;
    assert_eq!(flood(&store, &long).await, 2);
    signs(&server, 1).await;
    drop(store);
    ends("the store is gone", 0).await;
}

#[test]
fn whoever_is_refused_has_the_server_watched_again_when_a_runtime_ended_with_the_watch() {
    let server = RedisServer::start();
    let store = store(&server);
    let one = [charge(1, Quota::per_hour(2))];
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    assert_eq!(first.block_on(flood(&store, &one)), 2);
    first.block_on(signs(&server, 1));
    drop(first);
    let before = server.calls("evalsha");
    runtime().block_on(async {
        assert!(!admits(&store, &one).await);
        signs(&server, 2).await;
        assert!(!admits(&store, &one).await);
    });
    assert_eq!(server.calls("evalsha"), before);
}

#[tokio::test]
async fn requests_at_the_same_time_share_trips() {
    let server = RedisServer::start();
    let store = store(&server);
    admits(&store, &[charge(0, Quota::per_hour(1))]).await;
    let before = server.calls("evalsha");
    let quota = Quota::per_hour(100);
    let admitted = join_all((0..640).map(|n| {
        let store = store.clone();
        async move { admits(&store, &[charge(n % 4, quota)]).await }
    }));
    assert_eq!(admitted.await.into_iter().filter(|admitted| *admitted).count(), 400);
    assert_eq!(server.calls("evalsha") - before, 10);
}

#[tokio::test]
async fn what_was_asked_is_charged_though_whoever_asked_has_left() {
    let server = RedisServer::start();
    let store = store(&server);
    let quota = Quota::per_hour(10);
    for _ in 0..3 {
        drop(store.acquire(&[charge(1, quota)]));
    }
    assert_eq!(flood(&store, &[charge(1, quota)]).await, 7);
}

/// So many gateways, each with a runtime and a connection of its own, that ask for so long as fast as they can.
fn never_exceeds(gateways: u64, lasting: Duration) {
    let server = RedisServer::start();
    let steady = Quota::per_second(500).burst(50).unwrap();
    let fixed = Quota::per_second(400).algorithm(Algorithm::FixedWindow).unwrap();
    let sliding = Quota::per_second(300).algorithm(Algorithm::SlidingWindow).unwrap();
    // Alone, with others of the same key, and together in one request; with costs.
    let mixes: [&[(u64, Quota, u64)]; 5] =
        [&[(1, steady, 1)], &[(1, steady, 3)], &[(2, fixed, 1)], &[(1, steady, 1), (2, fixed, 2)], &[(3, sliding, 1)]];
    let admitted: [AtomicU64; 4] = Default::default();
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for gateway in 0..gateways {
            let (server, admitted, over) = (&server, &admitted, &over);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let store = RedisStore::new(Redis::builder(&server.url()).unwrap().timeout(PATIENCE).build());
                runtime.block_on(join_all((0..16).map(|caller| {
                    let store = store.clone();
                    async move {
                        let mut round = gateway * 31 + caller;
                        while !over.load(Ordering::Relaxed) {
                            round += 7;
                            let mix = mixes[round as usize % mixes.len()];
                            let charges: Vec<_> =
                                mix.iter().map(|&(n, quota, cost)| charge(n, quota).cost(cost)).collect();
                            if admits(&store, &charges).await {
                                for &(n, _, cost) in mix {
                                    admitted[n as usize].fetch_add(cost, Ordering::Relaxed);
                                }
                            }
                            // Answered here, it would never let the others run.
                            tokio::task::yield_now().await;
                        }
                    }
                })));
            });
        }
        std::thread::sleep(lasting);
        // And until each has given out more than it had at first: a machine that is busy with something else asks for less.
        let end = Instant::now() + PATIENCE;
        let given = |n: usize| admitted[n].load(Ordering::Relaxed);
        while (given(1) <= 50 || given(2) <= 400 || given(3) <= 300) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Relaxed);
    });
    let elapsed = begin.elapsed().as_secs_f64();
    let [_, bucket, fixed, sliding] = admitted.map(AtomicU64::into_inner);
    println!("{gateways} gateways, {elapsed:.3} s: bucket {bucket}, fixed {fixed}, sliding {sliding}");
    assert!(bucket as f64 <= 50.0 + 500.0 * elapsed, "{bucket}");
    // Less than that many windows were begun.
    assert!(fixed <= 400 * (elapsed.ceil() as u64 + 1), "{fixed}");
    assert!(sliding <= 300 * (elapsed.ceil() as u64 + 1), "{sliding}");
    assert!(bucket > 50 && fixed > 400 && sliding > 300, "they do not go on: {bucket}, {fixed}, {sliding}");
}

/// A minute where `tests/run --long` asks for it.
fn long_or(short: u64) -> Duration {
    Duration::from_secs(if std::env::var_os("TOWER_GATEWAY_LONG").is_some() { 60 } else { short })
}

#[test]
fn two_gateways_never_admit_one_more_than_the_quota() {
    never_exceeds(2, long_or(3));
}

#[test]
fn four_gateways_never_admit_one_more_than_the_quota() {
    never_exceeds(4, long_or(3));
}

#[test]
fn gateways_that_ask_at_once_are_given_the_whole_quota_and_no_more() {
    let server = RedisServer::start();
    let day = Duration::from_secs(24 * 60 * 60);
    for algorithm in [Algorithm::Gcra, Algorithm::SlidingWindow, Algorithm::FixedWindow] {
        let quota = Quota::new(1_000, day).unwrap().algorithm(algorithm).unwrap();
        let mut admitted = 0;
        std::thread::scope(|scope| {
            let gateways = [(); 4].map(|()| {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let store = store(&server);
                    let callers = (0..16).map(|_| {
                        let store = store.clone();
                        async move { flood(&store, &[charge(1, quota)]).await }
                    });
                    runtime.block_on(join_all(callers)).into_iter().sum::<u64>()
                })
            });
            admitted = gateways.into_iter().map(|gateway| gateway.join().unwrap()).sum::<u64>();
        });
        assert_eq!(admitted, 1_000, "{algorithm:?}");
    }
}

/// Requests at a steady pace through a layer, while something happens to the server: how each ended.
struct Load {
    answers: Arc<Mutex<Vec<Answered>>>,
    over: Arc<AtomicBool>,
    running: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Answered {
    sent: Instant,
    status: u16,
    took: Duration,
}

fn ask(layer: RateLimitLayer<RedisStore>, peer: u64, told: Arc<Mutex<Vec<Answered>>>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let sent = Instant::now();
        let status = status(&layer, peer).await;
        told.lock().unwrap().push(Answered { sent, status, took: sent.elapsed() });
    })
}

impl Load {
    fn over(layer: &RateLimitLayer<RedisStore>) -> Self {
        let (answers, over) = (Arc::<Mutex<Vec<Answered>>>::default(), Arc::new(AtomicBool::new(false)));
        let (layer, told, stops) = (layer.clone(), answers.clone(), over.clone());
        let running = tokio::spawn(async move {
            let mut running = Vec::new();
            for peer in 0.. {
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                running.push(ask(layer.clone(), peer % 100, told.clone()));
                if peer % 4 == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            for request in running {
                request.await.unwrap();
            }
        });
        Self { answers, over, running }
    }

    fn answers_since(&self, since: Instant) -> Vec<Answered> {
        self.answers.lock().unwrap().iter().filter(|answer| answer.sent >= since).copied().collect()
    }

    /// Until so many that were sent since then are answered in this way. When the first of them was sent.
    async fn sees(&self, number: usize, status: u16, since: Instant) -> Instant {
        let end = Instant::now() + PATIENCE;
        loop {
            let answers = self.answers_since(since);
            let mut sent: Vec<_> = answers.iter().filter(|own| own.status == status).map(|own| own.sent).collect();
            if sent.len() >= number {
                sent.sort();
                return sent[0];
            }
            assert!(Instant::now() < end, "{} of {} are {status}", sent.len(), answers.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ends(self) -> Vec<Answered> {
        self.over.store(true, Ordering::Relaxed);
        self.running.await.unwrap();
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

fn statuses(answers: &[Answered]) -> BTreeSet<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

fn longest(answers: &[Answered]) -> Duration {
    answers.iter().map(|answer| answer.took).max().unwrap()
}

fn layer(store: RedisStore, on_store_error: OnStoreError) -> RateLimitLayer<RedisStore> {
    RateLimitLayer::with_store([Limit::new("test", Quota::per_hour(1_000_000))], store).on_store_error(on_store_error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_under_load_holds_nobody_and_comes_back() {
    let server = RedisServer::start();
    let layer = layer(waiting(&server, DEADLINE), OnStoreError::Closed);
    let load = Load::over(&layer);
    load.sees(100, 200, Instant::now()).await;
    server.pause();
    let paused = Instant::now();
    // It stands still until they are answered, so none of them waits for it.
    load.sees(500, 503, paused).await;
    assert_eq!(statuses(&load.answers_since(paused)), BTreeSet::from([503]));
    assert_eq!(status(&layer, 1).now_or_never(), Some(503), "a server that is down costs nothing");
    let resumed = Instant::now();
    server.resume();
    let recovery = load.sees(100, 200, resumed).await - resumed;
    println!("paused: longest {:?}, recovery {recovery:?}", longest(&load.ends().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_fails_nobody_and_is_used_when_it_is_back() {
    let mut server = RedisServer::start();
    let layer = layer(waiting(&server, DEADLINE), OnStoreError::Open);
    let load = Load::over(&layer);
    load.sees(100, 200, Instant::now()).await;
    server.kill();
    let killed = Instant::now();
    load.sees(500, 200, killed).await;
    assert!(layer.handle().statistics().store_errors > 0);
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = server.await.unwrap();
    let restarted = Instant::now();
    // It knows nothing of what it was asked before.
    while server.calls("evalsha") == 0 {
        assert!(restarted.elapsed() < PATIENCE, "it does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let recovery = restarted.elapsed();
    let answers = load.ends().await;
    println!("killed: longest {:?}, recovery {recovery:?}", longest(&answers));
    assert_eq!(statuses(&answers), BTreeSet::from([200]), "open lets all of them pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_its_scripts_and_keys_under_load_fails_nobody() {
    let server = RedisServer::start();
    let layer = layer(store(&server), OnStoreError::Closed);
    let load = Load::over(&layer);
    for _ in 0..20 {
        load.sees(50, 200, Instant::now()).await;
        server.command(&["SCRIPT", "FLUSH"]);
        server.command(&["FLUSHALL"]);
    }
    let answers = load.ends().await;
    println!("flushed: longest {:?}", longest(&answers));
    assert_eq!(statuses(&answers), BTreeSet::from([200]));
}

#[tokio::test]
async fn while_the_server_is_down_a_gateway_counts_by_itself_from_zero() {
    let mut server = RedisServer::start();
    let limits = [Limit::new("test", Quota::per_hour(10))];
    // Refused it is at once, and tried again after its deadline.
    let layer = RateLimitLayer::with_store(limits, waiting(&server, Duration::from_secs(2)))
        .on_store_error(OnStoreError::Local { store: MemoryStore::new(), share: (1, 2) });
    for _ in 0..3 {
        assert_eq!(status(&layer, 1).await, 200);
    }
    server.kill();
    let mut admitted = 0;
    while status(&layer, 1).await == 200 {
        admitted += 1;
    }
    assert_eq!(admitted, 5);
    server.restart();
    let end = Instant::now() + PATIENCE;
    while status(&layer, 1).await != 200 {
        assert!(Instant::now() < end, "it does not ask the server again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn whoever_the_server_refused_is_counted_from_zero_while_it_is_down() {
    let mut server = RedisServer::start();
    let limits = [Limit::new("test", Quota::per_hour(10))];
    let layer = RateLimitLayer::with_store(limits, waiting(&server, Duration::from_secs(2)))
        .on_store_error(OnStoreError::Local { store: MemoryStore::new(), share: (1, 2) });
    while status(&layer, 1).await == 200 {}
    server.kill();
    let end = Instant::now() + PATIENCE;
    while status(&layer, 1).await != 200 {
        assert!(Instant::now() < end, "what the server said goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut admitted = 1;
    while status(&layer, 1).await == 200 {
        admitted += 1;
    }
    assert_eq!(admitted, 5);
}

/// Refused by the server, and believed, however late it was at first.
async fn is_refused_by_the_server(store: &RedisStore, charges: &[Charge]) {
    let end = Instant::now() + PATIENCE;
    let refuses = |decision: Decision| !decision.admitted;
    while !(store.acquire(charges).await.is_ok_and(refuses) && store.now(charges).is_some_and(refuses)) {
        assert!(Instant::now() < end, "the server does not answer");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How long until `ended` without that anybody is asked for anything.
async fn until(what: &str, ended: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !ended() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    begin.elapsed()
}

#[tokio::test]
async fn what_a_server_said_that_was_killed_ends_at_once_and_no_request_pays_for_it() {
    let mut server = RedisServer::start();
    // It is tried again after its deadline.
    let redis = Redis::builder(&server.url()).unwrap().timeout(Duration::from_secs(2)).build();
    let store = RedisStore::new(redis.clone());
    let limits = [Limit::new("test", Quota::per_hour(10))];
    let layer = RateLimitLayer::with_store(limits, store.clone())
        .on_store_error(OnStoreError::Local { store: MemoryStore::new(), share: (1, 2) });
    while status(&layer, 1).await == 200 {}
    server.kill();
    let known = until("nobody sees that it is gone", || redis.is_down()).await;
    println!("killed: known after {known:?}");
    let mut admitted = 0;
    while status(&layer, 1).now_or_never() == Some(200) {
        admitted += 1;
    }
    assert_eq!(admitted, 5, "counted here, from zero");
    server.restart();
    until("it does not come back", || !redis.is_down()).await;
    assert_eq!(status(&layer, 1).await, 200, "the new one knows nothing of what the old one said");
}

#[tokio::test]
async fn what_a_server_said_that_stands_still_ends_after_a_sign_that_does_not_come() {
    let server = RedisServer::start();
    let redis = Redis::builder(&server.url()).unwrap().timeout(DEADLINE).build();
    let (store, one) = (RedisStore::new(redis.clone()), [charge(1, Quota::per_hour(1))]);
    is_refused_by_the_server(&store, &one).await;
    server.pause();
    let believed = until("what it said goes on", || store.now(&one).is_none()).await;
    let down = believed + until("nobody sees that it stands still", || redis.is_down()).await;
    println!("paused: believed for {believed:?}, down after {down:?}");
    // The interval and the deadline, on a machine that may do something else for a while.
    assert!(believed < Duration::from_secs(5), "{believed:?}");
    server.resume();
    until("it does not come back", || !redis.is_down()).await;
    is_refused_by_the_server(&store, &one).await;
}

#[tokio::test]
async fn what_a_server_said_before_it_was_started_again_is_not_held_against_anybody() {
    let mut server = RedisServer::start();
    let (store, one) = (store(&server), [charge(1, Quota::per_hour(2))]);
    assert_eq!(flood(&store, &one).await, 2);
    server.kill();
    server.restart();
    until("what it said goes on", || store.now(&one).is_none()).await;
    let end = Instant::now() + PATIENCE;
    while !store.acquire(&one).await.is_ok_and(|decision| decision.admitted) {
        assert!(Instant::now() < end, "it does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(flood(&store, &one).await, 1);
}

#[tokio::test]
async fn what_a_node_of_a_cluster_said_ends_with_it_though_the_others_answer() {
    let cluster = RedisCluster::start();
    let store = RedisStore::new(Redis::builder(&cluster.url()).unwrap().timeout(DEADLINE).build());
    let holds = |node: &&RedisServer| node.command(&["DBSIZE"]) != ":0";
    let one = [charge(1, Quota::per_hour(1))];
    is_refused_by_the_server(&store, &one).await;
    let node = cluster.nodes.iter().find(holds).unwrap();
    let mut others = 2..;
    let other = loop {
        let other = [charge(others.next().unwrap(), Quota::per_hour(1_000_000))];
        store.acquire(&other).await.unwrap();
        if cluster.nodes.iter().filter(holds).count() > 1 {
            break other;
        }
    };
    node.pause();
    let end = Instant::now() + PATIENCE;
    while store.now(&one).is_some() {
        assert!(Instant::now() < end, "what it said goes on");
        let _ = store.acquire(&other).await;
    }
    node.resume();
    is_refused_by_the_server(&store, &one).await;
}

#[tokio::test]
async fn a_cluster_counts_each_key_in_its_slot_and_gives_back_what_a_later_quota_refuses() {
    let cluster = RedisCluster::start();
    let redis = Redis::builder(&cluster.url()).unwrap().timeout(PATIENCE).build();
    let (one, two) = (RedisStore::new(redis.clone()), RedisStore::new(redis));
    // Over all slots.
    for n in 0..50 {
        let both = [charge(n, Quota::per_hour(4)), charge(n, each_algorithm(100)[2])];
        assert_eq!(flood(&one, &both).await, 4);
        assert!(!admits(&two, &both).await);
    }
    let (many, few) = (charge(1_000, Quota::per_hour(100)), charge(2_000, Quota::per_hour(3)));
    for _ in 0..10 {
        admits(&one, &[many, few]).await;
        admits(&two, &[many, few]).await;
    }
    assert_eq!(one.peek(&[many]).await.unwrap().remaining, 97);
    let keys: Vec<_> = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"])).collect();
    assert!(keys.iter().all(|keys| keys != ":0"), "{keys:?}");
}
