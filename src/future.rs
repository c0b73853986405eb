//! The future of a layer that either calls the inner service at once or answers by itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use pin_project_lite::pin_project;

use crate::aside::aside;
use crate::body::ResponseBody;

pin_project! {
    /// The inner service's response with its body in a [`ResponseBody`], or an answer that was ready before.
    #[derive(Debug)]
    pub struct InnerOrOwn<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Inner { #[pin] future: F },
        Own { response: Option<Response<Bytes>> },
    }
}

impl<F> InnerOrOwn<F> {
    pub(crate) fn inner(future: F) -> Self {
        Self { kind: Kind::Inner { future } }
    }

    pub(crate) fn own(response: Response<Bytes>) -> Self {
        Self { kind: Kind::Own { response: Some(response) } }
    }
}

impl<F, R, E> Future for InnerOrOwn<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
            KindProj::Own { response } => {
                aside();
                let response = response.take().expect("polled after it had completed");
                Poll::Ready(Ok(response.map(ResponseBody::own)))
            }
        }
    }
}
