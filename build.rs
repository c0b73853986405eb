//! Lays out the example gateway, which is all it does; the crate that is published has none.
//!
//! At a moderate load a processor does other things between two requests, and finds what a request runs through in its memory
//! again, page by page. `examples/gateway/layout.ld` puts that side by side, where the linker knows such scripts.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

fn main() {
    let script = format!("{}/examples/gateway/layout.ld", variable("CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    // With its whole path, which is not there any more when the checkout was moved with what was built in it.
    println!("cargo::rerun-if-changed={script}");
    let is = |name, value| env::var(name).is_ok_and(|found| found == value);
    if !is("PROFILE", "release") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    let argument = format!("-Wl,-T,{script}");
    if is_taken(&argument) {
        println!("cargo::rustc-link-arg-examples={argument}");
    }
}

/// Whether a program can be linked so, by the linker and with the flags that the examples will be.
fn is_taken(argument: &str) -> bool {
    let folder = variable("OUT_DIR");
    let source = Path::new(&folder).join("probe.rs");
    if std::fs::write(&source, "fn main() {}").is_err() {
        return false;
    }
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--crate-type", "bin", "--target", &variable("TARGET"), "--out-dir", &folder]).arg(&source);
    rustc.args(env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().split('\x1f').filter(|flag| !flag.is_empty()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.arg(format!("-Clink-arg={argument}")).stdout(Stdio::null()).stderr(Stdio::null());
    rustc.status().is_ok_and(|status| status.success())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
