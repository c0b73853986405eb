//! The addresses behind a server's name.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use tokio::time::Instant;

use crate::{UpstreamError, UpstreamErrorKind};

/// How long a name that does not resolve is taken not to, before it is asked again.
const FAILURE_LASTS: Duration = Duration::from_secs(1);

/// A name, and the addresses it had when it was last asked.
///
/// Once a name has resolved no request waits for it again: an old answer is used while a new one is fetched, by one task
/// whatever the load, and for as long as the resolver is down.
#[derive(Debug)]
pub(super) struct Resolver {
    host: Host,
    state: Mutex<State>,
    /// Held by the one request that asks for the first time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
enum Host {
    Address(Arc<[SocketAddr]>),
    Name(Arc<str>, u16),
}

#[derive(Debug, Default)]
struct State {
    addresses: Option<Arc<[SocketAddr]>>,
    asked: Option<Instant>,
    refreshing: bool,
}

impl Resolver {
    pub(super) fn new(authority: &Authority, default_port: u16) -> Self {
        let port = authority.port_u16().unwrap_or(default_port);
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = match name.parse::<IpAddr>() {
            Ok(address) => Host::Address([SocketAddr::new(address, port)].into()),
            Err(_) => Host::Name(name.into(), port),
        };
        Self { host, state: Mutex::default(), asking: tokio::sync::Mutex::new(()) }
    }

    /// The addresses, from an answer that is at most `refresh` old or is being refreshed.
    pub(super) async fn addresses(self: &Arc<Self>, refresh: Duration) -> Result<Arc<[SocketAddr]>, UpstreamError> {
        if let Host::Address(address) = &self.host {
            return Ok(address.clone());
        }
        if let Some(known) = self.known(refresh) {
            return known;
        }
        let _one_at_a_time = self.asking.lock().await;
        match self.known(refresh) {
            Some(known) => known,
            None => self.ask().await,
        }
    }

    /// What is known without asking. A refresh is begun where it is due.
    fn known(self: &Arc<Self>, refresh: Duration) -> Option<Result<Arc<[SocketAddr]>, UpstreamError>> {
        let mut state = self.state();
        let age = state.asked?.elapsed();
        let Some(addresses) = state.addresses.clone() else {
            return (age < FAILURE_LASTS).then(|| Err(UpstreamErrorKind::Dns.into()));
        };
        if age >= refresh.max(FAILURE_LASTS) && !state.refreshing {
            state.refreshing = true;
            let own = self.clone();
            tokio::spawn(async move {
                let _ = own.ask().await;
                own.state().refreshing = false;
            });
        }
        Some(Ok(addresses))
    }

    async fn ask(&self) -> Result<Arc<[SocketAddr]>, UpstreamError> {
        let Host::Name(name, port) = &self.host else { return Err(UpstreamErrorKind::Dns.into()) };
        let answer = tokio::net::lookup_host((&**name, *port)).await;
        let found: Result<Arc<[SocketAddr]>, UpstreamError> = match answer {
            Ok(found) => Ok(found.collect()),
            Err(error) => Err(UpstreamError::with_source(UpstreamErrorKind::Dns, error)),
        };
        let found =
            found.and_then(|found| if found.is_empty() { Err(UpstreamErrorKind::Dns.into()) } else { Ok(found) });
        let mut state = self.state();
        state.asked = Some(Instant::now());
        if let Ok(found) = &found {
            state.addresses = Some(found.clone());
        }
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(authority: &str) -> Arc<Resolver> {
        Arc::new(Resolver::new(&authority.parse().unwrap(), 80))
    }

    #[tokio::test]
    async fn an_address_is_itself_and_has_the_default_port() {
        let addresses = resolver("[::1]").addresses(Duration::ZERO).await.unwrap();
        assert_eq!(addresses[..], ["[::1]:80".parse().unwrap()]);
        assert_eq!(resolver("127.0.0.1:8080").addresses(Duration::ZERO).await.unwrap()[0].port(), 8080);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_not_asked_for_by_each_request() {
        let resolver = resolver("no-such-host.invalid");
        let first = resolver.addresses(Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(first.kind(), UpstreamErrorKind::Dns);
        let asked = resolver.state().asked;
        assert_eq!(resolver.addresses(Duration::from_secs(30)).await.unwrap_err().kind(), UpstreamErrorKind::Dns);
        assert_eq!(resolver.state().asked, asked);
    }

    #[tokio::test]
    async fn an_old_answer_serves_while_the_name_cannot_be_asked() {
        let resolver = resolver("no-such-host.invalid");
        let known: Arc<[SocketAddr]> = ["192.0.2.1:80".parse().unwrap()].into();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60));
        *resolver.state() = State { addresses: Some(known.clone()), asked: long_ago, refreshing: false };
        assert_eq!(resolver.addresses(Duration::from_secs(30)).await.unwrap(), known);
        assert!(resolver.state().refreshing, "and is refreshed meanwhile");
        while resolver.state().refreshing {
            tokio::task::yield_now().await;
        }
        assert_eq!(resolver.addresses(Duration::from_secs(30)).await.unwrap(), known);
    }
}
