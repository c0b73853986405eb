use std::io;

/// Waits for the signal that asks this process to stop: SIGTERM, or SIGINT (Ctrl-C).
///
/// From the first poll on, neither ends the process by itself any more. To let a second one end the wait for a drain,
/// call it again.
///
/// # Errors
///
/// When the signals cannot be listened for.
///
/// # Panics
///
/// Outside a tokio runtime with IO enabled.
pub async fn shutdown_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::pin::pin;
        use tokio::signal::unix::{SignalKind, signal};

        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        futures_util::future::select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
