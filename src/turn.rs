//! Giving way within a task: a future that wants the others of its thread to go first, and asks to be polled again.
//!
//! Whoever drives such a future can know that it will be polled again at once, and leave everything else until then.

use std::cell::Cell;
use std::task::Context;

thread_local! {
    static GIVEN: Cell<bool> = const { Cell::new(false) };
}

/// Has the task polled again, behind all that are to be polled now.
#[cfg(feature = "proxy")]
pub(crate) fn give(cx: &Context<'_>) {
    cx.waker().wake_by_ref();
    GIVEN.set(true);
}

/// Runs `poll`, and tells whether it [gave](give) its turn.
#[cfg(feature = "serve")]
pub(crate) fn given_by<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    GIVEN.set(false);
    (poll(), GIVEN.get())
}
