//! An API gateway assembled from tower-gateway's layers.
//!
//! Without arguments it serves a demo on 127.0.0.1:8080; with `--config FILE` it serves yours.

mod assemble;
mod auth;
mod cache;
mod client;
mod config;
mod cors;
mod demo;
mod endpoint;
mod health;
mod keygen;
mod layers;
mod listeners;
mod plugins;
mod rate_limits;
mod reload;
mod shared;
mod stack;
#[cfg(test)]
mod starts;
mod upstreams;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tower_gateway::BoxError;
use tower_gateway::serve::shutdown_signal;

use self::assemble::Assembly;
use self::config::{Config, Faults, Finding, Loaded};
use self::demo::Demo;
use self::reload::{Running, Triggers};

/// A request makes and drops a dozen small pieces of memory, many requests at once, which the system's allocator sorts back one
/// by one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An API gateway assembled from tower-gateway's layers. Without a file it serves a demo.
#[derive(Parser)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print every fault and warning of the file, and serve nothing.
    #[arg(long, requires = "config")]
    check: bool,
    /// Print the JSON Schema of the file, for editors.
    #[arg(long, exclusive = true)]
    schema: bool,
    #[command(subcommand)]
    command: Option<Tool>,
}

#[derive(clap::Subcommand)]
enum Tool {
    /// Print a new API key, and its entry for the file of keys.
    Keygen {
        /// How logs and limits are to call the key.
        #[arg(long, default_value = "k1")]
        id: String,
    },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, BoxError> {
    if let Some(Tool::Keygen { id }) = &arguments.command {
        keygen::run(id)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.schema {
        println!("{:#}", Config::schema());
        return Ok(ExitCode::SUCCESS);
    }
    // Signals, the demo's origin and other background work live here, off the workers' threads.
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let Some(path) = &arguments.config else {
        let demo = Demo::start(&control)?;
        let loaded = demo.config().map_err(|faults| faults.to_string())?;
        return serve(&control, &loaded, Source::Demo(demo));
    };
    match Config::load(path) {
        Err(Faults { faults, warnings, .. }) => {
            print_findings("error", &faults);
            print_findings("warning", &warnings);
            Ok(ExitCode::FAILURE)
        }
        Ok(loaded) => {
            print_findings("warning", &loaded.warnings);
            if arguments.check {
                print_findings("warning", &loaded.open_routes);
                println!("{}: no faults", path.display());
                return Ok(ExitCode::SUCCESS);
            }
            serve(&control, &loaded, Source::File(path))
        }
    }
}

fn print_findings(kind: &str, findings: &[Finding]) {
    for finding in findings {
        eprintln!("{kind}: {finding}");
    }
}

/// Where the configuration is from.
enum Source<'a> {
    Demo(Demo),
    File(&'a Path),
}

fn serve(control: &tokio::runtime::Runtime, loaded: &Loaded, source: Source<'_>) -> Result<ExitCode, BoxError> {
    // What layers do in the background they do here.
    let _within = control.enter();
    let triggers = match &source {
        Source::File(path) => Some((Triggers::new()?, path.to_path_buf())),
        Source::Demo(_) => None,
    };
    let running = Arc::new(Running::new(loaded, (Assembly::worker, Assembly::redirect))?);
    let (workers, redirects) = (running.clone(), running.clone());
    let listeners = running.listeners(&loaded.config);
    let server = layers::server(&loaded.config, listeners)?;
    let server =
        server.start_with_redirects(move |_| workers.worker(), move |_, redirect| redirects.redirect(redirect))?;
    if let Some((triggers, file)) = triggers {
        triggers.follow(running.clone(), file)?;
    }
    let mut greeting = String::new();
    let has_tls = loaded.config.listeners.values().map(|listener| listener.tls.is_some());
    let is_plain = loaded.config.server.listen.iter().map(|_| false);
    for (address, has_tls) in server.local_addrs().iter().zip(is_plain.chain(has_tls)) {
        let scheme = if has_tls { "https" } else { "http" };
        greeting.push_str(&format!("listening on {scheme}://{address}\n"));
    }
    if let (Source::Demo(demo), Some(address)) = (&source, server.local_addrs().first()) {
        greeting.push_str(&demo.tour(*address));
    }
    // Whoever reads the greeting may ask for an end at once.
    let asked_to_stop = shutdown_signal()?;
    // Whoever started the gateway may not be reading, which is no reason not to serve.
    let _ = std::io::stdout().write_all(greeting.as_bytes());
    control.block_on(async {
        asked_to_stop.await;
        // Load balancers see that this gateway is leaving before its listeners close.
        let (drain_delay, shutdown_grace) = running.leave();
        tokio::time::sleep(drain_delay).await;
        let drained = server.drain(shutdown_grace).await;
        if drained.aborted > 0 {
            eprintln!("{} connections were cut at the end of the grace", drained.aborted);
        }
        Ok(ExitCode::SUCCESS)
    })
}
