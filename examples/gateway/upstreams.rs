//! Upstreams from their tables: the servers and who of them is used, and what stands around the clients.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use tower_gateway::circuit_breaker::{BreakerState, CircuitBreakerLayer};
use tower_gateway::retry::{RetryBudget, RetryLayer};
use tower_gateway::tls::{ClientTls, Roots};
use tower_gateway::upstream::{self, Balance, HashBy, HealthCheck, OutlierEjection, Upstream};
use tower_gateway::{BoxError, Share};

use crate::client::Guards;
use crate::config::tls::UpstreamTls;
use crate::config::upstream::Protocol;
use crate::config::{self, balance, resilience};

/// An upstream as it is made once, for every worker to make its clients of.
pub(crate) struct UpstreamParts {
    pub(crate) upstream: Upstream,
    pub(crate) guards: Guards,
}

/// All of them, by their names.
pub(crate) type Upstreams = BTreeMap<String, UpstreamParts>;

impl UpstreamParts {
    /// Checks begin at once, on the runtime this is called within.
    pub(crate) fn new(
        name: &str,
        settings: &config::Upstream,
        machine: &TrustedByMachine,
        old: Option<&Self>,
    ) -> Result<Self, BoxError> {
        let upstream = upstream(settings, machine, old.map(|old| &old.upstream))?;
        if let Some(check) = &settings.health_check {
            upstream.start_health_checks(&health_check(check)?, &tokio::runtime::Handle::current());
        }
        let breaker = settings.circuit_breaker.as_ref().map(|settings| breaker(name, settings)).transpose()?;
        let breaker = match (breaker, old.and_then(|old| old.guards.breaker.as_ref())) {
            (Some(new), Some(old)) => Some(new.adopt(old)),
            (new, _) => new,
        };
        let retry = settings.retry.as_ref().map(|settings| retry(settings, &upstream)).transpose()?;
        let retry = match (retry, old.and_then(|old| old.guards.retry.as_ref())) {
            (Some(new), Some(old)) => Some(new.adopt(old)),
            (new, _) => new,
        };
        Ok(Self { upstream, guards: Guards { retry, breaker } })
    }
}

/// Tells whether anything is wrong behind the gateway: a breaker that is not closed, a server that is left out.
pub(crate) fn watch(upstreams: &Upstreams) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let breakers: Vec<_> =
        upstreams.values().filter_map(|parts| Some(parts.guards.breaker.as_ref()?.handle())).collect();
    let upstreams: Vec<_> = upstreams.values().map(|parts| parts.upstream.clone()).collect();
    Arc::new(move || {
        breakers.iter().any(|breaker| breaker.state() != BreakerState::Closed)
            || upstreams.iter().any(|upstream| !upstream.is_well())
    })
}

fn upstream(
    settings: &config::Upstream,
    machine: &TrustedByMachine,
    old: Option<&Upstream>,
) -> Result<Upstream, BoxError> {
    let far = Duration::from_secs(365 * 86_400);
    let mut builder = Upstream::builder()
        .balance(match &settings.balance {
            balance::Balance::LeastRequests => Balance::LeastRequests,
            balance::Balance::RoundRobin => Balance::RoundRobin,
            balance::Balance::PeakEwma => Balance::PeakEwma,
            balance::Balance::HashSubject => Balance::Hash(HashBy::Subject),
            balance::Balance::HashClientIp => Balance::Hash(HashBy::ClientIp),
            balance::Balance::HashHeader(name) => Balance::Hash(HashBy::Header(name.clone())),
        })
        .slow_start(settings.slow_start)
        .panic_threshold(Share::new(settings.panic_threshold)?)
        .outlier_ejection(settings.outlier_ejection.as_ref().map(ejection).transpose()?)
        .connect_timeout(settings.connect_timeout.unwrap_or(far))
        .keep_alive_timeout(settings.keep_alive_timeout.unwrap_or(far))
        .max_connections_per_server(settings.max_connections_per_server.map_or(usize::MAX, Into::into))
        .queue_timeout(settings.queue_timeout.unwrap_or(far))
        .dns_refresh(settings.dns_refresh)
        .protocol(match settings.protocol {
            Protocol::Auto => upstream::Protocol::Auto,
            Protocol::Http1 => upstream::Protocol::Http1,
            Protocol::Http2 => upstream::Protocol::Http2,
        });
    if settings.servers.iter().any(|server| server.url.scheme() == Some(&Scheme::HTTPS)) {
        builder = builder.tls(client_tls(&settings.tls, machine)?);
    }
    for server in &settings.servers {
        builder = builder.server(server.url.to_string(), server.weight.get());
    }
    if let Some(old) = old {
        builder = builder.adopt(old);
    }
    Ok(builder.build()?)
}

