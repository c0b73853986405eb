//! A simulated fleet in paused time: what the layers together do for the clients of servers that fail, and to the servers,
//! beside no protection at all. `cargo test --test fleet -- --nocapture` prints the table.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_gateway::circuit_breaker::CircuitBreakerLayer;
use tower_gateway::classify::Outcome;
use tower_gateway::retry::{RetryBudget, RetryLayer};
use tower_gateway::upstream::{OutlierEjection, Upstream};
use tower_gateway::{Clock, Head, Share, UpstreamError, UpstreamErrorKind};

const SERVERS: usize = 5;
const REQUESTS: usize = 6_000;
/// One hundred a second, for a minute.
const EVERY: Duration = Duration::from_millis(10);
/// What a client waits for at most.
const PATIENCE: Duration = Duration::from_secs(1);
const BUDGET: f64 = 0.2;
const FLOOR: u32 = 1;

/// How a server is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Slow,
    Erring,
    Down,
}

/// How each server is, by the seconds that have passed.
type Fleet = fn(server: usize, second: u64) -> Mood;

/// The servers, and what they have been asked.
#[derive(Clone)]
struct Simulation {
    upstream: Upstream,
    fleet: Fleet,
    start: Instant,
    asked: Arc<AtomicUsize>,
}

impl Simulation {
    fn new(fleet: Fleet, ejection: Option<OutlierEjection>) -> Self {
        let servers =
            (0..SERVERS).fold(Upstream::builder(), |builder, server| builder.server(format!("http://s:{server}"), 1));
        let upstream = servers.outlier_ejection(ejection).build().unwrap();
        Self { upstream, fleet, start: Instant::now(), asked: Arc::default() }
    }

    async fn answer<B>(self, request: Request<B>) -> Result<Response<Full<Bytes>>, UpstreamError> {
        let assignment = self.upstream.assign(Head::of(&request)).ok_or(UpstreamErrorKind::NoServer)?;
        let server: usize = assignment.server().name().rsplit(':').next().unwrap().parse().unwrap();
        let mood = (self.fleet)(server, self.start.elapsed().as_secs());
        // A client or a deadline that gives it up leaves the assignment to be dropped; a watch would tell why.
        let given_up = GivenUp(Some(assignment));
        let result = match mood {
            Mood::Down => Err(UpstreamErrorKind::Connect.into()),
            Mood::Well | Mood::Slow | Mood::Erring => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(if mood == Mood::Slow { 3_000 } else { 5 + (server as u64 * 3) % 7 }))
                    .await;
                let status = if mood == Mood::Erring { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                Ok(Response::builder().status(status).body(Full::default()).unwrap())
            }
        };
        given_up.done(mood == Mood::Well);
        result
    }
}

/// A request that takes so long that it is given up is a failure of its server.
struct GivenUp(Option<tower_gateway::upstream::Assignment>);

impl GivenUp {
    fn done(mut self, well: bool) {
        if let Some(assignment) = self.0.take() {
            assignment.record(if well { Outcome::Success } else { Outcome::Failure });
        }
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some(assignment) = self.0.take() {
            assignment.record(Outcome::Failure);
        }
    }
}

/// What the clients got, and what the servers were asked for it.
struct Outcomes {
    succeeded: f64,
    load: f64,
    p99: Duration,
    /// Of the requests of the last twenty seconds.
    succeeded_at_last: f64,
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6.2} % | {:5.3} | {:4} ms", self.succeeded * 100.0, self.load, self.p99.as_millis())
    }
}

async fn run<S, R>(service: S, asked: Arc<AtomicUsize>) -> Outcomes
where
    S: Service<Request<Empty<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    R: Send + 'static,
{
    let mut calls = Vec::new();
    for _ in 0..REQUESTS {
        let call = service.clone().oneshot(Request::get("/").body(Empty::new()).unwrap());
        calls.push(tokio::spawn(async move {
            let begin = Instant::now();
            let answer = timeout(PATIENCE, call).await;
            (matches!(answer, Ok(Ok(answer)) if answer.status().is_success()), begin.elapsed())
        }));
        sleep(EVERY).await;
    }
    let mut results = Vec::new();
    for call in calls {
        results.push(call.await.unwrap());
    }
    let share = |part: &[(bool, Duration)]| part.iter().filter(|result| result.0).count() as f64 / part.len() as f64;
    let mut times: Vec<_> = results.iter().map(|result| result.1).collect();
    times.sort();
    Outcomes {
        succeeded: share(&results),
        load: asked.load(Ordering::Relaxed) as f64 / REQUESTS as f64,
        p99: times[times.len() * 99 / 100],
        succeeded_at_last: share(&results[REQUESTS * 2 / 3..]),
    }
}

