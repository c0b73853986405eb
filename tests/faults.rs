//! What breaks around the gateway: queues that are full, a store that is gone, a wire that is slow, clients of every kind that
//! leave. Nothing hangs, nothing is answered wrongly, and when it is over all is as it was.
#![cfg(target_os = "linux")]

#[path = "support/redis.rs"]
mod redis;
mod support;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use redis::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tower_gateway::proxy::{ProxyService, Timeouts};
use tower_gateway::serve::Server;
use tower_gateway::upstream::{Client, Upstream};

use support::delay::DelayedWire;
use support::gateway::{Gateway, status};
use support::{OriginConnection, PATIENCE, RawOrigin, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CLOSE: &str = "GET / HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n";

fn config(server: &str, upstream: &str, route: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n{server}\n[upstreams.o]\n{upstream}\n\
         [routes.all]\npath = \"/\"\nupstream = \"o\"\n{route}\n"
    )
}

/// Sends on a connection of its own, and reads to its end.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(PATIENCE * 2, exchange).await.expect("it hangs").expect("its connection breaks")
}

// === Queues that are full ===

/// An origin that accepts nothing until it is told to, and whose queue is full: the kernel answers nobody any more.
struct Full {
    address: SocketAddr,
    accepts: tokio::sync::watch::Sender<bool>,
    waiting: Vec<StdStream>,
}

