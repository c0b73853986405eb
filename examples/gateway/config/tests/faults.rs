use super::super::Config;
use super::super::fault::Position;
use super::{MINIMAL, only_fault, parse, refused, route, server, upstream};

#[test]
fn an_unknown_key_is_told_with_the_nearest_known_one() {
    assert_eq!(
        only_fault(server("  lisen = []")),
        r#"gateway.toml:2:3: unknown key "lisen" in [server]; did you mean "listen"?"#
    );
    assert_eq!(
        only_fault(parse(&format!("[sever]\n{MINIMAL}"))),
        r#"gateway.toml:1:2: unknown key "sever" at the top level; did you mean "server"?"#
    );
    assert_eq!(
        only_fault(upstream("[upstreams.users.helth_check]")),
        r#"gateway.toml:3:18: unknown key "helth_check" in [upstreams.users]; did you mean "health_check"?"#
    );
    assert_eq!(
        only_fault(route("path = \"/\"\ntimeouts = { totel = \"1s\" }")),
        r#"gateway.toml:6:14: unknown key "totel" in [routes.users.timeouts]; did you mean "total"?"#
    );
    assert_eq!(
        only_fault(server("colour = 1")),
        r#"gateway.toml:2:1: unknown key "colour" in [server]; the nearest known key is "workers""#
    );
}

