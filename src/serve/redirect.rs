//! What a listener answers that is only there to send clients to HTTPS.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use tower_service::Service;

use crate::body::ResponseBody;
use crate::{Reason, Rejection, RequestContext};

/// Answers every request with a 308 (RFC 9110 section 15.4.9) to the same host, path and query, over HTTPS at the port of the
/// listener that its own [redirects to](super::Listener::redirect_to). For requests that are strictly well formed: a
/// [`StrictLayer`](crate::strict::StrictLayer) goes around it.
#[derive(Clone, Copy, Debug)]
pub struct RedirectToHttps {
    pub(super) port: u16,
}

impl<B> Service<Request<B>> for RedirectToHttps {
    type Response = Response<ResponseBody<Empty<Bytes>>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = match self.location(&request) {
            Some(location) => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                response.headers_mut().insert(LOCATION, location);
                response
            }
            None => {
                let context = request.extensions().get::<RequestContext>();
                let detail = "this port redirects to HTTPS, and the request does not say to which host or path";
                Rejection::new("redirect", Reason::BadRequest).detail(detail).response(context)
            }
        };
        ready(Ok(response.map(ResponseBody::own)))
    }
}

impl RedirectToHttps {
    fn location<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let host = match request.headers().get(HOST) {
            Some(host) => host.to_str().ok()?,
            None => request.uri().authority()?.as_str(),
        };
        let host = without_port(host);
        let path = request.uri().path_and_query()?.as_str();
        if host.is_empty() || !path.starts_with('/') {
            return None;
        }
        let location = match self.port {
            443 => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        HeaderValue::try_from(location).ok()
    }
}

/// An IPv6 address has colons of its own, within brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(port: u16, target: &str, host: Option<&str>) -> Option<String> {
        let request = Request::builder().uri(target);
        let request = host.into_iter().fold(request, |request, host| request.header(HOST, host)).body(()).unwrap();
        RedirectToHttps { port }.location(&request).map(|location| location.to_str().unwrap().to_owned())
    }

    #[test]
    fn host_path_and_query_stay_and_the_port_is_the_listeners() {
        let of = |port, host| location(port, "/a%20b//c?x=1&y=%2F", Some(host)).unwrap();
        assert_eq!(of(443, "example.com"), "https://example.com/a%20b//c?x=1&y=%2F");
        assert_eq!(of(443, "example.com:80"), "https://example.com/a%20b//c?x=1&y=%2F");
        assert_eq!(of(8443, "example.com:8080"), "https://example.com:8443/a%20b//c?x=1&y=%2F");
        assert_eq!(of(8443, "[::1]"), "https://[::1]:8443/a%20b//c?x=1&y=%2F");
        assert_eq!(of(443, "[::1]:8080"), "https://[::1]/a%20b//c?x=1&y=%2F");
        assert_eq!(location(443, "http://a.example/x", None).unwrap(), "https://a.example/x");
    }

    #[test]
    fn without_a_host_or_a_path_there_is_nowhere_to_go() {
        assert_eq!(location(443, "/", None), None);
        assert_eq!(location(443, "*", Some("example.com")), None);
    }
}
