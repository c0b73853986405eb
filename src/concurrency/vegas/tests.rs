use super::*;

/// A service with so many workers, of which each takes as long for a request. Who finds none free waits.
struct Server {
    workers: usize,
    service: Duration,
}

impl Server {
    fn latency(&self, in_flight: usize) -> Duration {
        let queue = in_flight.saturating_sub(self.workers) as u32;
        self.service + self.service * queue / self.workers as u32
    }
}

/// As many callers as are let in, for so many requests.
fn run(vegas: &mut Vegas, server: &Server, requests: usize) {
    for _ in 0..requests {
        let in_flight = vegas.limit();
        vegas.answered(server.latency(in_flight), in_flight);
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn the_limit_comes_to_what_the_service_can_do_at_once_and_a_short_queue() {
    for workers in [10, 50, 200] {
        let mut vegas = Vegas::new(1_000);
        run(&mut vegas, &Server { workers, service: 10 * MILLISECOND }, 30_000);
        let limit = vegas.limit();
        assert!((workers..=workers + workers / 5 + 15).contains(&limit), "{workers} workers: {limit}");
    }
}

#[test]
fn a_service_that_gets_worse_gets_less() {
    let mut vegas = Vegas::new(1_000);
    run(&mut vegas, &Server { workers: 100, service: 10 * MILLISECOND }, 30_000);
    let before = vegas.limit();
    run(&mut vegas, &Server { workers: 20, service: 10 * MILLISECOND }, 30_000);
    assert!(vegas.limit() < before / 2, "{before} to {}", vegas.limit());
}

#[test]
fn who_is_not_at_its_limit_neither_gains_nor_loses() {
    let mut vegas = Vegas::new(1_000);
    run(&mut vegas, &Server { workers: 100, service: 10 * MILLISECOND }, 5_000);
    // What was begun at its limit is one round.
    (0..vegas.limit()).for_each(|_| vegas.answered(10 * MILLISECOND, 3));
    let before = vegas.limit();
    for latency in [10, 500, 10, 2_000].into_iter().cycle().take(2_000) {
        vegas.answered(latency * MILLISECOND, 3);
    }
    assert_eq!(vegas.limit(), before);
}

#[test]
fn failures_shrink_it_down_to_one_and_never_to_none() {
    let mut vegas = Vegas::new(1_000);
    (0..1_000).for_each(|_| vegas.overloaded());
    assert_eq!(vegas.limit(), 1);
    run(&mut vegas, &Server { workers: 50, service: MILLISECOND }, 30_000);
    assert!(vegas.limit() >= 50, "{}", vegas.limit());
}

#[test]
fn it_never_passes_what_it_may_be_at_most() {
    let mut vegas = Vegas::new(30);
    run(&mut vegas, &Server { workers: 500, service: MILLISECOND }, 30_000);
    assert_eq!(vegas.limit(), 30);
    assert_eq!(Vegas::new(0).limit(), 1);
}

/// A deployment that is slower from now on: its latency is soon what an answer takes.
#[test]
fn a_service_that_is_slower_for_good_is_not_punished_for_ever() {
    let mut vegas = Vegas::new(1_000);
    run(&mut vegas, &Server { workers: 50, service: 10 * MILLISECOND }, 30_000);
    run(&mut vegas, &Server { workers: 50, service: 40 * MILLISECOND }, 60_000);
    assert!(vegas.limit() >= 50, "{}", vegas.limit());
}