#[test]
fn a_word_that_is_none_of_the_known_is_told_with_the_nearest() {
    assert_eq!(
        only_fault(upstream(r#"balance = "round-robin""#)),
        r#"gateway.toml:3:11: upstreams.users.balance: "round-robin" is not "least_requests", "round_robin", "peak_ewma", "hash:subject", "hash:client_ip" or "hash:header:NAME"; did you mean "round_robin"?"#
    );
    assert_eq!(
        only_fault(route("path = \"/\"\nmatch = \"glob\"")),
        r#"gateway.toml:6:9: routes.users.match: "glob" is not "prefix" or "exact""#
    );
}

#[test]
fn what_is_known_and_not_built_says_so() {
    assert_eq!(
        only_fault(parse(&format!("{MINIMAL}[admin]\n"))),
        r#"gateway.toml:7:2: "admin" at the top level is part of the format but not built yet"#
    );
    for table in ["admin", "audit"] {
        let fault = only_fault(parse(&format!("{MINIMAL}[{table}]\n")));
        assert!(fault.starts_with("gateway.toml:7:"), "{fault}");
        assert!(fault.ends_with(" is part of the format but not built yet"), "{fault}");
    }
    let fault = only_fault(upstream("tls = {}"));
    assert!(fault.contains("has tls and no server with https://"), "{fault}");
}

#[test]
fn values_that_are_known_and_not_built_say_so_and_what_is() {
    for format in ["json", "text"] {
        let fault = only_fault(parse(&format!("[access_log]\nformat = \"{format}\"\n{MINIMAL}")));
        assert_eq!(
            fault,
            format!(
                "gateway.toml:2:10: access_log.format: \"{format}\" is part of the format but not built yet; write \"off\""
            )
        );
    }
}

#[test]
fn what_is_missing_is_told_at_the_header_of_its_table() {
    assert_eq!(
        refused(parse("[upstreams.u]\n\n[routes.r]\n  [routes.s.timeouts]\n")),
        [
            "gateway.toml:1:1: \"servers\" is missing in [upstreams.u]; write a list in brackets, each entry a URL such as \
             \"http://127.0.0.1:3001\" or { url = \"http://127.0.0.1:3002\", weight = 2 }",
            "gateway.toml:3:1: \"path\" is missing in [routes.r]; write a path that begins with \"/\", such as \"/api/users\"",
            "gateway.toml:3:1: \"upstream\" is missing in [routes.r]; write the name of an upstream, or \"respond\" or \
             \"redirect\" instead",
            "gateway.toml:4:11: \"path\" is missing in [routes.s]; write a path that begins with \"/\", such as \"/api/users\"",
            "gateway.toml:4:11: \"upstream\" is missing in [routes.s]; write the name of an upstream, or \"respond\" or \
             \"redirect\" instead",
        ]
    );
}

#[test]
fn a_key_with_a_fault_is_not_missing_as_well() {
    let file = "[upstreams.u]\nservers = 3\n[routes.r]\npath = 3\nupstream = 3\nmatch = 3\nstrip_prefix = 3\n";
    let faults = refused(parse(file));
    assert_eq!(faults.len(), 5, "{faults:#?}");
    assert!(faults.iter().all(|fault| fault.contains(": 3 is not ")), "{faults:#?}");
}

#[test]
fn tables_must_be_tables() {
    for (file, fault) in [
        ("server = 3", "gateway.toml:1:10: server: 3 is not a table"),
        ("upstreams = 3", "gateway.toml:1:13: upstreams: 3 is not a table of tables; write [upstreams.NAME]"),
        ("upstreams.u = []", "gateway.toml:1:15: upstreams.u: a list is not a table"),
        ("[[routes]]", "gateway.toml:1:1: routes: a list is not a table of tables; write [routes.NAME]"),
        ("[routes]\nr = \"x\"", "gateway.toml:2:5: routes.r: \"x\" is not a table"),
        ("[defaults]\ntimeouts = true", "gateway.toml:2:12: defaults.timeouts: true is not a table"),
        ("[routes.\"\"]", "gateway.toml:1:9: routes.\"\": the name is empty; give it one"),
    ] {
        let faults = refused(parse(file));
        assert!(faults.contains(&fault.to_owned()), "{faults:#?}");
    }
}

#[test]
fn names_that_are_no_bare_keys_are_quoted() {
    let fault = only_fault(parse(&format!("{MINIMAL}[upstreams.\"a b\"]\nservers = []\n")));
    assert!(fault.starts_with("gateway.toml:8:11: upstreams.\"a b\".servers: no server"), "{fault}");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let file = r#"
[routes.users]
path = "users"
upstream = "usres"
timeouts = { total = "soon", body_idle = 5 }
[upstreams.users]
servers = ["http://127.0.0.1:3001", "httpx://b", { url = "c", weight = 0 }]
balance = "fastest"
[server]
listen = ["127.0.0.1:80", "localhost:80", "127.0.0.1:80"]
worker = 3
[admin]
"#;
    let faults = parse(file).unwrap_err();
    let places: Vec<_> = faults.faults.iter().map(|fault| (fault.position.unwrap(), fault.key.as_str())).collect();
    let at = |line, column| Position { line, column };
    assert_eq!(
        places,
        [
            (at(3, 8), "routes.users.path"),
            (at(4, 12), "routes.users.upstream"),
            (at(5, 22), "routes.users.timeouts.total"),
            (at(5, 42), "routes.users.timeouts.body_idle"),
            (at(7, 37), "upstreams.users.servers[1]"),
            (at(7, 58), "upstreams.users.servers[2].url"),
            (at(7, 72), "upstreams.users.servers[2].weight"),
            (at(8, 11), "upstreams.users.balance"),
            (at(10, 27), "server.listen[1]"),
            (at(10, 43), "server.listen[2]"),
            (at(11, 1), "server.worker"),
            (at(12, 2), "admin"),
        ]
    );
    assert_eq!(faults.to_string().lines().count(), 12);
}

#[test]
fn columns_count_characters() {
    let fault = only_fault(server(r#"listen = ["127.0.0.1:80", "é", "127.0.0.1:81"]"#));
    assert!(fault.starts_with("gateway.toml:2:27: server.listen[1]: \"é\" is not"), "{fault}");
    let fault = only_fault(parse(&format!("[server]\r\n\"é\" = 1\r\n{MINIMAL}")));
    assert!(fault.starts_with("gateway.toml:2:1: unknown key \"é\" in [server]"), "{fault}");
}

#[test]
fn long_values_and_control_characters_are_shown_on_one_line() {
    let fault = only_fault(server(&format!("write_timeout = \"\\n\\u0007{}\"", "x".repeat(500))));
    assert!(fault.contains(r#""\n\u{7}xxx"#) && fault.contains("xxx...\" is not a duration"), "{fault}");
    assert!(fault.len() < 300, "{fault}");
}

#[test]
fn several_syntax_errors_are_told_with_their_places() {
    let faults = refused(parse("[server]\nworkers = 1\nworkers = 2\nlisten = [\"a\ndrain_delay = 3 s\n"));
    assert!(faults.len() >= 2, "{faults:#?}");
    assert_eq!(faults[0], "gateway.toml:3:1: \"workers\" is there already; remove one of the two");
    assert!(faults[1].starts_with("gateway.toml:4:13: not TOML: "), "{faults:#?}");
}

#[test]
fn faults_above_a_syntax_error_are_told_and_nothing_is_said_to_be_missing() {
    let faults = refused(parse("[server]\nlisen = []\n[upstreams.u]\n[routes.r]\npath = \"/\nworkers = 0\ncolour\n"));
    assert_eq!(faults[0], r#"gateway.toml:2:1: unknown key "lisen" in [server]; did you mean "listen"?"#);
    assert!(faults[1..].iter().all(|fault| fault.contains("not TOML: ")), "{faults:#?}");
}

#[test]
fn a_file_without_routes_is_refused() {
    let message = "no route to serve; add [routes.NAME] with a path and an upstream";
    assert_eq!(only_fault(parse("")), format!("gateway.toml:1:1: {message}"));
    assert_eq!(only_fault(parse("\n[routes]\n")), format!("gateway.toml:2:1: {message}"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.toml");
    let fault = only_fault(Config::load(&absent));
    assert!(fault.starts_with(&format!("{}: the file cannot be read: ", absent.display())), "{fault}");

    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, b"# \xc3\xa9\n# \xc3\xa9 \xff\n").unwrap();
    let fault = only_fault(Config::load(&binary));
    assert_eq!(fault, format!("{}:2:5: not UTF-8, which TOML has to be; save it as such", binary.display()));

    let folder_itself = only_fault(Config::load(folder.path()));
    assert!(folder_itself.contains(": the file cannot be read: "), "{folder_itself}");
}
