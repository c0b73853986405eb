//! What a process cannot be asked from outside: how many tasks there are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::layers;

const CLIENTS: usize = 4;

/// Answers everything, on connections that stay.
async fn origin() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(async || "ok");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn write(file: &Path, origin: SocketAddr, version: usize) {
    let upstream = |index| format!("[upstreams.u{index}]\nservers = [\"http://{origin}\"]\n");
    let route = |index| format!("[routes.r{index}]\npath = \"/r{index}\"\nupstream = \"u{index}\"\n");
    let tables: String = (0..CLIENTS).map(|index| upstream(index) + &route(index)).collect();
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n{tables}[routes.v{version}]\npath = \"/v\"\nupstream = \"u0\"\n"
    );
    std::fs::write(file, text).unwrap();
}

fn ask(connection: &mut TcpStream, route: usize) {
    connection.write_all(format!("GET /r{route} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"\r\n\r\nok") {
        let read = connection.read(&mut piece).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn a_hundred_reloads_under_load_leave_no_task_behind() {
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let origin = control.block_on(origin());
    let _within = control.enter();
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("gateway.toml");
    write(&file, origin, 0);
    let loaded = Config::load(&file).unwrap();
    let running = Arc::new(Running::new(&loaded, (Assembly::worker, Assembly::redirect)).unwrap());
    let workers = running.clone();
    let listeners = running.listeners(&loaded.config);
    let server = layers::server(&loaded.config, listeners).unwrap().start(move |_| workers.worker()).unwrap();
    let address = server.local_addrs()[0];

    let tasks = || {
        let workers = lock(&running.workers);
        let of_workers: usize = workers.iter().map(|worker| worker.runtime.metrics().num_alive_tasks()).sum();
        of_workers + control.metrics().num_alive_tasks()
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (stop, mut connection) = (&stop, TcpStream::connect(address).unwrap());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    ask(&mut connection, client);
                }
            });
        }
        let reload = |version| {
            write(&file, origin, version);
            running.reload(&file).unwrap();
        };
        (1..=20).for_each(reload);
        let before = tasks();
        (21..=120).for_each(reload);
        let after = tasks();
        stop.store(true, Ordering::Relaxed);
        println!("tasks of all runtimes: {before} after 20 reloads, {after} after 100 more");
        // For each client at most one connection to the origin more, and one sweep of a worker's pool.
        assert!(after <= before + 3 * CLIENTS, "{before} tasks, then {after}");
    });
    control.block_on(server.drain(Duration::ZERO));
}
