use super::*;

fn half_open() -> State {
    State::from(Snapshot { phase: Phase::HalfOpen { probing: 0, succeeded: 0 }, epoch: 7, trips: 1 })
}

fn probe(state: &State, probes: u32) -> Option<u32> {
    match state.admit(probes, || 0).0 {
        Ok(Admission::Probe { epoch }) => Some(epoch),
        _ => None,
    }
}

#[cfg(not(tower_gateway_loom))]
mod sequential {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_late_answer_from_before_it_opened_does_not_close_it() {
        let state = State::new();
        let Ok(Admission::Counted { epoch }) = state.admit(1, || 0).0 else { unreachable!() };
        assert!(state.trip(epoch, 0, 1_000, |_| 100).is_some());
        assert!(state.trip(epoch, 0, 1_000, |_| 100).is_none(), "it opens once");
        assert_eq!(state.admit(1, || 99).0, Err(Refused(Some(1))));
        let probe = probe(&state_at(&state, 100), 1);
        assert!(probe.is_some());
    }

    /// The same word, as another reads it at `now`.
    fn state_at(state: &State, now: u64) -> State {
        let copy = State::from(state.snapshot());
        if let Phase::Open { until } = copy.snapshot().phase {
            assert!(until <= now);
        }
        State::from(Snapshot { phase: Phase::Open { until: 0 }, ..copy.snapshot() })
    }

    #[test]
    fn a_probe_of_another_epoch_gives_its_place_to_nobody() {
        let state = half_open();
        let epoch = probe(&state, 1).unwrap();
        assert!(state.probed(epoch + 1, Probed::Nothing, 1, 0, |_| 1).is_none());
        assert!(probe(&state, 1).is_none(), "the place is still taken");
        state.probed(epoch, Probed::Nothing, 1, 0, |_| 1);
        assert!(probe(&state, 1).is_some());
    }

    #[test]
    fn it_closes_after_as_many_successes_as_probes_and_reopens_at_the_first_failure() {
        let state = half_open();
        let epochs: Vec<_> = (0..3).map(|_| probe(&state, 3).unwrap()).collect();
        assert!(probe(&state, 3).is_none());
        assert!(state.probed(epochs[0], Probed::Succeeded, 3, 5, |_| 1).is_none());
        assert!(probe(&state, 3).is_none(), "what succeeded is not asked again");
        assert!(state.probed(epochs[1], Probed::Succeeded, 3, 5, |_| 1).is_none());
        let closed = state.probed(epochs[2], Probed::Succeeded, 3, 5, |_| 1).unwrap();
        assert_eq!(closed.to, Phase::Closed { since: 5 });

        let state = half_open();
        let epoch = probe(&state, 3).unwrap();
        let opened = state.probed(epoch, Probed::Failed, 3, 5, |trips| 10 << trips).unwrap();
        assert_eq!(opened.to, Phase::Open { until: 25 });
        assert_eq!(state.snapshot().trips, 2);
    }

    #[test]
    fn trips_are_forgotten_after_a_calm_time() {
        let closed = || State::from(Snapshot { phase: Phase::Closed { since: 1_000 }, epoch: 3, trips: 4 });
        let soon = closed();
        soon.trip(3, 1_999, 1_000, |_| 1);
        assert_eq!(soon.snapshot().trips, 5);
        let late = closed();
        late.trip(3, 2_000, 1_000, |_| 1);
        assert_eq!(late.snapshot().trips, 1);
    }

    proptest! {
        #[test]
        fn a_word_holds_what_was_put_in(what in 0u64..1 << 40, trips in 0u8..16, epoch in 0u32..1 << 17, kind in 0u8..5) {
            let phase = match kind {
                0 => Phase::Closed { since: what },
                1 => Phase::Open { until: what },
                2 => Phase::HalfOpen { probing: (what >> 20) as u32, succeeded: what as u32 & MOST_PROBES },
                3 => Phase::ForcedOpen,
                _ => Phase::ForcedClosed,
            };
            let snapshot = Snapshot { phase, epoch, trips };
            prop_assert_eq!(Snapshot::unpack(snapshot.pack()), snapshot);
        }
    }
}

/// `RUSTFLAGS="--cfg tower_gateway_loom" cargo test --release --lib circuit_breaker::state`
#[cfg(tower_gateway_loom)]
mod every_order {
    use super::*;
    use loom::sync::Arc;

    /// Every order in which a thread is interrupted at most three times: more find nothing new and take hours.
    fn model(test: impl Fn() + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(test);
    }

    #[test]
    fn half_open_admits_exactly_the_probes_there_are() {
        for probes in [1, 2] {
            model(move || {
                let state = Arc::new(half_open());
                let ask = move |state: &State| usize::from(probe(state, probes).is_some());
                let others = [0; 2].map(|_| {
                    let state = state.clone();
                    loom::thread::spawn(move || ask(&state))
                });
                let mine = ask(&state);
                let theirs: usize = others.into_iter().map(|thread| thread.join().unwrap()).sum();
                assert_eq!(mine + theirs, probes as usize);
            });
        }
    }

    #[test]
    fn an_open_breaker_whose_time_is_up_lets_one_through_and_tells_it_once() {
        model(|| {
            let open = Snapshot { phase: Phase::Open { until: 5 }, epoch: 1, trips: 1 };
            let state = Arc::new(State::from(open));
            let ask = |state: Arc<State>| {
                let (admitted, transition) = state.admit(1, || 5);
                (usize::from(admitted.is_ok()), usize::from(transition.is_some()))
            };
            let other = {
                loom::thread::spawn({
                    let state = state.clone();
                    move || ask(state)
                })
            };
            let (mine, theirs) = (ask(state), other.join().unwrap());
            assert_eq!((mine.0 + theirs.0, mine.1 + theirs.1), (1, 1));
        });
    }

    #[test]
    fn a_place_is_given_back_once_and_never_twice() {
        model(|| {
            let state = Arc::new(half_open());
            let give_back = |state: Arc<State>| {
                if let Some(epoch) = probe(&state, 1) {
                    state.probed(epoch, Probed::Nothing, 1, 0, |_| 1);
                }
            };
            let other = loom::thread::spawn({
                let state = state.clone();
                move || give_back(state)
            });
            give_back(state.clone());
            other.join().unwrap();
            assert_eq!(state.snapshot().phase, Phase::HalfOpen { probing: 0, succeeded: 0 });
        });
    }

    #[test]
    fn a_failure_and_a_success_at_once_end_in_one_state() {
        model(|| {
            let state = Arc::new(half_open());
            let epochs = [probe(&state, 2).unwrap(), probe(&state, 2).unwrap()];
            let other = loom::thread::spawn({
                let state = state.clone();
                move || state.probed(epochs[1], Probed::Failed, 2, 3, |_| 1).is_some()
            });
            state.probed(epochs[0], Probed::Succeeded, 2, 3, |_| 1);
            assert!(other.join().unwrap(), "one success of two closes nothing");
            assert_eq!(state.snapshot().phase, Phase::Open { until: 4 });
        });
    }
}
