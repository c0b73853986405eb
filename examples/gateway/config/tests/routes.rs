//! What a route says of its requests, its end and its answers.

use super::super::request::BodyLimit;
use super::super::target::Target;
use super::{accepted, only_fault, parse, refused, route};

const UPSTREAM: &str = "[upstreams.users]\nservers = [\"http://u\"]\n";

/// The fault that these keys of a route are, which begin in line 5 after its path in line 4, without its place.
fn fault(keys: &str) -> String {
    let fault = only_fault(route(&format!("path = \"/a\"\n{keys}")));
    fault.split_once(": ").unwrap().1.to_owned()
}

/// A file whose one route has these keys, and no upstream of its own.
fn ends(keys: &str) -> Result<super::Loaded, super::Faults> {
    parse(&format!("{UPSTREAM}[routes.u]\npath = \"/u\"\nupstream = \"users\"\n[routes.r]\npath = \"/\"\n{keys}\n"))
}

#[test]
fn a_route_has_one_end_and_its_own_goes_before_an_inherited_one() {
    let fault = only_fault(ends("upstream = \"users\"\nrespond = { status = 204 }"));
    assert_eq!(fault, "gateway.toml:9:11: \"respond\" stands beside \"upstream\" in [routes.r]; remove one");
    let missing = only_fault(ends("respond = false"));
    assert!(missing.contains("\"upstream\" is missing in [routes.r]"), "{missing}");

    let inherits = |own: &str| {
        let file = format!(
            "{UPSTREAM}[defaults]\nupstream = \"users\"\n[routes.u]\npath = \"/u\"\n[routes.r]\npath = \"/\"\n{own}\n"
        );
        accepted(parse(&file)).routes["r"].target.clone()
    };
    assert_eq!(inherits(""), Target::Upstream("users".to_owned()));
    assert!(matches!(inherits("respond = { status = 204 }"), Target::Respond(_)));
    assert!(matches!(inherits("redirect = { to = \"/\" }"), Target::Redirect(_)));
}

#[test]
fn hosts_are_names_addresses_and_wildcards() {
    let config = accepted(route("path = \"/\"\nhosts = [\"Api.example.\", \"*.b.example\", \"[::1]\", \"192.0.2.1\"]"));
    assert_eq!(config.routes["users"].matching.hosts, ["api.example", "*.b.example", "[::1]", "192.0.2.1"]);
    for bad in ["", "*", "a:80", "https://a", "a/b", "*.*.a"] {
        let fault = fault(&format!("hosts = [\"{bad}\"]"));
        assert!(fault.starts_with("routes.users.hosts[0]: ") && fault.contains("is not a host such as"), "{fault}");
    }
    assert!(fault("hosts = []").contains("the list is empty"));
}

#[test]
fn methods_are_written_as_they_are_sent() {
    for bad in ["get", "Get", "", "G ET"] {
        assert!(fault(&format!("methods = [\"{bad}\"]")).contains("is not a method such as \"GET\", in upper case"));
    }
    assert!(fault("methods = [\"TRACE\"]").contains("answered with a 501 before any route"));
}

#[test]
fn a_template_with_a_fault_is_told_with_its_place() {
    assert_eq!(
        fault("request.set_headers = { x-a = \"é{sub}\" }"),
        "routes.users.request.set_headers.x-a: \"é{sub}\" holds a fault at character 2: \"{sub}\" stands for nothing; \
         write one of {subject} {role} {plan} {client_ip} {request_id} {route} {path} {host} {query}"
    );
    assert!(fault("response.set_headers = { x-a = \"{path\" }").contains("\"{\" is never closed"));
    assert!(fault("response.set_headers = { content-length = \"1\" }").contains("not needed for the message itself"));
    assert!(fault("response.remove_headers = [\"transfer-encoding\"]").contains("needed for the message itself"));
}

#[test]
fn a_rewritten_path_is_a_path() {
    for good in ["/v2{path}", "{path}/x", "/{subject|nobody}{path}", "/{{x}}"] {
        accepted(route(&format!("path = \"/\"\nrewrite_path = \"{good}\"")));
    }
    for bad in ["", "v2{path}", "//{path}", "/{path}{query}", "/a?b", "/a#b", "{host}{path}"] {
        assert!(fault(&format!("rewrite_path = \"{bad}\"")).contains("is not a path with placeholders"), "{bad}");
    }
}

