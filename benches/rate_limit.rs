//! Checks of keyed limits, beside governor's: on one thread and on eight, of one key and of a million.
//! `cargo bench --bench rate_limit`

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, RateLimiter};
use tower_gateway::rate_limit::{Charge, Digest, MemoryStore, Quota, Store};

const KEYS: u64 = 1_000_000;
/// A limit that is never reached, so that every check writes.
const NEVER_REACHED: u32 = 1_000_000_000;
/// A burst that nobody spends while this lasts, and that is refilled by one in six seconds.
const NEVER_SPENT: u32 = 300_000_000;
const LASTING: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 5;

/// Nanoseconds a check, over all threads: the median of some rounds.
fn measure(threads: u64, keys: u64, check: &(impl Fn(u64) -> bool + Sync)) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(threads, keys, check)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn round(threads: u64, keys: u64, check: &(impl Fn(u64) -> bool + Sync)) -> f64 {
    let start = Barrier::new(threads as usize);
    let begin = Instant::now();
    let checks: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let end = Instant::now() + LASTING / ROUNDS as u32;
                    let (mut key, mut checks) = (thread * 7919, 0);
                    while Instant::now() < end {
                        for _ in 0..1_000 {
                            // Any order but the one they were put in.
                            key = (key + 514_229) % keys;
                            assert!(black_box(check(black_box(key))));
                        }
                        checks += 1_000;
                    }
                    checks
                })
            })
            .collect();
        running.into_iter().map(|running| running.join().expect("no panic")).sum()
    });
    begin.elapsed().as_nanos() as f64 / checks as f64
}

fn main() {
    let never = NonZeroU32::new(NEVER_REACHED).expect("not zero");
    let often = NonZeroU32::new(10).expect("not zero");
    println!("| keys | threads | governor, ns a check | ours, of a digest | ours, with the key's hash |");
    println!("|---|---|---|---|---|");
    // A key of the first owes something whenever it comes again, and so is known. One of the second has ended by then, and
    // governor, which forgets when it is told to, knows it nevertheless.
    let lasting = Quota::per_minute(10).burst(u64::from(NEVER_SPENT)).expect("a quota");
    let ended = Quota::per_second(NEVER_REACHED);
    let their_lasting = governor::Quota::per_minute(often).allow_burst(NonZeroU32::new(NEVER_SPENT).expect("not zero"));
    for keys in [1, KEYS] {
        table(&format!("{keys}"), keys, lasting, their_lasting);
    }
    table(
        &format!("{KEYS}, each of which has ended when it comes again"),
        KEYS,
        ended,
        governor::Quota::per_second(never),
    );
    flood(lasting);
}

fn table(name: &str, keys: u64, quota: Quota, theirs: governor::Quota) {
    let governor: DefaultKeyedRateLimiter<u64> = RateLimiter::keyed(theirs);
    let store = MemoryStore::builder().max_keys(2_000_000).build();
    let hashed = MemoryStore::builder().max_keys(2_000_000).build();
    let random = store.digests().of_limit("bench");
    let digests: Vec<Digest> = (0..keys).map(|key| random.key(&key.to_le_bytes())).collect();
    let theirs = |key: u64| governor.check_key(&key).is_ok();
    let ours = |key: u64| store.acquire_now(&[Charge::new(digests[key as usize], quota)]).admitted;
    let hash = hashed.digests().of_limit("bench");
    let with_hash = |key: u64| hashed.acquire_now(&[Charge::new(hash.key(&key.to_le_bytes()), quota)]).admitted;
    for threads in [1, 8] {
        (0..keys).for_each(|key| assert!(theirs(key) && ours(key) && with_hash(key)));
        let figures =
            [measure(threads, keys, &theirs), measure(threads, keys, &ours), measure(threads, keys, &with_hash)];
        println!("| {name} | {threads} | {:.1} | {:.1} | {:.1} |", figures[0], figures[1], figures[2]);
    }
    println!("{} keys are held in {} bytes, {} in {}", store.len(), store.bytes(), hashed.len(), hashed.bytes());
}

/// Keys that come once each, to a store with room for a tenth of them.
fn flood(quota: Quota) {
    const FLOOD: u64 = 10_000_000;
    let store = MemoryStore::builder().max_keys(KEYS as usize).build();
    let hash = store.digests().of_limit("flood");
    let mut longest = Duration::ZERO;
    let begin = Instant::now();
    for thousand in 0..FLOOD / 1_000 {
        let began = Instant::now();
        for key in thousand * 1_000..(thousand + 1) * 1_000 {
            assert!(store.acquire_now(&[Charge::new(hash.key(&key.to_le_bytes()), quota)]).admitted);
        }
        longest = longest.max(began.elapsed());
    }
    let took = begin.elapsed().as_nanos() as f64 / FLOOD as f64;
    assert!(store.len() <= KEYS as usize && store.bytes() <= 64 * KEYS as usize);
    println!(
        "\n{FLOOD} distinct keys: {took:.0} ns each, {} held in {} bytes each, the slowest thousand took {longest:?}",
        store.len(),
        store.bytes() / store.len()
    );
}
