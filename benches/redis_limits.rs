//! Checks of limits in a real Redis, beside `redis-benchmark` with the same call of the same script on the same server.
//! `cargo bench --bench redis_limits`; needs redis-server and redis-benchmark (Debian: redis-server and redis-tools).

#[path = "../tests/support/redis.rs"]
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use server::RedisServer;
use tower_gateway::rate_limit::{Charge, Digest, Quota, RedisStore, Store};
use tower_gateway::redis::Redis;

const LASTING: Duration = Duration::from_secs(2);
const AT_ONCE: usize = 64;

fn charge(key: u64) -> [Charge; 1] {
    // Never reached, so that every check writes.
    [Charge::new(Digest::from_bits(u128::from(key) << 64 | 7), Quota::per_second(1_000_000_000))]
}

/// The call of the script for one check, as the server saw it.
fn call_of_one_check(server: &RedisServer, runtime: &tokio::runtime::Runtime, store: &RedisStore) -> Vec<String> {
    let mut monitor = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    monitor.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(monitor).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "+OK");
    runtime.block_on(async { store.acquire(&charge(1)).await }).unwrap();
    let line = lines.map(Result::unwrap).find(|line| line.contains("\"EVALSHA\"")).unwrap();
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Requests a second and the median in milliseconds, as `redis-benchmark` has them.
fn redis_benchmark(
    server: &RedisServer,
    call: &[String],
    clients: &str,
    pipelined: &str,
    requests: &str,
) -> (f64, f64) {
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &server.port.to_string(), "-c", clients, "-P", pipelined, "-n", requests, "--csv"]).args(call);
    let output = String::from_utf8(command.output().expect("redis-benchmark").stdout).unwrap();
    let line = output.lines().last().unwrap();
    let figures: Vec<f64> =
        line.rsplit("\",\"").map(|text| text.trim_matches('"').parse().unwrap_or(f64::NAN)).collect();
    // The last seven columns: a second, average, least, median, p95, p99, most.
    (figures[6], figures[3])
}

/// Checks a second by so many callers of one runtime, and their median in milliseconds.
fn ours(runtime: &tokio::runtime::Runtime, store: &RedisStore, callers: usize) -> (f64, f64) {
    let begin = Instant::now();
    let took: Vec<Vec<Duration>> = runtime.block_on(join_all((0..callers).map(|caller| async move {
        let mut took = Vec::new();
        while begin.elapsed() < LASTING {
            let asked = Instant::now();
            assert!(store.acquire(&charge(caller as u64)).await.unwrap().admitted);
            took.push(asked.elapsed());
        }
        took
    })));
    let elapsed = begin.elapsed().as_secs_f64();
    let mut took: Vec<Duration> = took.into_iter().flatten().collect();
    took.sort_unstable();
    (took.len() as f64 / elapsed, took[took.len() / 2].as_secs_f64() * 1e3)
}

fn main() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = RedisStore::new(Redis::builder(&server.url()).unwrap().timeout(Duration::from_secs(5)).build());
    // The first one sends the script whole.
    runtime.block_on(async { store.acquire(&charge(0)).await }).unwrap();
    let call = call_of_one_check(&server, &runtime, &store);

    println!("| | checks a second | median in ms |");
    println!("|---|---|---|");
    let line = |name: &str, (a_second, median): (f64, f64)| println!("| {name} | {a_second:.0} | {median:.3} |");
    line("redis-benchmark, one at a time", redis_benchmark(&server, &call, "1", "1", "30000"));
    line("ours, one at a time", ours(&runtime, &store, 1));
    line("redis-benchmark, 64 pipelined on one connection", redis_benchmark(&server, &call, "1", "64", "300000"));
    let before = server.calls("evalsha");
    let figures = ours(&runtime, &store, AT_ONCE);
    let calls = (server.calls("evalsha") - before) as f64;
    line("ours, 64 callers of one runtime", figures);
    println!("\nof 64 callers, {:.1} checks shared a call of the script", figures.0 * LASTING.as_secs_f64() / calls);
}
