//! Checks of keyed limits, beside governor's: on one thread and on eight, of one key and of a million.
//! `cargo bench --bench rate_limit`

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, RateLimiter};
use tower_gateway::rate_limit::{Charge, MemoryStore, Quota, Store};

const KEYS: u64 = 1_000_000;
/// A limit that is never reached, so that every check writes.
const NEVER_REACHED: u32 = 1_000_000_000;
/// A burst that nobody spends while this lasts, and that is refilled by one in six seconds.
const NEVER_SPENT: u32 = 300_000_000;
const LASTING: Duration = Duration::from_millis(150);
const ROUNDS: usize = 13;

/// What two did in rounds by turns: on a machine that others use as well, what is said of one round is true of both.
struct Turns {
    theirs: f64,
    ours: f64,
    /// Theirs divided by ours, round by round: above 1 where ours is faster.
    ratio: [f64; 3],
}

/// Nanoseconds a check, over all threads: the medians of all rounds, of their ratio with its quartiles.
fn by_turns(
    threads: u64,
    keys: u64,
    theirs: &(impl Fn(u64) -> bool + Sync),
    ours: &(impl Fn(u64) -> bool + Sync),
) -> Turns {
    // One for each that does not count: it finds its memory as the other has left it.
    round(threads, keys, theirs);
    round(threads, keys, ours);
    let rounds: Vec<[f64; 2]> = (0..ROUNDS)
        .map(|n| match n % 2 {
            0 => [round(threads, keys, theirs), round(threads, keys, ours)],
            _ => {
                let ours = round(threads, keys, ours);
                [round(threads, keys, theirs), ours]
            }
        })
        .collect();
    let sorted = |figure: fn(&[f64; 2]) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let ratio = sorted(|[theirs, ours]| theirs / ours);
    Turns {
        theirs: sorted(|[theirs, _]| *theirs)[ROUNDS / 2],
        ours: sorted(|[_, ours]| *ours)[ROUNDS / 2],
        ratio: [ratio[ROUNDS / 4], ratio[ROUNDS / 2], ratio[ROUNDS * 3 / 4]],
    }
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
                    let end = Instant::now() + LASTING;
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
    println!("| keys | threads | governor, ns a check | ours | governor / ours, median (quartiles) |");
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

/// Both hash the key: governor as its map does, ours as a layer does.
fn table(name: &str, keys: u64, quota: Quota, theirs: governor::Quota) {
    let governor: DefaultKeyedRateLimiter<u64> = RateLimiter::keyed(theirs);
    let store = MemoryStore::builder().max_keys(2_000_000).build();
    let hash = store.digests().of_limit("bench");
    let theirs = |key: u64| governor.check_key(&key).is_ok();
    let ours = |key: u64| store.acquire_now(&[Charge::new(hash.key(&key.to_le_bytes()), quota)]).admitted;
    // Every key is known before anything is measured.
    (0..keys).for_each(|key| assert!(theirs(key) && ours(key)));
    for threads in [1, 8] {
        let Turns { theirs, ours, ratio: [low, median, high] } = by_turns(threads, keys, &theirs, &ours);
        println!("| {name} | {threads} | {theirs:.1} | {ours:.1} | {median:.2} ({low:.2} to {high:.2}) |");
    }
    println!("{} keys are held in {} bytes", store.len(), store.bytes());
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
