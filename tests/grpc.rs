//! gRPC through the gateway, with tonic at both ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut};
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

mod support;

use support::gateway::Gateway;
use support::{PATIENCE, RawOrigin, field};

/// Messages that are text, so that nothing need be generated.
#[derive(Clone, Copy, Debug, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buf.copy_to_bytes(buf.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::internal("not text"))
    }
}

// === The server ===

type Messages = std::pin::Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

async fn serve(request: http::Request<hyper::body::Incoming>) -> Result<http::Response<tonic::body::Body>, Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let mut grpc = tonic::server::Grpc::new(Text);
    Ok(match method.as_str() {
        "Upper" => {
            let upper = |request: Request<String>| async move {
                let mut answer = Response::new(request.get_ref().to_uppercase());
                answer.metadata_mut().insert("x-head", "1".parse().unwrap());
                Ok::<_, Status>(answer)
            };
            grpc.unary(tower::service_fn(upper), request).await
        }
        "Fail" => {
            let fail =
                |_: Request<String>| async move { Err::<Response<String>, _>(Status::data_loss("it is 100% gone")) };
            grpc.unary(tower::service_fn(fail), request).await
        }
        "Never" => {
            let never = |_: Request<String>| std::future::pending::<Result<Response<String>, Status>>();
            grpc.unary(tower::service_fn(never), request).await
        }
        "Split" => {
            let split = |request: Request<String>| async move {
                let words: Vec<_> = request.get_ref().split(' ').map(|word| Ok(word.to_owned())).collect();
                let end = stream::iter([Err(Status::out_of_range("no more words"))]);
                Ok::<_, Status>(Response::new(Box::pin(stream::iter(words).chain(end)) as Messages))
            };
            grpc.server_streaming(tower::service_fn(split), request).await
        }
        "Join" => {
            let join = |request: Request<Streaming<String>>| async move {
                let words: Vec<_> = request.into_inner().map(Result::unwrap).collect().await;
                Ok::<_, Status>(Response::new(words.join(" ")))
            };
            grpc.client_streaming(tower::service_fn(join), request).await
        }
        _ => {
            let echo = |request: Request<Streaming<String>>| async move {
                Ok::<_, Status>(Response::new(Box::pin(request.into_inner()) as Messages))
            };
            grpc.streaming(tower::service_fn(echo), request).await
        }
    })
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(http.serve_connection(TokioIo::new(stream), hyper::service::service_fn(serve)));
        }
    });
    address
}

fn gateway(server: SocketAddr) -> Gateway {
    Gateway::with_config(&format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        workers = 1
        [jwt.main]
        secret = "0123456789abcdef0123456789abcdef"
        algorithms = ["HS256"]
        [rate_limits.few]
        limit = 1
        window = "1h"
        key = "client_ip"
        [upstreams.calls]
        servers = ["http://{server}"]
        protocol = "h2"
        [upstreams.gone]
        servers = ["http://127.0.0.1:1"]
        protocol = "h2"
        [routes.calls]
        path = "/test.Calls"
        upstream = "calls"
        [routes.private]
        path = "/test.Private"
        upstream = "calls"
        auth = {{ accept = ["jwt"] }}
        [routes.limited]
        path = "/test.Limited"
        upstream = "calls"
        rate_limit = ["few"]
        [routes.denied]
        path = "/test.Denied"
        upstream = "calls"
        ip = {{ deny = ["127.0.0.0/8"] }}
        [routes.gone]
        path = "/test.Gone"
        upstream = "gone"
        [routes.slow]
        path = "/test.Slow"
        upstream = "calls"
        timeouts = {{ response_head = "200ms" }}
        [routes.short]
        path = "/test.Short"
        upstream = "calls"
        timeouts = {{ total = "1s" }}
        "#
    ))
}

async fn connect(gateway: &Gateway) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", gateway.address)).unwrap();
    let mut client = Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

async fn unary(client: &mut Grpc<Channel>, to: &'static str) -> Result<Response<String>, Status> {
    client.ready().await.unwrap();
    let call = client.unary(Request::new("hello".to_owned()), path(to), Text);
    tokio::time::timeout(PATIENCE, call).await.expect("no answer came")
}

// === Calls ===

