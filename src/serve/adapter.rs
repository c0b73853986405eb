use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use super::answer::{AnswerBody, Answering, Origin};
use super::body::ServeBody;
use super::signals::Signals;
use crate::body::RequestBodyError;
use crate::{Connection, InterimSink, Oneshot, Reason, Rejection, RequestContext};

/// A tower service as hyper calls one, for the requests of one connection.
///
/// HTTP/1.1 serves one request of a connection at a time, so one instance serves them all: it is cloned once a
/// connection, readied and called where it stands, and holds nothing between two requests.
pub(super) struct Adapter<S> {
    pub(super) service: RefCell<S>,
    pub(super) connection: Connection,
    pub(super) max_body_bytes: Option<u64>,
    pub(super) signals: Arc<Signals>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Adapter<S>
where
    S: Service<Request<ServeBody>, Response = Response<B>> + Clone,
    B: Body,
    B::Data: From<Bytes>,
{
    type Response = Response<AnswerBody<B>>;
    type Error = Infallible;
    type Future = Answering<Oneshot<S, Request<ServeBody>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let takes_interim = request.version() == Version::HTTP_11;
        let number = self.signals.request_began(!request.body().is_end_stream(), takes_interim);
        let may_end_with_connection = request.version() == Version::HTTP_10 && request.method() != Method::HEAD;
        if let Some(upgrade) = request.extensions().get::<OnUpgrade>() {
            self.signals.upgrade_offered(upgrade);
            request.extensions_mut().insert(self.signals.counters().drain.watch());
        }
        let origin = Origin { signals: self.signals.clone(), may_end_with_connection };

        let announced = request.body().size_hint().lower();
        let mut request = request.map(|incoming| ServeBody::new(incoming, self.max_body_bytes, &self.signals));
        if self.signals.framing_is_in_doubt() {
            let rejection =
                Rejection::new("serve", Reason::BadRequest).detail("the length of the message is ambiguous");
            return Answering::refused(origin, rejection);
        }
        if let Some(limit) = self.max_body_bytes.filter(|limit| announced > *limit) {
            let reason = RequestBodyError::TooLarge { limit }.reason();
            return Answering::refused(origin, Rejection::new("serve", reason));
        }

        let interim = takes_interim.then(|| InterimSink::new(self.signals.clone(), number));
        request.extensions_mut().insert(RequestContext::of_received(self.connection.clone(), interim));

        let call = || Oneshot::start(&mut *self.service.borrow_mut(), request);
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(future) => Answering::called(origin, future),
            Err(_) => Answering::panicked(origin),
        }
    }
}
