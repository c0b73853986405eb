//! `[routes.NAME]`, and `[defaults]` for all of them.

use std::ops::Range;

use tower_gateway::strict::EncodedSlashes;

use super::forms::{Locate, Located, OrFalse};
use super::ip::IpRules;
use super::path::{PathPrefix, RequestPath, is_prefix_by_segments};
use super::reader::Reader;
use super::response::Response;
use super::table::{Keys, Named, Setting, Table};
use super::timeouts::Timeouts;
use super::value::{Form, Text, Value};

/// `[routes.NAME]`, with what it has from `[defaults]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Begins with "/".
    pub(crate) path: String,
    pub(crate) path_match: PathMatch,
    /// The name of an upstream that exists.
    pub(crate) upstream: String,
    /// A prefix of `path` by whole segments; begins with "/" and does not end with it.
    pub(crate) strip_prefix: Option<String>,
    pub(crate) encoded_slashes: EncodedSlashes,
    pub(crate) timeouts: Timeouts,
    pub(crate) ip: Option<IpRules>,
}

/// How a route's path is compared with a request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PathMatch {
    /// By whole segments.
    Prefix,
    Exact,
}

/// The keys of one route, or those of `[defaults]`. `None` is `false`.
#[derive(Default)]
pub(super) struct RouteKeys {
    path: Setting<String>,
    path_match: Setting<PathMatch>,
    pub(super) upstream: Setting<Located<Text>>,
    strip_prefix: Setting<Option<Located<String>>>,
    encoded_slashes: Setting<EncodedSlashes>,
    timeouts: Setting<Option<Timeouts>>,
    ip: Setting<Option<IpRules>>,
}

/// A route as its own keys and the defaults make it, to be checked against the rest of the file.
pub(super) struct Resolved {
    pub(super) name: String,
    /// The dotted path of its table.
    pub(super) table: String,
    /// The header of its table.
    pub(super) at: Range<usize>,
    /// Which requests are its own. Absent where a fault has been reported.
    pub(super) matched: Option<(String, PathMatch)>,
    /// Absent where a fault has been reported.
    pub(super) route: Option<Route>,
}

impl Table for RouteKeys {
    const NOT_BUILT: &'static [&'static str] = &[
        "hosts",
        "methods",
        "headers",
        "respond",
        "redirect",
        "rewrite_path",
        "rate_limit",
        "plugins",
        "cors",
        "auth",
        "cache",
        "concurrency",
        "request",
    ];

    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let route = RouteKeys {
            path: keys.setting::<RequestPath>("path"),
            path_match: keys.setting::<PathMatch>("match"),
            upstream: keys.setting::<Locate<UpstreamName>>("upstream"),
            strip_prefix: keys.setting::<OrFalse<Locate<PathPrefix>>>("strip_prefix"),
            encoded_slashes: keys.setting::<SlashRule>("encoded_slashes"),
            timeouts: keys.setting::<OrFalse<Timeouts>>("timeouts"),
            ip: keys.setting::<OrFalse<IpRules>>("ip"),
        };
        keys.optional::<OrFalse<Response>>("response");
        Some(route)
    }
}

/// A route's own keys, and for each that it lacks the one of `[defaults]`. Nothing where its table could not be read.
pub(super) fn resolve(reader: &Reader<'_>, named: Named<RouteKeys>, defaults: &RouteKeys) -> Option<Resolved> {
    let own = named.value?;
    let path = own.path.or(&defaults.path);
    let path_match = own.path_match.or(&defaults.path_match);
    let upstream = own.upstream.or(&defaults.upstream);
    let strip_prefix = own.strip_prefix.or(&defaults.strip_prefix);
    let encoded_slashes = own.encoded_slashes.or(&defaults.encoded_slashes);
    let timeouts = own.timeouts.or(&defaults.timeouts);
    let ip = own.ip.or(&defaults.ip);

    if let Setting::Absent = path {
        reader.missing(&named.at, &named.path, "path", &RequestPath::expects());
    }
    if let Setting::Absent = upstream {
        reader.missing(&named.at, &named.path, "upstream", &UpstreamName::expects());
    }
    let strip_prefix = strip_prefix.given().cloned().flatten();
    if let (Some(prefix), Some(path)) = (&strip_prefix, path.given()) {
        refuse_foreign_prefix(reader, prefix, path, &named.path);
    }
    let path_match = match path_match {
        Setting::Absent => Some(PathMatch::Prefix),
        Setting::Faulty => None,
        Setting::Given(path_match) => Some(path_match),
    };
    let timeouts = match timeouts {
        Setting::Absent | Setting::Faulty => Timeouts::default(),
        Setting::Given(timeouts) => timeouts.unwrap_or(Timeouts::OFF),
    };
    let matched = path.given().cloned().zip(path_match);
    let route = matched.clone().zip(upstream.given()).map(|((path, path_match), upstream)| Route {
        path,
        path_match,
        upstream: upstream.value.text.clone(),
        strip_prefix: strip_prefix.map(|prefix| prefix.value),
        encoded_slashes: encoded_slashes.given().copied().unwrap_or_default(),
        timeouts,
        ip: ip.given().cloned().flatten(),
    });
    Some(Resolved { name: named.name, table: named.path, at: named.at, matched, route })
}

fn refuse_foreign_prefix(reader: &Reader<'_>, prefix: &Located<String>, path: &str, route: &str) {
    if !is_prefix_by_segments(&prefix.value, path) {
        let message = format!(
            "{}: not the first segments of the path of [{route}]; write a prefix of it, or false to strip nothing",
            prefix.path
        );
        reader.fault(&prefix.at, &prefix.path, message);
    }
}

impl Form for PathMatch {
    type Output = PathMatch;

    fn expects() -> String {
        r#""prefix" or "exact""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<PathMatch> {
        let built = [("prefix", PathMatch::Prefix), ("exact", PathMatch::Exact)];
        value.word::<Self, _>(&built, &[])
    }
}

/// What becomes of `%2F` in a path.
struct SlashRule;

impl Form for SlashRule {
    type Output = EncodedSlashes;

    fn expects() -> String {
        r#""refuse" or "keep""#.to_owned()
    }

    fn read(value: &Value<'_>) -> Option<EncodedSlashes> {
        value.word::<Self, _>(&[("refuse", EncodedSlashes::Refuse), ("keep", EncodedSlashes::Keep)], &[])
    }
}

struct UpstreamName;

impl Form for UpstreamName {
    type Output = Text;

    fn expects() -> String {
        "the name of an upstream".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<Text> {
        value.text::<Self>()
    }
}