#[tokio::test(flavor = "multi_thread")]
async fn all_four_kinds_of_call_pass_with_their_metadata_and_status() {
    let gateway = gateway(server().await);
    let mut client = connect(&gateway).await;
    let answer = unary(&mut client, "/test.Calls/Upper").await.unwrap();
    assert_eq!((answer.get_ref().as_str(), answer.metadata().get("x-head").unwrap().to_str().unwrap()), ("HELLO", "1"));
    let status = unary(&mut client, "/test.Calls/Fail").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "it is 100% gone"));

    client.ready().await.unwrap();
    let request = Request::new("one two three".to_owned());
    let mut words = client.server_streaming(request, path("/test.Calls/Split"), Text).await.unwrap().into_inner();
    for word in ["one", "two", "three"] {
        assert_eq!(words.message().await.unwrap().as_deref(), Some(word));
    }
    let status = words.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, "no more words"));

    client.ready().await.unwrap();
    let words = stream::iter(["one", "two"].map(str::to_owned));
    let joined = client.client_streaming(Request::new(words), path("/test.Calls/Join"), Text).await.unwrap();
    assert_eq!(joined.get_ref(), "one two");

    client.ready().await.unwrap();
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut echo = client.streaming(Request::new(said), path("/test.Calls/Echo"), Text).await.unwrap().into_inner();
    for word in ["ping", "pong"] {
        // Each is heard before the next is said.
        say.send(word.to_owned()).await.unwrap();
        let heard = tokio::time::timeout(PATIENCE, echo.message()).await.expect("it is held back");
        assert_eq!(heard.unwrap().as_deref(), Some(word));
    }
    drop(say);
    assert_eq!(echo.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_has_a_status_of_grpcs() {
    let gateway = gateway(server().await);
    let mut client = connect(&gateway).await;
    assert!(unary(&mut client, "/test.Limited/Upper").await.is_ok());
    for (to, code) in [
        ("/test.Private/Upper", Code::Unauthenticated),
        ("/test.Denied/Upper", Code::PermissionDenied),
        ("/test.Unknown/Upper", Code::Unimplemented),
        ("/test.Limited/Upper", Code::ResourceExhausted),
        ("/test.Gone/Upper", Code::Unavailable),
        ("/test.Slow/Never", Code::DeadlineExceeded),
    ] {
        let status = unary(&mut client, to).await.unwrap_err();
        assert_eq!(status.code(), code, "{to}: {status:?}");
        assert!(!status.message().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_either_way_outlasts_the_total_of_its_route() {
    const LONGER: Duration = Duration::from_millis(600);
    let gateway = gateway(server().await);
    let mut client = connect(&gateway).await;
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut echo = client.streaming(Request::new(said), path("/test.Short/Echo"), Text).await.unwrap().into_inner();
    for word in ["ping", "pong", "ping"] {
        tokio::time::sleep(LONGER).await;
        say.send(word.to_owned()).await.unwrap();
        let heard = tokio::time::timeout(PATIENCE, echo.message()).await.expect("it is held back");
        assert_eq!(heard.unwrap().as_deref(), Some(word));
    }
    drop(say);
    assert_eq!(echo.message().await.unwrap(), None);

    // No head comes before the client has ended.
    client.ready().await.unwrap();
    let words = stream::iter(["one", "two"]).then(|word| async move {
        tokio::time::sleep(LONGER).await;
        word.to_owned()
    });
    let call = client.client_streaming(Request::new(words), path("/test.Short/Join"), Text);
    let joined = tokio::time::timeout(PATIENCE, call).await.expect("no answer came").unwrap();
    assert_eq!(joined.get_ref(), "one two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_lasts_no_longer_than_its_caller_waits() {
    let gateway = gateway(server().await);
    // tonic would cut the call on this side.
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let start = Instant::now();
    let call = http::Request::post(format!("http://{}/test.Calls/Never", gateway.address));
    let call = call.header("content-type", "application/grpc").header("te", "trailers").header("grpc-timeout", "2S");
    let (answer, mut body) = client.send_request(call.body(()).unwrap(), false).unwrap();
    body.send_data(bytes::Bytes::from_static(b"\0\0\0\0\x05hello"), true).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("no answer came").unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &http::HeaderValue::from_static("4"))
    );
    assert!(answer.body().is_end_stream(), "there is nothing but the head");
    assert!((Duration::from_millis(1_900)..PATIENCE).contains(&start.elapsed()));

    // Nor does a stream that has begun.
    let start = Instant::now();
    let call = http::Request::post(format!("http://{}/test.Calls/Echo", gateway.address));
    let call = call.header("content-type", "application/grpc").header("te", "trailers").header("grpc-timeout", "2S");
    let (answer, mut body) = client.send_request(call.body(()).unwrap(), false).unwrap();
    body.send_data(bytes::Bytes::from_static(b"\0\0\0\0\x05hello"), false).unwrap();
    let mut answer = tokio::time::timeout(PATIENCE, answer).await.expect("no answer came").unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), b"\0\0\0\0\x05hello"[..]);
    let cut = tokio::time::timeout(PATIENCE, answer.data()).await.expect("it is never cut").unwrap();
    assert!(cut.is_err_and(|error| error.is_reset()));
    assert!((Duration::from_millis(1_900)..PATIENCE).contains(&start.elapsed()));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_web_passes_as_it_is() {
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: 9\r\n\r\n\0\0\0\0\x04answ";
    let mut origin = RawOrigin::answering(answer).await;
    let gateway = Gateway::with_config(&format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[upstreams.web]\nservers = [\"{}\"]\n[routes.web]\npath = \"/test.Web\"\nupstream = \"web\"\n",
        origin.url()
    ));
    let call = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: gw\r\nContent-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nContent-Length: 9\r\nConnection: close\r\n\r\n\0\0\0\0\x04ques"
        )
    };
    let answered = gateway.exchange(&call("/test.Web/Upper"));
    assert!(answered.starts_with("HTTP/1.1 200 OK\r\n") && answered.ends_with("\0\0\0\0\x04answ"), "{answered:?}");
    let received = origin.received().await;
    assert_eq!(field(&received, "content-type"), Some("application/grpc-web+proto"));
    assert!(received.ends_with("\0\0\0\0\x04ques"), "{received:?}");
    assert!(gateway.exchange(&call("/unknown")).starts_with("HTTP/1.1 404 "), "its clients read HTTP's status");
}
