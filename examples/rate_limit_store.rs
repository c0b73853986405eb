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

impl Counts {
    /// Adds to each count, unless `only_if_admitted` and one of them would pass its limit.
    async fn add(&self, charges: Charges, only_if_admitted: bool, sign: i8) -> Result<Decision, StoreError> {
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
        if tightest.admitted || !only_if_admitted {
            counts.extend(new);
        }
        Ok(tightest)
    }
}

impl AsyncStore for Counts {
    async fn acquire(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges, true, 1).await
    }

    async fn debit(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges, false, 1).await
    }

    async fn refund(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges, false, -1).await
    }

    async fn peek(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges.into_iter().map(|charge| charge.cost(0)).collect(), true, 1).await
    }

    async fn reset(&self, charges: Charges) -> Result<Decision, StoreError> {
        self.add(charges.into_iter().map(|charge| charge.cost(u64::MAX)).collect(), false, -1).await
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
    #[tokio::test]
    async fn three_pass_and_the_fourth_does_not() {
        assert_eq!(super::statuses(5).await.unwrap(), [200, 200, 200, 429, 429]);
    }
}
