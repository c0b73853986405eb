use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::BoxError;
use crate::body::RequestBodyError;

/// Why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address as it was given.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A listener redirects to one that is not there, or does not speak TLS.
    #[error("cannot redirect to {name:?}: no listener with TLS has this name")]
    Redirect {
        /// The name.
        name: String,
    },
    /// A worker's thread or runtime could not be made.
    #[error("cannot start worker {worker}: {source}")]
    Worker {
        /// The worker's number, from 0.
        worker: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The closure that makes a worker's service panicked.
    #[error("the service of worker {worker} could not be made: its factory panicked")]
    Factory {
        /// The worker's number, from 0.
        worker: usize,
    },
}

/// Why a request body ended early. [`RequestBodyError::find`] tells whether it was the server itself that cut it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeBodyError {
    /// The body broke a limit of the server's.
    #[error("the request body was cut short")]
    Refused(#[source] RequestBodyError),
    /// The connection failed, or what came was not HTTP.
    #[error("the connection failed before the request body had ended")]
    Connection(#[source] BoxError),
}
