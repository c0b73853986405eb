//! `[listeners.NAME]`: further addresses, with TLS, behind proxies, or sent on to HTTPS.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tower_gateway::tls::ClientAuth;

use super::reader::Reader;
use super::reference::NameOf;
use super::server::Server;
use super::table::{Keys, Listed, Named, Table};
use super::tls::ListenerTls;

/// `[listeners.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Connections begin with the PROXY protocol, and are those of trusted proxies.
    pub(crate) proxy_protocol: bool,
    /// Absent: plain HTTP.
    pub(crate) tls: Option<ListenerTls>,
    /// A listener with TLS; this one has none.
    pub(crate) redirect_to: Option<String>,
}

impl Table for Listener {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let address = keys.required::<SocketAddr>("address", "where it listens");
        let proxy_protocol = keys.or::<bool>(
            "proxy_protocol",
            false,
            "whether connections begin with the PROXY protocol, version 1 or 2, and come from trusted_proxies only",
        );
        let tls = keys.optional::<ListenerTls>("tls", "HTTPS; absent: plain HTTP");
        let redirect_to = keys
            .optional::<NameOf<Self>>("redirect_to", "the listener with tls that every request is sent to, by a 308");
        if keys.has("tls") && redirect_to.is_some() {
            let message = format!("[{}] has tls and redirects; a listener that redirects is a plain one", keys.path);
            keys.reader.fault(&keys.at, &keys.path, message);
        }
        keys.are_sound_here(&["tls", "redirect_to"]).then_some(Listener {
            address: address?,
            proxy_protocol,
            tls,
            redirect_to,
        })
    }
}

impl Listed for Listener {
    const SECTION: &'static str = "listeners";
    const KIND: &'static str = "listener";
}

impl Listener {
    /// True when this one, with what may be exchanged exchanged, is not the other.
    pub(crate) fn needs_restart(&self, started: &Self) -> bool {
        let Listener { address, proxy_protocol, tls, redirect_to } = self;
        (address, proxy_protocol, tls.is_some(), redirect_to)
            != (&started.address, &started.proxy_protocol, started.tls.is_some(), &started.redirect_to)
    }
}

/// True when listeners were added, removed or changed in what is used once, when they are made.
pub(crate) fn need_restart(own: &BTreeMap<String, Listener>, started: &BTreeMap<String, Listener>) -> bool {
    let differs = |(name, own): (&String, &Listener)| started.get(name).is_none_or(|old| own.needs_restart(old));
    own.len() != started.len() || own.iter().any(differs)
}

pub(super) fn any_asks_for_certificates(listeners: &[Named<Listener>]) -> bool {
    let tls =
        |named: &Named<Listener>| named.value.as_ref()?.tls.as_ref().map(|tls| tls.client_auth != ClientAuth::None);
    listeners.iter().any(|named| tls(named) == Some(true))
}

/// What can only be seen with all of them read.
pub(super) fn check(reader: &Reader<'_>, listeners: &[Named<Listener>], server: Option<&Server>) {
    let read = || listeners.iter().filter_map(|named| Some((named, named.value.as_ref()?)));
    for (index, (named, listener)) in read().enumerate() {
        let key = format!("{}.address", named.path);
        let earlier = read().take(index).map(|(other, own)| (format!("{}.address", other.path), own.address));
        let main = server.into_iter().flat_map(|server| &server.listen).map(|own| ("server.listen".to_owned(), *own));
        if let Some((other, address)) = main.chain(earlier).find(|(_, other)| clash(listener.address, *other)) {
            let message = format!("{key}: {} is taken by {other}, which has {address}; change one", listener.address);
            reader.fault(&named.at, &key, message);
        }
        let target = listener.redirect_to.as_ref().and_then(|to| listeners.iter().find(|other| other.name == *to));
        if let Some(target) = target
            && target.value.as_ref().is_some_and(|target| target.tls.is_none())
        {
            let key = format!("{}.redirect_to", named.path);
            let message = format!("{key}: [{}] has no tls; name a listener that has", target.path);
            reader.fault(&named.at, &key, message);
        }
        if listener.proxy_protocol && server.is_some_and(|server| server.trusted_proxies.is_empty()) {
            let key = format!("{}.proxy_protocol", named.path);
            let message =
                format!("{key}: serves nobody, since there are no trusted proxies; add server.trusted_proxies");
            reader.warn(&named.at, &key, message);
        }
    }
}

/// Both cannot be listened on. Port 0 is another free port each time; and `[::]` leaves IPv4 to whoever lists it beside.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip()
        || one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() != 0 && one.port() == other.port() && overlap
}
