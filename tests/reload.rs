//! Hot reload of the example gateway: the file changes, in all the ways that files do, while requests come.
#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use support::gateway::{Gateway, binary, status};
use support::{PATIENCE, RawOrigin, field};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway over a file of its own, and what it says about its reloads.
struct Reloading {
    gateway: Gateway,
    folder: tempfile::TempDir,
    says: mpsc::Receiver<String>,
}

impl Reloading {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        Self::start_in(folder, "gateway.toml")
    }

    fn start_in(folder: tempfile::TempDir, file: &str) -> Self {
        let mut gateway = Gateway::start_telling(Command::new(binary()).arg("--config").arg(folder.path().join(file)));
        let stderr = BufReader::new(gateway.process.stderr.take().unwrap());
        let (sender, says) = mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { gateway, folder, says }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// What it says, up to the line that ends a reload.
    fn hears(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.says.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no word of a reload: {lines:#?}")));
            if lines.last().is_some_and(|line| line.contains("reloaded")) {
                return lines;
            }
        }
    }

    /// Puts another file in its place, so that nobody sees half of it.
    fn becomes(&self, text: impl AsRef<str>) {
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, text.as_ref()).unwrap();
        std::fs::rename(&beside, self.file()).unwrap();
    }

    /// Waits for this status of a path. What is seen half written is refused, as it should be, and read again.
    fn comes_to_answer(&self, path: &str, expected: &str) {
        let end = Instant::now() + PATIENCE;
        while self.status(path) != expected {
            assert!(Instant::now() < end, "{path} is not answered with {expected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn reloads(&self) {
        let lines = self.hears();
        assert!(lines.last().unwrap().ends_with("gateway.toml: reloaded"), "{lines:#?}");
    }

    /// The status of a path as another connection sees it.
    fn status(&self, path: &str) -> String {
        status(&self.gateway.get(path)).to_owned()
    }
}

/// One route, with this path.
fn config(origin: &RawOrigin, path: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n\
         [upstreams.o]\nservers = [\"{}\"]\n[routes.r]\npath = \"{path}\"\nupstream = \"o\"\n",
        origin.url()
    )
}

/// One request on a connection that stays.
fn ask(connection: &mut TcpStream, path: &str) -> String {
    connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the connection was closed after {head:?}");
    }
    let length = field(&head, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert!(reader.buffer().is_empty());
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_takes_over_on_connections_that_are_open_too() {
    let origin = RawOrigin::answering(OK).await;
    let running = Reloading::start(&config(&origin, "/old"));
    let mut connection = running.gateway.connect();
    assert_eq!(status(&ask(&mut connection, "/old")), "200");
    assert_eq!(status(&ask(&mut connection, "/new")), "404");

    std::fs::write(running.file(), config(&origin, "/new")).unwrap();
    running.comes_to_answer("/new", "200");
    assert_eq!(status(&ask(&mut connection, "/old")), "404");
    assert_eq!(status(&ask(&mut connection, "/new")), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_over_is_seen_each_time() {
    let origin = RawOrigin::answering(OK).await;
    let running = Reloading::start(&config(&origin, "/0"));
    for number in 1..4 {
        let beside = running.folder.path().join(".gateway.toml.swp");
        std::fs::write(&beside, config(&origin, &format!("/{number}"))).unwrap();
        std::fs::rename(&beside, running.file()).unwrap();
        running.reloads();
        assert_eq!(running.status(&format!("/{number}")), "200");
    }
    // In two steps: for a moment there is none.
    std::fs::remove_file(running.file()).unwrap();
    std::fs::write(running.file(), config(&origin, "/last")).unwrap();
    running.comes_to_answer("/last", "200");
}

/// A volume of Kubernetes: `..data` is a link to a folder of this version, and is itself renamed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_the_way_to_the_file_may_be_exchanged() {
    let origin = RawOrigin::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let publish = |root: &Path, version: &str, path: &str| {
        std::fs::create_dir(root.join(version)).unwrap();
        std::fs::write(root.join(version).join("gateway.toml"), config(&origin, path)).unwrap();
        symlink(version, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let root = folder.path().to_owned();
    publish(&root, "..1", "/1");
    symlink("..data/gateway.toml", folder.path().join("gateway.toml")).unwrap();
    let running = Reloading::start_in(folder, "gateway.toml");
    for (version, path) in [("..2", "/2"), ("..3", "/3")] {
        publish(&root, version, path);
        running.reloads();
        assert_eq!(running.status(path), "200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_file_names_is_watched_like_it() {
    let origin = RawOrigin::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    std::fs::write(folder.path().join("parts/path"), "/one\n").unwrap();
    std::fs::write(folder.path().join("gateway.toml"), config(&origin, "${file:parts/path}")).unwrap();
    let running = Reloading::start_in(folder, "gateway.toml");
    assert_eq!(running.status("/one"), "200");
    std::fs::write(running.folder.path().join("parts/path"), "/two\n").unwrap();
    running.comes_to_answer("/two", "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_faults_changes_nothing_and_they_are_told() {
    let origin = RawOrigin::answering(OK).await;
    let running = Reloading::start(&config(&origin, "/api"));
    let broken = config(&origin, "${file:path}") + "mach = \"exact\"\n";
    running.becomes(&broken);
    let said = running.hears();
    assert!(said[0].contains("gateway.toml:7:8: routes.r.path: the file \"path\" cannot be read"), "{said:#?}");
    assert!(
        said[1].contains("gateway.toml:9:1: unknown key \"mach\" in [routes.r]; did you mean \"match\"?"),
        "{said:#?}"
    );
    assert!(said[2].ends_with("gateway.toml: not reloaded, the configuration before it stays"), "{said:#?}");
    assert_eq!(running.status("/api"), "200");

    // What was missing comes, and the rest is put right.
    std::fs::write(running.folder.path().join("beside"), "/late").unwrap();
    std::fs::rename(running.folder.path().join("beside"), running.folder.path().join("path")).unwrap();
    assert_eq!(running.hears().len(), 2);
    running.becomes(config(&origin, "${file:path}"));
    running.reloads();
    assert_eq!((running.status("/api").as_str(), running.status("/late").as_str()), ("404", "200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_also_when_nothing_is_watched() {
    let origin = RawOrigin::answering(OK).await;
    let unwatched = |path| config(&origin, path) + "[reload]\nwatch = false\n";
    let running = Reloading::start(&unwatched("/old"));
    #[cfg(target_os = "linux")]
    assert!(!running.gateway.descriptors().iter().any(|open| open.contains("inotify")), "the file is watched");
    running.becomes(unwatched("/new"));
    running.gateway.signal("HUP");
    running.reloads();
    assert_eq!(running.status("/new"), "200");

    // It may be watched from now on, and not any more.
    running.becomes(config(&origin, "/watched"));
    running.gateway.signal("HUP");
    running.reloads();
    running.becomes(unwatched("/not"));
    running.reloads();
    assert_eq!(running.status("/not"), "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_finish_on_what_they_began_with() {
    let (finish, may_finish) = watch::channel(false);
    let mut origin = RawOrigin::scripted(move |mut connection| {
        let mut may_finish = may_finish.clone();
        async move {
            connection.request().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ").await;
            may_finish.wait_for(|may| *may).await.unwrap();
            connection.send("whole").await;
        }
    })
    .await;
    let running = Reloading::start(&config(&origin, "/old"));
    let mut busy = running.gateway.connect();
    busy.write_all(b"GET /old HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    origin.received().await;
    // Its upstream goes too.
    let dead = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n[upstreams.p]\nservers = [\"http://127.0.0.1:1\"]\n\
                [routes.r]\npath = \"/new\"\nupstream = \"p\"\n";
    running.becomes(dead);
    running.reloads();
    assert_eq!((running.status("/old").as_str(), running.status("/new").as_str()), ("404", "502"));
    finish.send_replace(true);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(status(&answer) == "200" && answer.ends_with("half whole"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_served_by_the_new_settings() {
    let mut origin = RawOrigin::answering(OK).await;
    let cached = |path| config(&origin, path) + "cache = { ttl = \"1h\" }\n";
    let (old, new) = (cached("/"), cached("/").replace("[upstreams.o]", "[cache]\nx_cache = false\n[upstreams.o]"));
    let running = Reloading::start(&old);
    assert_eq!(field(&running.gateway.get("/"), "x-cache"), Some("MISS"));
    origin.received().await;
    running.becomes(new);
    running.reloads();
    let answer = running.gateway.get("/");
    assert!(status(&answer) == "200" && field(&answer, "x-cache").is_none(), "{answer}");
    assert!(field(&answer, "cache-status").is_some_and(|status| status.contains("hit")), "{answer}");
    assert!(origin.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_says_so_until_it_is_as_it_was() {
    let origin = RawOrigin::answering(OK).await;
    let running = Reloading::start(&config(&origin, "/api"));
    let changed =
        config(&origin, "/new").replace("workers = 2", "workers = 3\nmax_connections = 100\ndrain_delay = \"1s\"");
    for text in [&changed, &(changed.clone() + "# again\n")] {
        running.becomes(text);
        let said = running.hears();
        assert_eq!(said.len(), 3, "{said:#?}");
        for (line, key) in said.iter().zip(["server.workers", "server.max_connections"]) {
            assert!(line.starts_with(&format!("warning: {key} has changed, which needs a restart")), "{line}");
        }
        assert_eq!(running.status("/new"), "200");
    }
    running.becomes(config(&origin, "/api"));
    assert_eq!(running.hears().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_stop_takes_is_what_the_file_said_last() {
    let origin = RawOrigin::answering(OK).await;
    let mut running = Reloading::start(&config(&origin, "/api"));
    running.becomes(config(&origin, "/api").replace("workers", "drain_delay = \"4s\"\nworkers"));
    running.reloads();
    let begun = Instant::now();
    running.gateway.signal("TERM");
    while running.status("/health") != "503" {
        assert!(begun.elapsed() < Duration::from_secs(4), "it is not said to be leaving");
    }
    assert!(running.gateway.process.wait().unwrap().success());
    assert!(begun.elapsed() >= Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_servers_that_stay_are_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (counted, (finish, may_finish)) = (connections.clone(), watch::channel(false));
    let mut origin = RawOrigin::scripted(move |mut connection| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut may_finish = may_finish.clone();
        async move {
            while let Some(request) = connection.request().await {
                if request.starts_with("GET /slow") {
                    may_finish.wait_for(|may| *may).await.unwrap();
                }
                connection.send(OK).await;
            }
        }
    })
    .await;
    // The one connection that there may be is in use, or idle, when the file changes.
    let limited = config(&origin, "/").replace("workers = 2", "workers = 1");
    let limited = limited.replace("[routes.r]", "max_connections_per_server = 1\n[routes.r]");
    let running = Reloading::start(&limited);
    assert_eq!(running.status("/idle"), "200");
    running.becomes(limited.clone() + "methods = [\"GET\"]\n");
    running.reloads();
    assert_eq!(running.status("/idle"), "200");

    let mut busy = running.gateway.connect();
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    while !origin.received().await.starts_with("GET /slow") {}
    running.becomes(&limited);
    running.reloads();
    finish.send_replace(true);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert_eq!((status(&answer), running.status("/after").as_str()), ("200", "200"));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

const RELOADS: usize = 100;

/// Clients that ask without a pause. What is open for one of them may be open twice while a reload goes on.
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_hundred_reloads_under_load_lose_no_request_and_leave_nothing_behind() {
    let origin = RawOrigin::answering(OK).await;
    let text = |number: usize| {
        let route = |index| {
            format!("[routes.r{index}]\npath = \"/r{index}\"\nupstream = \"o\"\nstrip_prefix = \"/r{index}\"\n")
        };
        let routes: String = (0..200).map(route).collect();
        format!("{}[routes.n{number}]\npath = \"/n\"\nupstream = \"o\"\n{routes}", config(&origin, "/api"))
    };
    let running = Reloading::start(&text(0));
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stop, answered) = (stop.clone(), answered.clone());
            let mut connection = running.gateway.connect();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(status(&ask(&mut connection, &format!("/r{client}"))), "200");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let reload = |number: usize| {
        running.becomes(text(number));
        running.gateway.signal("HUP");
        running.reloads();
    };
    // What the allocator keeps for reloads it has by then.
    (1..=20).for_each(reload);
    let before = (running.gateway.memory(), running.gateway.descriptors().len(), running.gateway.threads());
    (21..=20 + RELOADS).for_each(reload);
    let after = (running.gateway.memory(), running.gateway.descriptors().len(), running.gateway.threads());
    stop.store(true, Ordering::Relaxed);
    for client in load {
        client.join().expect("every request is answered");
    }
    println!(
        "{RELOADS} reloads, {} requests; resident KiB, descriptors, threads: {before:?}, then {after:?}",
        answered.load(Ordering::Relaxed)
    );
    assert!(after.0 < before.0 + 4096, "{} KiB, then {}", before.0, after.0);
    assert!(after.1 <= before.1 + 2 * CLIENTS, "{} descriptors, then {}", before.1, after.1);
    assert!(after.2 <= before.2 + 1, "{} threads, then {}", before.2, after.2);
}
