//! A wire that takes its time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Passes on what it is sent, either way, so much later: bytes, ends, and resets as ends. As on a wire, what comes soon after
/// something else is as late as that, and no later.
pub struct DelayedWire {
    pub address: SocketAddr,
}

impl DelayedWire {
    pub async fn to(target: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    for stream in [&near, &far] {
                        stream.set_nodelay(true).unwrap();
                    }
                    let ((near_reads, near_writes), (far_reads, far_writes)) = (near.into_split(), far.into_split());
                    tokio::spawn(pass_on(near_reads, far_writes, delay));
                    pass_on(far_reads, near_writes, delay).await;
                });
            }
        });
        Self { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn pass_on(
    mut reader: tokio::net::tcp::OwnedReadHalf,
    mut writer: tokio::net::tcp::OwnedWriteHalf,
    delay: Duration,
) {
    let (sent, mut on_its_way) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    tokio::spawn(async move {
        loop {
            let mut bytes = vec![0; 16 << 10];
            let read = reader.read(&mut bytes).await.unwrap_or(0);
            bytes.truncate(read);
            if sent.send((Instant::now() + delay, bytes)).await.is_err() || read == 0 {
                return;
            }
        }
    });
    while let Some((due, bytes)) = on_its_way.recv().await {
        tokio::time::sleep_until(due).await;
        if bytes.is_empty() || writer.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = writer.shutdown().await;
}
