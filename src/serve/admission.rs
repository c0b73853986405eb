use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Counters;
use super::settings::Settings;
use crate::ClientIp;

/// Subscribers are given a /64 at least, so that is what one of them is counted by.
const IPV6_PREFIX: u8 = 64;

/// The limits on connections, which all workers share.
#[derive(Debug)]
pub(super) struct Admission {
    slots: Option<Arc<Semaphore>>,
    per_network: Option<Arc<PerNetwork>>,
}

/// A connection's places in the limits, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    counters: Arc<Counters>,
    matters_to_drain: bool,
    _slot: Option<OwnedSemaphorePermit>,
    _network: Option<NetworkSlot>,
}

impl Admission {
    pub(super) fn new(settings: &Settings) -> Self {
        let slots = |max: usize| Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS)));
        let per_network = |max: usize| Arc::new(PerNetwork { max: max.max(1), open: Mutex::default() });
        Self {
            slots: settings.max_connections.map(slots),
            per_network: settings.max_connections_per_ip.map(per_network),
        }
    }

    /// A place among the connections of `peer`'s network. `Err` when there is none left.
    pub(super) fn network_slot(&self, peer: SocketAddr) -> Result<Option<NetworkSlot>, TooMany> {
        let Some(limit) = &self.per_network else { return Ok(None) };
        let network = ClientIp::from_peer(peer, IPV6_PREFIX).network();
        let mut open = limit.open();
        let count = open.entry(network).or_default();
        if *count >= limit.max {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(NetworkSlot { limit: limit.clone(), network }))
    }

    /// A place among all connections; waits until there is one.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        match &self.slots {
            Some(slots) => slots.clone().acquire_owned().await.ok(),
            None => None,
        }
    }
}

/// This client has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

#[derive(Debug)]
struct PerNetwork {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl PerNetwork {
    /// A panic elsewhere cannot leave a count half written.
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct NetworkSlot {
    limit: Arc<PerNetwork>,
    network: IpAddr,
}

impl Drop for NetworkSlot {
    fn drop(&mut self) {
        let mut open = self.limit.open();
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

impl Ticket {
    pub(super) fn new(
        counters: Arc<Counters>,
        slot: Option<OwnedSemaphorePermit>,
        network: Option<NetworkSlot>,
    ) -> Self {
        counters.accepted.add_one();
        counters.open.add_one();
        Self { counters, matters_to_drain: false, _slot: slot, _network: network }
    }

    /// The client is known by now, and has this place.
    pub(super) fn set_network(&mut self, network: Option<NetworkSlot>) {
        self._network = network;
    }

    /// A request was in flight when the drain began, so the end of it is to be reported.
    pub(super) fn report_to_drain(&mut self) {
        self.matters_to_drain = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let drain = &self.counters.drain;
        let left = self.counters.open.take_one();
        if !drain.is_draining() {
            return;
        }
        if self.matters_to_drain {
            let outcome = if drain.aborting.load(Relaxed) { &drain.aborted } else { &drain.finished };
            outcome.add_one();
        }
        if left == 0 {
            drain.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_ip(max: usize) -> Admission {
        Admission::new(&Settings { max_connections_per_ip: Some(max), ..Settings::default() })
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client_whatever_address_it_takes() {
        let admission = per_ip(1);
        let first = admission.network_slot(peer("[2001:db8::1]:1")).unwrap();
        assert_eq!(admission.network_slot(peer("[2001:db8::ffff:2]:1")).unwrap_err(), TooMany);
        assert!(admission.network_slot(peer("[2001:db8:0:1::1]:1")).is_ok());
        drop(first);
        assert!(admission.network_slot(peer("[2001:db8::3]:1")).is_ok());
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let admission = per_ip(2);
        let slots = [peer("192.0.2.1:1"), peer("192.0.2.1:2")].map(|peer| admission.network_slot(peer).unwrap());
        assert_eq!(admission.network_slot(peer("[::ffff:192.0.2.1]:3")).unwrap_err(), TooMany);
        drop(slots);
        assert!(admission.per_network.unwrap().open().is_empty());
    }
}
