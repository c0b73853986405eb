//! The configuration file: from TOML to types, once, with every fault told at once.
//!
//! The way of a value: [`source`] knows its line, [`table`] finds it by its key, [`expand`] puts in what `${..}` stands
//! for, a [`value::Form`] makes it a `Duration`, a size, a network. Then each table has a file of its own, which says
//! its keys and their defaults, and [`check`] looks at the tables together. A key of the contract that is not built yet
//! stands in its table's `NOT_BUILT`, a word among the values of a key in that of its type.

mod access_log;
mod address;
mod check;
mod count;
mod duration;
mod expand;
pub(crate) mod fault;
mod forms;
pub(crate) mod forwarded;
mod header;
pub(crate) mod health;
pub(crate) mod ip;
mod nearest;
mod path;
mod reader;
pub(crate) mod request_id;
mod response;
pub(crate) mod route;
pub(crate) mod server;
mod size;
mod source;
mod table;
pub(crate) mod timeouts;
pub(crate) mod upstream;
pub(crate) mod upstream_server;
mod url;
mod value;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub(crate) use self::fault::{Faults, Finding};
pub(crate) use self::forwarded::Forwarded;
pub(crate) use self::health::Health;
pub(crate) use self::request_id::RequestId;
pub(crate) use self::route::Route;
pub(crate) use self::server::Server;
pub(crate) use self::upstream::Upstream;

use self::access_log::AccessLog;
use self::forms::Located;
use self::reader::{Found, Reader};
use self::route::{Resolved, RouteKeys, resolve};
use self::source::Source;
use self::table::{Keys, Named, Table};
use self::value::Text;

/// The whole file. Every route's upstream exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) health: Health,
    pub(crate) request_id: RequestId,
    pub(crate) forwarded: Forwarded,
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// Never empty.
    pub(crate) routes: BTreeMap<String, Route>,
}

/// A file without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// What is allowed and hardly meant, in the file's order.
    pub(crate) warnings: Vec<Finding>,
    /// The files read through `${file:..}`, each once: a change of theirs is a change of the configuration.
    pub(crate) files: Vec<PathBuf>,
}

impl Config {
    /// Reads a file; its relative paths start at its folder.
    pub(crate) fn load(path: &Path) -> Result<Loaded, Faults> {
        let file = path.display().to_string();
        let base_dir = path.parent().unwrap_or(Path::new(""));
        let unreadable = |position, message| Faults {
            faults: vec![Finding { file: file.clone(), position, key: String::new(), message }],
            warnings: Vec::new(),
        };
        let bytes =
            std::fs::read(path).map_err(|error| unreadable(None, format!("the file cannot be read: {error}")))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let position = Source::new(&file, &readable).position(readable.len());
            unreadable(Some(position), "not UTF-8, which TOML has to be; save it as such".to_owned())
        })?;
        Config::parse(text, &file, base_dir, &|name| std::env::var(name).ok())
    }

    /// Reads a text as though it stood in `file`, with `base_dir` for relative paths and `env` for variables.
    pub(crate) fn parse(
        text: &str,
        file: &str,
        base_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, Faults> {
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        let reader = Reader {
            source: Source::new(file, text),
            base_dir,
            env,
            complete: syntax_errors.is_empty(),
            empty: DeTable::new(),
            found: RefCell::default(),
        };
        let config: Option<Config> = Keys::read(&reader, root.get_ref(), String::new(), 0..0);
        let syntax_faults = syntax_errors.iter().map(|error| syntax_fault(&reader, error));
        finish(config, syntax_faults.collect(), reader.found.into_inner())
    }
}

impl Table for Config {
    const NOT_BUILT: &'static [&'static str] = &[
        "listeners",
        "admin",
        "reload",
        "redis",
        "jwt",
        "api_keys",
        "identity_headers",
        "cors",
        "audit",
        "cache",
        "rate_limits",
    ];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let server = keys.table::<Server>("server");
        let health = keys.table::<Health>("health");
        let request_id = keys.table::<RequestId>("request_id");
        let forwarded = keys.table::<Forwarded>("forwarded");
        keys.table::<AccessLog>("access_log");
        let upstreams = keys.named::<Upstream>("upstreams");
        let defaults = keys.table::<RouteKeys>("defaults").unwrap_or_default();
        let routes = keys.named::<RouteKeys>("routes");

        let reader = keys.reader;
        let (upstreams, routes) = (upstreams?, routes?);
        if routes.is_empty() && reader.complete {
            let message = "no route to serve; add [routes.NAME] with a path and an upstream";
            reader.fault(&keys.header_of("routes"), "routes", message.to_owned());
        }
        let health_path = health.as_ref().and_then(|health| health.path.as_deref());
        Some(Config {
            routes: read_together(reader, &defaults, routes, &upstreams, health_path)?,
            server: server?,
            health: health?,
            request_id: request_id?,
            forwarded: forwarded?,
            upstreams: upstreams
                .into_iter()
                .map(|upstream| Some((upstream.name, upstream.value?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// The routes: what one is depends on the defaults, and whether it may be on the upstreams and the other routes.
fn read_together(
    reader: &Reader<'_>,
    defaults: &RouteKeys,
    routes: Vec<Named<RouteKeys>>,
    upstreams: &[Named<Upstream>],
    health_path: Option<&str>,
) -> Option<BTreeMap<String, Route>> {
    let upstream_names: Vec<Located<Text>> = routes
        .iter()
        .filter_map(|route| route.value.as_ref())
        .chain([defaults])
        .filter_map(|keys| keys.upstream.given().cloned())
        .collect();
    let routes: Vec<Resolved> = routes.into_iter().filter_map(|route| resolve(reader, route, defaults)).collect();
    if reader.complete {
        check::refuse_unknown_upstreams(reader, &upstream_names, upstreams);
        check::refuse_repeated_routes(reader, &routes);
        check::warn_of_unreachable_routes(reader, &routes, health_path);
        check::warn_of_unused_upstreams(reader, &routes, upstreams);
    }
    routes.into_iter().map(|route| Some((route.name, route.route?))).collect()
}

fn syntax_fault(reader: &Reader<'_>, error: &toml::de::Error) -> Finding {
    let span = error.span().unwrap_or_default();
    let message = match (error.message(), reader.source.slice(span.clone())) {
        ("duplicate key", key) if !key.is_empty() => {
            format!("{} is there already; remove one of the two", reader::quoted(key))
        }
        (message, _) => format!("not TOML: {message}"),
    };
    reader.source.finding(span.start, "", message)
}

fn finish(config: Option<Config>, syntax_faults: Vec<Finding>, found: Found) -> Result<Loaded, Faults> {
    let Found { mut faults, mut warnings, files } = found;
    // What follows a syntax error may have been taken for something else.
    if let Some(first) = syntax_faults.iter().filter_map(line).min() {
        faults.retain(|fault| line(fault) < Some(first));
        warnings.clear();
    }
    faults.extend(syntax_faults);
    for findings in [&mut faults, &mut warnings] {
        findings.sort_by_key(|finding| finding.position);
        // A value in [defaults] is looked at once for each route.
        findings.dedup();
    }
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, warnings, files: files.into_iter().collect() }),
        _ => Err(Faults { faults, warnings }),
    }
}

fn line(finding: &Finding) -> Option<usize> {
    finding.position.map(|position| position.line)
}
