//! What the choice of a route costs, among few and among many. `cargo bench --bench route`
#![allow(missing_docs, reason = "the macros make items without any")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Method, Request};
use tower_gateway::Head;
use tower_gateway::route::{Choice, Route, RouteTable};

const SIZES: [usize; 3] = [10, 1_000, 100_000];

/// More than a processor's nearest cache holds the routes of, when there are many.
const REQUESTS: usize = 1_024;

fn request(host: &str, path: &str) -> Request<()> {
    let mut request = Request::get(path).body(()).unwrap();
    let fields = [("host", host), ("user-agent", "bench"), ("accept", "*/*"), ("x-version", "2")];
    for (name, value) in fields {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request
}

/// Spread over all of `count`, in an order that no cache foresees.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    (0..REQUESTS).map(move |number| number.wrapping_mul(2_654_435_761) % count)
}

fn choices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in SIZES {
        let mut measure = |name: &str, table: &RouteTable, requests: Vec<Request<()>>, hit: bool| {
            for request in &requests {
                assert_eq!(matches!(table.choose(Head::of(request)), Choice::Route(_)), hit, "{request:?}");
            }
            let mut turn = requests.iter().cycle();
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| black_box(table.choose(Head::of(turn.next().unwrap()))));
            });
        };
        let service = |number: usize| format!("/api/v{}/service-{number}", number % 3);
        let methods = [Method::GET, Method::POST];
        let by_path =
            RouteTable::new((0..count).map(|number| Route::prefix(&service(number)).unwrap().methods(methods.clone())));
        let hits = spread(count).map(|number| request("api.example.com", &format!("{}/users/7?x=1", service(number))));
        measure("path", &by_path, hits.collect(), true);
        let misses = spread(count).map(|number| request("api.example.com", &format!("{}x/users/7", service(number))));
        measure("no_path", &by_path, misses.collect(), false);

        let by_host = RouteTable::new((0..count).map(|number| {
            let host = format!("{}tenant-{number}.example.com", if number % 2 == 0 { "*." } else { "" });
            Route::prefix("/api").unwrap().hosts([host]).unwrap()
        }));
        let hits = spread(count).map(|number| {
            let host = format!("{}tenant-{number}.example.com:8080", if number % 2 == 0 { "www." } else { "" });
            request(&host, "/api/users/7?x=1")
        });
        measure("host", &by_host, hits.collect(), true);
    }
    group.finish();
}

criterion_group!(benches, choices);
criterion_main!(benches);
