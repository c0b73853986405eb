//! An API gateway assembled from tower-gateway's layers.
//!
//! Without arguments it serves a demo on 127.0.0.1:8080; with `--config FILE` it serves yours.

mod assemble;
mod config;
mod demo;
mod health;
mod layers;
mod stack;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tower_gateway::BoxError;
use tower_gateway::serve::shutdown_signal;

use self::assemble::Assembly;
use self::config::{Config, Faults, Finding, Loaded};
use self::demo::Demo;

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
    if arguments.schema {
        println!("{:#}", Config::schema());
        return Ok(ExitCode::SUCCESS);
    }
    // Signals, the demo's origin and other background work live here, off the workers' threads.
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let Some(path) = &arguments.config else {
        let demo = Demo::start(&control)?;
        let loaded = demo.config().map_err(|faults| faults.to_string())?;
        return serve(&control, loaded, Some(demo));
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
            serve(&control, loaded, None)
        }
    }
}

fn print_findings(kind: &str, findings: &[Finding]) {
    for finding in findings {
        eprintln!("{kind}: {finding}");
    }
}

fn serve(control: &tokio::runtime::Runtime, loaded: Loaded, demo: Option<Demo>) -> Result<ExitCode, BoxError> {
    let settings = loaded.config.server.clone();
    let assembly = Assembly::new(&loaded.config, None)?;
    let health = assembly.health();
    let server = layers::server(&settings)?.start(move |_| assembly.worker())?;
    let mut greeting = String::new();
    for address in server.local_addrs() {
        greeting.push_str(&format!("listening on http://{address}\n"));
    }
    if let (Some(demo), Some(address)) = (&demo, server.local_addrs().first()) {
        greeting.push_str(&demo.tour(*address));
    }
    // Whoever started the gateway may not be reading, which is no reason not to serve.
    let _ = std::io::stdout().write_all(greeting.as_bytes());
    control.block_on(async {
        shutdown_signal().await?;
        // Load balancers see that this gateway is leaving before its listeners close.
        health.set_draining();
        tokio::time::sleep(settings.drain_delay).await;
        let drained = server.drain(settings.shutdown_grace).await;
        if drained.aborted > 0 {
            eprintln!("{} connections were cut at the end of the grace", drained.aborted);
        }
        Ok(ExitCode::SUCCESS)
    })
}
