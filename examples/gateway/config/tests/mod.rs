//! What the reader makes of whole files, seen from outside.

mod built;
mod expansion;
mod faults;
mod forms;
pub(crate) mod generate;
mod limits;
mod properties;
mod references;
mod routes;
mod schema;
mod tables;

use std::path::Path;

use super::{Config, Faults, Loaded};

/// The least that serves anything.
const MINIMAL: &str = r#"
[upstreams.users]
servers = ["http://127.0.0.1:3001"]
[routes.users]
path = "/"
upstream = "users"
"#;

fn parse(text: &str) -> Result<Loaded, Faults> {
    parse_with(text, &|_| None)
}

fn parse_with(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Faults> {
    Config::parse(text, "gateway.toml", Path::new(""), env)
}

/// A `[server]` with these keys, above a minimal rest.
fn server(keys: &str) -> Result<Loaded, Faults> {
    parse(&format!("[server]\n{keys}\n{MINIMAL}"))
}

/// A file whose upstream has these keys, from line 3 on.
fn upstream(keys: &str) -> Result<Loaded, Faults> {
    parse(&format!(
        "[upstreams.users]\nservers = [\"http://127.0.0.1:3001\"]\n{keys}\n[routes.users]\npath = \"/\"\nupstream = \"users\"\n"
    ))
}

/// A file whose route has these keys, from line 5 on.
fn route(keys: &str) -> Result<Loaded, Faults> {
    parse(&format!(
        "[upstreams.users]\nservers = [\"http://127.0.0.1:3001\"]\n[routes.users]\nupstream = \"users\"\n{keys}\n"
    ))
}

fn accepted(result: Result<Loaded, Faults>) -> Config {
    let loaded = result.unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(loaded.warnings, [], "no warnings were expected");
    loaded.config
}

/// The faults as they are printed, one each.
fn refused(result: Result<Loaded, Faults>) -> Vec<String> {
    match result {
        Ok(loaded) => panic!("accepted: {loaded:?}"),
        Err(faults) => faults.faults.iter().map(ToString::to_string).collect(),
    }
}

fn only_fault(result: Result<Loaded, Faults>) -> String {
    let mut faults = refused(result);
    assert_eq!(faults.len(), 1, "one fault was expected: {faults:#?}");
    faults.remove(0)
}

fn warnings(result: Result<Loaded, Faults>) -> Vec<String> {
    let loaded = result.unwrap_or_else(|faults| panic!("{faults}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}
