//! An origin that fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{OriginConnection, RawOrigin};

/// Answers `well`, or 503 while it is to fail, and counts requests that are no checks of its health.
pub struct FailingOrigin {
    pub origin: RawOrigin,
    fails: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
}

impl FailingOrigin {
    pub async fn start() -> Self {
        let (fails, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (failing, counted) = (fails.clone(), requests.clone());
        let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
            let (failing, counted) = (failing.clone(), counted.clone());
            async move {
                while let Some(request) = connection.request().await {
                    if !request.starts_with("GET /healthz ") {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    let status = if failing.load(Ordering::SeqCst) { "503 Out" } else { "200 OK" };
                    connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nwell")).await;
                }
            }
        })
        .await;
        Self { origin, fails, requests }
    }

    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    pub fn take_requests(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }
}