impl Full {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let (accepts, mut told) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            told.wait_for(|accepts| *accepts).await.unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while matches!(stream.read(&mut request).await, Ok(1..)) {
                        stream.write_all(OK.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let waiting = tokio::task::spawn_blocking(move || {
            let mut waiting = Vec::new();
            while let Ok(stream) = StdStream::connect_timeout(&address, Duration::from_millis(500)) {
                waiting.push(stream);
                assert!(waiting.len() < 100, "the queue has no end");
            }
            waiting
        });
        Self { address, accepts, waiting: waiting.await.unwrap() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_whose_queue_is_full_costs_its_connect_timeout_and_recovers() {
    let mut full = Full::start().await;
    let servers = format!("servers = [\"http://{}\"]\nconnect_timeout = \"300ms\"", full.address);
    let gateway = Gateway::with_config(&config("", &servers, ""));
    let began = Instant::now();
    let answers = join_all((0..20).map(|_| exchange(gateway.address, CLOSE))).await;
    for answer in answers {
        assert_eq!(status(&answer), "504", "{answer}");
        assert!(answer.contains("\"error\":\"upstream_timeout\""), "{answer}");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < PATIENCE, "{took:?}");
    full.waiting.clear();
    full.accepts.send_replace(true);
    // The kernel sends the first packet again after a second.
    let end = Instant::now() + PATIENCE;
    while status(&exchange(gateway.address, CLOSE).await) != "200" {
        assert!(Instant::now() < end, "it does not recover");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_server_nobody_learns_of_the_first_ones_queue() {
    let (full, good) = (Full::start().await, RawOrigin::answering(OK).await);
    let servers = format!(
        "servers = [\"http://{}\", \"{}\"]\nconnect_timeout = \"1s\"\nbalance = \"round_robin\"\n\
         [upstreams.o.retry]\nbudget = {{ ratio = 1.0, min_per_second = 100 }}\n[upstreams.o.outlier_ejection]",
        full.address,
        good.url()
    );
    let gateway = Gateway::with_config(&config("", &servers, ""));
    for answer in join_all((0..40).map(|_| exchange(gateway.address, CLOSE))).await {
        assert_eq!(status(&answer), "200", "{answer}");
    }
    // By now it is left out, and costs nothing. Otherwise every other one would wait for a second.
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(status(&exchange(gateway.address, CLOSE).await), "200");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// Runs a test in a process that may have more descriptors, where this one has too few. True when it was.
fn ran_with_more_descriptors(number: usize, test: &str) -> bool {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    if soft >= number {
        return false;
    }
    let raise = format!("ulimit -n {number} && exec \"$0\" --exact {test}");
    let own = std::env::current_exe().unwrap();
    assert!(std::process::Command::new("sh").args(["-c", &raise]).arg(own).status().unwrap().success());
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_beyond_the_gateways_queue_wait_and_all_are_answered() {
    // More than one queue has room for, on both sides.
    if ran_with_more_descriptors(10_000, "clients_beyond_the_gateways_queue_wait_and_all_are_answered") {
        return;
    }
    let origin = RawOrigin::answering(OK).await;
    let servers = format!("servers = [\"{}\"]\nmax_connections_per_server = 64\nqueue_timeout = \"15s\"", origin.url());
    let gateway = Gateway::with_config(&config("", &servers, ""));
    let before = gateway.descriptors().len();
    let queue: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    // The gateway asks for 4,096, of which the kernel gives what it gives.
    let clients = queue.min(4_096) + 300;
    gateway.signal("STOP");
    let connected = Arc::new(AtomicUsize::new(0));
    let answers: Vec<_> = (0..clients)
        .map(|_| {
            let (connected, address) = (connected.clone(), gateway.address);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                connected.fetch_add(1, SeqCst);
                stream.write_all(CLOSE.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                status(&answer).to_owned()
            })
        })
        .collect();
    let mut last = usize::MAX;
    while last != connected.load(SeqCst) || last == 0 {
        last = connected.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(last < clients, "its queue takes them all: {last}");
    gateway.signal("CONT");
    let mut told = BTreeMap::new();
    for answer in answers {
        let answer = tokio::time::timeout(PATIENCE * 3, answer).await.expect("it hangs").unwrap();
        *told.entry(answer).or_insert(0) += 1;
    }
    assert_eq!(told, BTreeMap::from([("200".to_owned(), clients)]));
    let end = Instant::now() + PATIENCE;
    // What is left are its connections to the origin, and what it had not yet opened when it was asked before.
    while gateway.descriptors().len() > before + 64 + 8 {
        assert!(Instant::now() < end, "{} descriptors, {before} before", gateway.descriptors().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// === A store that is gone ===

#[tokio::test(flavor = "multi_thread")]
async fn redis_goes_and_comes_while_requests_are_limited_and_cached() {
    let mut redis = RedisServer::start();
    let origin = RawOrigin::scripted(|mut connection: OriginConnection| async move {
        while let Some(request) = connection.request().await {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let head = format!("Cache-Control: max-age=60\r\nContent-Length: {}", path.len());
            connection.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{path}")).await;
        }
    })
    .await;
    let route = format!(
        "rate_limit = [\"all\"]\n[routes.all.cache]\n[rate_limits.all]\nlimit = 1000000\nwindow = \"1h\"\n\
         [redis]\nurl = \"{}\"\ntimeout = \"50ms\"\n",
        redis.url()
    );
    let gateway = Gateway::with_config(&config("", &format!("servers = [\"{}\"]", origin.url()), &route));
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (stop, answered, address) = (stop.clone(), answered.clone(), gateway.address);
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(SeqCst) {
                        break;
                    }
                    let path = format!("/{}", (client * 7 + number) % 50);
                    let answer = exchange(address, &CLOSE.replacen('/', &path, 1)).await;
                    assert_eq!(status(&answer), "200", "{answer}");
                    assert!(answer.ends_with(&format!("\r\n\r\n{path}")), "{path}: {answer}");
                    assert!(field(&answer, "ratelimit").is_some(), "{answer}");
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    // Whatever has become of Redis, and as long as that lasts, requests are answered.
    let more_are_answered = async || {
        let (before, end) = (answered.load(SeqCst), Instant::now() + PATIENCE);
        while answered.load(SeqCst) < before + 100 {
            assert!(Instant::now() < end, "they wait for it");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..2 {
        more_are_answered().await;
        redis.kill();
        more_are_answered().await;
        redis.restart();
        more_are_answered().await;
        redis.pause();
        more_are_answered().await;
        redis.resume();
    }
    more_are_answered().await;
    stop.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let end = Instant::now() + PATIENCE;
    while redis.command(&["DBSIZE"]) == ":0" {
        assert!(Instant::now() < end, "it is not used again");
        exchange(gateway.address, CLOSE).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// === A wire that is slow ===

const DELAY: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_far_away_is_waited_for_and_no_longer_than_it_may_take() {
    let origin = RawOrigin::answering(OK).await;
    let wire = DelayedWire::to(origin.address, DELAY).await;
    let servers = format!("servers = [\"{}\"]", wire.url());
    let patient = Gateway::with_config(&config("", &servers, ""));
    let began = Instant::now();
    for answer in join_all((0..50).map(|_| exchange(patient.address, CLOSE))).await {
        assert_eq!(status(&answer), "200", "{answer}");
    }
    let took = began.elapsed();
    assert!(took >= DELAY * 2 && took < DELAY * 50, "fifty at once take as long as one: {took:?}");
    let hasty = Gateway::with_config(&config("", &servers, "timeouts = { response_head = \"150ms\" }"));
    let began = Instant::now();
    for answer in join_all((0..50).map(|_| exchange(hasty.address, CLOSE))).await {
        assert_eq!(status(&answer), "504", "{answer}");
    }
    assert!(began.elapsed() < DELAY * 50, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_far_away_costs_no_request_that_can_be_sent_again() {
    // Each connection ends after its second answer, and the gateway learns of it later.
    let origin = RawOrigin::scripted(|mut connection: OriginConnection| async move {
        for _ in 0..2 {
            if connection.request().await.is_some() {
                connection.send(OK).await;
            }
        }
    })
    .await;
    let wire = DelayedWire::to(origin.address, DELAY).await;
    let gateway = Gateway::with_config(&config("", &format!("servers = [\"{}\"]", wire.url()), ""));
    let clients = (0..4).map(|_| async {
        for _ in 0..6 {
            let answer = exchange(gateway.address, CLOSE).await;
            assert_eq!(status(&answer), "200", "{answer}");
        }
    });
    join_all(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_far_away_are_served_and_a_stop_waits_for_those_it_has_begun_with() {
    // Answers the first request of each client, and the others when it may.
    const CLIENTS: usize = 20;
    let (asked, (finish, may_finish)) = (Arc::new(AtomicUsize::new(0)), tokio::sync::watch::channel(false));
    let counted = asked.clone();
    let origin = RawOrigin::scripted(move |mut connection: OriginConnection| {
        let (asked, mut may_finish) = (counted.clone(), may_finish.clone());
        async move {
            while connection.request().await.is_some() {
                if asked.fetch_add(1, SeqCst) >= CLIENTS {
                    may_finish.wait_for(|may| *may).await.unwrap();
                }
                connection.send(OK).await;
            }
        }
    })
    .await;
    let server = "header_read_timeout = \"20s\"\nkeep_alive_timeout = \"20s\"\nshutdown_grace = \"1m\"";
    let mut gateway = Gateway::with_config(&config(server, &format!("servers = [\"{}\"]", origin.url()), ""));
    let wire = DelayedWire::to(gateway.address, DELAY).await;
    let all_answered_once = Arc::new(tokio::sync::Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, all_answered_once) = (wire.address, all_answered_once.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = CLOSE.replace("Connection: close\r\n", "");
                let mut answered = 0;
                for _ in 0..3 {
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let mut answer = Vec::new();
                    while !answer.ends_with(b"ok") {
                        let read = stream.read_buf(&mut answer).await.unwrap_or(0);
                        assert_ne!(read, 0, "after {answered}: {}", String::from_utf8_lossy(&answer));
                    }
                    assert!(answer.starts_with(b"HTTP/1.1 200"));
                    answered += 1;
                    if answered == 1 {
                        all_answered_once.wait().await;
                    }
                    if String::from_utf8_lossy(&answer).contains("connection: close") {
                        break;
                    }
                }
                answered
            })
        })
        .collect();
    let end = Instant::now() + PATIENCE;
    while asked.load(SeqCst) < 2 * CLIENTS {
        assert!(Instant::now() < end, "the second requests do not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.signal("TERM");
    let asked = Instant::now();
    gateway.stops_listening();
    finish.send_replace(true);
    let answered = tokio::time::timeout(PATIENCE, join_all(clients)).await.expect("it hangs");
    let answered: Vec<usize> =
        answered.into_iter().map(|client| client.expect("a request in flight is lost")).collect();
    assert!(answered.iter().all(|answered| *answered == 2), "{answered:?}");
    assert!(gateway.process.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(50), "it waited for its grace");
}

// === Clients of every kind, and what is left of them ===

#[tokio::test(flavor = "multi_thread")]
async fn no_task_and_no_place_is_left_when_all_clients_are_gone() {
    let origin = RawOrigin::scripted(|mut connection: OriginConnection| async move {
        while let Some(request) = connection.request().await {
            match request.split(' ').nth(1).unwrap() {
                "/drop" => return,
                "/half" => {
                    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
                    return;
                }
                "/events" => {
                    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                    while connection.stream.write_all(b"9\r\ndata: x\n\n\r\n").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    return;
                }
                "/chat" => {
                    let key = field(&request, "sec-websocket-key").unwrap().as_bytes();
                    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
                    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
                    connection.send(format!("{head}sec-websocket-accept: {accept}\r\n\r\n")).await;
                    connection.closed().await;
                    return;
                }
                _ => connection.send(OK).await,
            }
        }
    })
    .await;
    let upstream = Upstream::builder().server(origin.url(), 1).keep_alive_timeout(Duration::from_millis(50));
    let upstream = upstream.build().unwrap();
    let runtimes = Arc::new(Mutex::new(Vec::new()));
    let (seen, shared) = (runtimes.clone(), upstream.clone());
    let server = Server::bind(["127.0.0.1:0".parse().unwrap()]).unwrap().workers(2);
    let server = server
        .header_read_timeout(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .body_read_timeout(Duration::from_secs(2));
    let server = server
        .start(move |_| {
            seen.lock().unwrap().push(tokio::runtime::Handle::current());
            let timeouts = Timeouts::default().upgrade_idle(Duration::from_millis(200));
            ProxyService::new(Client::new(shared.clone())).timeouts(timeouts)
        })
        .unwrap();
    let address = server.local_addrs()[0];
    let tasks = || runtimes.lock().unwrap().iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum::<usize>();
    // Each worker accepts on one.
    let end = Instant::now() + PATIENCE;
    while tasks() < 2 {
        assert!(Instant::now() < end, "they do not accept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = tasks();

    for _ in 0..3 {
        let good = (0..20).map(|_| async {
            assert_eq!(status(&exchange(address, CLOSE).await), "200");
        });
        let failing = ["/drop", "/half"].map(|path| exchange_freely(address, CLOSE.replacen('/', path, 1), None));
        let silent = (0..5).map(|_| exchange_freely(address, String::new(), None));
        let slow_head = (0..5).map(|_| exchange_freely(address, "GET / HT".into(), None));
        let post = "POST / HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 10\r\n\r\nx";
        let slow_body = (0..5).map(|_| exchange_freely(address, post.into(), None));
        let moment = Some(Duration::from_millis(30));
        let leaving = (0..10).map(|_| exchange_freely(address, CLOSE.replacen('/', "/events", 1), moment));
        let chat = (0..5).map(|number| async move {
            let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/chat")).await.unwrap();
            socket.send(Message::text("hello")).await.unwrap();
            if number == 0 {
                // This one stays until nothing has passed for too long.
                while let Some(Ok(_)) = socket.next().await {}
            }
        });
        let http2 = (0..5).map(|_| async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (client, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut client = client.ready().await.unwrap();
            let mut answers = Vec::new();
            for path in ["/", "/drop", "/half", "/events", "/"] {
                let request = Request::get(format!("http://gw.example{path}")).body(()).unwrap();
                answers.push(client.send_request(request, true).unwrap().0);
            }
            for answer in answers {
                // One that breaks off may be reset before its head has gone out.
                let Ok(answer) = tokio::time::timeout(PATIENCE, answer).await.expect("it hangs") else { continue };
                let mut body = answer.into_body();
                let _: Option<Result<Bytes, _>> = tokio::time::timeout(PATIENCE, body.data()).await.expect("it hangs");
            }
            connection.abort();
        });
        let all = async {
            futures_util::join!(
                join_all(good),
                join_all(failing),
                join_all(silent.chain(slow_head).chain(slow_body).chain(leaving)),
                join_all(chat),
                join_all(http2),
            )
        };
        tokio::time::timeout(PATIENCE * 2, all).await.expect("a client hangs");
    }

    let end = Instant::now() + PATIENCE;
    // The pool's sweep lives as long as there are idle connections.
    while tasks() > before || server.stats().open > 0 || upstream.servers()[0].in_flight() > 0 {
        let (tasks, stats) = (tasks(), server.stats());
        assert!(
            Instant::now() < end,
            "{tasks} tasks, {before} before; {stats:?}; {:?}",
            upstream.servers()[0].in_flight()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((server.stats().panics, server.stats().service_errors), (0, 0));
    drop(server.drain(Duration::ZERO));
}

/// Sends, reads to the end or for so long, and is gone, whatever came.
async fn exchange_freely(address: SocketAddr, request: String, patience: Option<Duration>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    match patience {
        Some(patience) => drop(tokio::time::timeout(patience, read).await),
        None => drop(tokio::time::timeout(PATIENCE, read).await.expect("it hangs")),
    }
}
