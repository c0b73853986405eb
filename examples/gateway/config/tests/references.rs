use std::time::Duration;

use super::super::matching::PathMatch;
use super::super::target::Target;
use super::{accepted, only_fault, parse, refused, route, warnings};

const UPSTREAMS: &str = "[upstreams.users]\nservers = [\"http://u\"]\n[upstreams.orders]\nservers = [\"http://o\"]\n";

/// A file with the upstreams `users` and `orders`, and this from line 5 on.
fn with_upstreams(rest: &str) -> Result<super::Loaded, super::Faults> {
    parse(&format!("{UPSTREAMS}{rest}"))
}

#[test]
fn a_route_names_an_upstream_that_exists() {
    for (name, remedy) in [("usres", r#"did you mean "users"?"#), ("payments", r#"the nearest name is "users""#)] {
        assert_eq!(
            only_fault(with_upstreams(&format!("[routes.r]\npath = \"/\"\nupstream = \"{name}\"\n"))),
            format!("gateway.toml:7:12: routes.r.upstream: no upstream is named \"{name}\"; {remedy}")
        );
    }
    assert_eq!(
        only_fault(parse("[routes.r]\npath = \"/\"\nupstream = \"u\"\n")),
        "gateway.toml:3:12: routes.r.upstream: no upstream is named \"u\"; add [upstreams.NAME]"
    );
}

#[test]
fn an_upstream_with_faults_exists_all_the_same() {
    let faults = refused(parse("[upstreams.u]\n[routes.r]\npath = \"/\"\nupstream = \"u\"\n"));
    assert_eq!(faults.len(), 1, "{faults:#?}");
}

#[test]
fn an_unknown_upstream_in_the_defaults_is_told_once() {
    let fault = only_fault(with_upstreams(
        "[defaults]\nupstream = \"user\"\n[routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\n",
    ));
    assert_eq!(fault, "gateway.toml:6:12: defaults.upstream: no upstream is named \"user\"; did you mean \"users\"?");
}

#[test]
fn routes_that_match_the_same_are_refused_and_others_on_one_path_are_not() {
    let two = |first: &str, second: &str| {
        with_upstreams(&format!(
            "[routes.a]\npath = \"/x\"\nupstream = \"users\"\n{first}\n[routes.b]\npath = \"/x\"\nupstream = \"orders\"\n{second}\n"
        ))
    };
    let expected =
        "gateway.toml:9:1: [routes.b] matches the same requests as [routes.a]; change the path of one, or remove it";
    assert_eq!(only_fault(two("", "")), expected);
    assert_eq!(only_fault(two("match = \"prefix\"", "")), expected);
    assert_eq!(
        only_fault(with_upstreams(
            "[routes.a]\npath = \"/x\"\nupstream = \"users\"\n[routes.b]\npath = \"/x/\"\nupstream = \"orders\"\n"
        ))
        .matches("the same requests")
        .count(),
        1
    );
    for (first, second) in [
        ("match = \"exact\"", ""),
        ("hosts = [\"a\", \"b\"]", "hosts = [\"c\"]"),
        ("hosts = [\"a\"]", ""),
        ("methods = [\"GET\"]", "methods = [\"PUT\"]"),
        ("methods = [\"GET\"]", ""),
        ("headers = { a = \"1\" }", ""),
    ] {
        accepted(two(first, second));
    }
    for (first, second) in
        [("hosts = [\"a\", \"B\"]", "hosts = [\"b.\"]"), ("methods = [\"GET\", \"PUT\"]", "methods = [\"PUT\"]")]
    {
        assert_eq!(only_fault(two(first, second)), expected);
    }
}

#[test]
fn a_place_whose_routes_all_ask_for_headers_is_warned_of() {
    let beta = "path = \"/x\"\nupstream = \"users\"\nheaders = { x-beta = \"1\" }\n";
    let all = |path: &str| format!("[routes.all]\npath = \"{path}\"\nupstream = \"orders\"\n");
    let found = warnings(with_upstreams(&format!("[routes.beta]\n{beta}{}", all("/"))));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("gateway.toml:5:1: [routes.beta] leaves requests without its headers"), "{found:?}");
    accepted(with_upstreams(&format!("[routes.beta]\n{beta}{}", all("/x"))));
}

