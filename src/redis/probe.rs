//! Trying a server that is down, in the background.

use std::time::Duration;

use ::redis::cmd;

use super::Redis;
use super::circuit::Probe;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(250);

/// Tries until the server answers, or until nobody else holds the handle.
pub(super) async fn until_up(redis: Redis, probe: Probe) {
    let shared = std::sync::Arc::downgrade(&redis.0);
    // Whoever was still waiting for an answer when the server was found down has failed by then.
    let mut pause = FIRST.max(redis.0.timeout);
    drop(redis);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
        let Some(shared) = shared.upgrade() else { return };
        let redis = Redis(shared);
        if answers(&redis).await {
            probe.close();
            return;
        }
    }
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
    matches!(attempt.await, Ok(Ok(_)))
}
