//! Key sets over HTTP: one request, on a connection of its own, to the very server that the URL names.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AGE, CACHE_CONTROL, CONNECTION, DATE, EXPIRES, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Jwks;
use super::builder::{JwksBuilder, JwksConfigError};
use super::refresh::MAX_SET_LENGTH;
use super::source::{FetchFuture, Fetched, JwksSource};
use crate::BoxError;
use crate::auth::json;

impl Jwks {
    /// Keys from `https://host[:port]/path`, or `http` on this machine. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// [`JwksConfigError`] when the URL is another.
    pub fn url(url: &str) -> Result<JwksBuilder, JwksConfigError> {
        Ok(Self::source(Remote { url: Url::parse(url, false)?, issuer: None, client: Client::default() }))
    }

    /// The same over plain HTTP, to any machine: whoever is on the way there can put keys of theirs in.
    ///
    /// # Errors
    ///
    /// [`JwksConfigError`] when the URL is neither.
    pub fn url_over_insecure_http(url: &str) -> Result<JwksBuilder, JwksConfigError> {
        Ok(Self::source(Remote { url: Url::parse(url, true)?, issuer: None, client: Client::default() }))
    }

    /// Keys from where the issuer says they are, in `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0
    /// section 4). `issuer` is what the tokens have for `iss`, and the document has to say the same.
    ///
    /// # Errors
    ///
    /// [`JwksConfigError`] when it is not `https://host[:port][/path]`, or `http` on this machine.
    pub fn discover(issuer: &str) -> Result<JwksBuilder, JwksConfigError> {
        let document = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = Url::parse(&document, false).map_err(|_| JwksConfigError::Url(issuer.to_owned()))?;
        Ok(Self::source(Remote { url, issuer: Some(issuer.into()), client: Client::default() }))
    }
}

/// A key set, or the document that names the place of one.
struct Remote {
    url: Url,
    issuer: Option<Arc<str>>,
    client: Client,
}

impl JwksSource for Remote {
    fn fetch(&self) -> FetchFuture {
        let (url, issuer, client) = (self.url.clone(), self.issuer.clone(), self.client.clone());
        Box::pin(async move {
            let keys = match issuer {
                None => url,
                Some(issuer) => place_of_keys(&client.get(&url).await?.set, &issuer, url.secure)?,
            };
            client.get(&keys).await
        })
    }
}

/// What a discovery document says, when it is that of this issuer (section 4.3). One that came over TLS does not send us
/// anywhere without.
fn place_of_keys(document: &[u8], issuer: &str, secure: bool) -> Result<Url, BoxError> {
    let document = json::object(document).ok_or("the discovery document is not one JSON object")?;
    if document.get("issuer").and_then(|own| own.as_str()) != Some(issuer) {
        return Err("the discovery document is of another issuer".into());
    }
    let place =
        document.get("jwks_uri").and_then(|place| place.as_str()).ok_or("the discovery document has no jwks_uri")?;
    let place = Url::parse(place, false)?;
    if secure && !place.secure { Err("the keys are not where TLS protects them".into()) } else { Ok(place) }
}

#[derive(Clone, Debug)]
struct Url {
    secure: bool,
    authority: Authority,
    target: PathAndQuery,
}

impl Url {
    fn parse(text: &str, allow_plain: bool) -> Result<Self, JwksConfigError> {
        let parse = || {
            let parts = text.parse::<Uri>().ok()?.into_parts();
            let (scheme, authority) = (parts.scheme?, parts.authority?);
            let secure = scheme == Scheme::HTTPS;
            let allowed = secure || (scheme == Scheme::HTTP && (allow_plain || is_this_machine(authority.host())));
            let is_plain_authority = !authority.as_str().contains('@') && !authority.host().is_empty();
            let target = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
            (allowed && is_plain_authority).then_some(Self { secure, authority, target })
        };
        parse().ok_or_else(|| JwksConfigError::Url(text.to_owned()))
    }

    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Asks servers whose certificate one of this machine's authorities has signed.
#[derive(Clone, Default)]
struct Client(Arc<OnceLock<TlsConnector>>);

impl Client {
    async fn get(&self, url: &Url) -> Result<Fetched, BoxError> {
        let stream = TcpStream::connect((url.host(), url.port())).await?;
        if !url.secure {
            return exchange(stream, url).await;
        }
        let name = ServerName::try_from(url.host().to_owned())?;
        let stream = self.connector().await?.connect(name, stream).await?;
        exchange(stream, url).await
    }

