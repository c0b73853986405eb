//! The connection to a Redis, against real servers that are killed, paused and started again.

#[path = "support/redis.rs"]
mod server;

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tower_gateway::redis::{Redis, RedisError, Script, cmd, pipe};

use server::RedisServer;

const DEADLINE: Duration = Duration::from_millis(100);
/// How long a test waits for what must happen, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits as long as it takes.
fn connect(server: &RedisServer) -> Redis {
    waiting(server, PATIENCE)
}

fn waiting(server: &RedisServer, deadline: Duration) -> Redis {
    Redis::builder(&server.url()).unwrap().timeout(deadline).key_prefix("t:").build()
}

/// Waits for its deadline and no longer, and has an answer: the first may come late on a busy machine.
async fn hasty(server: &RedisServer) -> Redis {
    let redis = waiting(server, DEADLINE);
    comes_back(&redis).await;
    redis
}

async fn ping(redis: &Redis) -> Result<String, RedisError> {
    redis.query(&cmd("PING")).await
}

async fn comes_back(redis: &Redis) {
    let end = Instant::now() + PATIENCE;
    while ping(redis).await.is_err() {
        assert!(Instant::now() < end, "it does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails three commands, none of which waits for a server that refuses.
async fn trip(redis: &Redis) {
    for _ in 0..3 {
        assert!(!matches!(ping(redis).await, Ok(_) | Err(RedisError::Down)));
    }
    assert!(redis.is_down());
}

/// Nothing is sent, nor waited for.
fn is_refused_at_once(redis: &Redis) -> bool {
    matches!(ping(redis).now_or_never(), Some(Err(RedisError::Down)))
}

#[tokio::test]
async fn commands_pipelines_and_scripts_reach_the_server() {
    let server = RedisServer::start();
    let redis = connect(&server);
    let key = redis.key("a");
    assert_eq!(key, "t:a");
    let () = redis.query(cmd("SET").arg(&key).arg(7)).await.unwrap();
    let both: (u32, u32) = redis.pipeline(pipe().incr(&key, 1).get(&key)).await.unwrap();
    assert_eq!(both, (8, 8));
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(redis.run::<u32>(&script, &key, 2).await.unwrap(), 10);
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(redis.run::<u32>(&script, &key, 2).await.unwrap(), 12);
    assert_eq!((server.calls("eval"), server.calls("evalsha")), (2, 2), "sent whole only when it is not known");
    assert_eq!(redis.run::<u32>(&script, &key, 2).await.unwrap(), 14);
    assert_eq!((server.calls("eval"), server.calls("evalsha")), (2, 3));
}

#[tokio::test]
async fn an_error_of_the_command_is_not_one_of_the_server() {
    let server = RedisServer::start();
    let redis = connect(&server);
    let () = redis.query(cmd("SET").arg("text").arg("x")).await.unwrap();
    for _ in 0..5 {
        let error = redis.query::<u32>(cmd("INCR").arg("text")).await.unwrap_err();
        assert!(matches!(error, RedisError::Failed(_)), "{error:?}");
        let error = redis.query::<u32>(cmd("GET").arg("text")).await.unwrap_err();
        assert!(matches!(error, RedisError::Answer(_)), "{error:?}");
    }
    assert!(!redis.is_down());
}

#[tokio::test]
async fn commands_of_one_runtime_share_a_connection() {
    let server = RedisServer::start();
    let redis = connect(&server);
    let many = (0..50).map(|_| {
        let redis = redis.clone();
        async move { ping(&redis).await.unwrap() }
    });
    futures_util::future::join_all(many).await;
    let clients = server.command(&["CLIENT", "LIST"]);
    assert_eq!(clients.lines().count(), 2, "this one, and that of the test itself: {clients}");
}

#[tokio::test]
async fn a_connection_ends_with_its_handle() {
    let server = RedisServer::start();
    let redis = connect(&server);
    ping(&redis).await.unwrap();
    drop(redis);
    let end = Instant::now() + PATIENCE;
    while server.command(&["CLIENT", "LIST"]).lines().count() > 1 {
        assert!(Instant::now() < end, "the connection stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn each_runtime_has_a_connection_of_its_own_which_ends_with_it() {
    let server = RedisServer::start();
    let redis = connect(&server);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, two) = (runtime(), runtime());
    for _ in 0..3 {
        one.block_on(ping(&redis)).unwrap();
        two.block_on(ping(&redis)).unwrap();
    }
    assert_eq!(server.command(&["CLIENT", "LIST"]).lines().count(), 3);
    drop(one);
    two.block_on(ping(&redis)).unwrap();
    assert!(!redis.is_down());
    // The next runtime begins where the first one left, and that one's place is not kept.
    let three = runtime();
    three.block_on(ping(&redis)).unwrap();
    assert_eq!(server.command(&["CLIENT", "LIST"]).lines().count(), 3);
}

#[tokio::test]
async fn a_server_that_is_killed_costs_three_failures_and_then_nothing() {
    let mut server = RedisServer::start();
    let redis = hasty(&server).await;
    server.kill();
    trip(&redis).await;
    for _ in 0..1_000 {
        assert!(is_refused_at_once(&redis));
    }
    server.restart();
    comes_back(&redis).await;
}

#[tokio::test]
async fn a_server_that_stands_still_holds_nobody_past_the_deadline() {
    let server = RedisServer::start();
    let redis = hasty(&server).await;
    server.pause();
    let begin = Instant::now();
    let many = (0..1_000).map(|_| ping(&redis));
    let failed = |answer| matches!(answer, Err(RedisError::Deadline | RedisError::Down));
    assert!(futures_util::future::join_all(many).await.into_iter().all(failed));
    // One after the other they would wait for a hundred seconds, and without a deadline for ever.
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert!(is_refused_at_once(&redis));
    // While it stands still it is tried, and not believed to be back.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(is_refused_at_once(&redis));
    server.resume();
    comes_back(&redis).await;
}

#[tokio::test]
async fn a_restart_that_nobody_saw_is_no_failure() {
    let mut server = RedisServer::start();
    let redis = connect(&server);
    ping(&redis).await.unwrap();
    server.kill();
    server.restart();
    // The connection's end is seen by its driver, which has its turn more than once however late it is, and the next command
    // makes another.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ping(&redis).await.unwrap();
}

#[test]
fn the_search_for_a_server_goes_on_when_the_runtime_that_began_it_has_ended() {
    let mut server = RedisServer::start();
    let redis = waiting(&server, DEADLINE);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(comes_back(&redis));
    server.kill();
    first.block_on(trip(&redis));
    drop(first);
    server.restart();
    runtime().block_on(comes_back(&redis));
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_down_as_well() {
    let server = RedisServer::with(&["--requirepass", "secret"]);
    let refused = connect(&server);
    for _ in 0..3 {
        assert!(ping(&refused).await.is_err());
    }
    assert!(refused.is_down());
    let url = format!("redis://:secret@127.0.0.1:{}", server.port);
    let redis = Redis::builder(&url).unwrap().timeout(PATIENCE).build();
    ping(&redis).await.unwrap();
}
