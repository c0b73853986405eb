use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::admission::Admission;
use super::entrance::Entrance;
use super::handle::{Control, ServerHandle};
use super::listen::{Bound, bind_all, entrances};
use super::redirect::RedirectToHttps;
use super::settings::Settings;
use super::thread::{Running, Seed};
use super::{Listener, ServeBody, ServeError};
use crate::BoxError;
#[cfg(feature = "request-id")]
use crate::request_id::RequestIdLayer;
use crate::strict::StrictLayer;

/// A server that is bound to its addresses and not started yet. See the [module](super) for an example.
#[derive(Debug)]
#[must_use = "nothing is served before `start`"]
pub struct Server {
    bound: Vec<Bound>,
    entrances: Vec<Arc<Entrance>>,
    addresses: Arc<[SocketAddr]>,
    settings: Settings,
}

impl Server {
    /// Binds every address at once, so that a faulty one is known before anything else is done.
    ///
    /// Connections that arrive before [`start`](Self::start) wait. An address in use is an error, although the workers'
    /// sockets share theirs (`SO_REUSEPORT`): a server that is started twice by mistake would answer half the requests.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`], with the address.
    pub fn bind(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, ServeError> {
        Self::listen(addresses.into_iter().map(Listener::new))
    }

    /// The same with more to say of each address: TLS, who stands before it, and where it redirects.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`], with the address, and [`ServeError::Redirect`].
    pub fn listen(listeners: impl IntoIterator<Item = Listener>) -> Result<Self, ServeError> {
        let bound = bind_all(listeners.into_iter().collect())?;
        let entrances = entrances(&bound)?;
        let addresses = bound.iter().map(|bound| bound.address).collect();
        Ok(Self { bound, entrances, addresses, settings: Settings::default() })
    }

    /// The addresses that were bound, in the order they were given in. Port 0 has become a port.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The number of worker threads. Default: 0, which is one for each core this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.settings.workers = workers;
        self
    }

