use std::future::Future;
use std::io;

/// Waits for the signal that asks this process to stop: SIGTERM, or SIGINT (Ctrl-C).
///
/// From the call on, and not from the first poll, neither ends the process by itself any more: call it before you say that you
/// serve. To let a second signal end the wait for a drain, call it again.
///
/// # Errors
///
/// When the signals cannot be listened for.
///
/// # Panics
///
/// Outside a tokio runtime with IO enabled.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use std::pin::pin;
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        futures_util::future::select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
    })
}

/// Waits for Ctrl-C, which asks this process to stop.
///
/// # Errors
///
/// When it cannot be listened for.
///
/// # Panics
///
/// Outside a tokio runtime with IO enabled.
#[cfg(windows)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut asked = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        asked.recv().await;
    })
}
