//! Who answers, and what becomes of an error.

use super::{Case, Kind, Outcome, Plan};
use crate::BoxError;
use crate::testing::origin::{self, Script, TestError};
use crate::testing::{Readiness, Rule};

pub(in crate::testing) async fn reach_who_they_should(case: &Case<'_>) -> Outcome {
    for kind in case.kinds() {
        let bench = case.bench(Script::WELL);
        let mut stack = bench.service();
        let answer = stack.send(bench.request(kind, Plan::EMPTY)).await;
        let answer = answer.map_err(|error| case.violation(format!("{kind:?}: an error came out: {error}")))?;
        let status = answer.head.status;
        match (kind, bench.books.calls()) {
            (Kind::Admitted, 0) => {
                return Err(case.violation(format!("the admitted request was answered by the layer, with {status}")));
            }
            (Kind::Refused, 1..) => return Err(case.violation("the refused request reached the inner service")),
            (Kind::Admitted, _) if status != Script::WELL.status => {
                return Err(case.violation(format!("the inner service answered 200, and {status} came out")));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(in crate::testing) async fn errors_pass(case: &Case<'_>) -> Outcome {
    let from_poll_ready = Script { ready: (1, failing(7)), ..Script::WELL };
    let from_the_call = Script { answer: (1, failing(8)), ..Script::WELL };
    for (script, place, number) in [(from_poll_ready, "poll_ready", 7), (from_the_call, "its future", 8)] {
        let bench = case.bench(script);
        let mut stack = bench.service();
        if !case.layer.answers_errors && !stack.keeps_error_type {
            return Err(case.violation("the layer's service has another error type than the inner one"));
        }
        match stack.send(bench.admitted()).await {
            Ok(answer) if case.layer.answers_errors && answer.head.status.is_server_error() => {}
            Ok(answer) => {
                let status = answer.head.status;
                return Err(case.violation(format!("the inner service failed in {place}, and {status} came out")));
            }
            Err(error) => expect_error(case, &error, TestError::numbered(number), place)?,
        }
        bench.books.play(|script| *script = Script::WELL);
        // An instance whose own poll_ready failed is done for; one that hides the inner one's readiness lives on.
        let same_instance = place != "poll_ready" || case.layer.readiness == Readiness::Deferred;
        let mut next = if same_instance { stack } else { bench.service() };
        bench.serve(&mut next, "after an error").await?;
        bench.nothing_held("after an error").await?;
    }
    Ok(())
}

fn failing(number: u32) -> origin::Outcome {
    origin::Outcome::Fail(TestError::numbered(number))
}

fn expect_error(case: &Case<'_>, error: &BoxError, expected: TestError, place: &str) -> Outcome {
    match error.downcast_ref::<TestError>() {
        Some(found) if *found == expected => Ok(()),
        _ => Err(case.violation_of(
            Rule::ErrorUntouched,
            format!("{expected:?} from {place} of the inner service became {error:?}"),
        )),
    }
}
