//! The configuration file: from TOML to types, once, with every fault told at once.
//!
//! The way of a value: [`source`] knows its line, [`keys`] finds it by its key, in `[defaults]` too, [`expand`] puts in
//! what `${..}` stands for, a [`value::Form`] makes it a `Duration`, a size, a network. Each table has a file of its own,
//! which says its keys and their defaults, and [`check`] looks at the tables together. A key of the contract that is not
//! built yet stands in its table's `NOT_BUILT`, a word among the values of a key in that of its [`word::Choice`].
//! [`schema`] is what editors are told, and made of the same.
//!
//! # A table more
//!
//! A struct of what it means, and `impl Table`: one call for each key, which says its name, its form, its default as it
//! would stand in the file, and what it is for. All keys are asked for, whatever the first ones held, so early returns
//! come last.
//!
//! ```ignore
//! pub(crate) struct Quota { pub(crate) limit: NonZeroUsize, pub(crate) window: Duration, pub(crate) key: Vec<Key> }
//!
//! impl Table for Quota {
//!     fn read(keys: &mut Keys<'_>) -> Option<Self> {
//!         let limit = keys.required::<Count>("limit", "requests in a window");
//!         let window = keys.required::<PositiveDuration>("window", "how long a window is");
//!         let key = keys.or::<OneOrMany<Word<Key>>>("key", "subject", "what is counted by");
//!         Some(Quota { limit: limit?, window: window?, key })
//!     }
//! }
//! ```
//!
//! | the value is | form |
//! |---|---|
//! | true or false, a count, a share from 0.0 to 1.0 | `bool`, [`count::Count`], [`share::Share`] |
//! | a time, a size, a point in time | [`duration::AnyDuration`], [`duration::PositiveDuration`], [`size::Bytes`], [`size::PositiveBytes`], [`date::PointInTime`] |
//! | one of some words | [`word::Word`] of a [`word::Choice`] |
//! | a limit, or `"none"` | [`forms::OrNone`] |
//! | a list, a list with something in it, one or a list | [`forms::ListOf`], [`forms::NonEmpty`], [`forms::OneOrMany`] |
//! | a table within, with keys of its own | the type of its `impl Table` |
//! | a table whose keys are the user's | [`forms::MapOf`] |
//! | the name of a `[section.NAME]` | [`reference::NameOf`] that table, which is [`table::Listed`] |
//! | a token, a password, a key | [`secret::Secret`], which warns when it stands in the file, and prints as nothing |
//! | the path of a file | [`file::FileText`], or [`file::TableFile`] where that holds a table; either is watched |
//!
//! Then it is asked for where it belongs, in [`Config`] or in [`route::Entry`], by `optional` (absent: none),
//! `table` (absent: its defaults) or `named`, and its key leaves the `NOT_BUILT` there. In a route nothing is to be done
//! for `[defaults]` and `false`: what is inherited is found as though it stood there, and what is switched off is absent.
//! Where absent and off mean two things, `is_off` tells.

mod access_log;
mod address;
pub(crate) mod api_keys;
pub(crate) mod auth;
pub(crate) mod balance;
pub(crate) mod cache;
mod check;
pub(crate) mod concurrency;
pub(crate) mod cors;
mod count;
mod date;
mod duration;
mod expand;
pub(crate) mod fault;
pub(crate) mod fields;
mod file;
mod forms;
pub(crate) mod forwarded;
mod header;
pub(crate) mod health;
pub(crate) mod identity_headers;
pub(crate) mod ip;
pub(crate) mod jwt;
mod keys;
pub(crate) mod listeners;
mod literal;
pub(crate) mod matching;
mod nearest;
mod path;
pub(crate) mod plugins;
pub(crate) mod rate_limit;
mod reader;
pub(crate) mod redis;
mod reference;
pub(crate) mod reload;
pub(crate) mod request;
pub(crate) mod request_id;
pub(crate) mod resilience;
pub(crate) mod response;
pub(crate) mod route;
mod schema;
pub(crate) mod secret;
pub(crate) mod server;
mod share;
mod size;
mod source;
pub(crate) mod stamp;
mod status;
mod table;
pub(crate) mod target;
mod template;
pub(crate) mod timeouts;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod upstream_server;
mod url;
mod value;
mod word;

/// What the settings of a plugin are read with.
pub(crate) mod settings {
    pub(crate) use super::duration::PositiveDuration;
    pub(crate) use super::secret::Secret;
    pub(crate) use super::table::{Keys, Table};
}

#[cfg(test)]
pub(crate) mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

pub(crate) use self::api_keys::ApiKeys;
pub(crate) use self::cache::Cache;
pub(crate) use self::cors::Cors;
pub(crate) use self::fault::{Faults, Finding};
pub(crate) use self::forwarded::Forwarded;
pub(crate) use self::health::Health;
pub(crate) use self::listeners::Listener;
pub(crate) use self::reload::Reload;
pub(crate) use self::request_id::RequestId;
pub(crate) use self::route::Route;
pub(crate) use self::server::Server;
pub(crate) use self::upstream::Upstream;