#[test]
fn fixed_answers_and_redirects_have_a_status_of_their_kind() {
    for bad in ["status = 99", "status = 101", "status = 600", "status = \"ok\""] {
        assert!(only_fault(ends(&format!("respond = {{ {bad} }}"))).contains("is not a status from 200 to 599"));
    }
    assert!(only_fault(ends("respond = { status = 204, body = \"x\" }")).contains("a 204 has no body"));
    assert!(only_fault(ends("respond = { status = 200, headers = { a = \" b\" } }")).contains("the value of a header"));
    for bad in ["status = 300", "status = 200", "status = 304"] {
        assert!(
            only_fault(ends(&format!("redirect = {{ to = \"/\", {bad} }}")))
                .contains("is not 301, 302, 303, 307 or 308")
        );
    }
    assert!(only_fault(ends("redirect = {}")).contains("\"to\" is missing"));
}

#[test]
fn a_body_is_bounded_by_the_route_by_nothing_or_as_the_servers() {
    let limit = |keys: &str| accepted(route(&format!("path = \"/\"\n{keys}"))).routes["users"].request.max_body_bytes;
    assert_eq!(limit("request.max_body_bytes = \"none\""), BodyLimit::Own(None));
    assert_eq!(limit("request.max_body_bytes = 0"), BodyLimit::Own(Some(0)));
    assert_eq!(limit("request.remove_headers = []"), BodyLimit::AsTheServer);
    for bad in ["json", "*/*", "a/b; c=d"] {
        assert!(
            fault(&format!("request.content_types = [\"{bad}\"]")).contains("is not a media type such as"),
            "{bad}"
        );
    }
}

#[test]
fn cors_names_origins_and_never_all_of_them_with_credentials() {
    let cors =
        |keys: &str| parse(&format!("[cors]\n{keys}\n{UPSTREAM}[routes.r]\npath = \"/\"\nupstream = \"users\"\n"));
    accepted(cors("allow_origins = [\"https://app.example\", \"http://localhost:3000\", \"http://[::1]:1\"]"));
    for bad in ["app.example", "https://app.example/", "https://App.example", "https://u@a", "null", "https://a/b", ""]
    {
        let fault = only_fault(cors(&format!("allow_origins = [\"{bad}\"]")));
        assert!(fault.contains("is not an origin such as \"https://app.example\""), "{fault}");
    }
    let fault = only_fault(cors("allow_origins = [\"*\"]\nallow_credentials = true"));
    assert!(fault.contains("would let every site act as its visitors"), "{fault}");
    assert!(only_fault(cors("allow_origins = [\"*\", \"https://a\"]")).contains("\"*\" is all of them"));
    assert_eq!(refused(cors("allow_origins = []\nallow_methods = [\"get\"]")).len(), 2);
}

#[test]
fn a_plugin_is_one_that_is_registered_with_settings_that_it_can_read() {
    assert_eq!(
        fault("plugins = { signatur = {} }"),
        "routes.users.plugins.signatur: no plugin is registered as \"signatur\"; did you mean \"signature\"?"
    );
    let missing = fault("plugins = { signature = {} }");
    assert!(missing.starts_with("\"secret\" is missing in [routes.users.plugins.signature]"), "{missing}");
    assert!(fault("plugins.signature = 1").contains("routes.users.plugins.signature: 1 is not a table"));
    let unknown = fault("plugins.signature = { secret = \"${NONE:-s}\", headr = \"x\" }");
    assert!(unknown.ends_with("did you mean \"header\"?"), "{unknown}");

    let with = |settings: &str| {
        accepted(route(&format!("path = \"/\"\nplugins.signature = {{ secret = \"${{NONE:-s}}\"{settings} }}"))).routes
            ["users"]
            .plugins
            .clone()
    };
    assert_eq!(with(""), with(", header = \"X-Signature\""));
    assert_ne!(with(""), with(", header = \"x-other\""));
}
