use std::sync::Arc;

use ::redis::{ErrorKind, ServerErrorKind};

/// Why a URL is not one of a Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// Another scheme, or none.
    #[error("a Redis URL begins with redis://, rediss://, unix:// or redis-cluster://")]
    Scheme,
    /// A host, port or database that is none. The URL itself is not repeated: it may hold a password.
    #[error("the Redis URL cannot be read: {0}")]
    Malformed(String),
    /// A path for a Unix socket, on a system without them.
    #[error("unix:// needs a system that has Unix sockets")]
    NoUnixSockets,
}

/// Why a command has no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The server has failed three times running and was not asked.
    #[error("the Redis server is taken as down")]
    Down,
    /// No answer in time. The command may have been carried out.
    #[error("the Redis server did not answer in time")]
    Deadline,
    /// No connection to it.
    #[error("no connection to the Redis server")]
    Connect(#[source] Arc<std::io::Error>),
    /// The server refused the command, or the connection broke.
    #[error("the Redis server failed the command")]
    Failed(#[from] ::redis::RedisError),
    /// An answer of another type than was asked for.
    #[error("the Redis server answered something else than expected")]
    Answer(#[source] ::redis::RedisError),
}

impl RedisError {
    /// True when the server is the reason, and not what was asked of it.
    pub(super) fn is_of_the_server(&self) -> bool {
        match self {
            Self::Deadline | Self::Connect(_) => true,
            Self::Down | Self::Answer(_) => false,
            Self::Failed(error) => match error.kind() {
                ErrorKind::Server(kind) => matches!(
                    kind,
                    ServerErrorKind::BusyLoading
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::ReadOnly
                        | ServerErrorKind::TryAgain
                ),
                ErrorKind::UnexpectedReturnType | ErrorKind::InvalidClientConfig | ErrorKind::Client => false,
                // It does not let us in, or does nothing for anybody: a script that does not end, a disk or memory that is full.
                ErrorKind::Extension => {
                    matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "BUSY" | "MISCONF" | "OOM"))
                }
                _ => true,
            },
        }
    }

    pub(super) fn ends_the_connection(&self) -> bool {
        match self {
            // After a failover a name may lead to another server than the one that has become a replica.
            Self::Failed(error) => {
                error.is_unrecoverable_error() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            }
            _ => false,
        }
    }

    pub(super) fn is_no_script(&self) -> bool {
        matches!(self, Self::Failed(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }
}
