//! hyper's own server as an oracle: whatever is accepted here hyper accepts too, and reads the same in it, one request after
//! the other. (The other way round it does not hold: hyper repairs some of what is refused here.)

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::head::{Limits, read_head};
use crate::h1::decode::Decoder;

/// What a reader makes of a request: its method, target, fields and content.
type Read = (String, String, Vec<(String, String)>, Bytes);

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    fields.sort();
    fields
}

fn read(request: &Request<()>, content: Bytes) -> Read {
    (request.method().to_string(), request.uri().to_string(), sorted(request.headers()), content)
}

/// The whole requests in `wire`, up to the first that is refused or cut short.
fn ours(wire: &[u8]) -> Vec<Read> {
    let (mut buffer, mut all) = (BytesMut::from(wire), Vec::new());
    let mut request = Request::new(());
    while let Ok(Some(head)) = read_head(&mut buffer, Limits { bytes: 8192, fields: 100 }, &mut request) {
        let (mut decoder, mut content) = (Decoder::new(head.framing), BytesMut::new());
        while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
            content.extend(frame.into_data().into_iter().flatten());
        }
        if !decoder.has_ended() {
            break;
        }
        all.push(read(&request, content.freeze()));
        if !head.keeps_alive {
            break;
        }
    }
    all
}

/// The same, read by hyper.
fn hypers(wire: &[u8]) -> Vec<Read> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let all = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let seen = all.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let seen = seen.clone();
            async move {
                let (parts, body) = request.into_parts();
                if let Ok(content) = body.collect().await {
                    seen.lock().unwrap().push(read(&Request::from_parts(parts, ()), content.to_bytes()));
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let server =
            tokio::spawn(http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service));
        client.write_all(wire).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
        let _ = server.await;
    });
    Arc::into_inner(all).unwrap().into_inner().unwrap()
}

fn wire() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "PURGE http://a/b HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "POST / HTTP/1.0\r\n",
        "\r\nPUT /%zz HTTP/1.1\r\n",
        "GET /a b HTTP/1.1\r\n",
        "GET / HTTP/1.1\n",
    ]);
    let field = prop::sample::select(vec![
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "transfer-encoding:CHUNKED\r\n",
        "Transfer-Encoding: identity\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive\r\n",
        "X-A:\t2 \r\n",
        "X-B:\r\n",
        "X-C: a\r\n b\r\n",
        "X-D : 1\r\n",
        "X-E: \u{e9}\r\n",
        "X-F: 1\n",
    ]);
    let body = prop::sample::select(vec![
        "hello",
        "hell",
        "",
        "",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        "5;ext=1\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "05\r\nhello\r\n000\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
    ]);
    let request = (line, prop::collection::vec(field, 0..4), body)
        .prop_map(|(line, fields, body)| [line, &fields.concat(), "\r\n", body].concat());
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (prop::collection::vec(request, 1..4), change).prop_map(|(requests, change)| {
        let mut wire = requests.concat().into_bytes();
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
        let (ours, hypers) = (ours(&wire), hypers(&wire));
        let wire = String::from_utf8_lossy(&wire);
        prop_assert!(hypers.len() >= ours.len(), "{wire:?}: {ours:?} {hypers:?}");
        prop_assert_eq!(&ours[..], &hypers[..ours.len()], "{:?}", wire);
    }
}
