//! Giving way within a task: a future that wants the others of its thread to go first, and asks to be polled again.
//!
//! Whoever drives such a future can know that it will be polled again at once, and leave everything else until then.

use std::cell::Cell;
use std::task::Context;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Own,
    /// Somebody will want the others to go first as soon as it is polled.
    Asked,
    /// The others go first, and whoever wanted it is polled again.
    Given,
    /// The others went first.
    Granted,
}

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::Own) };
}

/// Tells the driver that the future that is made here will [give](give) its turn when it is polled: the driver may do so before
/// it polls at all.
#[cfg(feature = "proxy")]
pub(crate) fn ask() {
    TURN.set(Turn::Asked);
}

/// Has the task polled again, behind all that are to be polled now. False when the driver has seen to that, and nothing is to
/// be waited for.
#[cfg(feature = "proxy")]
pub(crate) fn give(cx: &Context<'_>) -> bool {
    let gives = TURN.get() != Turn::Granted;
    TURN.set(if gives { Turn::Given } else { Turn::Own });
    if gives {
        cx.waker().wake_by_ref();
    }
    gives
}

/// Says that a future is made or polled from here on, and whether the others went first because it had [asked](was_asked).
#[cfg(feature = "serve")]
pub(crate) fn begin(granted: bool) {
    TURN.set(if granted { Turn::Granted } else { Turn::Own });
}

/// Whether what was made since it [began](begin) asked for the others to go first.
#[cfg(feature = "serve")]
pub(crate) fn was_asked() -> bool {
    TURN.get() == Turn::Asked
}

/// Whether what was polled since it [began](begin) gave its turn.
#[cfg(feature = "serve")]
pub(crate) fn was_given() -> bool {
    TURN.get() == Turn::Given
}
