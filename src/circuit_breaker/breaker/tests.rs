use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::circuit_breaker::policy::SlowCalls;
use crate::random::random;
use crate::window::BUCKETS;
use proptest::prelude::*;

fn breaker(policy: &Policy) -> (Breaker, Arc<crate::ManualClock>) {
    let (clock, hand) = Clock::manual();
    (Breaker::new("".into(), policy.span, clock), hand)
}

fn call(breaker: &Breaker, policy: &Policy, outcome: Outcome) -> bool {
    match breaker.admit(policy).0 {
        Ok(admission) => {
            breaker.record(policy, admission, outcome, false);
            true
        }
        Err(_) => false,
    }
}

/// What the documentation says, with lists instead of words.
struct Model {
    policy: Policy,
    now: u64,
    phase: ModelPhase,
    epoch: u32,
    calls: VecDeque<(u64, bool, bool)>,
    in_a_row: u32,
}

#[derive(Debug, PartialEq)]
enum ModelPhase {
    Closed,
    Open { until: u64 },
    HalfOpen { probing: u32, succeeded: u32 },
}

impl Model {
    /// The epoch it was admitted in, and whether it is a probe.
    fn admit(&mut self) -> Option<(u32, bool)> {
        match self.phase {
            ModelPhase::Closed => return Some((self.epoch, false)),
            ModelPhase::Open { until } if until > self.now => return None,
            ModelPhase::Open { .. } => self.enter(ModelPhase::HalfOpen { probing: 0, succeeded: 0 }),
            ModelPhase::HalfOpen { .. } => {}
        }
        let ModelPhase::HalfOpen { probing, succeeded } = &mut self.phase else { unreachable!() };
        if *probing + *succeeded >= self.policy.half_open_requests {
            return None;
        }
        *probing += 1;
        Some((self.epoch, true))
    }

    fn record(&mut self, (epoch, probe): (u32, bool), outcome: Outcome, slow: bool) {
        if epoch != self.epoch {
            return;
        }
        if !probe {
            return self.count(outcome, slow);
        }
        let ModelPhase::HalfOpen { probing, succeeded } = &mut self.phase else { unreachable!() };
        *probing -= 1;
        match outcome {
            Outcome::Failure => self.open(),
            _ if slow => self.open(),
            Outcome::Success => {
                *succeeded += 1;
                if *succeeded == self.policy.half_open_requests {
                    self.enter(ModelPhase::Closed);
                }
            }
            Outcome::Throttled | Outcome::Ignored => {}
        }
    }

    fn count(&mut self, outcome: Outcome, slow: bool) {
        if outcome == Outcome::Ignored && !slow {
            return;
        }
        let failed = outcome == Outcome::Failure;
        self.calls.push_back((self.now, failed, slow));
        match self.policy.span {
            Span::Calls(most) => {
                while self.calls.len() > most as usize {
                    self.calls.pop_front();
                }
            }
            Span::Time(window) => {
                let tick = window.as_millis() as u64 / BUCKETS;
                self.calls.retain(|(at, ..)| at / tick + BUCKETS > self.now / tick);
            }
        }
        match outcome {
            Outcome::Failure => self.in_a_row += 1,
            Outcome::Success if !slow => self.in_a_row = 0,
            _ => {}
        }
        if !failed && !slow {
            return;
        }
        let count = |is: fn(&(u64, bool, bool)) -> bool| self.calls.iter().filter(|call| is(call)).count() as f64;
        let (all, failures, slow) = (count(|_| true), count(|call| call.1), count(|call| call.2));
        let enough = all >= self.policy.min_requests as f64;
        let over = |rate: Option<Share>, part: f64| rate.is_some_and(|rate| part > 0.0 && part / all >= rate.get());
        let slow_rate = self.policy.slow.map(|slow| slow.rate);
        if failed && self.policy.consecutive_failures.is_some_and(|limit| self.in_a_row >= limit)
            || enough && (over(self.policy.failure_rate, failures) || over(slow_rate, slow))
        {
            self.open();
        }
    }

