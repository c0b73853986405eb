//! Origins on raw sockets: what they receive is seen byte for byte, and what they answer may be anything.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod certificates;
pub mod delay;
pub mod failing;
pub mod frames;
pub mod gateway;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Lets the other tasks of this thread have several turns, in which they learn of what happens to their connections. However
/// busy the machine, it is as many.
pub async fn turns() {
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An address where nobody listens, and which nobody else is given as long as this is there.
pub struct Nobody {
    pub address: SocketAddr,
    _bound: TcpSocket,
}

impl Nobody {
    pub fn new() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { address: bound.local_addr().unwrap(), _bound: bound }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// An origin that runs a script for each connection, and tells what it received.
pub struct RawOrigin {
    pub address: SocketAddr,
    received: mpsc::UnboundedReceiver<String>,
}

/// One connection to a [`RawOrigin`].
pub struct OriginConnection {
    pub stream: TcpStream,
    buffer: Vec<u8>,
    received: mpsc::UnboundedSender<String>,
}

impl RawOrigin {
    /// Answers every request with the same bytes, and keeps the connection.
    pub async fn answering(answer: &'static str) -> Self {
        Self::scripted(move |mut connection| async move {
            while connection.request().await.is_some() {
                connection.send(answer).await;
            }
        })
        .await
    }

    /// Runs `script` for each connection.
    pub async fn scripted<F>(script: impl Fn(OriginConnection) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(script(OriginConnection { stream, buffer: Vec::new(), received: sender.clone() }));
            }
        });
        Self { address, received }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request, as it came: head and body.
    pub async fn received(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.received.recv()).await.expect("no request came").unwrap()
    }

    /// True when nothing has come that was not taken.
    pub fn is_untouched(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

impl OriginConnection {
    /// Reads one request with its body, and tells the test. `None` when the connection ended.
    pub async fn request(&mut self) -> Option<String> {
        let end = self.until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
        let end = if head.contains("transfer-encoding: chunked") {
            // The last chunk, and trailers if there are any.
            self.until(|bytes| {
                let last = find(&bytes[end..], b"0\r\n")? + end;
                find(&bytes[last..], b"\r\n\r\n").map(|at| last + at + 4)
            })
            .await?
        } else {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            self.until(|bytes| (bytes.len() >= end + length).then_some(end + length)).await?
        };
        let request = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let _ = self.received.send(request.clone());
        Some(request)
    }

    /// Reads the head of a request and leaves its body unread.
    pub async fn head(&mut self) -> Option<String> {
        let end = self.until(|bytes| find(bytes, b"\r\n\r\n").map(|at| at + 4)).await?;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let _ = self.received.send(head.clone());
        Some(head)
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Fills `bytes` with what comes after the requests that were read.
    pub async fn read_exact(&mut self, bytes: &mut [u8]) {
        let buffered = self.buffer.len().min(bytes.len());
        bytes[..buffered].copy_from_slice(&self.buffer[..buffered]);
        self.buffer.drain(..buffered);
        let _ = self.stream.read_exact(&mut bytes[buffered..]).await;
    }

    /// Waits until the other side has closed.
    pub async fn closed(&mut self) {
        let mut bytes = [0; 1024];
        while matches!(self.stream.read(&mut bytes).await, Ok(1..)) {}
    }

    /// Closes with a reset instead of an end.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    async fn until(&mut self, done: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(end) = done(&self.buffer) {
                return Some(end);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(1..) => {}
                _ => return None,
            }
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// The value of a field in a head as it was received, names in any case.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).take_while(|line| !line.is_empty()).find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