#[test]
fn what_is_stripped_is_a_prefix_of_the_path_by_whole_segments() {
    for (path, prefix, stripped) in
        [("/api/users", "/api", "/api"), ("/api", "/api", "/api"), ("/a/b/c", "/a/b/", "/a/b")]
    {
        let config = accepted(route(&format!("path = \"{path}\"\nstrip_prefix = \"{prefix}\"")));
        assert_eq!(config.routes["users"].path_rules.strip_prefix.as_deref(), Some(stripped));
    }
    for (path, prefix) in [("/apis", "/api"), ("/api", "/api/users"), ("/", "/api")] {
        assert_eq!(
            only_fault(route(&format!("path = \"{path}\"\nstrip_prefix = \"{prefix}\""))),
            "gateway.toml:6:16: routes.users.strip_prefix: not the first segments of the path of [routes.users]; \
             write a prefix of it, or false to strip nothing"
        );
    }
    let fault = only_fault(route("path = \"/a\"\nstrip_prefix = \"/\""));
    assert_eq!(fault, "gateway.toml:6:16: routes.users.strip_prefix: \"/\" takes nothing off; leave it out");
    let fault = only_fault(route("path = \"/a\"\nstrip_prefix = \"a\""));
    assert!(fault.starts_with("gateway.toml:6:16: routes.users.strip_prefix: \"a\" is not a path"), "{fault}");
}

#[test]
fn a_route_has_what_the_defaults_say_unless_it_says_otherwise() {
    let config = accepted(with_upstreams(
        r#"
[defaults]
upstream = "users"
match = "exact"
strip_prefix = "/api"
timeouts = { response_head = "1s", total = "2s" }
[routes.inherits]
path = "/api/a"
[routes.replaces]
path = "/v2/b"
match = "prefix"
upstream = "orders"
strip_prefix = "/v2"
timeouts = { total = "3s" }
[routes.refuses]
path = "/c"
strip_prefix = false
timeouts = false
response = false
"#,
    ));
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let inherits = &config.routes["inherits"];
    assert_eq!(
        (&inherits.target, inherits.matching.path_match),
        (&Target::Upstream("users".to_owned()), PathMatch::Exact)
    );
    assert_eq!(inherits.path_rules.strip_prefix.as_deref(), Some("/api"));
    assert_eq!((inherits.timeouts.response_head, inherits.timeouts.total), (seconds(1), seconds(2)));

    let replaces = &config.routes["replaces"];
    assert_eq!(
        (&replaces.target, replaces.matching.path_match),
        (&Target::Upstream("orders".to_owned()), PathMatch::Prefix)
    );
    assert_eq!(replaces.path_rules.strip_prefix.as_deref(), Some("/v2"));
    // The whole table is replaced: what the route's own leaves out is not taken from the defaults' one.
    assert_eq!((replaces.timeouts.response_head, replaces.timeouts.total), (seconds(30), seconds(3)));

    let refuses = &config.routes["refuses"];
    assert_eq!(refuses.path_rules.strip_prefix, None);
    assert_eq!((refuses.timeouts.response_head, refuses.timeouts.body_idle), (None, None));
}

#[test]
fn an_upstream_that_no_route_uses_is_warned_of() {
    assert_eq!(
        warnings(with_upstreams("[routes.r]\npath = \"/\"\nupstream = \"users\"\n")),
        ["gateway.toml:3:1: [upstreams.orders] is used by no route; name it in one, or remove it"]
    );
}

#[test]
fn warnings_are_told_beside_faults_and_only_if_the_faults_are_not_their_reason() {
    let faults = with_upstreams("[server]\ncolour = 1\n[routes.r]\npath = \"/\"\nupstream = \"users\"\n").unwrap_err();
    assert_eq!(faults.warnings.len(), 1, "{faults:?}");
    let faults = with_upstreams("[routes.r]\npath = \"/\"\nupstream = 3\n").unwrap_err();
    assert_eq!(faults.warnings, []);
}

#[test]
fn a_route_that_can_never_match_is_warned_of() {
    let health = |keys: &str| route(&format!("path = \"/health\"\n{keys}"));
    assert_eq!(
        warnings(health("match = \"exact\"")),
        [
            "gateway.toml:3:1: [routes.users] can never match, since [health] answers its path first; change one of the two"
        ]
    );
    assert_eq!(
        warnings(route("path = \"/a%2Fb\"")),
        ["gateway.toml:3:1: [routes.users] can never match, since it refuses the encoded slash of its own path; \
             write encoded_slashes = \"keep\""]
    );
    accepted(route("path = \"/a%2Fb\"\nencoded_slashes = \"keep\""));
    accepted(health(""));
    accepted(health("match = \"exact\"\n[health]\npath = \"none\""));
    for path in ["/api/*", "/users/{id}"] {
        let warnings = warnings(route(&format!("path = \"{path}\"")));
        assert!(warnings[0].starts_with("gateway.toml:3:1: [routes.users] takes \"*\""), "{warnings:#?}");
    }
}
