//! What can only be seen with the whole file read: names that lead nowhere, routes that say the same.

use std::collections::{BTreeMap, HashSet};

use super::auth::{Accept, RouteAuth};
use super::jwt::JwtIssuer;
use super::matching::{Matching, PathMatch};
use super::nearest::nearest;
use super::reader::Reader;
use super::route::Entry;
use super::table::{Listed, Named};

pub(super) fn refuse_unknown_names<T: Listed>(reader: &Reader<'_>, tables: &[Named<T>]) {
    let declared: HashSet<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    // In the order of the file, for the nearest of several.
    let names = || tables.iter().map(|table| table.name.as_str());
    let references = reader.found.borrow().references.clone();
    for reference in references.iter().filter(|reference| reference.section == T::SECTION) {
        let wanted = &reference.name;
        if declared.contains(wanted.text.as_str()) {
            continue;
        }
        let remedy = match nearest(&wanted.text, names()) {
            // The nearest name would give away what a variable holds.
            _ if wanted.is_expanded() => format!("write the name of an [{}.NAME]", T::SECTION),
            Some(nearest) if nearest.is_close() => format!("did you mean {:?}?", nearest.name),
            Some(nearest) => format!("the nearest name is {:?}", nearest.name),
            None => format!("add [{}.NAME]", T::SECTION),
        };
        let message = format!("{}: no {} is named {}; {remedy}", reference.path, T::KIND, wanted.quoted());
        reader.fault(&reference.at, &reference.path, message);
    }
}

pub(super) fn warn_of_unused<T: Listed>(reader: &Reader<'_>, tables: &[Named<T>]) {
    // A route that is at fault may be the one that would have used it.
    if reader.has_fault_in("routes") || reader.has_fault_in("defaults") {
        return;
    }
    let references = reader.found.borrow().references.clone();
    let used: HashSet<&str> = references
        .iter()
        .filter(|reference| reference.section == T::SECTION && reference.is_use)
        .map(|reference| reference.name.text.as_str())
        .collect();
    for table in tables.iter().filter(|table| !used.contains(table.name.as_str())) {
        let message = format!("[{}] is used by no route; name it in one, or remove it", table.path);
        reader.warn(&table.at, &table.path, message);
    }
}

/// Which of two routes that say the same is meant, nobody can tell.
pub(super) fn refuse_repeated_routes(reader: &Reader<'_>, routes: &[Named<Entry>]) {
    for here in by_place(routes).values() {
        for (index, (route, matching)) in here.iter().enumerate() {
            if let Some((first, _)) = here[..index].iter().find(|(_, other)| matching.is_the_same_as(other)) {
                let message = format!(
                    "[{}] matches the same requests as [{}]; change the path of one, or remove it",
                    route.path, first.path
                );
                reader.fault(&route.at, &route.path, message);
            }
        }
    }
}

pub(super) fn warn_of_unreachable_routes(reader: &Reader<'_>, routes: &[Named<Entry>], health_path: Option<&str>) {
    for route in routes {
        let Some(matching) = matching(route) else { continue };
        let problem = if matching.path_match == PathMatch::Exact && health_path == Some(&matching.path) {
            "can never match, since [health] answers its path first; change one of the two"
        } else if route.value.as_ref().is_some_and(Entry::refuses_its_own_path) {
            "can never match, since it refuses the encoded slash of its own path; write encoded_slashes = \"keep\""
        } else if matching.path.contains(['*', '{', '}']) {
            "takes \"*\", \"{\" and \"}\" in its path as they are, so it hardly ever matches; \
             write the segments before them, and it matches all below"
        } else {
            continue;
        };
        reader.warn(&route.at, &route.path, format!("[{}] {problem}", route.path));
    }
}

/// Header fields decide only between routes of one place, so that a request without them is a 404 there.
pub(super) fn warn_of_places_with_headers_alone(reader: &Reader<'_>, routes: &[Named<Entry>]) {
    for here in by_place(routes).values() {
        for (route, matching) in here {
            let takes_the_others = |other: &Matching| other.headers.is_empty() && other.shares_host(matching);
            if !matching.headers.is_empty() && !here.iter().any(|(_, other)| takes_the_others(other)) {
                let message = format!(
                    "[{}] leaves requests without its headers to no other route, wider ones included: they are a 404; \
                     add a route with the same path and no headers, unless that is what you want",
                    route.path
                );
                reader.warn(&route.at, &route.path, message);
            }
        }
    }
}

/// What nobody may forget: a route without authentication is there for everyone.
pub(super) fn list_open_routes(reader: &Reader<'_>, routes: &[Named<Entry>]) {
    for route in routes.iter().filter(|route| auth(route).is_none()) {
        reader.list_open_route(
            &route.at,
            &route.path,
            format!("[{}] is open to all, since it has no auth", route.path),
        );
    }
}

/// A route that asks for a credential of which there is no kind would let nobody in.
pub(super) fn refuse_auth_without_credentials(
    reader: &Reader<'_>,
    routes: &[Named<Entry>],
    has_tokens: bool,
    has_keys: bool,
    asks_for_certificates: bool,
) {
    for (route, auth) in routes.iter().filter_map(|route| Some((route, auth(route)?))) {
        let fault = |problem: &str| reader.fault(&route.at, &route.path, format!("[{}.auth] {problem}", route.path));
        let accepts = |kind: &Accept| auth.accept.as_ref().is_some_and(|accept| accept.contains(kind));
        if accepts(&Accept::Jwt) && !has_tokens {
            fault("accepts tokens, and nobody's are believed; add [jwt.NAME]");
        } else if accepts(&Accept::ApiKey) && !has_keys {
            fault("accepts API keys, and there are none; add [api_keys]");
        } else if accepts(&Accept::ClientCertificate) && !asks_for_certificates {
            fault(
                "accepts client certificates, and no listener asks for one; add client_ca and client_auth to the tls of one",
            );
        } else if auth.accept.is_none() && !has_tokens && !has_keys {
            fault(
                "accepts all kinds of credential that are configured, and there are none; add [jwt.NAME] or [api_keys]",
            );
        }
    }
}

pub(super) fn warn_of_credentials_that_no_route_asks_for(
    reader: &Reader<'_>,
    routes: &[Named<Entry>],
    issuers: &[Named<JwtIssuer>],
) {
    if reader.has_fault_in("routes") || reader.has_fault_in("defaults") {
        return;
    }
    for issuer in issuers {
        let asks = |auth: &RouteAuth| match &auth.accept {
            None => true,
            Some(accept) => accept.contains(&Accept::Jwt) || accept.contains(&Accept::Issuer(issuer.name.clone())),
        };
        if !routes.iter().filter_map(auth).any(asks) {
            let message = format!("[{}] is used by no route; accept it in the auth of one, or remove it", issuer.path);
            reader.warn(&issuer.at, &issuer.path, message);
        }
    }
}

fn auth(route: &Named<Entry>) -> Option<&RouteAuth> {
    route.value.as_ref()?.route.as_ref()?.auth.as_ref()
}

fn matching(route: &Named<Entry>) -> Option<&Matching> {
    route.value.as_ref()?.matching.as_ref()
}

/// The routes of each path, in the order of the file.
fn by_place(routes: &[Named<Entry>]) -> BTreeMap<&str, Vec<(&Named<Entry>, &Matching)>> {
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (route, matching) in routes.iter().filter_map(|route| Some((route, matching(route)?))) {
        places.entry(matching.place().0).or_default().push((route, matching));
    }
    places
}