    /// The time from a connection's first byte, or for a fresh connection from its acceptance, to the end of a request's
    /// head. `None` is for ever. Default: 10 s.
    ///
    /// A part of a head is answered with a bare 408; a connection that sent nothing is closed without a word. What comes
    /// before the first head, a TLS handshake and a header of the PROXY protocol, is within the same time.
    pub fn header_read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeouts.header_read = timeout.into();
        self
    }

    /// The time between the end of an answer and the first byte of the next request. `None` is for ever. Default: 75 s.
    pub fn keep_alive_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeouts.keep_alive = timeout.into();
        self
    }

    /// The time between two pieces of a request body. `None` is for ever. Default: 30 s.
    ///
    /// Here as for the rate, only time that the service waits for the client counts. The body then fails with
    /// [`RequestBodyError::TooSlow`](crate::body::RequestBodyError::TooSlow), and the connection closes after the
    /// service's answer.
    pub fn body_read_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeouts.body_read = timeout.into();
        self
    }

    /// What a request body must average, in bytes a second, once the service has waited for the
    /// [grace](Self::body_rate_grace). 0 asks for nothing. Default: 128.
    pub fn body_min_rate(mut self, bytes_per_second: u64) -> Self {
        self.settings.timeouts.body_min_rate = bytes_per_second;
        self
    }

    /// How long the service waits for a body in all before its [rate](Self::body_min_rate) matters. Default: 10 s.
    pub fn body_rate_grace(mut self, grace: Duration) -> Self {
        self.settings.timeouts.body_rate_grace = grace;
        self
    }

    /// How long a client may leave an answer unread while the server has more of it to send. The connection is then
    /// reset. `None` is for ever. Default: 30 s.
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.timeouts.write = timeout.into();
        self
    }

    /// How long a request goes on after its client has closed its sending side. Default: 1 s.
    ///
    /// TCP does not tell a client that has left from one that has merely sent all it has (`nc` does so, and awaits the
    /// answer). The first should cost nothing more, the second be answered: what is answered within this time is, and
    /// the rest is dropped. A connection that is reset is dropped at once.
    pub fn half_close_grace(mut self, grace: Duration) -> Self {
        self.settings.timeouts.half_close = grace;
        self
    }

    /// How long a request's head may be, request line included, in bytes; longer ones are answered with a bare 431, and where
    /// the request line alone is longer, or the target has more than 65534 bytes, with a bare 414. A chunked body's trailers have the same limit. Default: 64 KiB.
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_header_bytes = bytes;
        self
    }

    /// How many fields a request's head may have; more are answered with a bare 431. Default: 100, which are parsed on
    /// the stack. Any other number, up to 10,000, costs two allocations a request.
    pub fn max_headers(mut self, fields: usize) -> Self {
        self.settings.max_headers = fields;
        self
    }

    /// How long a request body may be, in bytes. `None` lifts the limit. Default: 10 MiB.
    ///
    /// A `Content-Length` beyond it is answered with a 413 before the service sees the request. A body without a length
    /// fails with [`RequestBodyError::TooLarge`](crate::body::RequestBodyError::TooLarge) where it passes the limit. In
    /// both cases the connection closes after the answer.
    pub fn max_body_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.max_body_bytes = bytes.into();
        self
    }

    /// How many connections are served at a time, by all workers together; at least 1. `None` lifts the limit. Default:
    /// 10,000.
    ///
    /// Further ones wait in the kernel's backlog until one closes, as they do before haproxy: a peak costs them time, and
    /// no error. Each listener may hold one accepted connection that waits in the same way.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.max_connections = connections.into();
        self
    }

    /// How many connections one client may have, over all workers; at least 1. An IPv4 address is a client, and so is an
    /// IPv6 /64. Further ones are closed at once. `None`, the default, lifts the limit.
    pub fn max_connections_per_ip(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.max_connections_per_ip = connections.into();
        self
    }

    /// How many requests an HTTP/2 client may have in flight on one connection; at least 1. Default: 128.
    pub fn http2_max_streams(mut self, streams: u32) -> Self {
        self.settings.max_streams = streams.max(1);
        self
    }

    /// How long an HTTP/2 client with requests in flight may send nothing before it is asked whether it is there (a PING);
    /// with no answer within 20 s, its connection is closed. `None` never asks. Default: 30 s.
    pub fn http2_ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.settings.pings.interval = interval.into();
        self
    }

    /// Gives ids to the refusals of requests that no layer sees (the table in the [module](super)), in the field that `layer`
    /// has for them and in the problem document. Default: none. A reload that gives the service another layer does not
    /// change this one.
    ///
    /// They are UUIDs, whatever [makes](RequestIdLayer::make) the others, since there may be no head to make an id from. The
    /// answer to a request whose service failed or panicked has none: it had one already, which is lost with it.
    ///
    /// ```no_run
    /// use tower::ServiceBuilder;
    /// use tower_gateway::request_id::RequestIdLayer;
    /// use tower_gateway::serve::Server;
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// # let app = tower::service_fn(|_: http::Request<tower_gateway::serve::ServeBody>| async {
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    /// # });
    ///
    /// let ids = RequestIdLayer::new();
    /// let server = Server::bind(["0.0.0.0:80".parse()?])?.refusal_ids(&ids);
    /// server.start(move |_| ServiceBuilder::new().layer(ids.clone()).service(app.clone()))?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "request-id")]
    pub fn refusal_ids(mut self, layer: &RequestIdLayer) -> Self {
        self.settings.ids = Some(layer.clone());
        self
    }

    /// Starts the workers, and returns when all of them serve.
    ///
    /// `service` is called once on each worker's thread, with the worker's number from 0, inside the worker's runtime, so
    /// it may spawn tasks that live as long as the worker does. The service it makes is cloned for each connection,
    /// readied and called for each request in turn. A service that is to change while the server runs (a reload) is a
    /// [`Swap`](super::Swap).
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] when a further worker cannot listen too, [`ServeError::Worker`] when a thread or its runtime
    /// cannot be made, [`ServeError::Factory`] when `service` panicked. Workers that had started are stopped.
    pub fn start<F, S, B>(self, service: F) -> Result<ServerHandle, ServeError>
    where
        F: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Body + Send + 'static,
        B::Data: From<Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        self.start_with_redirects(service, |_, redirect| StrictLayer::new().layer(redirect))
    }

    /// The same with layers of your own around what listeners answer that [redirect](super::Listener::redirect_to): a path by
    /// which load balancers ask for health, an id for each request.
    ///
    /// `redirects` is called as `service` is, once more for each such listener.
    ///
    /// ```no_run
    /// use tower::ServiceBuilder;
    /// use tower_gateway::request_id::RequestIdLayer;
    /// use tower_gateway::serve::{Listener, Server};
    /// use tower_gateway::strict::StrictLayer;
    /// # use tower_gateway::tls::ServerTls;
    /// # fn run(tls: ServerTls) -> Result<(), Box<dyn std::error::Error>> {
    /// # let app = tower::service_fn(|_: http::Request<tower_gateway::serve::ServeBody>| async {
    /// #     Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
    /// # });
    ///
    /// let https = Listener::new("0.0.0.0:443".parse()?).name("https").tls(tls);
    /// let plain = Listener::new("0.0.0.0:80".parse()?).redirect_to("https");
    /// Server::listen([https, plain])?.start_with_redirects(
    ///     move |_| app.clone(),
    ///     |_, redirect| {
    ///         ServiceBuilder::new().layer(RequestIdLayer::new()).layer(StrictLayer::new()).service(redirect)
    ///     },
    /// )?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    pub fn start_with_redirects<F, S, B, G, R, C>(self, service: F, redirects: G) -> Result<ServerHandle, ServeError>
    where
        F: Fn(usize) -> S + Send + Sync + 'static,
        S: Service<Request<ServeBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Body + Send + 'static,
        B::Data: From<Bytes> + Send,
        B::Error: Into<BoxError>,
        G: Fn(usize, RedirectToHttps) -> R + Send + Sync + 'static,
        R: Service<Request<ServeBody>, Response = Response<C>> + Clone + Send + 'static,
        R::Future: Send,
        R::Error: Send,
        C: Body + Send + 'static,
        C::Data: From<Bytes> + Send,
        C::Error: Into<BoxError>,
    {
        let workers = match self.settings.workers {
            0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            workers => workers,
        };
        let mut listeners: Vec<Vec<(TcpListener, Arc<Entrance>)>> = (0..workers).map(|_| Vec::new()).collect();
        for (bound, entrance) in self.bound.into_iter().zip(self.entrances) {
            for (worker, listener) in bound.into_listeners(workers)?.into_iter().enumerate() {
                listeners[worker].push((listener, entrance.clone()));
            }
        }

        let handle = ServerHandle {
            addresses: self.addresses,
            counters: (0..workers).map(|_| Arc::default()).collect(),
            control: Arc::new(Control::new(workers)),
        };
        let (factories, admission) = (Arc::new((service, redirects)), Arc::new(Admission::new(&self.settings)));
        let settings = Arc::new(self.settings);
        let (started, starts) = mpsc::channel();
        for (number, listeners) in listeners.into_iter().enumerate() {
            let seed = Seed {
                number,
                listeners,
                settings: settings.clone(),
                admission: admission.clone(),
                counters: handle.counters[number].clone(),
            };
            let (factories, started) = (factories.clone(), started.clone());
            let running = Running { control: handle.control.clone() };
            let thread = thread::Builder::new().name(format!("serve-{number}"));
            let spawned = thread.spawn(move || {
                // Dropped last, when nothing of this worker is left.
                let running = running;
                seed.run(&factories.0, &factories.1, &running.control, move |result| {
                    // `start` may have failed on an earlier worker, and listens no longer.
                    let _ = started.send(result);
                });
            });
            if let Err(source) = spawned {
                handle.abandon();
                return Err(ServeError::Worker { worker: number, source });
            }
        }
        drop(started);
        starts.into_iter().collect::<Result<(), _>>().inspect_err(|_| handle.abandon())?;
        Ok(handle)
    }
}

impl ServerHandle {
    fn abandon(&self) {
        drop(self.drain(Duration::ZERO));
    }
}
