//! A store of one's own for rate limits, in thirty lines: counts in fixed windows, in any map that lives elsewhere.
//!
//! `cargo run --example rate_limit_store`

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_gateway::BoxError;
use tower_gateway::rate_limit::{
    AsyncStore, Boxed, Charges, Decision, Digest, Key, Limit, Quota, RateLimitLayer, StoreError,
};

/// What a database or a service would keep: how much was used of each key in each window.
#[derive(Default)]
struct Counts(Mutex<HashMap<(Digest, u64), u64>>);

/// When what was counted is kept.
enum Keep {
    IfAdmitted,
    Always,
    Never,
}

impl Counts {
    /// Adds to each count, or takes away, and says how things stand then.
    async fn add(&self, charges: Charges, keep: Keep, sign: i8) -> Result<Decision, StoreError> {
        // Yours asks over the network here, and a failure is a `StoreError::new(error)`.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(StoreError::new)?;
        let mut counts = self.0.lock().map_err(|_| StoreError::new("the counts are lost"))?;
        let mut tightest = Decision::admit(u64::MAX, Duration::ZERO);
        let mut new = Vec::new();
        for (n, charge) in charges.iter().enumerate() {
            let window = charge.quota.window().as_nanos();
            let cell = (charge.key, (now.as_nanos() / window) as u64);
            let left = Duration::from_nanos((window - now.as_nanos() % window) as u64);
            let before = counts.get(&cell).copied().unwrap_or(0);
            let used = if sign < 0 { before.saturating_sub(charge.cost) } else { before.saturating_add(charge.cost) };
            let decision = match charge.quota.limit().checked_sub(used) {
                Some(remaining) => Decision::admit(remaining, left),
                None => Decision::refuse(charge.quota.limit().saturating_sub(before), left, left),
            };
            tightest = tightest.tightest(decision.of_charge(n));
            new.push((cell, used));
        }
        match keep {
            Keep::Never => {}
            Keep::IfAdmitted if !tightest.admitted => {}
            Keep::IfAdmitted | Keep::Always => counts.extend(new),
        }
        Ok(tightest)
    }
}

impl AsyncStore for Counts {
    async fn acquire(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges, Keep::IfAdmitted, 1).await
    }

    async fn debit(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges, Keep::Always, 1).await
    }

    async fn refund(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges, Keep::Always, -1).await
    }

    async fn peek(&self, charges: Charges) -> Result<Decision, StoreError> {
        let one_each = charges.into_iter().map(|charge| charge.cost(1)).collect();
        let mut decision = self.add(one_each, Keep::Never, 1).await?;
        // Which has not been taken.
        decision.remaining += u64::from(decision.admitted);
        Ok(decision)
    }

    async fn reset(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges.into_iter().map(|charge| charge.cost(u64::MAX)).collect(), Keep::Always, -1).await
    }
}

/// The statuses of so many requests in a row.
async fn statuses(requests: usize) -> Result<Vec<u16>, BoxError> {
    let limits = [
        Limit::new("hourly", Quota::per_hour(3)).key(Key::global()),
        Limit::new("daily", Quota::per_day(100)).key(Key::global()),
    ];
    let layer = RateLimitLayer::with_store(limits, Boxed::new(Counts::default()));
    let app = layer.layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("hello"))));
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(app.clone().oneshot(Request::new(())).await?.status().as_u16());
    }
    Ok(statuses)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    println!("{:?}", statuses(5).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_gateway::rate_limit::Charge;

    #[tokio::test]
    async fn a_look_says_whether_one_more_would_pass_and_counts_nothing() {
        let (counts, one) = (Counts::default(), [Charge::new(Digest::from_bits(1), Quota::per_day(1))]);
        for _ in 0..2 {
            let look = counts.peek(one.into_iter().collect()).await.unwrap();
            assert_eq!((look.admitted, look.remaining), (true, 1));
        }
        assert!(counts.acquire(one.into_iter().collect()).await.unwrap().admitted);
        let look = counts.peek(one.into_iter().collect()).await.unwrap();
        assert_eq!((look.admitted, look.remaining), (false, 0));
    }

    #[tokio::test]
    async fn three_pass_and_the_fourth_does_not() {
        assert_eq!(super::statuses(5).await.unwrap(), [200, 200, 200, 429, 429]);
    }
}
