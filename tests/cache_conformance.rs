//! Whether the example gateway reuses a response, case by case: the binary before an origin that answers as each case says.
//! The groups are those of the public tests for HTTP caches (https://cache-tests.fyi); tests/cache_suite runs the part of
//! them that is published as a package.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use support::gateway::{Gateway, status};
use support::{RawOrigin, field};

/// The answers to one path, the last one again and again: a status line without its version, and fields.
type Answers = Vec<String>;

struct Bench {
    gateway: Gateway,
    answers: Arc<Mutex<HashMap<String, Answers>>>,
    origin: RawOrigin,
    paths: AtomicUsize,
}

const FRESH: &str = "Cache-Control: max-age=3600";
const STALE: &str = "Cache-Control: max-age=3600\r\nAge: 7200";

impl Bench {
    async fn new() -> Self {
        let answers: Arc<Mutex<HashMap<String, Answers>>> = Arc::default();
        let scripts = answers.clone();
        let origin = RawOrigin::scripted(move |mut connection| {
            let scripts = scripts.clone();
            async move {
                while let Some(request) = connection.request().await {
                    let answer = Self::answer(&mut scripts.lock().unwrap(), &request);
                    if answer.is_empty() {
                        return;
                    }
                    connection.send(answer).await;
                }
            }
        })
        .await;
        let gateway = Gateway::with_config(&format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[upstreams.o]\nservers = [\"{}\"]\n\
             [routes.all]\npath = \"/\"\nupstream = \"o\"\n[routes.all.cache]\n[routes.all.response]\nremove_headers = []\n",
            origin.url()
        ));
        Self { gateway, answers, origin, paths: AtomicUsize::new(0) }
    }

    fn answer(scripts: &mut HashMap<String, Answers>, request: &str) -> String {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let Some(answers) = scripts.get_mut(target) else { return "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n".into() };
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        if answer.is_empty() || answer.contains("\r\n\r\n") {
            return answer;
        }
        let code = answer.split(' ').next().unwrap();
        let content = if method == "HEAD" || ["204", "304"].contains(&code) { "" } else { "content" };
        let length = if content.is_empty() { String::new() } else { "Content-Length: 7\r\n".into() };
        format!("HTTP/1.1 {answer}\r\n{length}\r\n{content}")
    }

    /// A path whose requests are answered so, one after the other.
    fn path(&self, answers: &[&str]) -> String {
        let path = format!("/{}", self.paths.fetch_add(1, Ordering::Relaxed));
        self.answers.lock().unwrap().insert(path.clone(), answers.iter().map(|answer| (*answer).to_owned()).collect());
        path
    }

    fn send(&self, method: &str, path: &str, fields: &str) -> String {
        let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
        self.gateway
            .exchange(&format!("{method} {path} HTTP/1.1\r\nHost: gw.example\r\n{fields}Connection: close\r\n\r\n"))
    }

    fn get(&self, path: &str, fields: &str) -> String {
        self.send("GET", path, fields)
    }

    /// What became of the second of two GETs for a response with these fields.
    fn second(&self, answer: &str, first: &str, second: &str) -> String {
        let path = self.path(&[answer]);
        self.get(&path, first);
        outcome(&self.get(&path, second))
    }

    /// Sees to it that responses with these fields are reused, or are not.
    fn reuses(&self, cases: &[(&str, bool)]) {
        for (fields, expected) in cases {
            let reused = self.second(&format!("200 OK\r\n{fields}"), "", "") == "HIT";
            assert_eq!(reused, *expected, "{fields:?}");
        }
    }
}

