//! What hooks and extractors see of a request.

use http::{Extensions, HeaderMap, Method, Request, Uri, request};

use crate::RequestContext;

/// The head of a request, borrowed: what hooks, skip rules and key extractors are given. The body is never theirs.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    /// Where it has been looked up before.
    context: Option<&'a RequestContext>,
}

impl<'a> Head<'a> {
    /// The head of `request`.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            context: None,
        }
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The target.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The header fields.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The extensions: facts that your own layers have left on the request.
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// What the layers before this one know of the request. `None` where none of them has made it.
    pub fn context(&self) -> Option<&'a RequestContext> {
        self.context.or_else(|| self.extensions.get())
    }

    /// The same, for whoever asks for the context more than once.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn with_its_context(self) -> Self {
        Self { context: self.extensions.get(), ..self }
    }
}

impl<'a> From<&'a request::Parts> for Head<'a> {
    fn from(parts: &'a request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
            context: None,
        }
    }
}
