//! The choice against the rule, read off one route after the other.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::header::ALLOW;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tower::{Service, ServiceExt, service_fn};

use super::*;
use crate::{Head, RequestContext};

/// The rule of the module's documentation, word by word.
mod rule {
    use super::*;
    use std::cmp::Reverse;

    pub(super) fn choose<'a>(routes: &'a [Route], request: &Request<()>) -> Choice<'a> {
        let host = request.headers()["host"].to_str().unwrap().to_ascii_lowercase();
        let host = host.split(':').next().unwrap().trim_end_matches('.');
        let path = request.uri().path();

        // The host, then the longest path.
        let place = |route: &Route| Some((host_rank(route, host)?, path_length(route, path)?));
        let Some(best) = routes.iter().filter_map(place).max() else { return Choice::NotFound };
        let here = routes.iter().enumerate().filter(|(_, route)| place(route) == Some(best));

        // Then header fields and methods.
        let sent = |(name, value): &(HeaderName, HeaderValue)| request.headers().get(name) == Some(value);
        let candidates: Vec<_> = here.filter(|(_, route)| route.headers.iter().all(sent)).collect();
        let takes = |route: &Route| route.methods.as_ref().is_none_or(|methods| methods.contains(request.method()));
        let found = candidates
            .iter()
            .filter(|(_, route)| takes(route))
            .min_by_key(|(index, route)| (!route.exact, Reverse(route.headers.len()), route.methods.is_none(), *index));
        match found {
            Some((index, _)) => Choice::Route(*index),
            None if candidates.is_empty() => Choice::NotFound,
            None => Choice::MethodNotAllowed(Vec::new()),
        }
    }

    /// Larger is better: exact, then the longer wildcard, then any.
    fn host_rank(route: &Route, host: &str) -> Option<(bool, usize)> {
        if route.hosts.is_empty() {
            return Some((false, 0));
        }
        let ranks = route.hosts.iter().filter_map(|pattern| match pattern.wildcard {
            false => (*pattern.name == *host).then_some((true, 0)),
            true => {
                let below = host.strip_suffix(&*pattern.name).and_then(|rest| rest.strip_suffix('.'));
                below.filter(|below| !below.is_empty()).map(|_| (false, pattern.name.len()))
            }
        });
        ranks.max()
    }

    fn path_length(route: &Route, path: &str) -> Option<usize> {
        if route.exact {
            // The root is as long as the prefix of all paths.
            return (path == &*route.path).then(|| if path == "/" { 0 } else { path.len() });
        }
        let prefix = route.path.trim_end_matches('/');
        let rest = path.strip_prefix(prefix)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
    }
}

fn request(method: &str, host: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(path).header("host", host).body(()).unwrap()
}

fn prefix(path: &str) -> Route {
    Route::prefix(path).unwrap()
}

fn exact(path: &str) -> Route {
    Route::exact(path).unwrap()
}

fn on(hosts: &[&str], route: Route) -> Route {
    route.hosts(hosts).unwrap()
}

fn beta(route: Route) -> Route {
    route.header(HeaderName::from_static("x-beta"), HeaderValue::from_static("1"))
}

/// The index of the route that is chosen.
fn chosen(table: &RouteTable, request: &Request<()>) -> Option<usize> {
    match table.choose(Head::of(request)) {
        Choice::Route(index) => Some(index),
        _ => None,
    }
}

#[test]
fn the_host_decides_before_the_path() {
    let table = RouteTable::new([
        prefix("/a/b"),
        on(&["*.example.com"], prefix("/a")),
        on(&["*.b.example.com"], prefix("/a")),
        on(&["api.example.com"], prefix("/")),
    ]);
    let get = |host: &str| chosen(&table, &request("GET", host, "/a/b"));
    assert_eq!(get("api.example.com"), Some(3));
    assert_eq!(get("www.example.com"), Some(1));
    assert_eq!(get("x.y.example.com"), Some(1));
    assert_eq!(get("a.b.example.com"), Some(2));
    assert_eq!(get("example.com"), Some(0));
    assert_eq!(get("badexample.com"), Some(0));
    // A host whose paths lead nowhere leaves the request to the others.
    assert_eq!(chosen(&table, &request("GET", "x.b.example.com", "/c")), None);
    assert_eq!(chosen(&RouteTable::new([on(&["a"], prefix("/x")), prefix("/")]), &request("GET", "a", "/y")), Some(1));
}

