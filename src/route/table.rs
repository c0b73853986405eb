//! The choice of a route.

use http::Method;

use super::host::{self, labels};
use super::pattern::{Asked, Route};
use super::tree::Tree;
use crate::Head;
use crate::aside::aside;

/// Routes, in the form in which one of them is found at once. Useful by itself where a [`Router`](super::Router) is not
/// what calls their services.
#[derive(Clone, Debug)]
pub struct RouteTable {
    routes: Vec<Route>,
    any_host: Tree<Place>,
    hosts: Tree<Names>,
    paths: Vec<Tree<Place>>,
}

/// The paths of a host and of the hosts below it, as indices of trees.
#[derive(Clone, Debug, Default)]
struct Names {
    exact: Option<usize>,
    wildcard: Option<usize>,
}

/// The routes of one host and one path, as they are tried.
#[derive(Clone, Debug, Default)]
struct Place {
    routes: Vec<usize>,
    has_prefix: bool,
}

/// What a request is answered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The route with this index, in the order in which they were given.
    Route(usize),
    /// No route is for this host and path, or for these header fields.
    NotFound,
    /// The methods that the routes of this host and path take.
    MethodNotAllowed(Vec<&'a Method>),
}

impl RouteTable {
    /// A table of `routes`.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let routes = routes.into_iter().collect();
        let mut table = Self { routes, any_host: Tree::new(), hosts: Tree::new(), paths: Vec::new() };
        for index in 0..table.routes.len() {
            table.insert(index);
        }
        table.sort();
        table
    }

    /// The routes, in the order in which they were given.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route that a request is for.
    pub fn choose(&self, head: Head<'_>) -> Choice<'_> {
        let path = head.uri().path();
        if !path.starts_with('/') {
            aside();
            return Choice::NotFound;
        }
        match self.place(head, path) {
            Some((place, ends)) => self.choose_in(place, ends, &Asked::new(head)),
            None => {
                aside();
                Choice::NotFound
            }
        }
    }

    fn insert(&mut self, index: usize) {
        let route = &self.routes[index];
        let path = if route.exact { &*route.path } else { route.path.trim_end_matches('/') };
        if route.hosts.is_empty() {
            self.any_host.entry(segments(path)).insert(index, route.exact);
        }
        for pattern in &route.hosts {
            let names = self.hosts.entry(labels(&pattern.name));
            let tree = if pattern.wildcard { &mut names.wildcard } else { &mut names.exact };
            let tree = *tree.get_or_insert_with(|| {
                self.paths.push(Tree::new());
                self.paths.len() - 1
            });
            self.paths[tree].entry(segments(path)).insert(index, route.exact);
        }
    }

    fn sort(&mut self) {
        let rank = |index: &usize| {
            let route = &self.routes[*index];
            (!route.exact, std::cmp::Reverse(route.headers.len()), route.methods.is_none(), *index)
        };
        for tree in self.paths.iter_mut().chain([&mut self.any_host]) {
            tree.values_mut().for_each(|place| place.routes.sort_by_key(rank));
        }
    }

    /// The place that a request's host and path lead to, and whether the path ends there.
    fn place(&self, head: Head<'_>, path: &str) -> Option<(&Place, bool)> {
        let named = if self.paths.is_empty() { None } else { host::of_request(head) };
        let named = named.and_then(|host| self.place_of_host(&host, path));
        named.or_else(|| longest(&self.any_host, path))
    }

    /// Deeper in the tree is better: of wildcards the longer one, and last of all the whole host.
    fn place_of_host(&self, host: &str, path: &str) -> Option<(&Place, bool)> {
        let mut best = None;
        self.hosts.walk(labels(host), |names, ends| {
            let tree = if ends { names.exact } else { names.wildcard };
            best = tree.and_then(|tree| longest(&self.paths[tree], path)).or(best);
        });
        best
    }

    fn choose_in(&self, place: &Place, ends: bool, request: &Asked<'_>) -> Choice<'_> {
        let routes = || place.routes.iter().map(|index| (*index, &self.routes[*index]));
        let candidates = || routes().filter(|(_, route)| (ends || !route.exact) && route.takes_headers(request));
        if let Some((index, _)) = candidates().find(|(_, route)| route.takes_method(request)) {
            return Choice::Route(index);
        }
        aside();
        let mut allowed = Vec::new();
        for method in candidates().flat_map(|(_, route)| route.methods.iter().flatten()) {
            if !allowed.contains(&method) {
                allowed.push(method);
            }
        }
        if candidates().next().is_none() { Choice::NotFound } else { Choice::MethodNotAllowed(allowed) }
    }
}

impl Place {
    fn insert(&mut self, route: usize, exact: bool) {
        self.routes.push(route);
        self.has_prefix |= !exact;
    }
}

/// The deepest place along `path` that has a route for it.
fn longest<'t>(tree: &'t Tree<Place>, path: &str) -> Option<(&'t Place, bool)> {
    let mut longest = None;
    tree.walk(segments(path), |place, ends| {
        if place.has_prefix || ends && !place.routes.is_empty() {
            longest = Some((place, ends));
        }
    });
    longest
}

/// The segments of a path: none of `/`, and two of `/a/`, the last one empty.
///
/// By bytes: `str::split` searches in a way that is made for longer texts, at three times the price.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let mut left = (!rest.is_empty()).then_some(rest);
    std::iter::from_fn(move || {
        let rest = left?;
        match rest.bytes().position(|byte| byte == b'/') {
            Some(end) => {
                left = Some(&rest[end + 1..]);
                Some(&rest[..end])
            }
            None => left.take(),
        }
    })
}
