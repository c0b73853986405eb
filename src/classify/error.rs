use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;

use crate::{BoxError, UpstreamError, UpstreamErrorKind};

/// The error of a call or of an answer's body, as a [`Classifier`](super::Classifier) sees it.
#[derive(Clone, Copy)]
pub struct CallError<'a> {
    error: &'a dyn Any,
    kind: Option<UpstreamErrorKind>,
}

impl<'a> CallError<'a> {
    /// Any error, whose chain of causes is searched for what happened.
    pub fn new<E: 'static>(error: &'a E) -> Self {
        Self { error, kind: kind_of(error) }
    }

    /// What happened, where it is known: for [`UpstreamError`], for the errors of hyper and of the operating system, and for
    /// boxed errors that were caused by one of them.
    pub fn kind(&self) -> Option<UpstreamErrorKind> {
        self.kind
    }

    /// The error itself.
    pub fn downcast_ref<E: 'static>(&self) -> Option<&'a E> {
        self.error.downcast_ref()
    }
}

fn kind_of(error: &dyn Any) -> Option<UpstreamErrorKind> {
    if let Some(own) = error.downcast_ref::<UpstreamError>() {
        return Some(own.kind());
    }
    if error.is::<Infallible>() {
        return None;
    }
    let error: &(dyn Error + 'static) = if let Some(boxed) = error.downcast_ref::<BoxError>() {
        &**boxed
    } else if let Some(error) = error.downcast_ref::<io::Error>() {
        error
    } else {
        #[cfg(feature = "proxy")]
        {
            error.downcast_ref::<hyper::Error>()?
        }
        #[cfg(not(feature = "proxy"))]
        return None;
    };
    UpstreamErrorKind::find(error)
}

impl fmt::Debug for CallError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError").field("kind", &self.kind).finish_non_exhaustive()
    }
}