use self::access_log::AccessLog;
use self::identity_headers::IdentityHeaders;
use self::jwt::{FailedCredentials, JwtIssuer};
use self::rate_limit::RateLimit;
use self::reader::{Found, Reader, read_file, syntax_fault};
use self::route::Entry;
use self::source::Source;
use self::stamp::Files;
use self::table::{Keys, Table, by_name};

/// A hundred thousand routes are some ten megabytes.
const MAX_BYTES: u64 = 1 << 30;

/// The whole file. Every route's upstream exists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) listeners: BTreeMap<String, Listener>,
    pub(crate) health: Health,
    pub(crate) reload: Reload,
    pub(crate) request_id: RequestId,
    pub(crate) forwarded: Forwarded,
    pub(crate) cache: Cache,
    /// For all routes that say nothing else of it.
    pub(crate) cors: Option<Cors>,
    pub(crate) jwt: BTreeMap<String, JwtIssuer>,
    pub(crate) api_keys: Option<ApiKeys>,
    pub(crate) failed_credentials: FailedCredentials,
    pub(crate) identity_headers: IdentityHeaders,
    /// Absent: every store is in this process's memory.
    pub(crate) redis: Option<redis::Redis>,
    pub(crate) rate_limits: BTreeMap<String, RateLimit>,
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// Never empty.
    pub(crate) routes: BTreeMap<String, Route>,
}

/// A file without faults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// What is allowed and hardly meant, in the file's order.
    pub(crate) warnings: Vec<Finding>,
    /// Routes without authentication.
    pub(crate) open_routes: Vec<Finding>,
    /// The file, if it is one, and those that it names: a change of theirs is a change of the configuration.
    pub(crate) files: Files,
}

impl Config {
    /// Reads a file; its relative paths start at its folder.
    pub(crate) fn load(path: &Path) -> Result<Loaded, Faults> {
        let file = path.display().to_string();
        let base_dir = path.parent().unwrap_or(Path::new(""));
        let itself = |stamp| Files::from([(path.to_owned(), stamp)]);
        let unreadable = |position, message, stamp| Faults {
            faults: vec![Finding { file: file.clone(), position, key: String::new(), message }],
            warnings: Vec::new(),
            files: itself(stamp),
        };
        let (bytes, stamp) = read_file(path, MAX_BYTES)
            .map_err(|error| unreadable(None, format!("the file cannot be read: {error}"), None))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unreadable(None, format!("larger than {}MiB", MAX_BYTES >> 20), Some(stamp)));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let position = Source::new(&file, &readable).position(readable.len());
            unreadable(
                Some(position),
                "not UTF-8, which TOML has to be; save it as such".to_owned(),
                Some(stamp.clone()),
            )
        })?;
        let mut read = Config::parse(text, &file, base_dir, &|name| std::env::var(name).ok());
        let (Ok(Loaded { files, .. }) | Err(Faults { files, .. })) = &mut read;
        files.extend(itself(Some(stamp)));
        read
    }

    /// Reads a text as though it stood in `file`, with `base_dir` for relative paths and `env` for variables.
    pub(crate) fn parse(
        text: &str,
        file: &str,
        base_dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, Faults> {
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        let found = RefCell::default();
        let reader = Reader {
            source: Source::new(file, text),
            base_dir,
            env,
            complete: syntax_errors.is_empty(),
            empty: DeTable::new(),
            found: &found,
        };
        let config: Option<Config> = Keys::read(&reader, root.get_ref(), String::new(), 0..0);
        let syntax_faults = syntax_errors.iter().map(|error| syntax_fault(&reader.source, error)).collect();
        finish(file, config, syntax_faults, found.take())
    }

    /// The JSON Schema of the file, for editors.
    pub(crate) fn schema() -> serde_json::Value {
        schema::document::<Config>()
    }
}

