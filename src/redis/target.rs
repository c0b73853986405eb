//! Which server, and how it is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::ClusterClient;
use ::redis::{AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connection::{Driver, Link};
use super::tls::Tls;
use super::{RedisError, RedisUrlError};

/// A connection may take longer to be made than a command may take: those who wait for it leave at their own deadline.
const CONNECT_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(super) enum Target {
    One { address: ConnectionAddr, tls: Option<Tls>, settings: RedisConnectionInfo },
    Cluster(Box<ClusterClient>),
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError::Scheme)?;
        match scheme {
            "redis" => Self::one(url, None),
            "rediss" => {
                let info = connection_info(&format!("redis://{rest}"))?;
                let ConnectionAddr::Tcp(host, _) = info.addr() else { return Err(RedisUrlError::Scheme) };
                Self::one(&format!("redis://{rest}"), Some(Tls::to(host)?))
            }
            "unix" if cfg!(unix) => Self::one(url, None),
            "unix" => Err(RedisUrlError::NoUnixSockets),
            "redis-cluster" => Self::cluster(rest),
            _ => Err(RedisUrlError::Scheme),
        }
    }

    fn one(url: &str, tls: Option<Tls>) -> Result<Self, RedisUrlError> {
        let info = connection_info(url)?;
        // Servers before 7.2 know nothing of a client's library, and whoever is allowed a few commands may not say it.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        Ok(Self::One { address: info.addr().clone(), tls, settings })
    }

    /// `user:password@` may stand before the first host, and is then every node's.
    fn cluster(rest: &str) -> Result<Self, RedisUrlError> {
        let (credentials, hosts) = match rest.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), rest),
        };
        let nodes = hosts.trim_end_matches('/').split(',');
        let nodes: Vec<_> =
            nodes.map(|host| connection_info(&format!("redis://{credentials}{host}"))).collect::<Result<_, _>>()?;
        let client = ClusterClient::builder(nodes)
            // A try more is for a slot that has moved; the deadline is the caller's.
            .retries(2)
            .min_retry_wait(1)
            .max_retry_wait(10)
            .connection_timeout(CONNECT_PATIENCE)
            .build();
        Ok(Self::Cluster(Box::new(client.map_err(malformed)?)))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// How long a connection may take to be made.
    pub(super) fn patience(&self, timeout: Duration) -> Duration {
        timeout.max(CONNECT_PATIENCE)
    }

    pub(super) async fn connect(&self) -> Result<(Link, Option<Driver>), RedisError> {
        match self {
            Self::Cluster(client) => Ok((Link::Cluster(client.get_async_connection().await?), None)),
            Self::One { address, tls, settings } => match address {
                ConnectionAddr::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(no_connection)?;
                    // A check is one small packet that somebody waits for.
                    stream.set_nodelay(true).map_err(no_connection)?;
                    match tls {
                        None => greet(settings, stream).await,
                        Some(tls) => greet(settings, tls.over(stream).await.map_err(no_connection)?).await,
                    }
                }
                #[cfg(unix)]
                ConnectionAddr::Unix(path) => {
                    greet(settings, tokio::net::UnixStream::connect(path).await.map_err(no_connection)?).await
                }
                // No other kind is made above.
                _ => Err(no_connection(std::io::ErrorKind::Unsupported.into())),
            },
        }
    }
}

async fn greet(
    settings: &RedisConnectionInfo,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(Link, Option<Driver>), RedisError> {
    // The deadline is the caller's, who counts it.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(1024);
    let (link, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
    Ok((Link::One(link), Some(Box::pin(driver))))
}

fn connection_info(url: &str) -> Result<ConnectionInfo, RedisUrlError> {
    url.into_connection_info().map_err(malformed)
}

fn malformed(error: ::redis::RedisError) -> RedisUrlError {
    RedisUrlError::Malformed(error.to_string())
}

fn no_connection(error: std::io::Error) -> RedisError {
    RedisError::Connect(Arc::new(error))
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One { address, tls, .. } => {
                f.debug_struct("One").field("address", address).field("tls", &tls.is_some()).finish_non_exhaustive()
            }
            Self::Cluster(_) => f.debug_struct("Cluster").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> String {
        match Target::parse(url).unwrap() {
            Target::One { address, tls, settings } => format!("{address} tls:{} db:{}", tls.is_some(), settings.db()),
            Target::Cluster(_) => "cluster".into(),
        }
    }

    #[test]
    fn each_kind_of_url_is_read() {
        assert_eq!(address("redis://127.0.0.1"), "127.0.0.1:6379 tls:false db:0");
        assert_eq!(address("redis://user:secret@redis.internal:7000/2"), "redis.internal:7000 tls:false db:2");
        assert_eq!(address("rediss://redis.internal:7000"), "redis.internal:7000 tls:true db:0");
        assert_eq!(address("unix:///run/redis.sock"), "/run/redis.sock tls:false db:0");
        assert_eq!(address("redis-cluster://user:secret@a:7000,b:7001"), "cluster");
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for url in
            ["127.0.0.1:6379", "http://a", "redis://", "redis://user:secret@a:99999", "redis-cluster://user:secret@a:x"]
        {
            let error = Target::parse(url).map(drop).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_printed_holds_no_password() {
        let printed = format!("{:?}", crate::redis::Redis::builder("redis://user:secret@a").unwrap());
        assert!(!printed.contains("secret"), "{printed}");
    }
}
