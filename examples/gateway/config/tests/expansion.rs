use std::path::Path;

use super::super::upstream::UpstreamHost;
use super::super::{Config, Faults, Loaded};
use super::{only_fault, refused};

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "HOST" => "users.internal",
        "EMPTY" => "",
        "NESTED" => "${HOST}",
        "COUNT" => "7",
        "YES" => "true",
        "SIZE" => "2048",
        "SECRET" => "hunter2 hunter2",
        "_x9" => "x9",
        _ => return None,
    };
    Some(value.to_owned())
}

fn with_host(written: &str, folder: &Path) -> Result<Loaded, Faults> {
    let text = format!(
        "[upstreams.u]\nservers = [\"http://u\"]\nhost = '{written}'\n[routes.r]\npath = \"/\"\nupstream = \"u\"\n"
    );
    Config::parse(&text, "gateway.toml", folder, &variables)
}

fn host(written: &str) -> String {
    match with_host(written, Path::new("")) {
        Ok(loaded) => match &loaded.config.upstreams["u"].host {
            UpstreamHost::Fixed(authority) => authority.to_string(),
            other => panic!("{other:?}"),
        },
        Err(faults) => panic!("{faults}"),
    }
}

/// The path of a route takes `$`, `{` and `}` as they are.
fn path(written: &str) -> String {
    let text = format!("[upstreams.u]\nservers = [\"http://u\"]\n[routes.r]\npath = '{written}'\nupstream = \"u\"\n");
    let loaded = super::parse_with(&text, &variables).unwrap();
    loaded.config.routes["r"].matching.path.clone()
}

#[test]
fn a_reference_is_the_variable_or_its_fallback() {
    for (written, expected) in [
        ("${HOST}", "users.internal"),
        ("a.${HOST}:80", "a.users.internal:80"),
        ("${_x9}${_x9}", "x9x9"),
        ("${HOST:-other}", "users.internal"),
        ("${UNSET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("a${EMPTY}b", "ab"),
        ("a${UNSET:-}b", "ab"),
        ("${UNSET:-a:80}", "a:80"),
    ] {
        assert_eq!(host(written), expected, "{written}");
    }
}

#[test]
fn dollars_that_begin_no_reference_stay_and_two_before_a_brace_are_one() {
    for (written, expected) in [
        ("/$", "/$"),
        ("/$$", "/$$"),
        ("/$HOST", "/$HOST"),
        ("/$${HOST}", "/${HOST}"),
        ("/$$${HOST}", "/$${HOST}"),
        ("/$${", "/${"),
        ("/${NESTED}", "/${HOST}"),
        ("/$${${HOST}", "/${users.internal"),
    ] {
        assert_eq!(path(written), expected, "{written}");
    }
}

#[test]
fn an_unset_variable_is_a_fault_that_names_it() {
    assert_eq!(
        only_fault(with_host("${UNSET}", Path::new(""))),
        "gateway.toml:3:8: upstreams.u.host: the environment variable \"UNSET\" is not set; \
         set it, or write a fallback: \"${UNSET:-...}\""
    );
}

#[test]
fn every_reference_of_a_string_is_looked_at() {
    let faults = refused(with_host("${ONE}.${TWO}.${", Path::new("")));
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults[0].contains("\"ONE\"") && faults[1].contains("\"TWO\"") && faults[2].contains("never closed"));
}

#[test]
fn what_is_no_reference_is_refused_with_the_way_to_write_it() {
    for (written, problem) in [
        ("${HOST", r#""${" is never closed"#),
        ("${}", r#""" is not the name of a variable"#),
        ("${9A}", r#""9A" is not the name of a variable"#),
        ("${A-B}", r#""A-B" is not the name of a variable"#),
        ("${A:-${HOST}}", "these do not nest"),
        ("${file:}", "names no file"),
    ] {
        let fault = only_fault(with_host(written, Path::new("")));
        assert!(fault.starts_with("gateway.toml:3:8: upstreams.u.host: "), "{fault}");
        assert!(fault.contains(problem), "{fault}");
    }
}

#[test]
fn a_file_is_its_text_without_the_last_newline_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    for (content, expected) in [("plain", "plain"), ("unix\n", "unix"), ("dos\r\n", "dos")] {
        std::fs::write(folder.path().join("host"), content).unwrap();
        let loaded = with_host("${file:host}", folder.path()).unwrap();
        assert_eq!(loaded.config.upstreams["u"].host, UpstreamHost::Fixed(expected.parse().unwrap()));
        assert_eq!(loaded.files.keys().collect::<Vec<_>>(), [&folder.path().join("host")]);
    }
    std::fs::write(folder.path().join("host"), "two\n\n").unwrap();
    let fault = only_fault(with_host("${file:host}", folder.path()));
    assert!(fault.contains(r#""${file:host}" is not"#), "only one newline is taken off: {fault}");
}

#[test]
fn a_file_that_cannot_be_read_as_text_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
    std::fs::write(folder.path().join("large"), vec![b'a'; 1024 * 1024 + 1]).unwrap();
    for (name, problem) in [("absent", "cannot be read"), ("binary", "cannot be read"), ("large", "larger than 1MiB")] {
        let fault = only_fault(with_host(&format!("${{file:{name}}}"), folder.path()));
        assert!(fault.contains(&format!("the file {name:?}")), "{fault}");
        assert!(fault.contains(problem), "{fault}");
    }
}

#[test]
fn numbers_and_booleans_may_come_from_variables() {
    let text = format!(
        "[server]\nworkers = \"${{COUNT}}\"\nmax_body_bytes = \"${{SIZE}}\"\n[forwarded]\nforwarded = \"${{YES}}\"\n{}",
        super::MINIMAL
    );
    let config = super::parse_with(&text, &variables).unwrap().config;
    assert_eq!(config.server.workers.map(usize::from), Some(7));
    assert_eq!(config.server.max_body_bytes, Some(2048));
    assert!(config.forwarded.forwarded);
}

#[test]
fn keys_are_not_expanded() {
    let faults = refused(super::parse_with(&format!("[\"${{HOST}}\"]\n{}", super::MINIMAL), &variables));
    assert!(faults[0].starts_with("gateway.toml:1:2: unknown key \"${HOST}\" at the top level"), "{faults:#?}");
}

#[test]
fn no_fault_and_no_warning_shows_what_a_variable_holds() {
    let text = r#"
[server]
listen = ["${SECRET}", "${SECRET}"]
workers = "${SECRET}"
trusted_proxies = ["${SECRET}"]
client_ip_from = "${SECRET}"
write_timeout = "${SECRET}"
max_body_bytes = "${SECRET}"
max_connections = "${SECRET}"
[health]
path = "${SECRET}"
[forwarded]
via = "${SECRET}"
[access_log]
format = "${SECRET}"
[upstreams.hunter]
servers = ["${SECRET}", "http://${SECRET}", { url = "http://${SECRET}@u", weight = "${SECRET}" }]
balance = "${SECRET}"
host = "${SECRET}"
protocol = "${SECRET}"
[routes.r]
path = "/${SECRET}"
match = "${SECRET}"
upstream = "${SECRET}"
strip_prefix = "${SECRET}"
response = { response_time = "${SECRET}" }
"#;
    let faults = super::parse_with(text, &variables).unwrap_err();
    assert_eq!(faults.faults.len(), 23, "{faults}");
    assert!(!format!("{faults} {faults:?}").contains("hunter2"), "{faults}");
}
