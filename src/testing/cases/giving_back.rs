//! What a client that leaves, or a panic, must not keep.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::{Bench, Case, Kind, Outcome, Plan};
use crate::testing::Violation;
use crate::testing::body::Step;
use crate::testing::drive::{Polls, caught, settle};
use crate::testing::origin::{self, FOREVER, PlannedPanic, Script};
use crate::testing::stack::{Answering, Exchange, Stack};

const STEPS: &[Step] = &[Step::Pending, Step::Data("one"), Step::Pending, Step::Data("two"), Step::Pending];

/// Pending wherever it can be.
const SLOW: Script = Script {
    ready: (2, origin::Outcome::Succeed),
    answer: (2, origin::Outcome::Succeed),
    body: Plan::unknown(STEPS),
    ..Script::WELL
};

const ENDLESS: Script = Script { answer: (FOREVER, origin::Outcome::Succeed), ..SLOW };

pub(in crate::testing) async fn at_every_drop(case: &Case<'_>) -> Outcome {
    for kind in case.kinds() {
        let mut polls = 0;
        while !dropped_after(case, kind, polls).await? {
            polls += 1;
            if polls > 500 {
                return Err(case.violation("an exchange takes more than 500 polls"));
            }
        }
    }
    Ok(())
}

/// True when the exchange was over before.
async fn dropped_after(case: &Case<'_>, kind: Kind, polls: usize) -> Result<bool, Violation> {
    let bench = case.bench(SLOW);
    let mut stack = Some(bench.service());
    let sibling = stack.clone();
    let request = bench.request(kind, Plan::unknown(STEPS));
    let exchange = match &mut stack {
        Some(stack) => stack.exchange(request, &mut Polls::only(polls)).await,
        None => return Ok(true),
    };
    let when = format!("{kind:?}: when it was dropped after {polls} polls");
    match exchange {
        Ok(Exchange::Answered(_)) => return Ok(true),
        Ok(Exchange::GivenUp) => {}
        // A client that leaves now takes the instance with it, whatever it has reserved.
        Ok(Exchange::GivenUpBeforeCall) => stack = None,
        Err(error) => return Err(case.violation(format!("{kind:?}: an exchange ended with an error: {error}"))),
    }
    bench.nothing_held(&when).await?;
    serve_again(&bench, [stack, sibling, Some(bench.service())], &when).await?;
    Ok(false)
}

/// The inner service is still at work: its call is dropped with the client that asked for it.
pub(in crate::testing) async fn at_a_drop_of_a_call(case: &Case<'_>) -> Outcome {
    let bench = case.bench(ENDLESS);
    let mut stack = bench.service();
    drop(in_flight(&bench, &mut stack).await?);
    let when = "when it was dropped before the inner service answered";
    bench.nothing_held(when).await?;
    serve_again(&bench, [Some(stack), Some(bench.service())], when).await
}

/// One request is inside the inner service while another comes and is dropped, wherever it then waits.
pub(in crate::testing) async fn at_a_drop_while_another_is_in_flight(case: &Case<'_>) -> Outcome {
    for polls in 0..8 {
        let bench = case.bench(ENDLESS);
        let mut first = bench.service();
        let in_flight = in_flight(&bench, &mut first).await?;

        let mut second = bench.service();
        // It may also be refused, or fail, as one that comes too much.
        let _ = second.exchange(bench.admitted(), &mut Polls::unasked(polls)).await;
        drop(second);

        bench.books.play(|script| *script = Script::WELL);
        let answer = in_flight.await;
        drop(answer.map_err(|error| case.violation(format!("the other one ended with an error: {error}")))?);
        let when = format!("when another was dropped after {polls} polls");
        bench.nothing_held(&when).await?;
        serve_again(&bench, [Some(first), Some(bench.service())], &when).await?;
    }
    Ok(())
}

/// A call that the inner service is at work on, and does not answer yet.
async fn in_flight(bench: &Bench<'_>, stack: &mut Stack) -> Result<Answering, Violation> {
    let fail = |detail: String| bench.case.violation(detail);
    stack.ready().await.map_err(|error| fail(format!("poll_ready failed: {error}")))?;
    let mut answer = stack.call(bench.admitted());
    while bench.books.take_request_body().is_none() {
        let polled = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
        if polled.is_ready() {
            return Err(fail("a request was answered before the inner service did".into()));
        }
        // Time passes, for a layer that waits for it.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(answer)
}

pub(in crate::testing) async fn at_a_panic(case: &Case<'_>) -> Outcome {
    let panic = origin::Outcome::Panic;
    let scripts = [
        ("poll_ready", Script { ready: (1, panic), ..Script::WELL }),
        ("call", Script { call_panics: true, ..Script::WELL }),
        ("the future", Script { answer: (1, panic), ..Script::WELL }),
        ("the body", Script { body: Plan::unknown(&[Step::Data("one"), Step::Pending, Step::Panic]), ..Script::WELL }),
    ];
    for (place, script) in scripts {
        let bench = case.bench(script);
        let mut stack = bench.service();
        let sibling = stack.clone();
        // A layer may also make an answer of it; what counts is what is left behind.
        if let Err(panic) = caught(stack.send(bench.admitted())).await
            && !panic.is::<PlannedPanic>()
        {
            std::panic::resume_unwind(panic);
        }
        // An instance that panicked goes down with its connection.
        drop(stack);
        let when = format!("after a panic in {place} of the inner service");
        bench.nothing_held(&when).await?;
        serve_again(&bench, [Some(sibling), Some(bench.service())], &when).await?;
    }
    Ok(())
}

/// Whatever happened to one exchange, the next ones are served.
async fn serve_again<const N: usize>(bench: &Bench<'_>, stacks: [Option<Stack>; N], when: &str) -> Outcome {
    bench.books.play(|script| *script = Script::WELL);
    for mut stack in stacks.into_iter().flatten() {
        bench.serve(&mut stack, when).await?;
        settle().await;
    }
    bench.nothing_held(when).await
}