/// Balanced, and nothing else.
async fn unprotected(fleet: Fleet) -> Outcomes {
    let simulation = Simulation::new(fleet, None);
    let asked = simulation.asked.clone();
    run(service_fn(move |request| simulation.clone().answer(request)), asked).await
}

/// Behind retries, a breaker and ejection, as the example gateway stacks them.
async fn protected(fleet: Fleet) -> Outcomes {
    let mut ejection = OutlierEjection::default();
    ejection.consecutive_failures = Some(3);
    ejection.eject_for = Duration::from_secs(5);
    let simulation = Simulation::new(fleet, Some(ejection));
    let asked = simulation.asked.clone();
    let client = service_fn(move |request| simulation.clone().answer(request));
    let breaker = CircuitBreakerLayer::with_clock(Clock::runtime())
        .window(Duration::from_secs(5))
        .open_for(Duration::from_secs(1))
        .longest_open(Duration::from_secs(2))
        .failure_rate(Share::percent(80));
    let retry = RetryLayer::new()
        .attempts(3)
        .per_try(Duration::from_millis(250))
        .budget(RetryBudget::with_clock(Share::new(BUDGET).unwrap(), FLOOR, Clock::runtime()))
        .at_once_when(|| true);
    run(retry.layer(breaker.layer(client)), asked).await
}

/// Both, printed. In paused time a minute takes no longer than its work.
fn compare(name: &str, fleet: Fleet) -> (Outcomes, Outcomes) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let bare = runtime.block_on(unprotected(fleet));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let own = runtime.block_on(protected(fleet));
    println!("| {name:<28} | {bare} | {own} |");
    (bare, own)
}

/// The most that retries may add: a share of the requests, and the floor of a minute and a bit.
fn within_budget(load: f64) -> bool {
    load <= 1.0 + BUDGET + f64::from(FLOOR) * 62.0 / REQUESTS as f64
}

#[test]
fn all_well_costs_nothing() {
    let (bare, own) = compare("all well", |_, _| Mood::Well);
    assert_eq!((own.succeeded, own.load), (1.0, 1.0));
    assert!(own.p99 <= bare.p99 + Duration::from_millis(1));
}

#[test]
fn one_of_five_slow() {
    let (bare, own) = compare("one of five slow", |server, _| if server == 0 { Mood::Slow } else { Mood::Well });
    assert!(own.succeeded > 0.999 && own.succeeded >= bare.succeeded);
    assert!(within_budget(own.load));
    assert!(own.p99 < Duration::from_millis(50), "{:?}", own.p99);
}

#[test]
fn one_of_five_erring() {
    let (bare, own) = compare("one of five erring", |server, _| if server == 0 { Mood::Erring } else { Mood::Well });
    assert!(bare.succeeded < 0.9 && own.succeeded > 0.999);
    assert!(within_budget(own.load) && own.load < 1.02, "{}", own.load);
}

#[test]
fn half_of_them_dead() {
    let (bare, own) = compare("two of five dead", |server, _| if server < 2 { Mood::Down } else { Mood::Well });
    assert!(bare.succeeded < 0.7 && own.succeeded > 0.998);
}

#[test]
fn all_dead_and_back() {
    let (_, own) = compare("all dead for 20 s, then back", |_, second| match second {
        10..30 => Mood::Erring,
        _ => Mood::Well,
    });
    assert!(own.load < 0.85, "while they fail they are left alone: {}", own.load);
    // What that costs is the time until somebody tries again: here two seconds at most.
    assert!(own.succeeded > 0.62, "{}", own.succeeded);
    assert!(own.succeeded_at_last > 0.999, "{}", own.succeeded_at_last);
}

#[test]
fn one_of_five_flapping() {
    let (bare, own) = compare("one of five flapping, 5 s", |server, second| {
        if server == 0 && (second / 5) % 2 == 0 { Mood::Erring } else { Mood::Well }
    });
    assert!(own.succeeded > 0.999 && own.succeeded > bare.succeeded);
    assert!(within_budget(own.load));
}

#[test]
fn a_storm_of_retries_is_bounded_even_without_a_breaker() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let own = runtime.block_on(async {
        let simulation = Simulation::new(|_, _| Mood::Erring, None);
        let asked = simulation.asked.clone();
        let client = service_fn(move |request| simulation.clone().answer(request));
        let budget = RetryBudget::with_clock(Share::new(BUDGET).unwrap(), FLOOR, Clock::runtime());
        run(RetryLayer::new().attempts(5).budget(budget).at_once_when(|| true).layer(client), asked).await
    });
    println!("| retry storm, all failing     | {own} |");
    assert!(within_budget(own.load) && own.load > 1.15, "{}", own.load);
}

#[test]
fn a_storm_meets_a_breaker() {
    let (_, own) = compare("retry storm behind a breaker", |_, _| Mood::Erring);
    assert!(own.load < 0.2, "{}", own.load);
}
