//! What an HTTP/2 client may not do (RFC 9113), frame by frame.

use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::Layer;
use tower_gateway::serve::{ServeBody, Server, ServerHandle};
use tower_gateway::strict::StrictLayer;

mod support;

use support::PATIENCE;
use support::frames::{
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, End, FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR, HEADERS, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, RST_STREAM, RawClient, SETTINGS, WINDOW_UPDATE,
    frame, get, post, section,
};

/// Answers with the head it was given, and the body; `/wait` never.
fn start() -> (ServerHandle, SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let echo = move |request: Request<ServeBody>| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            if request.uri().path() == "/wait" {
                std::future::pending::<()>().await;
            }
            let mut seen = String::new();
            for (name, value) in request.headers() {
                seen += &format!("{name}: {}\n", value.to_str().unwrap());
            }
            let mut answer = Response::new(Full::new(Bytes::new()));
            match request.into_body().collect().await {
                Ok(body) => *answer.body_mut() = Full::new([seen.into(), body.to_bytes()].concat().into()),
                Err(_) => *answer.status_mut() = http::StatusCode::IM_A_TEAPOT,
            }
            Ok::<_, Infallible>(answer)
        }
    };
    let service = StrictLayer::new().layer(tower::service_fn(echo));
    let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(1).max_header_bytes(16 << 10);
    let server = server.start(move |_| service.clone()).unwrap();
    let address = server.local_addrs()[0];
    (server, address, seen)
}

/// Sends one request, sees what it comes to, and that the connection is none the worse for it.
fn outcome_of(address: SocketAddr, fields: &[(&str, &[u8])]) -> End {
    let mut client = RawClient::connect(address);
    client.request(1, fields);
    let outcome = client.outcome(1);
    client.request(3, &get("/after"));
    assert_eq!(client.outcome(3), End::Answer(200), "after {fields:?}");
    outcome
}

/// What a whole connection comes to that is sent these bytes again and again.
fn flood(address: SocketAddr, bytes: &[u8], times: usize) -> Option<u32> {
    let mut client = RawClient::connect(address);
    client.request(1, &post("/wait"));
    let mut reader = RawClient { stream: client.stream.try_clone().unwrap() };
    let reading = std::thread::spawn(move || reader.closed());
    for _ in 0..times {
        client.send(bytes);
    }
    client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    reading.join().unwrap()
}

const MALFORMED: End = End::Reset(PROTOCOL_ERROR);

// === Requests (section 8) ===

