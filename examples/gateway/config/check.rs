//! What can only be seen with the whole file read: names that lead nowhere, routes that say the same.

use std::collections::{HashMap, HashSet};

use super::forms::Located;
use super::nearest::nearest;
use super::reader::Reader;
use super::route::{PathMatch, Resolved};
use super::table::Named;
use super::upstream::Upstream;
use super::value::Text;

/// `names` are all that stand for an upstream, in routes and in `[defaults]`.
pub(super) fn refuse_unknown_upstreams(reader: &Reader<'_>, names: &[Located<Text>], upstreams: &[Named<Upstream>]) {
    let declared = || upstreams.iter().map(|upstream| upstream.name.as_str());
    for name in names {
        let wanted = &name.value;
        if declared().any(|declared| declared == wanted.text) {
            continue;
        }
        let remedy = match nearest(&wanted.text, declared()) {
            // The nearest name would give away what a variable holds.
            _ if wanted.is_expanded() => "write the name of an [upstreams.NAME]".to_owned(),
            Some(nearest) if nearest.is_close() => format!("did you mean {:?}?", nearest.name),
            Some(nearest) => format!("the nearest name is {:?}", nearest.name),
            None => "add [upstreams.NAME]".to_owned(),
        };
        let message = format!("{}: no upstream is named {}; {remedy}", name.path, wanted.quoted());
        reader.fault(&name.at, &name.path, message);
    }
}

/// Which of two routes that say the same is meant, nobody can tell.
pub(super) fn refuse_repeated_routes(reader: &Reader<'_>, routes: &[Resolved]) {
    let mut seen: HashMap<&(String, PathMatch), &str> = HashMap::new();
    for route in routes {
        let Some(matched) = &route.matched else { continue };
        if let Some(first) = seen.get(matched) {
            let message = format!(
                "[{}] matches the same requests as [{first}]; change the path of one, or remove it",
                route.table
            );
            reader.fault(&route.at, &route.table, message);
        } else {
            seen.insert(matched, &route.table);
        }
    }
}

pub(super) fn warn_of_unused_upstreams(reader: &Reader<'_>, routes: &[Resolved], upstreams: &[Named<Upstream>]) {
    let used: Option<HashSet<&str>> =
        routes.iter().map(|route| route.route.as_ref().map(|route| route.upstream.as_str())).collect();
    // A route that is at fault may be the one that would have used it.
    let Some(used) = used else { return };
    for upstream in upstreams {
        if !used.contains(upstream.name.as_str()) {
            let message = format!("[{}] is used by no route; name it in one, or remove it", upstream.path);
            reader.warn(&upstream.at, &upstream.path, message);
        }
    }
}

pub(super) fn warn_of_unreachable_routes(reader: &Reader<'_>, routes: &[Resolved], health_path: Option<&str>) {
    for route in routes {
        let Some((path, path_match)) = &route.matched else { continue };
        let problem = if *path_match == PathMatch::Exact && health_path == Some(path) {
            "can never match, since [health] answers its path first; change one of the two"
        } else if path.contains(['*', '{', '}']) {
            "takes \"*\", \"{\" and \"}\" in its path as they are, so it hardly ever matches; \
             write the segments before them, and it matches all below"
        } else {
            continue;
        };
        reader.warn(&route.at, &route.table, format!("[{}] {problem}", route.table));
    }
}