    fn open(&mut self) {
        self.enter(ModelPhase::Open { until: self.now + self.policy.open_for.as_millis() as u64 });
    }

    fn enter(&mut self, phase: ModelPhase) {
        if phase == ModelPhase::Closed {
            self.calls.clear();
        }
        self.in_a_row = 0;
        self.phase = phase;
        self.epoch += 1;
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    /// One of those under way ends, the number taken modulo how many there are.
    End(usize, Outcome, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Success),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::Throttled),
        1 => Just(Outcome::Ignored),
    ];
    prop_oneof![
        4 => Just(Step::Begin),
        4 => (any::<usize>(), outcome, prop::bool::weighted(0.2)).prop_map(|(which, what, slow)| Step::End(which, what, slow)),
        1 => (0u64..400).prop_map(Step::Wait),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let span = prop_oneof![
        (2u64..100).prop_map(|tens| Span::Time(Duration::from_millis(tens * 10))),
        (1u32..20).prop_map(Span::Calls),
    ];
    let rate = || prop::option::of((1u8..=100).prop_map(Share::percent));
    (span, rate(), rate(), prop::option::of(1u32..6), 0u64..10, 1u64..300, 1u32..4).prop_map(
        |(span, failure_rate, slow_rate, consecutive_failures, min_requests, open, half_open_requests)| Policy {
            failure_rate,
            slow: slow_rate.map(|rate| SlowCalls { after: Duration::from_millis(1), rate }),
            consecutive_failures,
            min_requests,
            span,
            open_for: Duration::from_millis(open),
            // No growth, and so no chance.
            longest_open: Some(Duration::ZERO),
            half_open_requests,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn it_does_what_the_model_does(policy in policy(), steps in prop::collection::vec(step(), 0..150)) {
        let (breaker, hand) = breaker(&policy);
        let mut model = Model {
            policy: policy.clone(),
            now: 0,
            phase: ModelPhase::Closed,
            epoch: 0,
            calls: VecDeque::new(),
            in_a_row: 0,
        };
        let mut under_way = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => {
                    hand.advance(Duration::from_millis(millis));
                    model.now += millis;
                }
                Step::Begin => {
                    let (ours, theirs) = (breaker.admit(&policy).0.ok(), model.admit());
                    prop_assert_eq!(ours.is_some(), theirs.is_some());
                    under_way.extend(ours.zip(theirs));
                }
                Step::End(which, outcome, slow) if !under_way.is_empty() => {
                    let (ours, theirs) = under_way.swap_remove(which % under_way.len());
                    let slow = slow && policy.slow.is_some();
                    breaker.record(&policy, ours, outcome, slow);
                    model.record(theirs, outcome, slow);
                }
                Step::End(..) => {}
            }
            let phase = match breaker.snapshot().phase {
                Phase::Closed { .. } => ModelPhase::Closed,
                Phase::Open { until } => ModelPhase::Open { until },
                Phase::HalfOpen { probing, succeeded } => ModelPhase::HalfOpen { probing, succeeded },
                Phase::ForcedOpen | Phase::ForcedClosed => unreachable!(),
            };
            prop_assert_eq!(&phase, &model.phase);
        }
    }
}

#[test]
fn a_hundred_thousand_random_cancellations_lose_no_place() {
    let policy = Policy {
        open_for: Duration::from_millis(1),
        longest_open: Some(Duration::ZERO),
        half_open_requests: 3,
        consecutive_failures: Some(1),
        ..Policy::default()
    };
    let (breaker, hand) = breaker(&policy);
    let mut under_way = Vec::new();
    for _ in 0..100_000 {
        if random().is_multiple_of(3) {
            hand.advance(Duration::from_millis(1));
        }
        under_way.extend(breaker.admit(&policy).0);
        if under_way.len() > (random() % 6) as usize {
            let admission = under_way.swap_remove(random() as usize % under_way.len());
            let outcome = match random() % 8 {
                0 => Outcome::Failure,
                1 => Outcome::Success,
                _ => Outcome::Ignored,
            };
            breaker.record(&policy, admission, outcome, false);
        }
    }
    for admission in under_way {
        breaker.record(&policy, admission, Outcome::Ignored, false);
    }
    breaker.force(Phase::Closed { since: 0 });
    assert!(call(&breaker, &policy, Outcome::Failure));
    hand.advance(Duration::from_millis(1));
    let places = (0..10).filter(|_| breaker.admit(&policy).0.is_ok()).count();
    assert_eq!(places, 3, "every place is there to be taken");
}