#[test]
fn pseudo_header_fields_are_known_whole_single_and_first() {
    let (_server, address, seen) = start();
    let without = |name: &str| get("/").into_iter().filter(|(own, _)| *own != name).collect::<Vec<_>>();
    let with = |name, value| [get("/"), vec![(name, value)]].concat();
    for malformed in [
        without(":method"),
        without(":scheme"),
        without(":path"),
        with(":path", &b"/other"[..]),
        with(":method", b"GET"),
        with(":scheme", b"http"),
        with(":authority", b"gw.example"),
        with(":status", b"200"),
        with(":protocol", b"websocket"),
        [vec![("x", &b"1"[..])], get("/")].concat(),
        [&get("/")[..3], &[("x", b"1"), (":path", b"/")]].concat(),
    ] {
        assert_eq!(outcome_of(address, &malformed), MALFORMED, "{malformed:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 11, "only those after");
    // One that nobody knows cannot be told from a name that is none, and its compression state is not to be trusted.
    let mut client = RawClient::connect(address);
    client.request(1, &with(":unknown", b"1"));
    assert!(matches!(client.outcome(1), End::Reset(PROTOCOL_ERROR) | End::GoAway(_)));
}

#[test]
fn names_are_in_lower_case_and_tokens() {
    let (_server, address, seen) = start();
    for name in ["X-Upper", "x y", "x\0", "x\r\n", "x:y", "", "\u{e9}"] {
        let mut client = RawClient::connect(address);
        client.request(1, &[get("/"), vec![(name, b"1")]].concat());
        assert!(matches!(client.outcome(1), End::Reset(PROTOCOL_ERROR) | End::GoAway(_)), "{name:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[test]
fn values_have_no_line_ends_no_nul_and_no_white_space_around_them() {
    let (_server, address, seen) = start();
    for value in [&b"a\r"[..], b"a\nb", b"a\0b", b"a\r\nx: y", b"\x7f", b" a", b"a ", b"\ta", b"a\t"] {
        let mut client = RawClient::connect(address);
        client.request(1, &[get("/"), vec![("x", value)]].concat());
        assert!(matches!(client.outcome(1), End::Reset(PROTOCOL_ERROR) | End::GoAway(_)), "{value:?}");
    }
    for value in [&b"/a\r\n"[..], b"/a b", b"/\0"] {
        let mut fields = get("/");
        fields[3].1 = value;
        assert_eq!(outcome_of(address, &fields), MALFORMED, "{value:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 3, "only those after");
}

#[test]
fn fields_of_a_connection_are_malformed_and_te_asks_for_trailers_alone() {
    let (_server, address, _) = start();
    for (name, value) in [
        ("connection", &b"close"[..]),
        ("connection", b"x"),
        ("keep-alive", b"timeout=5"),
        ("proxy-connection", b"keep-alive"),
        ("transfer-encoding", b"chunked"),
        ("upgrade", b"websocket"),
        ("te", b"gzip"),
        ("te", b"trailers, gzip"),
    ] {
        assert_eq!(outcome_of(address, &[get("/"), vec![(name, value)]].concat()), MALFORMED, "{name}");
    }
    assert_eq!(outcome_of(address, &[get("/"), vec![("te", &b"trailers"[..])]].concat()), End::Answer(200));
}

#[test]
fn authority_and_host_say_the_same_and_one_of_them_is_there() {
    let (_server, address, _) = start();
    let host = |value| vec![("host", value)];
    assert_eq!(outcome_of(address, &[get("/"), host(&b"gw.example"[..])].concat()), End::Answer(200));
    let without: Vec<_> = get("/").into_iter().filter(|(name, _)| *name != ":authority").collect();
    assert_eq!(outcome_of(address, &[without.clone(), host(b"gw.example")].concat()), End::Answer(200));
    for refused in [
        [get("/"), host(b"other.example")].concat(),
        [get("/"), host(b"gw.example"), host(b"gw.example")].concat(),
        without,
    ] {
        assert_eq!(outcome_of(address, &refused), End::Answer(400), "{refused:?}");
    }
    for authority in [&b"user@gw.example"[..], b"gw.example:99999", b"a,b"] {
        let mut fields = get("/");
        fields[2].1 = authority;
        assert!(matches!(outcome_of(address, &fields), End::Answer(400) | MALFORMED), "{authority:?}");
    }
}

#[test]
fn a_path_is_absolute_or_the_asterisk_of_options() {
    let (_server, address, _) = start();
    let with_path = |method: &'static [u8], path: &'static [u8]| {
        let mut fields = get("/");
        (fields[0].1, fields[3].1) = (method, path);
        outcome_of(address, &fields)
    };
    for path in [&b""[..], b"foo", b"*", b"?q"] {
        assert!(matches!(with_path(b"GET", path), MALFORMED | End::Answer(400)), "{path:?}");
    }
    assert_eq!(with_path(b"OPTIONS", b"*"), End::Answer(200));
    for path in [&b"/%00"[..], b"/a%2fb", b"/..;/a", b"/../a", b"/a\\b"] {
        assert_eq!(with_path(b"GET", path), End::Answer(400), "{path:?}");
    }
    assert!(matches!(with_path(b"GET", b"http://a/b"), MALFORMED | End::Answer(400)));
}

#[test]
fn connect_is_refused() {
    let (_server, address, _) = start();
    let connect = [(":method", &b"CONNECT"[..]), (":authority", b"inside.example:22")];
    assert_eq!(outcome_of(address, &connect), End::Answer(501));
    let mut with_path = get("/");
    with_path[0].1 = b"CONNECT";
    assert_eq!(outcome_of(address, &with_path), MALFORMED);
}

#[test]
fn a_length_that_the_data_belies_is_malformed() {
    let (_server, address, _) = start();
    for (length, data) in [("5", &b"abc"[..]), ("2", b"abc"), ("0", b"a")] {
        let mut client = RawClient::connect(address);
        let fields = [post("/"), vec![("content-length", length.as_bytes())]].concat();
        client.frame(HEADERS, END_HEADERS, 1, &section(&fields));
        client.frame(DATA, END_STREAM, 1, data);
        assert_eq!(client.outcome(1), MALFORMED, "{length} for {data:?}");
    }
    for lengths in [&["3", "4"][..], &["3", "3"], &["+3"], &["3,3"], &[" 3"]] {
        let lengths: Vec<_> = lengths.iter().map(|length| ("content-length", length.as_bytes())).collect();
        let mut client = RawClient::connect(address);
        client.frame(HEADERS, END_HEADERS, 1, &section(&[post("/"), lengths.clone()].concat()));
        client.frame(DATA, END_STREAM, 1, b"abc");
        assert_eq!(client.outcome(1), MALFORMED, "{lengths:?}");
    }
    let with_body_to_come = [get("/"), vec![("content-length", &b"3"[..])]].concat();
    assert_eq!(outcome_of(address, &with_body_to_come), MALFORMED);
}

#[test]
fn trailers_end_the_stream_and_are_as_strict_as_heads() {
    let (_server, address, _) = start();
    let trailers = |flags: u8, fields: &[(&str, &[u8])]| {
        let mut client = RawClient::connect(address);
        client.frame(HEADERS, END_HEADERS, 1, &section(&post("/")));
        client.frame(DATA, 0, 1, b"abc");
        client.frame(HEADERS, END_HEADERS | flags, 1, &section(fields));
        client.outcome(1)
    };
    assert_eq!(trailers(END_STREAM, &[("x-sum", b"3")]), End::Answer(200));
    // h2 throws pseudo-header fields away, so that nobody is misled.
    assert_eq!(trailers(END_STREAM, &[(":path", b"/other")]), End::Answer(200));
    assert_eq!(trailers(END_STREAM, &[("connection", b"close")]), MALFORMED);
    assert_eq!(trailers(0, &[("x-sum", b"3")]), MALFORMED);
    // The body's reader is told, and answers.
    assert_eq!(trailers(END_STREAM, &[("x-sum", b" 3")]), End::Answer(418));
}

#[test]
fn cookies_that_came_in_pieces_are_one_field() {
    let (_server, address, _) = start();
    let mut client = RawClient::connect(address);
    client.request(
        1,
        &[get("/"), vec![("cookie", &b"a=1"[..]), ("cookie", b"b=2"), ("x", b"y"), ("cookie", b"c=3")]].concat(),
    );
    let seen = String::from_utf8(client.data(1)).unwrap();
    assert_eq!(seen.lines().filter(|line| line.starts_with("cookie")).collect::<Vec<_>>(), ["cookie: a=1; b=2; c=3"]);
}

// === Frames (sections 4 to 6) ===

#[test]
fn frames_out_of_place_end_the_connection() {
    let (_server, address, _) = start();
    let settings = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    for (kind, flags, stream, payload, code) in [
        (DATA, 0, 0, vec![1], PROTOCOL_ERROR),
        (HEADERS, END_HEADERS, 0, section(&get("/")), PROTOCOL_ERROR),
        (HEADERS, END_HEADERS, 2, section(&get("/")), PROTOCOL_ERROR),
        (SETTINGS, 0, 1, vec![], PROTOCOL_ERROR),
        (SETTINGS, 0, 0, vec![0; 5], FRAME_SIZE_ERROR),
        (SETTINGS, ACK, 0, settings(4, 1), FRAME_SIZE_ERROR),
        (SETTINGS, 0, 0, settings(4, 1 << 31), FLOW_CONTROL_ERROR),
        (SETTINGS, 0, 0, settings(5, 1), PROTOCOL_ERROR),
        (SETTINGS, 0, 0, settings(2, 2), PROTOCOL_ERROR),
        (PING, 0, 0, vec![0; 7], FRAME_SIZE_ERROR),
        (PING, 0, 1, vec![0; 8], PROTOCOL_ERROR),
        (WINDOW_UPDATE, 0, 0, vec![0; 4], PROTOCOL_ERROR),
        (WINDOW_UPDATE, 0, 0, vec![0x7f, 0xff, 0xff, 0xff], FLOW_CONTROL_ERROR),
        (WINDOW_UPDATE, 0, 5, vec![0, 0, 0, 1], PROTOCOL_ERROR),
        (RST_STREAM, 0, 5, vec![0, 0, 0, 8], PROTOCOL_ERROR),
        (RST_STREAM, 0, 0, vec![0, 0, 0, 8], PROTOCOL_ERROR),
        (CONTINUATION, END_HEADERS, 1, vec![], PROTOCOL_ERROR),
    ] {
        let mut client = RawClient::connect(address);
        client.frame(kind, flags, stream, &payload);
        let outcome = client.closed();
        assert!(outcome.is_some_and(|code| code != 0), "kind {kind} on {stream} {payload:?}: {outcome:?}, not {code}");
    }
    // A frame longer than was agreed.
    let mut client = RawClient::connect(address);
    client.frame(DATA, 0, 1, &vec![0; (16 << 10) + 1]);
    assert_eq!(client.closed(), Some(FRAME_SIZE_ERROR));
    // Another stream's frame within a field section.
    let mut client = RawClient::connect(address);
    client.frame(HEADERS, END_STREAM, 1, &section(&get("/")));
    client.frame(PING, 0, 0, &[0; 8]);
    assert_eq!(client.closed(), Some(PROTOCOL_ERROR));
    // Compression that means nothing.
    let mut client = RawClient::connect(address);
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xbe]);
    assert!(matches!(client.closed(), Some(COMPRESSION_ERROR | PROTOCOL_ERROR)));
}

#[test]
fn the_first_frame_is_settings() {
    let (_server, address, seen) = start();
    for first in [frame(PING, 0, 0, &[0; 8]), frame(HEADERS, END_HEADERS | END_STREAM, 1, &section(&get("/")))] {
        let mut client = RawClient::silent(address);
        client.send(&[PREFACE, &first].concat());
        while let Some(frame) = client.read() {
            assert_eq!(frame.kind, SETTINGS, "{first:?}");
        }
        let end = client.stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{first:?}: {end:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[test]
fn more_data_than_there_is_room_for_is_an_error() {
    let (_server, address, _) = start();
    let mut client = RawClient::connect(address);
    client.frame(HEADERS, END_HEADERS, 1, &section(&post("/wait")));
    for _ in 0..80 {
        client.frame(DATA, 0, 1, &vec![0; 16 << 10]);
    }
    assert!(matches!(client.outcome(1), End::Reset(FLOW_CONTROL_ERROR) | End::GoAway(FLOW_CONTROL_ERROR)));
}

// === Floods (section 10.5) ===

#[test]
fn requests_that_are_reset_at_once_end_the_connection() {
    let (_server, address, seen) = start();
    let mut client = RawClient::connect(address);
    let mut wire = Vec::new();
    for stream in (1..20_000).step_by(2) {
        wire.extend(support::frames::frame(HEADERS, END_HEADERS | END_STREAM, stream, &section(&get("/wait"))));
        wire.extend(support::frames::frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    client.send(&wire);
    assert_eq!(client.closed(), Some(ENHANCE_YOUR_CALM));
    assert!(seen.load(Ordering::SeqCst) < 300, "{seen:?} of 10,000 were begun");
}

#[test]
fn requests_that_are_reset_once_they_have_begun_end_the_connection_too() {
    let (server, address, seen) = start();
    let mut client = RawClient::connect(address);
    let mut begun = 0;
    'flood: for stream in (1..2_000).step_by(2) {
        let (before, end) = (seen.load(Ordering::SeqCst), Instant::now() + PATIENCE);
        client.request(stream, &get("/wait"));
        while seen.load(Ordering::SeqCst) == before {
            if begun > 0 && server.stats().open == 0 {
                break 'flood;
            }
            assert!(Instant::now() < end, "it neither begins nor ends");
            std::thread::sleep(Duration::from_millis(1));
        }
        begun += 1;
        client.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    assert_eq!(client.closed(), Some(ENHANCE_YOUR_CALM));
    assert!((100..150).contains(&begun), "{begun}");
}

#[test]
fn frames_without_use_and_without_end_are_not_read_for_ever() {
    let (_server, address, _) = start();
    let frame = support::frames::frame;
    for (name, bytes) in [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("PING answers", frame(PING, ACK, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, b"")),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(99, 0, 0, b"")),
    ] {
        assert_eq!(flood(address, &bytes.repeat(100), 100), Some(ENHANCE_YOUR_CALM), "{name}");
    }
    let mut client = RawClient::connect(address);
    client.frame(HEADERS, END_HEADERS, 1, &section(&post("/wait")));
    client.send(&frame(DATA, 0, 1, b"").repeat(10_000));
    assert!(matches!(client.closed(), Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)));
}

#[test]
fn a_field_section_does_not_go_on_for_ever() {
    let (_server, address, _) = start();
    let mut client = RawClient::connect(address);
    client.frame(HEADERS, END_STREAM, 1, &section(&get("/")));
    client.send(&support::frames::frame(CONTINUATION, 0, 1, b"").repeat(10_000));
    assert!(client.closed().is_some_and(|code| code != 0));
    let mut client = RawClient::connect(address);
    client.frame(HEADERS, END_STREAM, 1, &section(&get("/")));
    let piece = section(&[("x", &[b'x'; 1000])]);
    client.send(&support::frames::frame(CONTINUATION, 0, 1, &piece).repeat(10_000));
    assert!(client.closed().is_some_and(|code| code != 0));
}

#[test]
fn a_small_section_that_unpacks_to_a_large_one_is_refused() {
    let (_server, address, _) = start();
    let mut client = RawClient::connect(address);
    // A field of 4,000 bytes is put in the table, and named by one byte a hundred times.
    let mut bomb = section(&get("/"));
    bomb.extend([0x40, 1, b'x']);
    support::frames::integer(&mut bomb, 4000);
    bomb.extend([b'x'; 4000]);
    let small = [bomb.clone(), vec![0xbe; 8]].concat();
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &small);
    assert_eq!(client.outcome(1), End::Answer(431));
    let mut client = RawClient::connect(address);
    bomb.extend([0xbe; 10_000]);
    client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    assert!(matches!(client.outcome(1), End::GoAway(_)));
}
