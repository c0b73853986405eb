//! The example gateway as a process.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// The binary that `cargo test` or `cargo build --example gateway` has built.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("examples/gateway");
    assert!(binary.exists(), "no gateway to test: cargo build --example gateway");
    binary
}

/// A running gateway, stopped when it is dropped.
pub struct Gateway {
    pub process: Child,
    pub address: SocketAddr,
    /// All it printed until it listened, and the rest of the tour.
    pub printed: String,
    /// What follows on its standard output.
    lines: Lines<BufReader<ChildStdout>>,
}

impl Gateway {
    pub fn with_config(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, config).unwrap();
        Self::start(Command::new(binary()).arg("--config").arg(&file))
    }

    pub fn start(command: &mut Command) -> Self {
        Self::spawn(command.stderr(Stdio::inherit()))
    }

    /// The same, and the process' standard error is there to be read.
    pub fn start_telling(command: &mut Command) -> Self {
        Self::spawn(command.stderr(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        let mut address = None;
        while address.is_none() {
            let line = lines.next().expect("the gateway stopped before it listened").unwrap();
            address = line.strip_prefix("listening on http://").map(|address| address.parse().unwrap());
            printed.push_str(&line);
            printed.push('\n');
        }
        if printed.contains("demo") || command.get_args().next().is_none() {
            for line in lines.by_ref() {
                let line = line.unwrap();
                printed.push_str(&line);
                printed.push('\n');
                if line.contains("Ctrl-C") {
                    break;
                }
            }
        }
        Self { process, address: address.unwrap(), printed, lines }
    }

    /// The next line on its standard output.
    pub fn next_line(&mut self) -> String {
        self.lines.next().expect("it says no more").unwrap()
    }

    /// Waits until it has heard that it is to stop, and takes no connections any more.
    pub fn stops_listening(&self) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < end, "it goes on listening");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends `request` on a connection of its own, and reads until the gateway closes it.
    pub fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\n\r\n"))
    }

    /// The most memory the process has had so far, in KiB.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        self.of_status("VmHWM:")
    }

    /// The memory it has now, in KiB.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        self.of_status("VmRSS:")
    }

    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> u64 {
        self.of_status("Threads:")
    }

    #[cfg(target_os = "linux")]
    fn of_status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What its open descriptors stand for.
    #[cfg(target_os = "linux")]
    pub fn descriptors(&self) -> Vec<String> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        // One may have been closed in between.
        open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.display().to_string())
            .collect()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status of an answer as it came.
pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}
