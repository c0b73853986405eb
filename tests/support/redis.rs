//! Real redis-servers, which a test starts on free ports and may stop, pause and start again.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A redis-server that keeps nothing on disk, stopped when it is dropped.
pub struct RedisServer {
    process: Child,
    pub port: u16,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further arguments, such as `["--cluster-enabled", "yes"]`.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().unwrap();
        // Another process may take the port between its choice and its use.
        for _ in 0..10 {
            let port = free_port();
            let mut process = spawn(port, folder.path(), &arguments);
            if becomes_ready(&mut process, port) {
                return Self { process, port, arguments, folder };
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("redis-server does not start");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The process stands still, and its connections stay open: nothing is answered, nothing refused.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Its connections are closed, and new ones refused. All it knew is lost.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same port as before.
    pub fn restart(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            self.process = spawn(self.port, self.folder.path(), &self.arguments);
            if becomes_ready(&mut self.process, self.port) {
                return;
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        panic!("redis-server does not start again");
    }

    /// One command on a connection of its own. The answer is as the protocol writes it, a bulk string without its length.
    pub fn command(&self, arguments: &[&str]) -> String {
        command(self.port, arguments).unwrap()
    }

    /// How often the server was called, by the names of commands in lower case (`INFO commandstats`).
    pub fn calls(&self, name: &str) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // A cluster's bus is ten thousand above.
        if port < 55_000 {
            return port;
        }
    }
}

fn spawn(port: u16, folder: &std::path::Path, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--loglevel", "warning", "--dir"]).arg(folder).args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("no redis-server; install it: apt-get install redis-server, or brew install redis")
}

fn becomes_ready(process: &mut Child, port: u16) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        let answer = command(port, &["PING"]);
        if answer.is_ok_and(|answer| answer == "+PONG" || answer.starts_with("-NOAUTH")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn command(port: u16, arguments: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        request.push_str(&format!("${}\r\n{argument}\r\n", argument.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let Some(length) = line.strip_prefix('$') else { return Ok(line.trim_end().to_owned()) };
    let Ok(length) = length.trim_end().parse::<usize>() else { return Ok("(nil)".into()) };
    let mut bulk = vec![0; length];
    stream.read_exact(&mut bulk)?;
    Ok(String::from_utf8_lossy(&bulk).into_owned())
}

/// Three servers that share the slots of a cluster, without replicas.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub fn start() -> Self {
        let nodes: Vec<_> = (0..3).map(|_| RedisServer::with(&["--cluster-enabled", "yes"])).collect();
        for (n, node) in nodes.iter().enumerate() {
            let slots: Vec<_> =
                (0..16_384).filter(|slot| slot * 3 / 16_384 == n).map(|slot: usize| slot.to_string()).collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            assert_eq!(node.command(&command), "+OK");
            for other in &nodes[..n] {
                assert_eq!(node.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]), "+OK");
            }
        }
        let end = Instant::now() + Duration::from_secs(30);
        let agrees = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !nodes.iter().all(agrees) {
            assert!(Instant::now() < end, "the nodes do not come together");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { nodes }
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }
}