impl Table for Config {
    const NOT_BUILT: &'static [&'static str] = &["admin", "audit"];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let server = keys.table::<Server>("server", "where the gateway listens, and what it allows a connection");
        let listeners = keys.named::<Listener>("listeners", "further addresses, by name: with tls, or behind proxies");
        let health = keys.table::<Health>("health", "the gateway's own health, answered before any route");
        let reload = keys.table::<Reload>("reload", "when this file is read again, besides SIGHUP");
        let request_id = keys.table::<RequestId>("request_id", "the id that a request keeps on its whole way");
        let forwarded = keys.table::<Forwarded>("forwarded", "what upstreams are told about a request's way");
        let cors = keys.optional::<Cors>("cors", "which scripts of other origins may read the answers");
        keys.table::<AccessLog>("access_log", "one line a request");
        let cache = keys.table::<Cache>("cache", "the memory for the responses that routes with a cache store");
        let jwt = keys.named::<JwtIssuer>("jwt", "whose tokens are believed, by name");
        let api_keys = keys.optional::<ApiKeys>("api_keys", "keys that are looked up by their digest");
        let failed_credentials =
            keys.table::<FailedCredentials>("failed_credentials", "how many credentials a client may get wrong");
        let identity_headers = keys.optional::<IdentityHeaders>(
            "identity_headers",
            "fields by which upstreams are told who is asking, and no client can: templates",
        );
        let redis = keys.optional::<redis::Redis>("redis", "what several gateways share; absent: nothing");
        let rate_limits = keys
            .named::<RateLimit>("rate_limits", "how much each caller may use, by name: counted once for all routes");
        let upstreams = keys.named::<Upstream>("upstreams", "the servers that answer, by name");
        let routes = keys.named_with_defaults::<Entry>("routes", "which requests go where, by name");

        let reader = keys.reader;
        let (upstreams, routes, jwt, rate_limits, listeners) = (upstreams?, routes?, jwt?, rate_limits?, listeners?);
        if routes.is_empty() && reader.complete {
            let message = "no route to serve; add [routes.NAME] with a path and an upstream";
            reader.fault(&keys.header_of("routes"), "routes", message.to_owned());
        }
        if reader.complete {
            let health_path = health.as_ref().and_then(|health| health.path.as_deref());
            check::refuse_unknown_names(reader, &upstreams);
            check::refuse_unknown_names(reader, &listeners);
            if listeners.is_empty() && server.as_ref().is_some_and(|server| server.listen.is_empty()) {
                let message = "server.listen: no address to listen on; write at least one, or leave the key out";
                reader.fault(&keys.place_in("server", "listen"), "server.listen", message.to_owned());
            }
            listeners::check(reader, &listeners, server.as_ref());
            check::refuse_unknown_names(reader, &jwt);
            check::refuse_unknown_names(reader, &rate_limits);
            let shared = redis.as_ref().is_some_and(|redis| redis.share.contains(&redis::Shared::ApiKeys));
            if let Some(api_keys) = &api_keys
                && api_keys.file.is_none()
                && !shared
                && !reader.has_fault_in("redis")
            {
                let message = "[api_keys] has no keys; add file, or \"api_keys\" to the share of [redis]";
                reader.fault(&keys.header_of("api_keys"), "api_keys", message.to_owned());
            }
            if keys.are_sound(&["jwt", "api_keys", "listeners"]) {
                let asks = listeners::any_asks_for_certificates(&listeners);
                check::refuse_auth_without_credentials(reader, &routes, !jwt.is_empty(), api_keys.is_some(), asks);
                check::warn_of_credentials_that_no_route_asks_for(reader, &routes, &jwt);
            }
            check::refuse_repeated_routes(reader, &routes);
            check::warn_of_unreachable_routes(reader, &routes, health_path);
            check::warn_of_places_with_headers_alone(reader, &routes);
            check::warn_of_unused(reader, &upstreams);
            check::warn_of_unused(reader, &rate_limits);
            check::list_open_routes(reader, &routes);
        }
        Some(Config {
            server: server?,
            listeners: by_name(listeners)?,
            health: health?,
            reload: reload?,
            request_id: request_id?,
            forwarded: forwarded?,
            cache: cache?,
            cors,
            jwt: by_name(jwt)?,
            api_keys,
            failed_credentials: failed_credentials?,
            identity_headers: identity_headers.unwrap_or_default(),
            redis,
            rate_limits: by_name(rate_limits)?,
            upstreams: by_name(upstreams)?,
            routes: by_name(routes.into_iter().map(|entry| entry.and_then(|entry| entry.route)).collect())?,
        })
    }
}

/// `file` is the one that was read first; findings of the files that it names come after its own.
fn finish(file: &str, config: Option<Config>, syntax_faults: Vec<Finding>, found: Found) -> Result<Loaded, Faults> {
    let Found { mut faults, mut warnings, mut open_routes, files, .. } = found;
    // What follows a syntax error may have been taken for something else.
    if let Some(first) = syntax_faults.iter().filter_map(line).min() {
        faults.retain(|fault| line(fault) < Some(first));
        warnings.clear();
    }
    faults.extend(syntax_faults);
    for findings in [&mut faults, &mut warnings, &mut open_routes] {
        findings.sort_by(|a, b| (a.file != file, &a.file, a.position).cmp(&(b.file != file, &b.file, b.position)));
        // A value in [defaults] is looked at once for each route.
        findings.dedup();
    }
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, warnings, open_routes, files }),
        _ => Err(Faults { faults, warnings, files }),
    }
}

fn line(finding: &Finding) -> Option<usize> {
    finding.position.map(|position| position.line)
}
