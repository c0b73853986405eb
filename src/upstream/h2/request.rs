//! A request as HTTP/2 has it (RFC 9113 section 8.3.1).

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use crate::upstream::h1::encode::RequestFraming;

/// The head of a request, its Host as the authority. `None` where that is no authority.
pub(in crate::upstream) fn head(
    method: &Method,
    scheme: &Scheme,
    host: &HeaderValue,
    path: PathAndQuery,
    headers: &HeaderMap,
    framing: RequestFraming,
) -> Option<Request<()>> {
    let authority = Authority::from_maybe_shared(host.clone()).ok()?;
    let uri = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query(path).build().ok()?;
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let own = request.headers_mut();
    *own = headers.clone();
    // What frames an HTTP/1.1 message, or concerned its connection, has no place here (section 8.2.2).
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE] {
        own.remove(name);
    }
    if let RequestFraming::Length(length) = framing {
        own.insert(CONTENT_LENGTH, length.into());
    }
    Some(request)
}
