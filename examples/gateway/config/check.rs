//! What can only be seen with the whole file read: names that lead nowhere, routes that say the same.

use std::collections::{HashMap, HashSet};

use super::nearest::nearest;
use super::reader::Reader;
use super::route::{Entry, PathMatch};
use super::table::{Listed, Named};

pub(super) fn refuse_unknown_names<T: Listed>(reader: &Reader<'_>, tables: &[Named<T>]) {
    let declared = || tables.iter().map(|table| table.name.as_str());
    let references = reader.found.borrow().references.clone();
    for reference in references.iter().filter(|reference| reference.section == T::SECTION) {
        let wanted = &reference.name;
        if declared().any(|declared| declared == wanted.text) {
            continue;
        }
        let remedy = match nearest(&wanted.text, declared()) {
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
    let mut seen: HashMap<&(String, PathMatch), &str> = HashMap::new();
    for route in routes {
        let Some(matched) = matched(route) else { continue };
        if let Some(first) = seen.get(matched) {
            let message = format!(
                "[{}] matches the same requests as [{first}]; change the path of one, or remove it",
                route.path
            );
            reader.fault(&route.at, &route.path, message);
        } else {
            seen.insert(matched, &route.path);
        }
    }
}

pub(super) fn warn_of_unreachable_routes(reader: &Reader<'_>, routes: &[Named<Entry>], health_path: Option<&str>) {
    for route in routes {
        let Some((path, path_match)) = matched(route) else { continue };
        let problem = if *path_match == PathMatch::Exact && health_path == Some(path) {
            "can never match, since [health] answers its path first; change one of the two"
        } else if path.contains(['*', '{', '}']) {
            "takes \"*\", \"{\" and \"}\" in its path as they are, so it hardly ever matches; \
             write the segments before them, and it matches all below"
        } else {
            continue;
        };
        reader.warn(&route.at, &route.path, format!("[{}] {problem}", route.path));
    }
}

/// What nobody may forget: a route without authentication is there for everyone.
pub(super) fn list_open_routes(reader: &Reader<'_>, routes: &[Named<Entry>]) {
    for route in routes {
        reader.list_open_route(
            &route.at,
            &route.path,
            format!("[{}] is open to all, since it has no auth", route.path),
        );
    }
}

fn matched(route: &Named<Entry>) -> Option<&(String, PathMatch)> {
    route.value.as_ref()?.matched.as_ref()
}