#[test]
fn a_probe_that_comes_back_too_late_forgets_no_call_that_was_counted_since() {
    let policy = Policy {
        failure_rate: Some(Share::percent(100)),
        min_requests: 2,
        open_for: Duration::from_millis(1),
        longest_open: Some(Duration::ZERO),
        half_open_requests: 2,
        ..Policy::default()
    };
    let (breaker, hand) = breaker(&policy);
    assert!(call(&breaker, &policy, Outcome::Failure) && call(&breaker, &policy, Outcome::Failure));
    hand.advance(Duration::from_millis(1));
    let late = breaker.admit(&policy).0.unwrap();
    assert!(call(&breaker, &policy, Outcome::Failure), "the other probe, which opens it again");
    hand.advance(Duration::from_millis(1));
    assert!(call(&breaker, &policy, Outcome::Success) && call(&breaker, &policy, Outcome::Success));
    assert!(matches!(breaker.snapshot().phase, Phase::Closed { .. }));
    assert!(call(&breaker, &policy, Outcome::Failure));
    breaker.record(&policy, late, Outcome::Success, false);
    assert!(call(&breaker, &policy, Outcome::Failure));
    assert!(matches!(breaker.snapshot().phase, Phase::Open { .. }), "the second failure of two calls");
}

#[test]
fn under_threads_half_open_admits_no_more_than_its_probes_at_once() {
    for probes in [1, 4] {
        let policy = Policy {
            open_for: Duration::from_millis(1),
            longest_open: Some(Duration::ZERO),
            half_open_requests: probes,
            consecutive_failures: Some(1),
            ..Policy::default()
        };
        let (breaker, hand) = breaker(&policy);
        let (now, most, probed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        hand.advance(Duration::from_micros(500));
                        let Ok(admission) = breaker.admit(&policy).0 else { continue };
                        let Admission::Probe { .. } = admission else {
                            breaker.record(&policy, admission, Outcome::Failure, false);
                            continue;
                        };
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        probed.fetch_add(1, Ordering::SeqCst);
                        let outcome = if random().is_multiple_of(2) { Outcome::Success } else { Outcome::Ignored };
                        breaker.record(&policy, admission, outcome, false);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= probes as usize, "{} at once", most.load(Ordering::SeqCst));
        assert!(probed.load(Ordering::SeqCst) > 100, "hardly ever half-open");
    }
}

#[test]
fn open_time_doubles_with_each_failed_probe() {
    let policy = Policy { consecutive_failures: Some(1), open_for: Duration::from_secs(1), ..Policy::default() };
    let (breaker, hand) = breaker(&policy);
    assert!(call(&breaker, &policy, Outcome::Failure));
    let mut times = Vec::new();
    for _ in 0..6 {
        let left = breaker.left().unwrap();
        times.push(left.as_millis());
        hand.advance(left - Duration::from_millis(1));
        assert!(!call(&breaker, &policy, Outcome::Success), "open to the last");
        hand.advance(Duration::from_millis(1));
        assert!(call(&breaker, &policy, Outcome::Failure));
    }
    let ranges = [1_000..=1_000, 1_500..=2_000, 2_500..=4_000, 4_500..=8_000, 5_500..=10_000, 5_500..=10_000];
    for (time, range) in times.iter().zip(ranges) {
        assert!(range.contains(time), "{times:?}");
    }
}
