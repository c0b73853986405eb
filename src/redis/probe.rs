//! Trying a server that is down, in the background.

use std::iter;
use std::time::Duration;

use ::redis::cmd;

use super::Redis;
use super::circuit::Probe;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(250);

/// Tries until the server answers, or until nobody else holds the handle.
pub(super) async fn until_up(redis: Redis, probe: Probe) {
    let shared = std::sync::Arc::downgrade(&redis.0);
    let pauses = pauses(redis.0.timeout);
    drop(redis);
    for pause in pauses {
        tokio::time::sleep(pause).await;
        let Some(shared) = shared.upgrade() else { return };
        let redis = Redis(shared);
        if answers(&redis).await {
            probe.close();
            return;
        }
    }
}

/// How long it is left alone before each try, for ever.
fn pauses(timeout: Duration) -> impl Iterator<Item = Duration> {
    // Whoever was still waiting for an answer when the server was found down has failed by then.
    iter::successors(Some(FIRST.max(timeout)), |pause| Some((*pause * 2).min(LONGEST)))
}

/// On a connection of its own: the others have been given up.
async fn answers(redis: &Redis) -> bool {
    let patience = redis.0.target.patience(redis.0.timeout);
    let attempt = tokio::time::timeout(patience, async {
        let (link, driver) = redis.0.target.connect().await?;
        let ping = cmd("PING");
        let pong = link.command(&ping);
        match driver {
            None => pong.await,
            Some(mut driver) => tokio::select! {
                pong = pong => pong,
                () = &mut driver => Err(super::RedisError::Deadline),
            },
        }
    });
    match attempt.await {
        Ok(Ok(_)) => true,
        // Whoever may not do this may do other things.
        Ok(Err(error)) => !error.is_of_the_server(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_tried_again_after_its_deadline_and_then_four_times_a_second() {
        let tried = |timeout| pauses(Duration::from_millis(timeout)).map(|pause| pause.as_millis()).take(5);
        assert!(tried(10).eq([50, 100, 200, 250, 250]));
        assert!(tried(100).eq([100, 200, 250, 250, 250]));
        assert!(tried(2_000).eq([2_000, 250, 250, 250, 250]));
    }
}
