//! What a stop means to answers that have no end: a stream of events goes on for as long as the grace, and is never taken for
//! whole when it is cut.

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::gateway::{Gateway, binary};
use support::{PATIENCE, RawOrigin};

const GRACE: Duration = Duration::from_secs(1);

/// Sends an event every so often, for ever; or one, and then nothing.
async fn events(pause: Option<Duration>) -> RawOrigin {
    RawOrigin::scripted(move |mut connection| async move {
        connection.head().await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.send(head).await;
        connection.send("9\r\ndata: 1\n\n\r\n").await;
        match pause {
            None => connection.closed().await,
            Some(pause) => loop {
                tokio::time::sleep(pause).await;
                if connection.stream.write_all(b"9\r\ndata: 2\n\n\r\n").await.is_err() {
                    return;
                }
            },
        }
    })
    .await
}

struct Stopping {
    gateway: Gateway,
    asked: Instant,
}

fn gateway(origin: &RawOrigin) -> Gateway {
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nshutdown_grace = \"1s\"\n[upstreams.o]\nservers = [\"{}\"]\n\
         [routes.all]\npath = \"/\"\nupstream = \"o\"\n",
        origin.url()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).unwrap();
    Gateway::start(Command::new(binary()).arg("--config").arg(&file))
}

fn stop(gateway: Gateway) -> Stopping {
    let asked = Instant::now();
    gateway.signal("TERM");
    Stopping { gateway, asked }
}

impl Stopping {
    /// The process ends with its grace: not before, for the stream could have come to its end, and not long after.
    fn ends_with_its_grace(mut self) {
        assert!(self.gateway.process.wait().unwrap().success());
        let took = self.asked.elapsed();
        assert!(took >= GRACE && took < GRACE + PATIENCE / 2, "{took:?}");
    }
}

async fn connect(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// All that comes, once something has, and how it ends.
async fn all(stream: &mut TcpStream) -> (String, std::io::Result<usize>) {
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    let end = tokio::time::timeout(PATIENCE, read).await.expect("it hangs");
    (String::from_utf8(received).unwrap(), end)
}

async fn first_event(stream: &mut TcpStream) -> String {
    let mut received = String::new();
    while !received.contains("data: 1") {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("no event").unwrap();
        assert_ne!(read, 0, "{received}");
        received.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_1_1_the_last_chunk_is_missing_whether_events_come_or_not() {
    for pause in [None, Some(Duration::from_millis(20))] {
        let origin = events(pause).await;
        let gateway = gateway(&origin);
        let mut client = connect(gateway.address, "GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n").await;
        let head = first_event(&mut client).await;
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let stopping = stop(gateway);
        let (received, _) = all(&mut client).await;
        assert!(!received.contains("0\r\n\r\n"), "{received}");
        assert!(pause.is_none() || received.matches("data: 2").count() > 2, "events came during the grace: {received}");
        stopping.ends_with_its_grace();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_with_its_connection_is_reset() {
    let origin = events(None).await;
    let gateway = gateway(&origin);
    let mut client = connect(gateway.address, "GET / HTTP/1.0\r\nHost: gw.example\r\n\r\n").await;
    let head = first_event(&mut client).await;
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    let stopping = stop(gateway);
    let (_, end) = all(&mut client).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    stopping.ends_with_its_grace();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_a_client_is_told_at_once_and_its_stream_fails_with_the_grace() {
    for pause in [None, Some(Duration::from_millis(20))] {
        let origin = events(pause).await;
        let gateway = gateway(&origin);
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = Request::get("http://gw.example/").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let mut body = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
        let event: Bytes = tokio::time::timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
        assert_eq!(event, "data: 1\n\n");
        let stopping = stop(gateway);
        let mut events = 0;
        let error = loop {
            match tokio::time::timeout(PATIENCE, body.data()).await.expect("it hangs") {
                Some(Ok(piece)) => {
                    body.flow_control().release_capacity(piece.len()).unwrap();
                    events += 1;
                }
                Some(Err(error)) => break error,
                None => panic!("it is taken for whole"),
            }
        };
        assert!(stopping.asked.elapsed() >= GRACE, "cut before its grace: {error}");
        assert!(error.is_remote() && error.reason() == Some(h2::Reason::CANCEL), "{error}");
        assert!(pause.is_none() || events > 2, "events came during the grace");
        // Its connection takes no more requests from the beginning, and has ended with the stream.
        assert!(client.ready().await.is_err());
        tokio::time::timeout(PATIENCE, connection).await.expect("it hangs").unwrap().unwrap();
        stopping.ends_with_its_grace();
    }
}