/// Whom this machine trusts: a hundred files, which are read once for all upstreams that need them.
#[derive(Default)]
pub(crate) struct TrustedByMachine(OnceCell<Roots>);

impl TrustedByMachine {
    fn roots(&self) -> Result<Roots, BoxError> {
        if let Some(roots) = self.0.get() {
            return Ok(roots.clone());
        }
        let roots = Roots::of_this_machine()?;
        Ok(self.0.get_or_init(|| roots).clone())
    }
}

fn client_tls(settings: &UpstreamTls, machine: &TrustedByMachine) -> Result<ClientTls, BoxError> {
    let mut tls = ClientTls::new().roots(match &settings.roots {
        Some(roots) => roots.clone(),
        None => machine.roots()?,
    });
    if let Some(own) = &settings.certificate {
        tls = tls.certificate(own.clone());
    }
    if let Some(name) = &settings.server_name {
        tls = tls.server_name(name)?;
    }
    Ok(match settings.handshake_timeout {
        Some(limit) => tls.handshake_timeout(limit),
        None => tls,
    })
}

fn health_check(settings: &resilience::HealthCheck) -> Result<HealthCheck, BoxError> {
    Ok(HealthCheck::http(settings.path.parse()?)
        .statuses(settings.status.iter().copied())
        .interval(settings.interval)
        .timeout(settings.timeout)
        .unhealthy_after(count(settings.unhealthy_after))
        .healthy_after(count(settings.healthy_after)))
}

fn ejection(settings: &resilience::OutlierEjection) -> Result<OutlierEjection, BoxError> {
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(count(settings.consecutive_failures));
    ejection.failure_rate = settings.failure_rate.map(Share::new).transpose()?;
    ejection.min_requests = count(settings.min_requests);
    ejection.window = settings.window;
    ejection.eject_for = settings.eject_for;
    ejection.max_ejected = Share::new(settings.max_ejected)?;
    Ok(ejection)
}

fn breaker(name: &str, settings: &resilience::CircuitBreaker) -> Result<CircuitBreakerLayer, BoxError> {
    let breaker = CircuitBreakerLayer::new()
        .name(name)
        .failure_rate(Share::new(settings.failure_rate)?)
        .min_requests(count(settings.min_requests))
        .window(settings.window)
        .consecutive_failures(settings.consecutive_failures.map(count))
        .open_for(settings.open_for)
        .half_open_requests(count(settings.half_open_requests));
    Ok(match &settings.slow_call {
        None => breaker,
        Some(slow) => breaker.slow_calls(slow.after, Share::new(slow.rate)?),
    })
}

fn retry(settings: &resilience::Retry, upstream: &Upstream) -> Result<RetryLayer, BoxError> {
    let has = |what| settings.on.contains(&what);
    let statuses = settings.on.iter().filter_map(|on| match on {
        resilience::RetryOn::Status(status) => Some(*status),
        _ => None,
    });
    let several = upstream.servers().len() > 1;
    Ok(RetryLayer::new()
        .attempts(count(settings.attempts))
        .per_try(settings.per_try)
        .backoff(settings.backoff, settings.max_backoff)
        .on_connect(has(resilience::RetryOn::Connect))
        .on_reset(has(resilience::RetryOn::Reset))
        .statuses(statuses)
        .methods(settings.methods.iter().cloned())
        .budget(RetryBudget::new(Share::new(settings.budget.ratio)?, settings.budget.min_per_second))
        .replay_bytes(settings.replay_bytes)
        .at_once_when(move || several))
}

/// The configuration lets no count be larger.
fn count(number: std::num::NonZeroUsize) -> u32 {
    u32::try_from(number.get()).unwrap_or(u32::MAX)
}
