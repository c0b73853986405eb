//! hyper's own client as an oracle: whatever is accepted here hyper accepts too, and reads the same in it. (The other way
//! round it does not hold: hyper repairs some of what is refused here.)

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exchange::is_interim;
use super::framing::framing;
use super::head::read_head;
use crate::h1::decode::Decoder;
use crate::known::Known;

/// What a reader makes of an answer: its status, fields and content.
type Read = Option<(StatusCode, Vec<(String, String)>, Bytes)>;

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    fields.sort();
    fields
}

/// The first final answer in `wire`, after which the connection ends.
fn ours(wire: &[u8]) -> Read {
    let mut buffer = BytesMut::from(wire);
    let head = loop {
        let head = read_head(&mut buffer).ok()??;
        if !is_interim(head.status) {
            break head;
        }
    };
    // What follows it is no content.
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Some((head.status, sorted(&head.headers), Bytes::new()));
    }
    let mut decoder =
        Decoder::new(framing(head.version, head.status, &head.headers, Known::of(&head.headers), false).ok()?);
    let mut content = BytesMut::new();
    while let Some(frame) = decoder.decode(&mut buffer).ok()? {
        if let Ok(data) = frame.into_data() {
            content.extend_from_slice(&data);
        }
    }
    decoder.may_end_with_connection().then(|| (head.status, sorted(&head.headers), content.freeze()))
}

/// The same, read by hyper.
fn hypers(wire: &[u8]) -> Read {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (client, mut origin) = tokio::io::duplex(1 << 16);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.ok()?;
        tokio::spawn(connection);
        let request = http::Request::get("/").header("host", "o").body(Empty::<Bytes>::new()).unwrap();
        let answer = tokio::spawn(sender.send_request(request));
        let mut head = [0; 1024];
        let _ = origin.read(&mut head).await;
        let _ = origin.write_all(wire).await;
        drop(origin);
        let response = answer.await.ok()?.ok()?;
        let (status, fields) = (response.status(), sorted(response.headers()));
        let content = response.into_body().collect().await.ok()?;
        Some((status, fields, content.to_bytes()))
    })
}

fn wire() -> impl Strategy<Value = Vec<u8>> {
    let status = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 404\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.1 600 Odd\r\n",
        "HTTP/2 200\r\n",
        "http/1.1 200 OK\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "transfer-encoding:CHUNKED\r\n",
        "Connection: close\r\n",
        "X-A: 1\r\n",
        "X-A:\t2 \r\n",
        "X-B:\r\n",
        "X-C: a\r\n b\r\n",
        "X-D : 1\r\n",
        ": 1\r\n",
        "X-E: \u{e9}\r\n",
        "X-F: 1\n",
    ]);
    let body = prop::sample::select(vec![
        "hello",
        "hello!",
        "hell",
        "",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        "5;ext=1\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "05\r\nhello\r\n000\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ]);
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (status, prop::collection::vec(field, 0..4), body, change).prop_map(|(status, fields, body, change)| {
        let mut wire = [status, &fields.concat(), "\r\n", body].concat().into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        wire
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_accepted_hyper_reads_the_same(wire in wire()) {
        if let Some(read) = ours(&wire) {
            prop_assert_eq!(Some(read), hypers(&wire), "{:?}", String::from_utf8_lossy(&wire));
        }
    }
}
