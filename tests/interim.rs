//! What an origin answers before its time, on raw sockets: interim answers, and final ones in the middle of an upload.

mod support;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use support::{PATIENCE, RawOrigin};
use tokio::sync::Notify;
use tower_gateway::RequestContext;
use tower_gateway::proxy::ProxyService;
use tower_gateway::serve::{ServeBody, Server, ServerHandle};
use tower_gateway::upstream::{Client, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok";
const OK_THROUGH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: x\r\n\r\nok";
const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
const HINT_THROUGH: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Gateway(ServerHandle);

impl Gateway {
    fn new(origin: &RawOrigin) -> Self {
        let upstream = Upstream::new([origin.url()]).unwrap();
        let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1).max_body_bytes(None);
        Self(server.start(move |_| ProxyService::new(Client::new(upstream.clone()))).unwrap())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.0.local_addrs()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `request`, and reads until the gateway closes the connection.
    fn exchange(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.0.drain(Duration::ZERO));
    }
}

#[track_caller]
fn expect(client: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

/// An origin that sends the pieces of its answer one by one, each but the first when it has leave.
async fn piecemeal(pieces: &'static [&'static str]) -> (RawOrigin, Arc<Notify>) {
    let leave = Arc::new(Notify::new());
    let hold = leave.clone();
    let origin = RawOrigin::scripted(move |mut connection| {
        let hold = hold.clone();
        async move {
            while connection.request().await.is_some() {
                for (number, piece) in pieces.iter().enumerate() {
                    if number > 0 {
                        hold.notified().await;
                    }
                    connection.send(piece).await;
                }
            }
        }
    })
    .await;
    (origin, leave)
}

// === Interim answers ===

