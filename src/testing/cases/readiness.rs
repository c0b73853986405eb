//! The two readiness rules.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::{Bench, Case, Kind, Outcome, Plan};
use crate::BoxError;
use crate::testing::Readiness;
use crate::testing::origin::Script;
use crate::testing::stack::Stack;

pub(in crate::testing) async fn is_as_declared(case: &Case<'_>) -> Outcome {
    match case.layer.readiness {
        Readiness::Immediate => is_immediate(case).await,
        Readiness::Deferred => is_deferred(case).await,
    }
}

async fn is_immediate(case: &Case<'_>) -> Outcome {
    let bench = without_permits(case);
    let mut stack = bench.service();
    if poll_once(&mut stack).await.is_ready() {
        return Err(case.violation("declared immediate, and ready while the inner service is not"));
    }
    bench.books.add_permit();
    ready(case, &mut stack).await?;
    if bench.books.reserved() == 0 {
        return Err(case.violation("declared immediate, and ready without having readied the inner service"));
    }
    bench.serve(&mut stack, "once the inner service became ready").await?;
    bench.nothing_held("after an answer").await
}

async fn is_deferred(case: &Case<'_>) -> Outcome {
    let bench = without_permits(case);
    let mut stack = bench.service();
    if poll_once(&mut stack).await.is_pending() {
        return Err(case.violation("declared deferred, and not ready while the inner service is not"));
    }
    if case.layer.refused.is_some() {
        let answer = stack.send(bench.request(Kind::Refused, Plan::EMPTY));
        // What waits here waits for the inner service, since nothing else is to come: paused time passes at once.
        let answered = tokio::time::timeout(std::time::Duration::from_secs(3600), answer).await;
        let needless = |_| case.violation("a request that it answers by itself waits for the inner service");
        answered.map_err(needless)?.map_err(|error| case.violation(format!("an error came out: {error}")))?;
    }
    ready(case, &mut stack).await?;
    let mut answer = stack.call(bench.admitted());
    let _ = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).map(drop))).await;
    bench.books.add_permit();
    answer.await.map_err(|error| case.violation(format!("an error came out: {error}")))?;

    let mut idle = bench.service();
    ready(case, &mut idle).await?;
    if bench.books.reserved() > 0 {
        return Err(case.violation("declared deferred, and poll_ready reserves the inner service"));
    }
    bench.nothing_held("after an answer").await
}

/// Nobody gets through until a permit is added.
fn without_permits<'a>(case: &'a Case<'_>) -> Bench<'a> {
    case.bench_with_permits(Script::WELL, 0)
}

async fn poll_once(stack: &mut Stack) -> Poll<Result<(), BoxError>> {
    poll_fn(|cx: &mut Context<'_>| Poll::Ready(stack.poll_ready(cx))).await
}

async fn ready(case: &Case<'_>, stack: &mut Stack) -> Outcome {
    stack.ready().await.map_err(|error| case.violation(format!("poll_ready failed: {error}")))
}
