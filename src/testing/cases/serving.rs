//! Instances that live long, over an inner service that admits one request at a time. A `oneshot` would hide every fault
//! that these find.

use std::pin::pin;

use super::{Bench, Caller, Case, Outcome, Plan};
use crate::testing::drive::Polls;
use crate::testing::origin::Script;

pub(in crate::testing) async fn one_instance_serves_many(case: &Case<'_>) -> Outcome {
    let bench = case.bench(Script { ready: (1, Script::WELL.ready.1), ..Script::WELL });
    let mut stack = bench.service();
    for _ in 0..10 {
        bench.serve(&mut stack, "one instance, one request after the other").await?;
    }
    bench.nothing_held("after ten requests").await
}

pub(in crate::testing) async fn a_refusal_returns_the_reservation(case: &Case<'_>) -> Outcome {
    let bench = case.bench(Script::WELL);
    let mut refused = bench.service();
    let mut others = [refused.clone(), bench.service()];
    for kind in case.kinds() {
        let answer = refused.send(bench.request(kind, Plan::EMPTY)).await;
        answer.map_err(|error| case.violation(format!("{kind:?}: an error came out: {error}")))?;
        bench.nothing_held("after an answer, the instance alive").await?;
        for other in &mut others {
            bench.serve(other, "after an answer of another instance").await?;
        }
    }
    Ok(())
}

pub(in crate::testing) async fn clones_take_turns(case: &Case<'_>) -> Outcome {
    let bench = case.bench(Script { answer: (1, Script::WELL.answer.1), ..Script::WELL });
    let first = bench.service();
    let mut turns = [first.clone(), first, bench.service(), bench.service_of_a_clone()];
    for _ in 0..5 {
        for stack in &mut turns {
            bench.serve(stack, "instances in turns").await?;
        }
    }
    let [mut first, mut second, ..] = turns;

    first.ready().await.map_err(|error| case.violation(format!("poll_ready failed: {error}")))?;
    // The second may wait for the permit that the first one has; it must hear of its return.
    let mut waiting = pin!(bench.serve(&mut second, "after another instance was ready and dropped"));
    let served_early = Polls::unasked(3).spend_on(waiting.as_mut()).await;
    drop(first);
    match served_early {
        Some(served) => served?,
        None => waiting.await?,
    };

    two_at_once(&bench).await?;
    bench.nothing_held("after all of it").await
}

/// Both wait for the one permit, and each gets it.
async fn two_at_once(bench: &Bench<'_>) -> Outcome {
    let (mut one, mut two) = (bench.service(), bench.service_of_a_clone());
    let (one, two) = tokio::join!(bench.serve(&mut one, "two at once"), bench.serve(&mut two, "two at once"));
    one.and(two).map(drop)
}

pub(in crate::testing) async fn state_is_shared(case: &Case<'_>) -> Outcome {
    let Some(shows) = &case.layer.shared else { return Ok(()) };
    for maker in ["a second layer() call", "a clone of the layer", "a clone of the service"] {
        let bench = case.bench(Script::WELL);
        let one = bench.service();
        let two = match maker {
            "a second layer() call" => bench.service(),
            "a clone of the layer" => bench.service_of_a_clone(),
            _ => one.clone(),
        };
        if !shows(Caller::new(one), Caller::new(two)).await {
            return Err(case.violation(format!("what one service used up does not show in that made by {maker}")));
        }
        bench.nothing_held("after use").await?;
    }
    Ok(())
}

pub(in crate::testing) async fn state_survives_a_reload(case: &Case<'_>) -> Outcome {
    let Some(shows) = &case.layer.adopts else { return Ok(()) };
    let bench = case.bench(Script::WELL);
    if !shows(Caller::new(bench.service()), Caller::new(bench.service_of_its_heir())).await {
        return Err(
            case.violation("what the old layer used up does not show in the new one, or its settings do not hold")
        );
    }
    bench.nothing_held("after use").await?;

    // Otherwise the check would prove nothing.
    let (bench, another) = (case.bench(Script::WELL), case.bench(Script::WELL));
    if shows(Caller::new(another.service()), Caller::new(bench.service_of_its_heir())).await {
        return Err(case.violation("it shows in a layer that adopted another one as well"));
    }
    Ok(())
}