#[tokio::test(flavor = "multi_thread")]
async fn an_early_hint_arrives_before_the_answer_is_there() {
    let (origin, leave) = piecemeal(&[HINT, "HTTP/1.1 102 Processing\r\n\r\n", HINT, OK]).await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.write_all(GET.as_bytes()).unwrap();
        expect(&mut client, HINT_THROUGH);
        leave.notify_one();
        expect(&mut client, "HTTP/1.1 102 Processing\r\n\r\n");
        leave.notify_one();
        expect(&mut client, HINT_THROUGH);
        leave.notify_one();
        expect(&mut client, OK_THROUGH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_that_come_with_the_final_one_go_before_it() {
    let all: &'static str = format!("{HINT}{HINT}{OK}").leak();
    let origin = RawOrigin::answering(all).await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.write_all(GET.as_bytes()).unwrap();
        expect(&mut client, &format!("{HINT_THROUGH}{HINT_THROUGH}{OK_THROUGH}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_get_their_own_in_their_turn() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        while let Some(request) = connection.request().await {
            let path = request.split(' ').nth(1).unwrap();
            connection.send(format!("HTTP/1.1 103 Early Hints\r\nLink: <{path}>\r\n\r\n")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nDate: x\r\n\r\n").await;
            // The next request's interim answers must not come between the pieces of this one's body.
            connection.send("ab").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            connection.send("cdef").await;
        }
    })
    .await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    let paths = ["/a", "/b", "/c", "/d"];
    let requests: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.write_all(requests.as_bytes()).unwrap();
    for path in paths {
        expect(&mut client, &format!("HTTP/1.1 103 Early Hints\r\nlink: <{path}>\r\n\r\n"));
        expect(&mut client, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\ndate: x\r\n\r\nabcdef");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_get_them_while_it_is_sent() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.head().await;
        connection.send(format!("HTTP/1.1 100 Continue\r\n\r\n{HINT}")).await;
        let mut body = [0; 5];
        connection.read_exact(&mut body).await;
        connection.send(OK).await;
    })
    .await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel").unwrap();
    expect(&mut client, HINT_THROUGH);
    client.write_all(b"lo").unwrap();
    expect(&mut client, OK_THROUGH);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_100_gets_the_servers_own() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.request().await;
        connection.send(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{OK}")).await;
    })
    .await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").unwrap();
    expect(&mut client, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"ok").unwrap();
    expect(&mut client, OK_THROUGH);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_origins_connection_stays_behind() {
    let answer: &'static str = format!(
        "HTTP/1.1 103 Early Hints\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Transfer-Encoding: chunked\r\nContent-Length: 5\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\r\n{OK}"
    )
    .leak();
    let origin = RawOrigin::answering(answer).await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    client.write_all(GET.as_bytes()).unwrap();
    expect(&mut client, &format!("HTTP/1.1 103 Early Hints\r\nx-kept: 1\r\n\r\n{OK_THROUGH}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_none() {
    let all: &'static str = format!("{HINT}HTTP/1.1 102 Processing\r\n\r\n{OK}").leak();
    let origin = RawOrigin::answering(all).await;
    let answer = Gateway::new(&origin).exchange("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_without_end_are_a_502() {
    let long: &'static str = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(16 << 10)).leak();
    for (answer, passed_on) in [("HTTP/1.1 102 Processing\r\n\r\n", 32), (long, 3)] {
        let origin = RawOrigin::scripted(move |mut connection| async move {
            connection.request().await;
            for _ in 0..1000 {
                connection.send(answer).await;
            }
            connection.closed().await;
        })
        .await;
        let answered = Gateway::new(&origin).exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(answered.matches("HTTP/1.1 10").count(), passed_on);
        assert!(answered.contains("HTTP/1.1 502 Bad Gateway\r\n"));
        assert!(answered.contains("\"error\":\"upstream_invalid_response\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_meanwhile_gets_whole_messages_all_the_same() {
    // The body before is larger than all buffers on the way, so the next request's hints find the socket full, or hyper
    // still writing; those that go out are whole, and between the two answers.
    const BODY: usize = 8 << 20;
    let origin = RawOrigin::scripted(|mut connection| async move {
        while connection.request().await.is_some() {
            for _ in 0..20 {
                connection.send(HINT).await;
            }
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nDate: x\r\n\r\n")).await;
            connection.send("y".repeat(BODY)).await;
        }
    })
    .await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    client.write_all(GET.repeat(3).as_bytes()).unwrap();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\ndate: x\r\n\r\n");
        let mut start = vec![0; 13];
        loop {
            client.read_exact(&mut start).unwrap();
            if !start.starts_with(b"HTTP/1.1 103 ") {
                break;
            }
            expect(&mut client, &HINT_THROUGH[13..]);
        }
        assert_eq!(start, head.as_bytes()[..13]);
        expect(&mut client, &head[13..]);
        let mut body = vec![0; BODY];
        client.read_exact(&mut body).unwrap();
        assert!(body.iter().all(|byte| *byte == b'y'));
    }
}

/// A service may go on reading a request's body when its answer is given. When the body then ends, the next request is there
/// while most of that answer waits for a reader who takes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_interim_answer_never_gets_into_the_answer_before() {
    const BODY: usize = 8 << 20;
    let (report, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let service = move |request: Request<ServeBody>| {
        let is_upload = request.method() == "POST";
        if is_upload {
            tokio::spawn(request.into_body().collect());
        } else {
            let sink = request.extensions().get::<RequestContext>().unwrap().interim_sink().unwrap().clone();
            // From another thread, as a service may.
            let send = move || sink.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
            report.send(std::thread::spawn(send).join().unwrap()).unwrap();
        }
        let body = if is_upload { Bytes::from(vec![b'y'; BODY]) } else { Bytes::from_static(b"ok") };
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(body))))
    };
    let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1);
    let gateway = Gateway(server.start(move |_| tower::service_fn(service.clone())).unwrap());
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\no").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    client.write_all(format!("k{GET}").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let mut body = vec![0; BODY];
    client.read_exact(&mut body).unwrap();
    assert!(body.iter().all(|byte| *byte == b'y'), "something got into the body");
    expect(&mut client, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n");
    assert!(sent.recv().await.unwrap(), "it was in time");
}

// === Early final answers ===

/// An origin that refuses an upload after its head, with this answer, and then reads nothing. With `closes` it closes
/// its connection over what it did not read, which resets it.
async fn refusing(answer: &'static str, closes: bool) -> RawOrigin {
    RawOrigin::scripted(move |mut connection| async move {
        while let Some(head) = connection.head().await {
            if head.starts_with("GET") {
                connection.send(OK).await;
                continue;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            connection.send(answer).await;
            if !closes {
                tokio::time::sleep(PATIENCE).await;
            }
            return;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_the_middle_of_an_upload_reaches_a_client_that_writes_before_it_reads() {
    const UPLOAD: usize = 100 << 20;
    const REFUSED: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo long";
    const NO_BODY: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    for (answer, closes) in [(REFUSED, false), (REFUSED, true), (NO_BODY, false), (NO_BODY, true)] {
        let origin = refusing(answer, closes).await;
        let gateway = Gateway::new(&origin);
        for chunked in [false, true] {
            let mut client = gateway.connect();
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {UPLOAD}"),
            };
            write!(client, "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").unwrap();
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..UPLOAD / piece.len() {
                if chunked {
                    write!(client, "{:x}\r\n", piece.len()).unwrap();
                }
                client.write_all(&piece).expect("cut before its answer was read");
                if chunked {
                    client.write_all(b"\r\n").unwrap();
                }
            }
            let mut answered = String::new();
            client.read_to_string(&mut answered).expect("reset before its answer was read");
            assert!(answered.starts_with("HTTP/1.1 413 "), "{answered}");
            let body = &answer[answer.find("\r\n\r\n").unwrap()..];
            assert!(answered.ends_with(body), "{answered}");
        }
        // The origin's connection was not kept with half an upload on it.
        let answered = gateway.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(answered.starts_with("HTTP/1.1 200 ") && answered.ends_with("ok"), "{answered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_begins_during_the_upload_lets_it_go_on() {
    let origin = RawOrigin::scripted(|mut connection| async move {
        connection.head().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nDate: x\r\n\r\n").await;
        for _ in 0..2 {
            let mut piece = [0; 5];
            connection.read_exact(&mut piece).await;
            connection.send(piece).await;
        }
        connection.closed().await;
    })
    .await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").unwrap();
    expect(&mut client, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\ndate: x\r\n\r\n");
    for piece in ["first", "other"] {
        client.write_all(piece.as_bytes()).unwrap();
        expect(&mut client, piece);
    }
}
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_is_answered_whatever_it_asked_to_upgrade_to() {
    const REFUSED: &str = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo long";
    let origin = refusing(REFUSED, false).await;
    let gateway = Gateway::new(&origin);
    let mut client = gateway.connect();
    let length = 32 << 20;
    write!(
        client,
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    client.write_all(&vec![b'x'; length]).expect("cut before its answer was read");
    let mut answered = String::new();
    client.read_to_string(&mut answered).expect("reset before its answer was read");
    assert!(answered.starts_with("HTTP/1.1 413 "), "{answered}");
}
