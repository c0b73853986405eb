//! From `[server]` and `[listeners]` to what is listened on, and what of it a reload exchanges.

use std::collections::BTreeMap;

use tower_gateway::BoxError;
use tower_gateway::serve::{Listener, ProxyProtocol};
use tower_gateway::tls::ServerTls;

use crate::config::Config;

/// What is spoken on the listeners: made by each configuration, and used by those that were made by the first.
pub(crate) struct Listeners {
    proxies: ProxyProtocol,
    tls: BTreeMap<String, ServerTls>,
}

impl Listeners {
    pub(crate) fn new(config: &Config) -> Result<Self, BoxError> {
        let tls = config.listeners.iter().filter_map(|(name, listener)| Some((name, listener.tls.as_ref()?)));
        let tls = tls.map(|(name, tls)| {
            let made =
                ServerTls::builder(tls.certificates.iter().cloned()).client_auth(tls.client_auth.clone()).build()?;
            Ok((name.clone(), made))
        });
        Ok(Self {
            proxies: ProxyProtocol::from_trusted(config.server.trusted_proxies.clone()),
            tls: tls.collect::<Result<_, BoxError>>()?,
        })
    }

    /// Those that the configuration says, plain ones first.
    pub(crate) fn listeners(&self, config: &Config) -> Vec<Listener> {
        let plain = config.server.listen.iter().copied().map(Listener::new);
        let named = config.listeners.iter().map(|(name, settings)| {
            let mut listener = Listener::new(settings.address).name(name.as_str());
            if let Some(tls) = self.tls.get(name) {
                listener = listener.tls(tls.clone());
            }
            if settings.proxy_protocol {
                listener = listener.proxy_protocol(self.proxies.clone());
            }
            match &settings.redirect_to {
                Some(to) => listener.redirect_to(to.as_str()),
                None => listener,
            }
        });
        plain.chain(named).collect()
    }

    /// Hands the certificates of `new` to the listeners that these were made for, and what it trusts.
    pub(crate) fn replace(&self, new: &Self, config: &Config) {
        self.proxies.set_trusted(config.server.trusted_proxies.clone());
        for (name, own) in &self.tls {
            if let Some(new) = new.tls.get(name) {
                own.replace(new);
            }
        }
    }
}
