//! When a server is taken as down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// So many failures running.
pub(super) const TRIPS_AT: u32 = 3;

/// Closed until three failures running, then open until a [`Probe`] closes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit(Arc<State>);

#[derive(Debug, Default)]
struct State {
    failures: AtomicU32,
    probed: AtomicBool,
}

/// Leave to try a server that is down. There is one at a time; the next may be taken when this one is dropped.
#[derive(Debug)]
pub(super) struct Probe(Circuit);

impl Circuit {
    pub(super) fn is_down(&self) -> bool {
        self.0.failures.load(Ordering::Relaxed) >= TRIPS_AT
    }

    pub(super) fn succeeded(&self) {
        // Mostly there is nothing to forget, and a write that many threads do costs them all. What was sent before the
        // server was found down says nothing about now.
        let failures = self.0.failures.load(Ordering::Relaxed);
        if (1..TRIPS_AT).contains(&failures) {
            let _ = self.0.failures.compare_exchange(failures, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// True for the failure that opens it.
    pub(super) fn failed(&self) -> bool {
        let counted =
            self.0.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < TRIPS_AT).then_some(n + 1));
        counted == Ok(TRIPS_AT - 1)
    }

    /// The probe, unless somebody has it.
    pub(super) fn take_probe(&self) -> Option<Probe> {
        (self.is_down() && !self.0.probed.swap(true, Ordering::AcqRel)).then(|| Probe(self.clone()))
    }
}

impl Probe {
    /// The server answers again.
    pub(super) fn close(self) {
        self.0.0.failures.store(0, Ordering::Relaxed);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.0.probed.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tripped() -> Circuit {
        let circuit = Circuit::default();
        assert_eq!(
            [circuit.failed(), circuit.failed(), circuit.failed(), circuit.failed()],
            [false, false, true, false]
        );
        circuit
    }

    #[test]
    fn three_failures_running_open_it_and_a_success_between_begins_again() {
        let circuit = Circuit::default();
        circuit.failed();
        circuit.failed();
        circuit.succeeded();
        circuit.failed();
        circuit.failed();
        assert!(!circuit.is_down());
        circuit.failed();
        assert!(circuit.is_down());
    }

    #[test]
    fn only_its_probe_closes_it() {
        let circuit = tripped();
        circuit.succeeded();
        assert!(circuit.is_down(), "an answer from before says nothing about now");
        circuit.take_probe().unwrap().close();
        assert!(!circuit.is_down());
    }

    #[test]
    fn there_is_one_probe_and_one_that_is_lost_is_replaced() {
        let circuit = tripped();
        let probe = circuit.take_probe().unwrap();
        assert!(circuit.take_probe().is_none());
        drop(probe);
        assert!(circuit.take_probe().is_some());
    }

    #[test]
    fn a_circuit_that_is_closed_has_no_probe() {
        assert!(Circuit::default().take_probe().is_none());
    }
}
