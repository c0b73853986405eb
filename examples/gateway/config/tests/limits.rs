//! `[rate_limits]`, `[redis]` and `concurrency`.

use std::time::Duration;

use tower_gateway::rate_limit::{Algorithm, Quota};

use super::super::concurrency::Concurrency;
use super::super::rate_limit::{HeaderKind, KeyPart, OnStoreError, RateLimit, Stage};
use super::super::redis::Shared;
use super::{MINIMAL, accepted, only_fault, parse, route, warnings};

/// A limit that the route has, with these keys from line 8 on.
fn limit(keys: &str) -> String {
    format!("{MINIMAL}rate_limit = [\"x\"]\n[rate_limits.x]\n{keys}\n")
}

#[test]
fn a_limit_has_the_defaults_of_the_contract() {
    let config = accepted(parse(&limit("limit = 100\nwindow = \"60s\"")));
    assert_eq!(
        config.rate_limits["x"],
        RateLimit {
            quota: Quota::per_minute(100),
            plans: Default::default(),
            key: vec![KeyPart::Subject],
            stage: Stage::AfterAuth,
            headers: vec![HeaderKind::Ietf, HeaderKind::Legacy],
            on_store_error: OnStoreError::Local,
            dry_run: false,
        }
    );
    assert_eq!(config.routes["users"].rate_limit, ["x"]);
}

#[test]
fn every_key_of_a_limit_is_read() {
    let config = accepted(parse(&limit(
        "limit = 100\nwindow = \"1s\"\nburst = 7\nalgorithm = \"gcra\"\nkey = [\"client_ip\", \"header:X-Tenant\", \"route\"]\n\
         plans = {}\nstage = \"before_auth\"\nheaders = []\nmode = \"exact\"\non_store_error = \"closed\"\ndry_run = true",
    )));
    let read = &config.rate_limits["x"];
    assert_eq!(read.quota, Quota::per_second(100).burst(7).unwrap());
    assert_eq!(read.key, [KeyPart::ClientIp, KeyPart::Header("x-tenant".parse().unwrap()), KeyPart::Route]);
    assert_eq!((read.stage, read.on_store_error, read.dry_run), (Stage::BeforeAuth, OnStoreError::Closed, true));
    assert!(read.headers.is_empty());
    let plans =
        accepted(parse(&limit("limit = 10\nwindow = \"1s\"\nalgorithm = \"fixed_window\"\nplans = { pro = 1000 }")));
    let pro = Quota::per_second(1000).algorithm(Algorithm::FixedWindow).unwrap();
    assert_eq!(plans.rate_limits["x"].plans["pro"], pro);
}

#[test]
fn what_a_limit_cannot_be_is_a_fault_with_its_remedy() {
    let fault = |keys: &str| only_fault(parse(&limit(keys)));
    for (keys, problem) in [
        ("window = \"1s\"", "limit"),
        ("limit = 1", "window"),
        ("limit = 0\nwindow = \"1s\"", "rate_limits.x.limit"),
        ("limit = 1\nwindow = \"1s\"\nalgorithm = \"fixed_window\"\nburst = 5", "a window has no burst"),
        ("limit = 1\nwindow = \"1s\"\nkey = \"subject\"\nstage = \"before_auth\"", "nobody is known before auth"),
        ("limit = 1\nwindow = \"1s\"\nkey = \"route\"\nplans = { a = 1 }\nstage = \"before_auth\"", "no plan is known"),
        ("limit = 1\nwindow = \"1s\"\nkey = \"header:\"", "is not \"subject\""),
        ("limit = 1\nwindow = \"1s\"\nmode = \"local_first\"", "not built yet"),
        ("limit = 1000000000\nwindow = \"1ms\"", "2 for each nanosecond"),
    ] {
        assert!(fault(keys).contains(problem), "{keys}: {}", fault(keys));
    }
}

#[test]
fn a_limit_that_is_unknown_is_a_fault_and_one_that_is_unused_a_warning() {
    let unknown = only_fault(parse(&format!(
        "{MINIMAL}rate_limit = [\"per_usr\"]\n[rate_limits.per_user]\nlimit = 1\nwindow = \"1s\"\n"
    )));
    assert!(unknown.contains("per_user"), "{unknown}");
    let unused = warnings(parse(&format!("{MINIMAL}[rate_limits.x]\nlimit = 1\nwindow = \"1s\"\n")));
    assert!(unused.len() == 1 && unused[0].contains("[rate_limits.x] is used by no route"), "{unused:?}");
}

#[test]
fn a_redis_is_read_and_its_password_is_not_printed() {
    let redis = |keys: &str| parse(&format!("{MINIMAL}[redis]\n{keys}\n"));
    let config = accepted(redis("url = \"redis://user:hunter2@127.0.0.1:6379\""));
    let read = config.redis.unwrap();
    assert_eq!((read.timeout, read.key_prefix.as_str()), (Duration::from_millis(50), "gw:"));
    assert_eq!(read.share, [Shared::RateLimits, Shared::Cache]);
    assert!(!format!("{read:?}").contains("hunter2"));
    for url in ["http://a", "redis://user:hunter2@a:99999999"] {
        let fault = only_fault(redis(&format!("url = \"${{U:-{url}}}\"")));
        assert!(fault.contains("redis.url") && fault.contains("redis://127.0.0.1:6379"), "{fault}");
    }
    assert!(only_fault(redis("timeout = \"1s\"")).contains("url"));
    assert!(only_fault(redis("url = \"redis://a\"\nshare = [\"breakers\"]")).contains("not built yet"));
}

#[test]
fn concurrency_is_a_number_or_found_out() {
    let read = |keys: &str| {
        accepted(route(&format!("path = \"/\"\nconcurrency = {{ {keys} }}"))).routes["users"].concurrency.unwrap()
    };
    assert_eq!(read("max = 3"), Concurrency::Fixed(3.try_into().unwrap()));
    assert_eq!(read("adaptive = true"), Concurrency::Adaptive(None));
    assert_eq!(read("adaptive = true, max = 9"), Concurrency::Adaptive(Some(9.try_into().unwrap())));
    let fault = only_fault(route("path = \"/\"\nconcurrency = {}"));
    assert!(fault.contains("write max = 100, or adaptive = true"), "{fault}");
}