    async fn connector(&self) -> Result<TlsConnector, BoxError> {
        if let Some(connector) = self.0.get() {
            return Ok(connector.clone());
        }
        // Files are read.
        let connector = tokio::task::spawn_blocking(trusting_the_machine).await??;
        Ok(self.0.get_or_init(|| connector).clone())
    }
}

/// With a provider that is named: rustls has none of its own where two are compiled in.
fn trusting_the_machine() -> Result<TlsConnector, BoxError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificate".into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn exchange<S>(stream: S, url: &Url) -> Result<Fetched, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(64 * 1024).handshake(TokioIo::new(stream)).await?;
    let request = Request::get(url.target.as_str())
        .header(HOST, url.authority.as_str())
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is a {}", response.status()).into());
        }
        let fresh_for = freshness(response.headers());
        let mut body = response.into_body();
        let mut set = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if set.len() + data.len() > MAX_SET_LENGTH {
                return Err("the answer is too long".into());
            }
            set.extend_from_slice(&data);
        }
        Ok(Fetched { set: set.freeze(), fresh_for })
    };
    // Driven here rather than by a task of its own, so that nothing of it is left when this is dropped.
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    }
}

/// The freshness lifetime that is left (RFC 9111 section 4.2), where the answer states one.
fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let directives =
        || headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let named = |name: &str| directives().any(|directive| directive.trim().eq_ignore_ascii_case(name));
    if named("no-store") || named("no-cache") {
        return Some(Duration::ZERO);
    }
    let max_age = directives().find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        let is_max_age = name.eq_ignore_ascii_case("max-age");
        is_max_age.then(|| seconds.trim_matches('"').parse::<u64>().ok()).flatten()
    });
    let lifetime = match max_age {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            // A date that cannot be read is one that is past (section 5.3).
            let Ok(expires) = httpdate::parse_http_date(text(EXPIRES)?) else { return Some(Duration::ZERO) };
            let date = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
            expires.duration_since(date).unwrap_or_default()
        }
    };
    let age = text(AGE).and_then(|age| age.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    Some(lifetime.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for url in [
            "https://a.example/keys",
            "https://a.example:8443",
            "http://127.0.0.1:1/k?x=y",
            "http://localhost/",
            "http://[::1]/",
        ] {
            assert!(Url::parse(url, false).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/",
            "http://10.0.0.1/",
            "http://localhost.evil.example/",
            "ftp://a/",
            "https://u:p@a/",
            "/keys",
            "https:///x",
            "",
        ] {
            assert!(Url::parse(url, false).is_err(), "{url}");
        }
        assert!(Url::parse("http://a.example/", true).is_ok() && Url::parse("ftp://a/", true).is_err());
        assert_eq!(Url::parse("https://[2001:db8::1]/", false).unwrap().host(), "2001:db8::1");
    }

    #[test]
    fn a_discovery_document_is_of_the_issuer_that_was_asked() {
        let place = |document: &str| {
            place_of_keys(document.as_bytes(), "https://a.example", true).map(|url| url.target.to_string())
        };
        assert_eq!(place(r#"{"issuer":"https://a.example","jwks_uri":"https://b.example/k"}"#).unwrap(), "/k");
        for bad in [
            r#"{"issuer":"https://evil.example","jwks_uri":"https://b.example/k"}"#,
            r#"{"issuer":"https://a.example/","jwks_uri":"https://b.example/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"http://b.example/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"http://127.0.0.1/k"}"#,
            r#"{"issuer":"https://a.example"}"#,
            r#"{"issuer":"https://a.example","issuer":"https://a.example","jwks_uri":"https://b.example/k"}"#,
            "[]",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn freshness_is_what_the_answer_states_less_its_age() {
        let of = |lines: &[(&str, &str)]| {
            let headers =
                lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
            freshness(&headers.collect()).map(|fresh| fresh.as_secs())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("cache-control", "public, Max-Age=300")]), Some(300));
        assert_eq!(of(&[("cache-control", "max-age=300"), ("age", "100")]), Some(200));
        assert_eq!(of(&[("cache-control", "max-age=300, no-store")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=-1")]), None);
        let dates = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("expires", "Sun, 06 Nov 1994 08:50:37 GMT")];
        assert_eq!(of(&dates), Some(60));
        assert_eq!(of(&[("expires", "0")]), Some(0));
    }
}
