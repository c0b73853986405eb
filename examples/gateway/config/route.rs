//! `[routes.NAME]`. What a route has from `[defaults]` stands in its keys already.

use tower_gateway::strict::EncodedSlashes;

use super::auth::RouteAuth;
use super::cache::RouteCache;
use super::concurrency::Concurrency;
use super::cors::RouteCors;
use super::forms::{ListOf, Located};
use super::ip::IpRules;
use super::matching::Matching;
use super::path::is_prefix_by_segments;
use super::plugins::{ConfiguredPlugin, Plugins};
use super::rate_limit::RateLimit;
use super::reference::NameOf;
use super::request::RequestRules;
use super::response::ResponseRules;
use super::table::{Keys, Table};
use super::target::{PathRules, Target};
use super::timeouts::Timeouts;
use super::word::{Choice, Word};

/// `[routes.NAME]`, with what it has from `[defaults]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) matching: Matching,
    pub(crate) target: Target,
    pub(crate) path_rules: PathRules,
    pub(crate) encoded_slashes: EncodedSlashes,
    pub(crate) timeouts: Timeouts,
    /// Names of limits that exist.
    pub(crate) rate_limit: Vec<String>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) cors: RouteCors,
    pub(crate) ip: Option<IpRules>,
    pub(crate) auth: Option<RouteAuth>,
    pub(crate) cache: Option<RouteCache>,
    /// In the order of the file.
    pub(crate) plugins: Vec<ConfiguredPlugin>,
    pub(crate) request: RequestRules,
    pub(crate) response: ResponseRules,
}

/// A route as it was read, for the checks that look at several.
pub(super) struct Entry {
    /// Which requests are its own. Absent where a fault has been reported.
    pub(super) matching: Option<Matching>,
    /// Absent where a fault has been reported.
    pub(super) route: Option<Route>,
}

impl Entry {
    pub(super) fn refuses_its_own_path(&self) -> bool {
        self.route.as_ref().is_some_and(|route| !route.encoded_slashes.admits(&route.matching.path))
    }
}

impl Table for Entry {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let matching = Matching::read(keys);
        let target = Target::read(keys);
        let (strip_prefix, rewrite) = PathRules::read(keys);
        let encoded_slashes = keys.or::<Word<SlashRule>>(
            "encoded_slashes",
            "refuse",
            "%2F in a path: a 400, or matched and forwarded as it is",
        );
        let timeouts = keys.table::<Timeouts>("timeouts", "the deadlines of its requests; false: none");
        let timeouts = if keys.is_off("timeouts") { Some(Timeouts::OFF) } else { timeouts };
        let rate_limit = keys.optional::<ListOf<NameOf<RateLimit>>>(
            "rate_limit",
            "the limits of its callers: admitted by all or charged to none",
        );
        let concurrency = keys.optional::<Concurrency>("concurrency", "how many of its requests are in flight at once");
        let ip = keys.optional::<IpRules>("ip", "whose address is let in; the others: 403");
        let cache = keys.optional::<RouteCache>("cache", "what of its answers is stored, and for how long");
        let auth = keys.optional::<RouteAuth>("auth", "who may use it; absent or false: everybody");
        let cors = RouteCors::read(keys);
        let plugins = keys.optional::<Plugins>("plugins", "layers of your own, by name, each with its settings");
        let request = keys.table::<RequestRules>("request", "what its requests may bring, and what is done to them");
        let response = keys.table::<ResponseRules>("response", "what is done to its answers, the gateway's own too");
        let response = if keys.is_off("response") { Some(ResponseRules::default()) } else { response };

        if let (Some(prefix), Some(matching)) = (&strip_prefix, &matching) {
            refuse_foreign_prefix(keys, prefix, &matching.path);
        }
        let route = || {
            Some(Route {
                matching: matching.clone()?,
                target: target?,
                path_rules: PathRules { strip_prefix: strip_prefix.map(|prefix| prefix.value), rewrite },
                encoded_slashes: encoded_slashes.0,
                timeouts: timeouts?,
                rate_limit: rate_limit.unwrap_or_default(),
                concurrency,
                cors,
                ip,
                cache,
                plugins: plugins.unwrap_or_default(),
                request: request?,
                response: response?,
                auth,
            })
        };
        let route = route();
        Some(Entry { matching, route })
    }
}

fn refuse_foreign_prefix(keys: &Keys<'_>, prefix: &Located<String>, path: &str) {
    if !is_prefix_by_segments(&prefix.value, path) {
        let message = format!(
            "{}: not the first segments of the path of [{}]; write a prefix of it, or false to strip nothing",
            prefix.path, keys.path
        );
        keys.reader.fault(&prefix.at, &prefix.path, message);
    }
}

/// What becomes of `%2F` in a path.
#[derive(Clone, Copy)]
struct SlashRule(EncodedSlashes);

impl Choice for SlashRule {
    const BUILT: &'static [(&'static str, Self)] =
        &[("refuse", Self(EncodedSlashes::Refuse)), ("keep", Self(EncodedSlashes::Keep))];
}
