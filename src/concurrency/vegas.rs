//! The limit that TCP Vegas would have: see the [module above](super) for the idea and its paper.

use std::time::Duration;

/// A limit that follows the latency.
///
/// It learns by rounds of as many answers as it has places, about one round trip, by their mean: what one answer takes says
/// more about that answer than about the queue.
#[derive(Clone, Debug)]
pub(super) struct Vegas {
    limit: f64,
    most: f64,
    /// The latency while nobody waits, as far as it is known.
    shortest: Option<Duration>,
    round: Round,
    /// Rounds until the shortest latency is found out anew: a service that has become slower for good is not one whose
    /// queue is long.
    until_probe: u32,
}

/// What the answers since the last change have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    answers: u32,
    total: Duration,
    shortest: Option<Duration>,
    most_in_flight: usize,
}

/// Neither so low that nothing can be learned, nor so high that a burst does harm before it has been.
const FIRST: f64 = 20.0;
const ROUNDS_BETWEEN_PROBES: u32 = 100;
/// The first of these lets the queue drain, the second is looked at.
const ROUNDS_OF_A_PROBE: u32 = 2;

impl Vegas {
    /// At most `most`.
    pub(super) fn new(most: usize) -> Self {
        let most = (most as f64).max(1.0);
        let (limit, until_probe) = (FIRST.min(most), ROUNDS_BETWEEN_PROBES);
        Self { limit, most, shortest: None, round: Round::default(), until_probe }
    }

    /// Half of it while the shortest latency is found out: then nobody waits, however many did.
    pub(super) fn limit(&self) -> usize {
        let limit = if self.is_probing() { self.limit / 2.0 } else { self.limit };
        limit.max(1.0) as usize
    }

    /// One request has been answered after `latency`, while so many were `in_flight`, itself included.
    pub(super) fn answered(&mut self, latency: Duration, in_flight: usize) {
        let latency = latency.max(Duration::from_nanos(1));
        let round = &mut self.round;
        round.answers += 1;
        round.total = round.total.saturating_add(latency);
        round.shortest = Some(round.shortest.map_or(latency, |shortest| shortest.min(latency)));
        round.most_in_flight = round.most_in_flight.max(in_flight);
        if self.round.answers as usize >= self.limit() {
            let round = std::mem::take(&mut self.round);
            self.learn(round);
        }
    }

    /// A request has failed in a way that says there were too many.
    pub(super) fn overloaded(&mut self) {
        self.set(self.limit - self.step());
    }

    fn learn(&mut self, round: Round) {
        let Some(fastest) = round.shortest else { return };
        self.until_probe -= 1;
        if self.until_probe == 0 {
            self.until_probe = ROUNDS_BETWEEN_PROBES;
            self.shortest = Some(fastest);
            return;
        }
        if self.is_probing() {
            return;
        }
        let shortest = self.shortest.map_or(fastest, |shortest| shortest.min(fastest));
        self.shortest = Some(shortest);
        // Who is not at its limit learns nothing of what lies behind it.
        if round.most_in_flight * 2 < self.limit() {
            return;
        }
        let mean = round.total.as_secs_f64() / f64::from(round.answers);
        let waiting = (self.limit * (1.0 - shortest.as_secs_f64() / mean)).ceil();
        let step = self.step();
        let (few, many) = (3.0 * step, 6.0 * step);
        self.set(match waiting {
            // Nobody waits: it is far from where it could be.
            waiting if waiting <= step => self.limit + many,
            waiting if waiting < few => self.limit + step,
            waiting if waiting > many => self.limit - step,
            _ => self.limit,
        });
    }

    fn is_probing(&self) -> bool {
        self.until_probe <= ROUNDS_OF_A_PROBE
    }

    /// Larger limits move, and are allowed to miss, by more.
    fn step(&self) -> f64 {
        self.limit.log10().max(1.0)
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(1.0, self.most);
    }
}

#[cfg(test)]
mod tests;
