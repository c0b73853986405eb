//! The connection to a Redis, against real servers that are killed, paused and started again.

#[path = "support/redis.rs"]
mod server;

use std::time::{Duration, Instant};

use tower_gateway::redis::{Redis, RedisError, Script, cmd, pipe};

use server::RedisServer;

const DEADLINE: Duration = Duration::from_millis(100);

fn connect(server: &RedisServer) -> Redis {
    Redis::builder(&server.url()).unwrap().timeout(DEADLINE).key_prefix("t:").build()
}

async fn ping(redis: &Redis) -> Result<String, RedisError> {
    redis.query(&cmd("PING")).await
}

/// How long until commands succeed again.
async fn recovery(redis: &Redis) -> Duration {
    let begin = Instant::now();
    while ping(redis).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

async fn trip(redis: &Redis) {
    for _ in 0..3 {
        let begin = Instant::now();
        ping(redis).await.unwrap_err();
        assert!(begin.elapsed() < DEADLINE + Duration::from_millis(50), "{:?}", begin.elapsed());
    }
    assert!(redis.is_down());
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
    let end = Instant::now() + Duration::from_secs(5);
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
    let redis = connect(&server);
    ping(&redis).await.unwrap();
    server.kill();
    trip(&redis).await;
    let begin = Instant::now();
    for _ in 0..1_000 {
        assert!(matches!(ping(&redis).await, Err(RedisError::Down)));
    }
    assert!(begin.elapsed() < Duration::from_millis(20), "{:?}", begin.elapsed());
    server.restart();
    let recovery = recovery(&redis).await;
    println!("recovery after a restart: {recovery:?}");
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
}

#[tokio::test]
async fn a_server_that_stands_still_holds_nobody_past_the_deadline() {
    let server = RedisServer::start();
    let redis = connect(&server);
    ping(&redis).await.unwrap();
    server.pause();
    let begin = Instant::now();
    let many = (0..100).map(|_| ping(&redis));
    assert!(futures_util::future::join_all(many).await.iter().all(Result::is_err));
    assert!(begin.elapsed() < DEADLINE + Duration::from_millis(50), "{:?}", begin.elapsed());
    assert!(redis.is_down());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(matches!(ping(&redis).await, Err(RedisError::Down)));
    server.resume();
    let recovery = recovery(&redis).await;
    println!("recovery after a pause: {recovery:?}");
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
}

#[tokio::test]
async fn a_restart_that_nobody_saw_is_no_failure() {
    let mut server = RedisServer::start();
    let redis = connect(&server);
    ping(&redis).await.unwrap();
    server.kill();
    server.restart();
    // The connection's end is seen by its driver, and the next command makes another.
    tokio::time::sleep(Duration::from_millis(20)).await;
    ping(&redis).await.unwrap();
}

#[test]
fn the_search_for_a_server_goes_on_when_the_runtime_that_began_it_has_ended() {
    let mut server = RedisServer::start();
    let redis = connect(&server);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(ping(&redis)).unwrap();
    server.kill();
    first.block_on(trip(&redis));
    drop(first);
    server.restart();
    let recovery = runtime().block_on(recovery(&redis));
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_down_as_well() {
    let server = RedisServer::with(&["--requirepass", "secret"]);
    let refused = connect(&server);
    for _ in 0..3 {
        assert!(ping(&refused).await.is_err());
    }
    assert!(refused.is_down());
    let redis = Redis::new(&format!("redis://:secret@127.0.0.1:{}", server.port)).unwrap();
    ping(&redis).await.unwrap();
}
