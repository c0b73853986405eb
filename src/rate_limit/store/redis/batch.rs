//! Asking about many requests in one trip.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Inner;
use super::question::{NUMBERS, Operation, Question};
use crate::rate_limit::{Charge, Charges, Decision};
use crate::redis::RedisError;

/// Requests in one call of the script: the server does nothing else meanwhile, which is to stay well below a millisecond.
const MOST_IN_A_CALL: usize = 64;

/// What the requests of one runtime ask, until it is sent.
#[derive(Default)]
pub(super) struct Batch(Mutex<Vec<Question>>);

impl Batch {
    /// True for the first, who has to see to it that all are sent.
    pub(super) fn push(&self, question: Question) -> bool {
        let mut questions = self.questions();
        questions.push(question);
        questions.len() == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.questions().is_empty()
    }

    fn take(&self) -> Vec<Question> {
        std::mem::take(&mut self.questions())
    }

    fn questions(&self) -> MutexGuard<'_, Vec<Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the server was asked, and in which era.
#[derive(Clone, Copy)]
struct Asking {
    at: Instant,
    era: u64,
}

impl Asking {
    fn begins(store: &Inner) -> Self {
        Self { at: Instant::now(), era: store.redis.losses().count() }
    }
}

/// Sends what has come together once all that is ready to run now has run: whoever came with the same wake-up goes along,
/// and nobody waits for a timer.
pub(super) async fn send(store: Arc<Inner>, batch: Arc<Batch>) {
    tokio::task::yield_now().await;
    let mut questions = batch.take();
    while questions.len() > MOST_IN_A_CALL {
        let rest = questions.split_off(MOST_IN_A_CALL);
        // Not one after the other: they are pipelined.
        tokio::spawn(call(store.clone(), questions));
        questions = rest;
    }
    call(store, questions).await;
}

async fn call(store: Arc<Inner>, questions: Vec<Question>) {
    let (mut keys, mut arguments) = (Vec::new(), Vec::new());
    for Question { operation, charges, .. } in &questions {
        operation.push(charges, store.redis.key_prefix(), &mut keys, &mut arguments);
    }
    let asking = Asking::begins(&store);
    match store.redis.run::<Vec<i64>>(&store.script, &keys, &arguments).await {
        Ok(numbers) => {
            let mut numbers = numbers.as_slice();
            for Question { operation, charges, answer } in questions {
                let (own, rest) = numbers.split_at_checked(charges.len() * NUMBERS).unwrap_or((&[], &[]));
                numbers = rest;
                // Whoever asked may have left.
                let _ = answer.send(store.decide(operation, &charges, own, asking));
            }
        }
        Err(error) => questions.into_iter().for_each(|question| drop(question.answer.send(Err(error.clone())))),
    }
}

/// Asks each slot of a cluster by itself, in the order of the charges, and gives back what was charged when one refuses.
pub(super) async fn ask_in_a_cluster(store: Arc<Inner>, question: Question) {
    let Question { operation, charges, answer } = question;
    let mut slots: Vec<(Charges, Vec<usize>)> = Vec::new();
    for (n, charge) in charges.iter().enumerate() {
        match slots.iter_mut().find(|(slot, _)| slot[0].key == charge.key) {
            Some((slot, places)) => {
                slot.push(*charge);
                places.push(n);
            }
            None => slots.push((Charges::from_slice(&[*charge]), vec![n])),
        }
    }
    let mut outcome: Option<Result<Decision, RedisError>> = None;
    for (n, (slot, places)) in slots.iter().enumerate() {
        let decision = match store.ask_one(operation, slot).await {
            Ok(decision) => decision.of_charge(places[decision.charge]),
            Err(error) => {
                outcome = Some(Err(error));
                break;
            }
        };
        let so_far = match outcome {
            Some(Ok(so_far)) => so_far.tightest(decision),
            _ => decision,
        };
        outcome = Some(Ok(so_far));
        if operation == Operation::Acquire && !decision.admitted {
            for (charged, _) in &slots[..n] {
                // What cannot be given back stays charged: more than the quota is never admitted.
                let _ = store.ask_one(Operation::Refund, charged).await;
            }
            break;
        }
    }
    let _ = answer.send(outcome.unwrap_or(Err(RedisError::Deadline)));
}

impl Inner {
    async fn ask_one(self: &Arc<Self>, operation: Operation, charges: &[Charge]) -> Result<Decision, RedisError> {
        let (mut keys, mut arguments) = (Vec::new(), Vec::new());
        operation.push(charges, self.redis.key_prefix(), &mut keys, &mut arguments);
        let asking = Asking::begins(self);
        let numbers: Vec<i64> = self.redis.run(&self.script, &keys, &arguments).await?;
        self.decide(operation, charges, &numbers, asking)
    }

    fn decide(
        self: &Arc<Self>,
        operation: Operation,
        charges: &[Charge],
        numbers: &[i64],
        Asking { at, era }: Asking,
    ) -> Result<Decision, RedisError> {
        let denied = &self.denied;
        if matches!(operation, Operation::Refund | Operation::Reset) {
            charges.iter().for_each(|charge| denied.forgive(charge, era));
        }
        // One node of a cluster says nothing of the others.
        if !self.redis.is_cluster() {
            denied.pulse.hear();
        }
        let deny = |charge: &Charge, wait| {
            denied.deny(charge, era, at, wait);
            self.watch();
        };
        // An answer of too few numbers is of another script than this one.
        operation.decide(charges, numbers, deny).ok_or(RedisError::Deadline)
    }
}