#[test]
fn a_host_is_compared_without_port_case_and_the_roots_dot() {
    let table = RouteTable::new([on(&["Api.Example.com", "[2001:DB8::1]", "192.0.2.1"], prefix("/"))]);
    let hosts =
        ["api.example.com", "API.EXAMPLE.COM:8080", "api.example.com.", "api.example.com.:80", "[2001:db8::1]:1"];
    for host in hosts.into_iter().chain(["[2001:db8::1]", "192.0.2.1:80"]) {
        assert_eq!(chosen(&table, &request("GET", host, "/")), Some(0), "{host}");
    }
    for host in ["api.example.com..", "xapi.example.com", "com", "[2001:db8::2]", "api.example.com.evil", ".", ":80"] {
        assert_eq!(chosen(&table, &request("GET", host, "/")), None, "{host}");
    }
    // What HTTP/2 has for a Host, and HTTP/1.1 in an absolute target, goes before it.
    let absolute = request("GET", "other", "http://api.example.com:1/");
    assert_eq!(chosen(&table, &absolute), Some(0));
    assert_eq!(chosen(&table, &Request::new(())), None);
}

#[test]
fn paths_are_compared_by_whole_segments() {
    let table = RouteTable::new([prefix("/api/"), prefix("/api/users"), exact("/api/users/"), exact("/")]);
    let get = |path: &str| chosen(&table, &request("GET", "a", path));
    assert_eq!([get("/api"), get("/api/"), get("/api//x"), get("/api/x")], [Some(0); 4]);
    assert_eq!([get("/api/users"), get("/api/users/7"), get("/api/users//")], [Some(1); 3]);
    assert_eq!(get("/api/users/"), Some(2));
    assert_eq!([get("/"), get("/?a=b")], [Some(3); 2]);
    assert_eq!([get("/apis"), get("/ap"), get("//"), get("/API")], [None; 4]);
    let all = RouteTable::new([prefix("/")]);
    assert_eq!(chosen(&all, &request("GET", "a", "/any/thing")), Some(0));
    assert_eq!(chosen(&all, &request("OPTIONS", "a", "*")), None);
}

#[test]
fn of_one_place_an_exact_path_goes_first_then_more_headers_then_named_methods() {
    let table = RouteTable::new([
        prefix("/a"),
        prefix("/a").methods([Method::PUT]),
        beta(prefix("/a")),
        exact("/a").methods([Method::GET]),
        prefix("/a").methods([Method::PUT]),
    ]);
    let get = |method: &str, path: &str| chosen(&table, &request(method, "a", path));
    assert_eq!(get("GET", "/a"), Some(3));
    assert_eq!(get("PUT", "/a"), Some(1));
    assert_eq!(get("POST", "/a"), Some(0));
    assert_eq!(get("GET", "/a/b"), Some(0));
    let mut with_beta = request("GET", "a", "/a/b");
    with_beta.headers_mut().insert("x-beta", HeaderValue::from_static("1"));
    assert_eq!(chosen(&table, &with_beta), Some(2));
}

