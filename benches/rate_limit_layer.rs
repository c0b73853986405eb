//! What the layer of limits costs by itself, beside the service that it is around: `cargo bench --bench rate_limit_layer`
//!
//! The two take turns, a few hundred requests each, so that what is said of one is true of the other on a machine that others use as
//! well. The quota is one as people have them: its numbers are short, and it is charged by the kernel's tick.

mod support;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use support::{Answer, NoBody, finish, request_from};
use tower::{Layer, Service, service_fn};
use tower_gateway::client_ip::ClientIpLayer;
use tower_gateway::rate_limit::{Limit, Quota, RateLimitHeaders, RateLimitLayer};

const ROUNDS: usize = 2_000;
const REQUESTS: u32 = 512;
/// So many are made before they are timed: few, so that the memory of each is found by the next as it is in a server.
const MADE_AHEAD: usize = 4;

/// A service, and the clients that call it by turns: each sends so many requests in a row that the quota has room for them.
struct Called<S> {
    service: S,
    clients: u32,
}

impl<S> Called<S>
where
    S: Service<Request<NoBody>, Error = Infallible>,
{
    fn new(service: S) -> Self {
        Self { service, clients: 0 }
    }

    /// Nanoseconds a request, with the answer dropped, and without the time to make the request.
    fn round(&mut self) -> f64 {
        let client = Ipv4Addr::from_bits(0x0a00_0000 + self.clients);
        self.clients += 1;
        let (mut taken, mut made) = (Duration::ZERO, Vec::with_capacity(MADE_AHEAD));
        for _ in 0..REQUESTS / MADE_AHEAD as u32 {
            made.extend((0..MADE_AHEAD).map(|_| request_from(client)));
            let start = Instant::now();
            for request in made.drain(..) {
                let Ok(answer) = finish(pin!(self.service.call(request)));
                drop(answer);
            }
            taken += start.elapsed();
        }
        taken.as_nanos() as f64 / f64::from(REQUESTS)
    }
}

/// The time of the service alone and with each kind of fields, and by how much it is more.
fn compare<S>(answer: &str, service: S)
where
    S: Service<Request<NoBody>, Response = Response<NoBody>, Error = Infallible> + Clone,
{
    for (fields, headers) in [
        ("none", RateLimitHeaders::none()),
        ("IETF's two", RateLimitHeaders::none().ietf(true)),
        ("the legacy three", RateLimitHeaders::none().legacy(true)),
        ("these five, the default", RateLimitHeaders::default()),
    ] {
        let limit = RateLimitLayer::new([Limit::new("per_user", Quota::per_minute(600))]).headers(headers);
        let mut alone = Called::new(ClientIpLayer::new().layer(service.clone()));
        let mut limited = Called::new(ClientIpLayer::new().layer(limit.layer(service.clone())));
        // One that does not count: it finds its memory as the other has left it.
        alone.round();
        limited.round();
        let rounds: Vec<[f64; 2]> = (0..ROUNDS).map(|_| [alone.round(), limited.round()]).collect();
        let sorted = |figure: fn(&[f64; 2]) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures
        };
        let (alone, own) = (sorted(|[alone, _]| *alone), sorted(|[alone, limited]| limited - alone));
        let [low, median, high] = [1, 2, 3].map(|quarter| own[ROUNDS * quarter / 4]);
        println!("| {answer} | {fields} | {:.0} | {median:.0} ({low:.0} to {high:.0}) |", alone[ROUNDS / 2]);
    }
}

/// Answers at once with the two fields that nearly every answer has.
async fn two_fields(_: Request<NoBody>) -> Result<Response<NoBody>, Infallible> {
    let mut answer = Response::new(NoBody::new());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("1024"));
    Ok(answer)
}

fn main() {
    println!(
        "| the service answers with | fields that the layer adds | the service alone, ns | the layer, ns (quartiles) |"
    );
    println!("|---|---|---|---|");
    compare("nothing", Answer);
    compare("a type and a length", service_fn(two_fields));
}
