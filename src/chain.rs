//! The chain of an error's causes.

use std::error::Error;
use std::io;

/// `error` and what caused it, outermost first.
///
/// An `io::Error` that wraps another error gives that error's source as its own and skips the error itself, which is the
/// one that says what happened: it is not skipped here.
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| cause(error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
