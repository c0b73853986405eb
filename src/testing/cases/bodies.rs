//! What comes of bodies: those that pass, in both directions, and those that are the layer's own.

use http::header::CONTENT_LENGTH;

use super::{Case, Kind, Outcome, Plan};
use crate::testing::Rule;
use crate::testing::body::{Step, TestBody};
use crate::testing::origin::{Script, TestError};
use crate::testing::transcript::{data, difference, read, untrue};

const PLANS: [Plan; 5] = [
    Plan::EMPTY,
    Plan::exact(&[Step::Data("all of it")]),
    Plan::bounded(&[Step::Pending, Step::Data("one"), Step::Pending, Step::Data("two")]),
    Plan::unknown(&[Step::Data("one"), Step::Pending, Step::Data("two"), Step::Trailer("x-checksum", "7")]),
    Plan::unknown(&[Step::Data("one"), Step::Pending, Step::Fail(TestError::numbered(9))]),
];

pub(in crate::testing) async fn pass_untouched(case: &Case<'_>) -> Outcome {
    for plan in PLANS {
        let expected = read(TestBody::new(plan, None)).await;

        let bench = case.bench(Script { body: plan, ..Script::WELL });
        let answer = bench.serve(&mut bench.service(), "for its body").await?;
        if let Some((rule, detail)) = difference(&expected, &answer.body) {
            return Err(case.violation_of(rule, format!("of an answer's body, {detail}")));
        }
        bench.nothing_held("after a body was read").await?;

        let bench = case.bench(Script::WELL);
        let sent = bench.service().send(bench.request(Kind::Admitted, plan)).await;
        sent.map_err(|error| case.violation(format!("a request with a body ended with an error: {error}")))?;
        let Some(received) = bench.books.take_request_body() else {
            return Err(case.violation("a request with a body did not reach the inner service"));
        };
        if let Some((rule, detail)) = difference(&expected, &received) {
            return Err(case.violation_of(rule, format!("of a request's body, {detail}")));
        }
        bench.nothing_held("after a request with a body").await?;
    }
    Ok(())
}

pub(in crate::testing) async fn own_answers_are_well_formed(case: &Case<'_>) -> Outcome {
    if case.layer.refused.is_none() {
        return Ok(());
    }
    let bench = case.bench(Script::WELL);
    let answer = bench.service().send(bench.request(Kind::Refused, Plan::EMPTY)).await;
    let answer = answer.map_err(|error| case.violation(format!("a refusal is an answer, not an error: {error}")))?;
    if let Some((_, detail)) = untrue(&answer.body) {
        return Err(case.violation(detail));
    }
    let length = data(&answer.body).len();
    match answer.head.headers.get(CONTENT_LENGTH) {
        Some(said) if said.as_bytes() != length.to_string().as_bytes() => {
            Err(case.violation_of(Rule::OwnAnswer, format!("Content-Length says {said:?} of {length} bytes")))
        }
        _ => bench.nothing_held("after a refusal").await,
    }
}