#[test]
fn a_method_falls_through_to_no_wider_route() {
    let table = RouteTable::new([
        prefix("/"),
        on(&["a"], prefix("/x").methods([Method::GET, Method::POST])),
        on(&["a"], exact("/x").methods([Method::DELETE, Method::GET])),
    ]);
    assert_eq!(chosen(&table, &request("HEAD", "a", "/x/y")), Some(1));
    let allowed = |method: &str, path: &str| match table.choose(Head::of(&request(method, "a", path))) {
        Choice::MethodNotAllowed(methods) => methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!(allowed("PATCH", "/x"), "DELETE GET HEAD POST");
    assert_eq!(allowed("DELETE", "/x/y"), "GET POST HEAD");
    assert_eq!(allowed("OPTIONS", "/x/y"), "GET POST HEAD");
    assert_eq!(chosen(&table, &request("PATCH", "b", "/x")), Some(0));
}

#[test]
fn header_fields_that_are_not_there_lead_to_no_wider_route_either() {
    let table = RouteTable::new([prefix("/"), beta(prefix("/x")).methods([Method::GET])]);
    assert_eq!(table.choose(Head::of(&request("GET", "a", "/x"))), Choice::NotFound);
    assert_eq!(table.choose(Head::of(&request("PUT", "a", "/x"))), Choice::NotFound);
    let mut other = request("GET", "a", "/x");
    other.headers_mut().insert("x-beta", HeaderValue::from_static("2"));
    assert_eq!(chosen(&table, &other), None);
    other.headers_mut().append("x-beta", HeaderValue::from_static("1"));
    assert_eq!(chosen(&table, &other), Some(1));
}

#[test]
fn a_preflight_comes_to_the_route_of_the_method_and_the_fields_it_asks_for() {
    let table = RouteTable::new([
        prefix("/x").methods([Method::GET]).answers_preflights(true),
        beta(prefix("/x")).methods([Method::PUT]).answers_preflights(true),
        prefix("/y").methods([Method::GET]),
    ]);
    let preflight = |path: &str, method: &'static str, headers: &'static str| {
        let mut request = request("OPTIONS", "a", path);
        request.headers_mut().insert("origin", HeaderValue::from_static("https://app.example"));
        request.headers_mut().insert("access-control-request-method", HeaderValue::from_static(method));
        request.headers_mut().insert("access-control-request-headers", HeaderValue::from_static(headers));
        request
    };
    assert_eq!(chosen(&table, &preflight("/x", "GET", "")), Some(0));
    assert_eq!(chosen(&table, &preflight("/x", "PUT", "authorization, X-Beta")), Some(1));
    for (path, method) in [("/x", "PUT"), ("/x", "DELETE"), ("/y", "GET"), ("/y", "OPTIONS")] {
        assert_eq!(chosen(&table, &preflight(path, method, "")), None, "{path} {method}");
    }
    // Without an origin it is none.
    let mut plain = preflight("/x", "GET", "");
    plain.headers_mut().remove("origin");
    assert_eq!(chosen(&table, &plain), None);
}

#[tokio::test]
async fn a_router_calls_the_service_of_the_route_and_says_which_it_was() {
    let named = |name: &'static str| {
        service_fn(move |request: Request<()>| async move {
            let route = request.extensions().get::<RequestContext>().and_then(|context| context.route().cloned());
            Ok::<_, Infallible>(Response::new(format!("{name} {route:?}")))
        })
    };
    let routes = [(prefix("/a").name("a"), named("one")), (prefix("/b").methods([Method::GET]), named("two"))];
    let mut router = Router::new(routes);
    let mut send = async |method: &str, path: &str| {
        let Ok(response) = router.ready().await.unwrap().call(request(method, "h", path)).await;
        response
    };
    for (path, said) in
        [("/a", "one Some(RouteName(\"a\"))"), ("/b", "two None"), ("/b/c", "two None"), ("/a", "one Some")]
    {
        let body = http_body_util::BodyExt::collect(send("GET", path).await.into_body()).await.unwrap().to_bytes();
        assert!(body.starts_with(said.as_bytes()), "{body:?}");
    }
    assert_eq!(send("GET", "/c").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(send("OPTIONS", "/c").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(send("OPTIONS", "*").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(send("GET", "*").await.status(), StatusCode::NOT_FOUND);
    let refused = send("PUT", "/b").await;
    assert_eq!(
        (refused.status(), &refused.headers()[ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("GET, HEAD"))
    );
}

fn any_route() -> impl Strategy<Value = Route> {
    let hosts = subsequence(vec!["a.test", "b.a.test", "*.test", "*.a.test", "*.b.a.test"], 0..3);
    let path = select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/a//b"]);
    let methods = proptest::option::of(subsequence(vec![Method::GET, Method::PUT, Method::OPTIONS], 1..3));
    let headers = subsequence(vec!["x-a", "x-b"], 0..=2);
    (hosts, path, any::<bool>(), methods, headers).prop_map(|(hosts, path, is_exact, methods, headers)| {
        let route = on(&hosts, if is_exact { exact(path) } else { prefix(path) });
        let route = headers
            .into_iter()
            .fold(route, |route, name| route.header(HeaderName::from_static(name), HeaderValue::from_static("1")));
        methods.into_iter().fold(route, Route::methods)
    })
}

fn any_request() -> impl Strategy<Value = Request<()>> {
    let method = select(vec!["GET", "HEAD", "PUT", "OPTIONS", "POST"]);
    let host = select(vec!["a.test", "A.test:80", "b.a.test.", "c.b.a.test", "c.test", "test", "other"]);
    let path = select(vec!["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c/d", "/ab", "/abc", "/a//b", "//", "/c"]);
    (method, host, path, subsequence(vec!["x-a", "x-b"], 0..=2)).prop_map(|(method, host, path, headers)| {
        let mut request = request(method, host, path);
        for name in headers {
            request.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
        request
    })
}

proptest! {
    #[test]
    fn the_choice_is_the_rules(
        routes in proptest::collection::vec(any_route(), 0..12),
        requests in proptest::collection::vec(any_request(), 1..20),
    ) {
        let table = RouteTable::new(routes.clone());
        for request in &requests {
            match (table.choose(Head::of(request)), rule::choose(&routes, request)) {
                (Choice::MethodNotAllowed(methods), Choice::MethodNotAllowed(_)) => {
                    prop_assert!(!methods.contains(&request.method()));
                }
                (chosen, expected) => prop_assert_eq!(chosen, expected, "{:?}", request),
            }
        }
    }

    #[test]
    fn no_request_makes_the_choice_panic(host in "\\PC*", path in "/\\PC*", method in "[A-Z]{1,8}") {
        let table = RouteTable::new([prefix("/"), on(&["*.a"], prefix("/a")), on(&["[::1]"], exact("/a/"))]);
        if let Ok(request) = Request::builder().method(&*method).uri(path).header("host", host).body(()) {
            table.choose(Head::of(&request));
        }
    }
}

/// Tells how often it was called since it was cloned.
struct Counting(u32);

impl Clone for Counting {
    fn clone(&self) -> Self {
        Self(0)
    }
}

impl Service<Request<()>> for Counting {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.0 += 1;
        let mut answer = Response::new(());
        answer.extensions_mut().insert(self.0);
        ready(Ok(answer))
    }
}

#[tokio::test]
async fn an_instance_keeps_as_many_services_as_it_is_told_to_and_its_clones_none_of_them() {
    let call = async |router: &mut Router<Counting>, path: &str| {
        let Ok(answer) = router.call(request("GET", "h", path)).await;
        answer.extensions().get::<u32>().copied()
    };
    for (keep, last) in [(0, 1), (1, 1), (2, 3), (100, 3)] {
        let mut router = Router::new(["/a", "/b", "/c"].map(|path| (prefix(path), Counting(0)))).keep(keep);
        for (path, count) in [("/a", 1), ("/a", 2), ("/b", 1), ("/a", last)] {
            assert_eq!(call(&mut router, path).await, Some(count), "{path}, and {keep} kept");
        }
        assert_eq!(call(&mut router.clone(), "/a").await, Some(1));
    }
}