fn outcome(answer: &str) -> String {
    field(answer, "x-cache").unwrap_or("none").to_owned()
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// A date so many seconds from now.
fn date(seconds: i64) -> String {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { SystemTime::now() - by } else { SystemTime::now() + by };
    httpdate::fmt_http_date(at)
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_control_says_how_long() {
    let bench = Bench::new().await;
    let (past, future) = (date(-7200), date(7200));
    bench.reuses(&[
        ("X: 1", false),
        (FRESH, true),
        (STALE, false),
        ("Cache-Control: max-age=0", false),
        ("Cache-Control: max-age=2147483648", true),
        ("Cache-Control: max-age=99999999999", true),
        (&format!("{FRESH}\r\nDate: {past}"), false),
        (&format!("{FRESH}\r\nExpires: {past}"), true),
        (&format!("{FRESH}\r\nExpires: 0"), true),
        (&format!("Cache-Control: max-age=0\r\nExpires: {future}"), false),
        (&format!("Cache-Control: max-age=-1\r\nExpires: {future}"), false),
        ("Cache-Control: s-maxage=3600", true),
        ("Cache-Control: max-age=3600, s-maxage=0", false),
        ("Cache-Control: s-maxage=3600, max-age=0", true),
        (&format!("Cache-Control: s-maxage=3600\r\nExpires: {past}"), true),
        ("Cache-Control: s-maxage=3600\r\nAge: 7200", false),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_control_is_parsed_by_its_grammar() {
    let bench = Bench::new().await;
    bench.reuses(&[
        ("Cache-Control: MaX-aGe=3600", true),
        ("Cache-Control: foobar, max-age=3600", true),
        ("Cache-Control: ,,max-age=3600,", true),
        ("Cache-Control: max-age=\"3600\"", true),
        ("Cache-Control: max-age='3600'", false),
        ("Cache-Control: max-age=3600.0", false),
        ("Cache-Control: max-age=a3600", false),
        ("Cache-Control: max-age=3600a", false),
        ("Cache-Control: max-age=003600", true),
        ("Cache-Control: max-age =3600", false),
        ("Cache-Control: max-age= 3600", false),
        ("Cache-Control: extension=\"max-age=3600\"", false),
        ("Cache-Control: extension=\"a, max-age=0, b\", max-age=3600", true),
        ("Cache-Control: max-age=0, max-age=3600", false),
        ("Cache-Control: max-age=0\r\nCache-Control: max-age=3600", false),
        ("Cache-Control: no-store\r\nCache-Control: max-age=3600", false),
        ("Cache-Control: max-age=3600, NO-STORE", false),
        ("Cache-Control: max-age=3600, private", false),
        ("Cache-Control: max-age=3600, private=\"X\"", false),
        ("Cache-Control: max-age=3600, no-cache", false),
        ("Cache-Control: max-age=3600, must-revalidate", true),
        ("Cache-Control: max-age=3600, immutable", true),
        ("Cache-Control: max-age=3600, no-store, must-understand", true),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_age_that_is_none_is_ignored_and_the_first_of_several_counts() {
    let bench = Bench::new().await;
    for (age, reused) in [
        ("0", true),
        ("2147483647", false),
        ("2147483648", false),
        ("9999999999999999999999", false),
        ("abc", true),
        ("-7200", true),
        ("7200.0", true),
        ("7200;a=b", true),
        ("7200;100", true),
        ("7200, 0", false),
        ("0, 7200", true),
        ("7200\r\nAge: 0", false),
        ("0\r\nAge: 7200", true),
        ("0, 0", true),
        ("7200, 7200", false),
    ] {
        bench.reuses(&[(&format!("{FRESH}\r\nAge: {age}"), reused)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expires_is_a_date_in_one_of_three_forms() {
    let bench = Bench::new().await;
    let at = SystemTime::now() + Duration::from_secs(7200);
    let fixed = httpdate::fmt_http_date(at);
    let words: Vec<_> = fixed.trim_end_matches(" GMT").split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let [day, date, month, year, time] = words[..] else { panic!("{fixed}") };
    let long = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let long = long.iter().find(|long| long.starts_with(day)).unwrap();
    let short_year = &year[2..];
    let asctime_date = format!("{:>2}", date.trim_start_matches('0'));
    for (expires, reused) in [
        (fixed.clone(), true),
        (fixed.to_lowercase(), true),
        (fixed.to_uppercase(), true),
        (format!("{long}, {date}-{month}-{short_year} {time} GMT"), true),
        (format!("{day} {month} {asctime_date} {time} {year}"), true),
        (fixed.replace("GMT", "UTC"), false),
        (fixed.replace("GMT", "AEST"), false),
        (format!("{day}, {date} {month} {short_year} {time} GMT"), false),
        (format!("{day} {date} {month} {year} {time} GMT"), false),
        (format!("{day}, {date}  {month} {year} {time} GMT"), false),
        (format!("{day}, {date}-{month}-{year} {time} GMT"), false),
        (fixed.replace(':', "."), false),
        (format!("{day}, {date} {month} {year} 1:00:00 GMT"), false),
        (format!("{fixed}\r\nExpires: 0"), false),
        ("0".to_owned(), false),
        ("-1".to_owned(), false),
        ("tomorrow".to_owned(), false),
    ] {
        bench.reuses(&[(&format!("Expires: {expires}"), reused)]);
    }
    let (early, later) = (self::date(-7200), self::date(-3600));
    bench.reuses(&[
        (&format!("Expires: {fixed}\r\nAge: 14400"), false),
        (&format!("Date: {early}\r\nExpires: {later}"), false),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_is_made_where_the_status_or_public_allows_it() {
    let bench = Bench::new().await;
    let modified = date(-100_000);
    for code in [200, 203, 204, 404, 405, 410, 414, 501] {
        let answer = format!("{code} X\r\nLast-Modified: {modified}");
        assert_eq!(bench.second(&answer, "", ""), "HIT", "{code}");
    }
    for code in [201, 202, 403, 502, 503, 504, 599] {
        let plain = format!("{code} X\r\nLast-Modified: {modified}");
        assert_ne!(bench.second(&plain, "", ""), "HIT", "{code}");
        assert_eq!(bench.second(&format!("{plain}\r\nCache-Control: public"), "", ""), "HIT", "{code}");
    }
    for code in [200, 201, 204, 299, 302, 307, 400, 403, 404, 499, 500, 503, 599] {
        assert_eq!(bench.second(&format!("{code} X\r\n{FRESH}"), "", ""), "HIT", "{code}");
        assert_ne!(bench.second(&format!("{code} X\r\n{STALE}"), "", ""), "HIT", "{code}");
    }
    assert_ne!(bench.second("599 X\r\nCache-Control: max-age=3600, must-understand", "", ""), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_for_cdns_is_a_dictionary_that_goes_before_the_others() {
    let bench = Bench::new().await;
    let (past, future) = (date(-7200), date(7200));
    let cdn = |own: &str, others: &str, reused: bool| {
        let others = if others.is_empty() { String::new() } else { format!("{others}\r\n") };
        bench.reuses(&[(&format!("{others}CDN-Cache-Control: {own}"), reused)]);
    };
    cdn("max-age=3600", "", true);
    cdn("max-age=2147483648", "", true);
    cdn("max-age=99999999999", "", true);
    cdn("max-age=3600", "Age: 7200", false);
    cdn("max-age=0", "", false);
    cdn("s-maxage=3600", "", true);
    cdn("max-age=3600", "Cache-Control: no-store", true);
    cdn("max-age=3600", "Cache-Control: private", true);
    cdn("max-age=3600", "Cache-Control: max-age=0", true);
    cdn("max-age=3600", &format!("Expires: {past}"), true);
    cdn("max-age=3600", "Cache-Control: max-age=3600\r\nExpires: 0", true);
    cdn("max-age=0", FRESH, false);
    cdn("max-age=0", &format!("Expires: {future}"), false);
    cdn("no-store", FRESH, false);
    cdn("private", FRESH, false);
    cdn("no-cache", FRESH, false);
    cdn("public", FRESH, false);

    // Members that mean nothing here, parameters and false.
    cdn("foobar, max-age=3600", "", true);
    cdn("max-age=3600;foo=bar;baz", "", true);
    cdn("max-age=3600, no-store=?0", "", true);
    cdn("max-age=3600, a=(1 2 \"x\");y, b=:aGk=:, c=1.5, d=tok/en", "", true);

    // The last of several, in one line or in two.
    cdn("max-age=0, max-age=3600", "", true);
    cdn("max-age=3600, max-age=0", FRESH, false);
    cdn("max-age=3600\r\nCDN-Cache-Control: foobar", "", true);
    cdn("foobar\r\nCDN-Cache-Control: max-age=3600", "Cache-Control: no-store", true);

    // Of another type than a number of seconds: there, and nothing to be fresh by.
    for wrong in ["max-age=\"3600\"", "max-age=3600.0", "max-age=10.5", "max-age", "max-age=-1", "max-age=(3600)"] {
        cdn(wrong, FRESH, false);
    }

    // What does not parse is as if it were not there.
    for broken in [
        "MaX-aGe=0",
        "max-age =0",
        "max-age= 0",
        "max-age=0,",
        "max-age=0, &&&&&",
        "max-age=0 no-store",
        "max-age=0;",
        "no-store, a=\"x",
        "no-store, a=1000000000000000",
        "",
        "no-store\r\nCDN-Cache-Control: @@",
    ] {
        cdn(broken, FRESH, true);
        cdn(broken, "Cache-Control: no-store", false);
    }

    // Clients are told of it, and of the date and the age as with any other.
    let path = bench.path(&["200 OK\r\nCDN-Cache-Control: max-age=3600\r\nCache-Control: max-age=1\r\nAge: 5"]);
    bench.get(&path, "");
    let hit = bench.get(&path, "");
    assert_eq!(
        (field(&hit, "cdn-cache-control"), field(&hit, "cache-control")),
        (Some("max-age=3600"), Some("max-age=1"))
    );
    assert!(field(&hit, "age").is_some_and(|age| ["5", "6", "7"].contains(&age)), "{hit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_what_it_takes() {
    let bench = Bench::new().await;
    let aged = format!("200 OK\r\n{FRESH}\r\nAge: 1000");
    for (asked, reused) in [
        ("Cache-Control: max-age=0", false),
        ("Cache-Control: max-age=1", false),
        ("Cache-Control: max-age=2000", true),
        ("Cache-Control: min-fresh=3000", false),
        ("Cache-Control: min-fresh=1000", true),
        ("Cache-Control: no-cache", false),
        ("Cache-Control: only-if-cached", true),
        ("Pragma: no-cache", false),
        ("Pragma: foo", true),
        ("Pragma: no-cache\r\nCache-Control: max-age=2000", true),
    ] {
        assert_eq!(bench.second(&aged, "", asked) == "HIT", reused, "{asked}");
    }
    let stale = format!("200 OK\r\n{STALE}\r\nETag: \"a\"");
    assert_eq!(bench.second(&stale, "", "Cache-Control: max-stale=4000"), "STALE");
    assert_eq!(bench.second(&stale, "", "Cache-Control: max-stale"), "STALE");
    assert_ne!(bench.second(&stale, "", "Cache-Control: max-stale=100"), "STALE");
    assert_ne!(bench.second(&format!("200 OK\r\n{FRESH}"), "Cache-Control: no-store", ""), "HIT");
    let path = bench.path(&["200 OK"]);
    let nothing = bench.get(&path, "Cache-Control: only-if-cached");
    assert_eq!((status(&nothing), outcome(&nothing).as_str()), ("504", "MISS"));
    assert_eq!(field(&nothing, "cache-status"), Some("tower-gateway; detail=only-if-cached"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_served_stale_is_an_error_without_an_origin() {
    let bench = Bench::new().await;
    for (directive, expected) in [
        ("x", "200"),
        ("stale-if-error=60", "200"),
        ("must-revalidate", "502"),
        ("proxy-revalidate", "502"),
        ("no-cache", "502"),
        ("s-maxage=0", "502"),
    ] {
        let path = bench.path(&[&format!("200 OK\r\nETag: \"a\"\r\nCache-Control: max-age=0, {directive}"), ""]);
        bench.get(&path, "");
        assert_eq!(status(&bench.get(&path, "")), expected, "{directive}");
    }
    for (directive, expected) in [("x", "503"), ("stale-if-error=60", "200")] {
        let stale = format!("200 OK\r\nETag: \"a\"\r\nCache-Control: max-age=0, {directive}");
        let path = bench.path(&[&stale, "503 Service Unavailable"]);
        bench.get(&path, "");
        assert_eq!(status(&bench.get(&path, "")), expected, "{directive}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_for_those_who_say_the_same() {
    let bench = Bench::new().await;
    for (vary, first, second, reused) in [
        ("Foo", "Foo: 1", "Foo: 1", true),
        ("Foo", "Foo: 1", "Foo: 2", false),
        ("Foo", "Foo: 1", "", false),
        ("Foo", "", "", true),
        ("foo", "FOO: 1", "Foo: 1", true),
        ("Foo, Bar", "Foo: 1\r\nBar: a", "Foo: 1\r\nBar: a", true),
        ("Foo, Bar", "Foo: 1\r\nBar: a", "Foo: 1\r\nBar: b", false),
        ("Foo\r\nVary: Bar", "Foo: 1\r\nBar: a", "Foo: 1\r\nBar: b", false),
        ("*", "", "", false),
        ("*, Foo", "", "", false),
        ("Foo, *", "", "", false),
        ("Foo\r\nVary: *", "", "", false),
        (",, *", "", "", false),
        ("Foo", "Foo: 1, 2", "Foo: 1\r\nFoo: 2", true),
        ("Foo", "Foo: 1,2", "Foo: 1 ,  2", true),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: DE,en", true),
        ("Accept-Language", "Accept-Language: en;q=0.5, de", "Accept-Language: de, en;q=0.5", true),
        ("Accept-Language", "Accept-Language: en;q=0.5, de", "Accept-Language: en, de;q=0.5", false),
    ] {
        let answer = format!("200 OK\r\n{FRESH}\r\nVary: {vary}");
        assert_eq!(bench.second(&answer, first, second) == "HIT", reused, "{vary} {first} {second}");
    }
    let vary = format!("200 OK\r\n{FRESH}\r\nVary: Foo");
    let path = bench.path(&[&vary]);
    for foo in ["Foo: 1", "Foo: 2", "Foo: 1", "Foo: 2"] {
        bench.get(&path, foo);
    }
    assert_eq!(
        (outcome(&bench.get(&path, "Foo: 1")), outcome(&bench.get(&path, "Foo: 2"))),
        ("HIT".into(), "HIT".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_answered_from_what_is_stored() {
    let bench = Bench::new().await;
    let (then, before, after) = (date(-5000), date(-9000), date(-1000));
    let stored = format!("200 OK\r\n{FRESH}\r\nETag: \"a\"\r\nLast-Modified: {then}");
    let path = bench.path(&[&stored]);
    bench.get(&path, "");
    for (asked, expected) in [
        ("If-None-Match: \"a\"".to_owned(), "304"),
        ("If-None-Match: W/\"a\"".to_owned(), "304"),
        ("If-None-Match: \"x\", \"a\"".to_owned(), "304"),
        ("If-None-Match: \"x\"\r\nIf-None-Match: \"a\"".to_owned(), "304"),
        ("If-None-Match: *".to_owned(), "304"),
        ("If-None-Match: \"x\"".to_owned(), "200"),
        ("If-None-Match: \"A\"".to_owned(), "200"),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {after}"), "200"),
        (format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {before}"), "304"),
        (format!("If-Modified-Since: {then}"), "304"),
        (format!("If-Modified-Since: {after}"), "304"),
        (format!("If-Modified-Since: {before}"), "200"),
        ("If-Modified-Since: never".to_owned(), "200"),
    ] {
        let answer = bench.get(&path, &asked);
        assert_eq!((status(&answer), outcome(&answer).as_str()), (expected, "HIT"), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_updates_what_is_stored_but_not_by_another_strong_tag() {
    let mut bench = Bench::new().await;
    let stale = "200 OK\r\nCache-Control: max-age=0\r\nETag: \"a\"\r\nX: 1\r\nY: 1";
    let path =
        bench.path(&[stale, &format!("304 Not Modified\r\n{FRESH}\r\nETag: \"a\"\r\nX: 2\r\nContent-Length: 99")]);
    bench.get(&path, "");
    bench.origin.received().await;
    let validated = bench.get(&path, "");
    assert_eq!(field(&bench.origin.received().await, "if-none-match"), Some("\"a\""));
    let seen = |answer: &str| {
        (outcome(answer), field(answer, "x").unwrap().to_owned(), field(answer, "y").unwrap().to_owned())
    };
    assert_eq!(seen(&validated), ("REVALIDATED".into(), "2".into(), "1".into()));
    let hit = bench.get(&path, "");
    assert_eq!(seen(&hit), ("HIT".into(), "2".into(), "1".into()));
    assert_eq!((content(&hit), field(&hit, "content-length")), ("content", Some("7")));

    let path = bench.path(&[stale, &format!("304 Not Modified\r\n{FRESH}\r\nETag: \"b\"\r\nX: 2")]);
    bench.get(&path, "");
    for _ in 0..2 {
        let unchanged = bench.get(&path, "");
        assert_eq!(seen(&unchanged), ("REVALIDATED".into(), "1".into(), "1".into()));
        assert_eq!((field(&unchanged, "etag"), content(&unchanged)), (Some("\"a\""), "content"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_the_connection_are_not_stored_and_all_others_are() {
    let bench = Bench::new().await;
    let kept = "X-Own: 1\r\nSet-Cookie: a=b\r\nContent-Foo: 2\r\nStrict-Transport-Security: max-age=1";
    let dropped =
        "Connection: X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\nKeep-Alive: x";
    let path = bench.path(&[&format!("200 OK\r\n{FRESH}\r\n{kept}\r\n{dropped}")]);
    bench.get(&path, "");
    let hit = bench.get(&path, "");
    assert_eq!(outcome(&hit), "HIT");
    for name in ["x-own", "set-cookie", "content-foo", "strict-transport-security", "date", "age"] {
        assert!(field(&hit, name).is_some(), "{name}");
    }
    for name in ["x-hop", "proxy-authenticate", "proxy-connection", "keep-alive"] {
        assert_eq!(field(&hit, name), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_authorised_has_a_response_of_its_own_unless_it_says_otherwise() {
    let bench = Bench::new().await;
    for (directives, reused) in [
        ("max-age=3600", false),
        ("max-age=3600, public", true),
        ("max-age=3600, must-revalidate", true),
        ("s-maxage=3600", true),
    ] {
        let answer = format!("200 OK\r\nCache-Control: {directives}");
        let authorised = "Authorization: Basic YTpi";
        assert_eq!(bench.second(&answer, authorised, authorised) == "HIT", reused, "{directives}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_cut_from_what_is_stored() {
    let bench = Bench::new().await;
    let path = bench.path(&[&format!("200 OK\r\n{FRESH}\r\nETag: \"a\"")]);
    bench.get(&path, "");
    for (range, expected, bytes) in [
        ("bytes=0-1", "206", "co"),
        ("bytes=1-", "206", "ontent"),
        ("bytes=-1", "206", "t"),
        ("bytes=0-1\r\nIf-Range: \"a\"", "206", "co"),
        ("bytes=0-1\r\nIf-Range: \"b\"", "200", "content"),
        ("bytes=7-", "416", ""),
        ("lines=0-1", "200", "content"),
    ] {
        let answer = bench.get(&path, &format!("Range: {range}"));
        assert_eq!((status(&answer), content(&answer), outcome(&answer).as_str()), (expected, bytes, "HIT"), "{range}");
    }
    let part = |range: &str| {
        format!(
            "HTTP/1.1 206 Partial Content\r\n{FRESH}\r\nETag: \"a\"\r\nContent-Range: {range}\r\nContent-Length: 4\r\n\r\nABCD"
        )
    };
    let path = bench.path(&[&part("bytes 2-5/10")]);
    bench.get(&path, "Range: bytes=2-5");
    let within = bench.get(&path, "Range: bytes=3-4");
    assert_eq!((status(&within), content(&within), outcome(&within).as_str()), ("206", "BC", "HIT"));
    assert_ne!(outcome(&bench.get(&path, "Range: bytes=3-7")), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_invalidate_what_they_may_have_changed() {
    let bench = Bench::new().await;
    let fresh = format!("200 OK\r\n{FRESH}");
    for method in ["POST", "PUT", "DELETE", "M-SEARCH", "PATCH"] {
        for (answer, gone) in [("200 OK", true), ("303 See Other", true), ("404 Not Found", false), ("500 X", false)] {
            let path = bench.path(&[&fresh, answer, &fresh]);
            bench.get(&path, "");
            bench.send(method, &path, "Content-Length: 0");
            assert_eq!(outcome(&bench.get(&path, "")) != "HIT", gone, "{method} {answer}");
        }
    }
    for name in ["Location", "Content-Location"] {
        let other = bench.path(&[&fresh]);
        bench.get(&other, "");
        for (target, gone) in [(format!("http://elsewhere.example{other}"), false), (other.clone(), true)] {
            let path = bench.path(&[&format!("200 OK\r\n{name}: {target}")]);
            bench.send("POST", &path, "Content-Length: 0");
            assert_eq!(outcome(&bench.get(&other, "")) != "HIT", gone, "{name}: {target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_served_from_a_get_and_refreshes_it() {
    let bench = Bench::new().await;
    let path = bench.path(&[&format!("200 OK\r\n{FRESH}")]);
    bench.get(&path, "");
    let head = bench.send("HEAD", &path, "");
    assert_eq!((status(&head), outcome(&head).as_str(), content(&head)), ("200", "HIT", ""));

    let stale = "200 OK\r\nCache-Control: max-age=0\r\nETag: \"a\"\r\nX: 1";
    let path = bench.path(&[stale, &format!("200 OK\r\n{FRESH}\r\nETag: \"a\"\r\nX: 2")]);
    bench.get(&path, "");
    bench.send("HEAD", &path, "");
    let hit = bench.get(&path, "");
    assert_eq!((outcome(&hit).as_str(), field(&hit, "x"), content(&hit)), ("HIT", Some("2"), "content"));
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_are_handed_on_and_the_final_one_is_stored() {
    let bench = Bench::new().await;
    for interim in ["102 Processing\r\nX-Interim: 1", "103 Early Hints\r\nLink: </a>; rel=preload"] {
        let answer =
            format!("HTTP/1.1 {interim}\r\n\r\nHTTP/1.1 200 OK\r\n{FRESH}\r\nContent-Length: 7\r\n\r\ncontent");
        let path = bench.path(&[&answer]);
        let first = bench.get(&path, "");
        assert!(first.starts_with(&format!("HTTP/1.1 {}", &interim[..3])), "{first}");
        let hit = bench.get(&path, "");
        assert_eq!((status(&hit), outcome(&hit).as_str(), content(&hit)), ("200", "HIT", "content"));
        assert_eq!((field(&hit, "x-interim"), field(&hit, "link")), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_stored_where_it_says_what_it_stands_for() {
    let bench = Bench::new().await;
    for (fields, reused) in
        [(FRESH, false), ("Content-Location: @", false), ("Cache-Control: max-age=3600\r\nContent-Location: @", true)]
    {
        let path = bench.path(&[""]);
        let answer = format!("200 OK\r\n{}", fields.replace('@', &path));
        bench.answers.lock().unwrap().insert(path.clone(), vec![answer]);
        bench.send("POST", &path, "Content-Length: 0");
        assert_eq!(outcome(&bench.get(&path, "")) == "HIT", reused, "{fields}");
    }
}
