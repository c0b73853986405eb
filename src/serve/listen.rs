use std::io;
use std::net::{SocketAddr, TcpListener};

use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::entrance::Entrance;
use super::{Listener, ServeError};

/// Connections that may wait to be accepted. The kernel takes the smaller of this and `net.core.somaxconn` (4096 on
/// Linux since 5.4).
pub(super) const BACKLOG: i32 = 4096;

/// Bytes of a connection that the kernel takes and has not sent yet. Left alone it takes 4 MiB, of which a slow reader
/// has the use; and it asks for more only when a third of that has gone, so that a client which reads 16 KiB a second
/// looked, for longer than the write timeout, like one that reads nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT: u32 = 512 << 10;

/// True where the kernel spreads connections over all sockets that are bound to one address. Elsewhere (macOS takes
/// them to mean something else) the workers share one socket.
const SPREADS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// One address, bound.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) listener: Listener,
    v6_only: bool,
    first: TcpListener,
}

/// Binds every address, or names the first that cannot be.
pub(super) fn bind_all(listeners: Vec<Listener>) -> Result<Vec<Bound>, ServeError> {
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    let bind = |listener: Listener| {
        let address = listener.address;
        let failed = |source| ServeError::Bind { address, source };
        let v6_only = addresses.iter().any(|other| shadows(address, *other));
        if address.port() != 0 {
            refuse_taken(address, v6_only).map_err(failed)?;
        }
        let first = listen(address, v6_only).map_err(failed)?;
        // Port 0 has become a port by now, and that is the one the other workers bind.
        Ok(Bound { address: first.local_addr().map_err(failed)?, listener, v6_only, first })
    };
    listeners.into_iter().map(bind).collect()
}

/// What is done with the connections of each, which only its place among the others says where it redirects.
pub(super) fn entrances(bound: &[Bound]) -> Result<Vec<Arc<Entrance>>, ServeError> {
    let entrance = |own: &Bound| {
        let redirect_to = own.listener.redirect_to.as_ref().map(|name| {
            let named = |other: &&Bound| other.listener.name.as_ref() == Some(name) && other.listener.is_secure();
            let to = bound.iter().find(named).ok_or_else(|| ServeError::Redirect { name: name.to_string() })?;
            Ok(to.address.port())
        });
        Ok(Arc::new(Entrance::new(own.address, &own.listener, redirect_to.transpose()?)))
    };
    bound.iter().map(entrance).collect()
}

impl Bound {
    /// One listener for each of `workers`.
    pub(super) fn into_listeners(self, workers: usize) -> Result<Vec<TcpListener>, ServeError> {
        let Self { address, v6_only, first, .. } = self;
        let another = |_| if SPREADS { listen(address, v6_only) } else { first.try_clone() };
        let others: io::Result<Vec<_>> = (1..workers).map(another).collect();
        let mut listeners = others.map_err(|source| ServeError::Bind { address, source })?;
        listeners.push(first);
        Ok(listeners)
    }
}

/// `[::]:80` also takes IPv4 by default. Where `0.0.0.0:80` is listed beside it, each keeps to its own.
fn shadows(address: SocketAddr, other: SocketAddr) -> bool {
    address.is_ipv6() && other.is_ipv4() && other.port() == address.port()
}

/// Sockets that share a port also share it with another process of the same user, silently. A server that is started
/// twice is a mistake that must be seen, so each address is first bound alone.
fn refuse_taken(address: SocketAddr, v6_only: bool) -> io::Result<()> {
    socket(address, v6_only)?.bind(&address.into())
}

fn listen(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = socket(address, v6_only)?;
    #[cfg(unix)]
    if SPREADS {
        socket.set_reuse_port(true)?;
    }
    // Connections inherit these from their listener, which saves system calls for each.
    socket.set_tcp_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_notsent_lowat(MAX_UNSENT)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, v6_only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if v6_only {
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for the last connections' TIME_WAIT. On Windows the same option would steal the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Bound>, ServeError> {
        super::bind_all(addresses.iter().copied().map(Listener::new).collect())
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let bound = bind_all(&[taken]).unwrap();
        let again = bind_all(&[bound[0].address]).unwrap_err();
        assert!(again.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{again}");
    }

    #[test]
    fn every_worker_listens_on_the_port_that_zero_became() {
        let bound = bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap().pop().unwrap();
        let address = bound.address;
        let listeners = bound.into_listeners(3).unwrap();
        assert_eq!(listeners.len(), 3);
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
    }

    #[test]
    fn connections_inherit_the_listeners_options() {
        let listener = bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap().pop().unwrap().first;
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = listener.accept().unwrap().0;
        assert!(connection.nodelay().unwrap());
        #[cfg(any(target_os = "linux", target_os = "android"))]
        assert_eq!(socket2::SockRef::from(&connection).tcp_notsent_lowat().unwrap(), MAX_UNSENT);
    }

    #[test]
    fn both_families_of_one_port_can_be_listed() {
        let Ok(six) = TcpListener::bind("[::]:0") else { return };
        let port = six.local_addr().unwrap().port();
        drop(six);
        let both = [SocketAddr::new([0; 16].into(), port), SocketAddr::new([0; 4].into(), port)];
        bind_all(&both).unwrap();
    }
}
