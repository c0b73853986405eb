use std::time::Duration;

use http::Uri;

use super::super::server::ClientIpFrom;
use super::super::upstream::UpstreamHost;
use super::{accepted, only_fault, parse, route, server, upstream, warnings};

fn grace(written: &str) -> Result<Duration, String> {
    match server(&format!("shutdown_grace = {written}")) {
        Ok(loaded) => Ok(loaded.config.server.shutdown_grace),
        Err(faults) => Err(faults.to_string()),
    }
}

#[test]
fn durations_are_a_whole_number_and_a_unit() {
    for (written, milliseconds) in [
        (r#""0s""#, 0),
        (r#""0ms""#, 0),
        (r#""250ms""#, 250),
        (r#""10s""#, 10_000),
        (r#""5m""#, 300_000),
        (r#""1h""#, 3_600_000),
        (r#""1d""#, 86_400_000),
        (r#""007s""#, 7_000),
        (r#""3650d""#, 3650 * 86_400_000),
    ] {
        assert_eq!(grace(written), Ok(Duration::from_millis(milliseconds)), "{written}");
    }
}

#[test]
fn other_ways_to_write_a_duration_are_refused() {
    for written in [
        r#""""#,
        r#""s""#,
        r#""10""#,
        r#""10 s""#,
        r#"" 10s""#,
        r#""-1s""#,
        r#""+1s""#,
        r#""1.5s""#,
        r#""1m30s""#,
        r#""1S""#,
        r#""1sec""#,
        r#""10us""#,
        r#""none""#,
        r#""١s""#,
        r#""3651d""#,
        r#""18446744073709551616s""#,
        r#""18446744073709551615d""#,
        "10",
        "1.5",
        "true",
        "07:32:00",
    ] {
        let fault = grace(written).unwrap_err();
        assert!(fault.starts_with("gateway.toml:2:18: server.shutdown_grace: "), "{fault}");
        assert!(fault.contains(r#"is not a duration such as "250ms""#), "{fault}");
        assert!(fault.contains(written), "{fault}");
    }
}

#[test]
fn a_deadline_of_no_time_is_refused_where_it_would_refuse_everything() {
    assert_eq!(
        only_fault(server(r#"write_timeout = "0ms""#)),
        "gateway.toml:2:17: server.write_timeout: \"0ms\" leaves no time at all; \
         write a longer duration, or \"none\" where a limit may be lifted"
    );
    assert!(
        only_fault(upstream(r#"dns_refresh = "0s""#)).starts_with("gateway.toml:3:15: upstreams.users.dns_refresh:")
    );
    let fault = only_fault(route("path = \"/\"\ntimeouts = { total = \"0s\" }"));
    assert!(fault.starts_with("gateway.toml:6:22: routes.users.timeouts.total:"), "{fault}");
}

#[test]
fn sizes_are_a_number_of_bytes_or_one_with_a_binary_unit() {
    for (written, bytes) in [
        ("0", Some(0)),
        ("1_000", Some(1000)),
        ("0x400", Some(1024)),
        (r#""0B""#, Some(0)),
        (r#""128B""#, Some(128)),
        (r#""1024""#, Some(1024)),
        (r#""64KiB""#, Some(64 << 10)),
        (r#""10MiB""#, Some(10 << 20)),
        (r#""1GiB""#, Some(1 << 30)),
        (r#""1048576GiB""#, Some(1 << 50)),
        (r#""none""#, None),
    ] {
        let config = accepted(server(&format!("max_body_bytes = {written}")));
        assert_eq!(config.server.max_body_bytes, bytes, "{written}");
    }
}

#[test]
fn other_ways_to_write_a_size_are_refused() {
    for written in [
        r#""""#,
        r#""KiB""#,
        r#""10MB""#,
        r#""10kib""#,
        r#""1.5MiB""#,
        r#""-1B""#,
        r#""10 MiB""#,
        r#""1048577GiB""#,
        r#""18446744073709551615GiB""#,
        r#""None""#,
        "-1",
        "1125899906842625",
        "9223372036854775808",
        "1.0",
        "false",
    ] {
        let fault = only_fault(server(&format!("max_body_bytes = {written}")));
        let start = format!("gateway.toml:2:18: server.max_body_bytes: {written} is not a size such as \"128B\"");
        assert!(fault.starts_with(&start), "{fault}");
    }
    let fault = only_fault(server("max_header_bytes = 0"));
    assert!(fault.contains("server.max_header_bytes: 0 leaves no byte at all"), "{fault}");
}

#[test]
fn counts_have_a_range_and_can_be_lifted_where_they_are_limits() {
    assert_eq!(accepted(server(r#"max_connections = "none""#)).server.max_connections, None);
    assert_eq!(accepted(server("workers = 1024")).server.workers.map(usize::from), Some(1024));
    for (keys, position) in [
        ("max_connections = 0", "2:19"),
        ("max_connections = 4294967296", "2:19"),
        ("max_connections = \"100\"", "2:19"),
        ("workers = -1", "2:11"),
        ("workers = 1025", "2:11"),
        ("workers = \"none\"", "2:11"),
    ] {
        let fault = only_fault(server(keys));
        assert!(fault.starts_with(&format!("gateway.toml:{position}: ")), "{fault}");
        assert!(fault.contains("is not a whole number from 1 to"), "{fault}");
    }
}

#[test]
fn booleans_are_no_strings() {
    let fault = only_fault(parse(&format!("[forwarded]\nvia = \"true\"\n{}", super::MINIMAL)));
    assert_eq!(fault, r#"gateway.toml:2:7: forwarded.via: "true" is not true or false"#);
}

#[test]
fn addresses_to_listen_on_are_sockets_and_none_comes_twice() {
    let config = accepted(server(r#"listen = ["0.0.0.0:80", "127.0.0.1:0", "127.0.0.1:0"]"#));
    assert_eq!(config.server.listen.len(), 3);
    for written in ["localhost:80", "127.0.0.1", ":80", "127.0.0.1:65536", "::1:80:"] {
        let fault = only_fault(server(&format!("listen = [\"{written}\"]")));
        let start = format!("gateway.toml:2:11: server.listen[0]: \"{written}\" is not an IP address and a port");
        assert!(fault.starts_with(&start), "{fault}");
    }
    assert_eq!(
        only_fault(server(r#"listen = ["127.0.0.1:80", "127.0.0.1:80"]"#)),
        "gateway.toml:2:27: server.listen[1]: the same address as server.listen[0]; remove one of them"
    );
    assert_eq!(
        only_fault(server("listen = []")),
        "gateway.toml:2:10: server.listen: no address to listen on; write at least one, or leave the key out"
    );
    let fault = only_fault(server(r#"listen = "127.0.0.1:80""#));
    assert!(fault.contains(r#"server.listen: "127.0.0.1:80" is not a list in brackets"#), "{fault}");
}

#[test]
fn networks_are_in_cidr_notation_and_one_address_is_the_network_of_that_host() {
    let config = accepted(server(r#"trusted_proxies = ["10.0.0.0/8", "::1", "127.0.0.1"]"#));
    let expected = ["10.0.0.0/8", "::1/128", "127.0.0.1/32"];
    assert_eq!(config.server.trusted_proxies, expected.map(|network| network.parse().unwrap()));
    for written in ["10.0.0.0/33", "10.0.0/8", "", "private", "10.0.0.1-10.0.0.9"] {
        let fault = only_fault(server(&format!("trusted_proxies = [\"{written}\"]")));
        let start = format!("gateway.toml:2:20: server.trusted_proxies[0]: \"{written}\" is not a network such as");
        assert!(fault.starts_with(&start), "{fault}");
    }
}

#[test]
fn trusting_everyone_and_bits_beyond_the_prefix_are_warned_of() {
    assert_eq!(
        warnings(server(r#"trusted_proxies = ["0.0.0.0/0", "10.0.0.1/8", "::/0"]"#)),
        [
            "gateway.toml:2:20: server.trusted_proxies[0]: every client is believed to be a proxy and may claim any address; write the proxies' networks",
            "gateway.toml:2:33: server.trusted_proxies[1]: \"10.0.0.1/8\" has bits set beyond its prefix, which are ignored; write the network's first address",
            "gateway.toml:2:47: server.trusted_proxies[2]: every client is believed to be a proxy and may claim any address; write the proxies' networks",
        ]
    );
}

#[test]
fn the_header_of_the_client_address_is_one_of_two_lists_or_any_other() {
    for (written, expected) in [
        ("x-forwarded-for", ClientIpFrom::XForwardedFor),
        ("X-Forwarded-For", ClientIpFrom::XForwardedFor),
        ("Forwarded", ClientIpFrom::Forwarded),
        ("x-real-ip", ClientIpFrom::Header("x-real-ip".parse().unwrap())),
    ] {
        let config = accepted(server(&format!("client_ip_from = \"{written}\"")));
        assert_eq!(config.server.client_ip_from, expected);
    }
    for written in ["", "x real ip", "x-réal"] {
        let fault = only_fault(server(&format!("client_ip_from = \"{written}\"")));
        assert!(fault.contains("is not the name of a header"), "{fault}");
    }
    assert_eq!(
        only_fault(server(r#"client_ip_from = "Host""#)),
        r#"gateway.toml:2:18: server.client_ip_from: "Host" is needed for the message itself; name another header"#
    );
}

fn one_server(entry: &str) -> Result<(Uri, u32), String> {
    let file = format!("[upstreams.u]\nservers = [{entry}]\n[routes.r]\npath = \"/\"\nupstream = \"u\"\n");
    match parse(&file) {
        Ok(loaded) => {
            let server = &loaded.config.upstreams["u"].servers[0];
            Ok((server.url.clone(), server.weight.get()))
        }
        Err(faults) => Err(faults.to_string()),
    }
}

#[test]
fn servers_are_urls_with_a_host_and_perhaps_a_port_a_base_and_a_weight() {
    for (entry, url, weight) in [
        (r#""http://127.0.0.1:3001""#, "http://127.0.0.1:3001/", 1),
        (r#""http://users.internal""#, "http://users.internal/", 1),
        (r#""HTTP://users.internal/""#, "http://users.internal/", 1),
        (r#""http://[::1]:3001/a/b//""#, "http://[::1]:3001/a/b", 1),
        (r#"{ url = "http://u", weight = 65535 }"#, "http://u/", 65_535),
        (r#"{ url = "http://u" }"#, "http://u/", 1),
    ] {
        assert_eq!(one_server(entry), Ok((url.parse().unwrap(), weight)), "{entry}");
    }
}

#[test]
fn servers_that_no_connection_can_be_made_to_are_refused() {
    for (entry, problem) in [
        (r#""127.0.0.1:3001""#, "is not a URL such as"),
        (r#""""#, "is not a URL such as"),
        (r#""http://""#, "is not a URL such as"),
        (r#""http:///path""#, "is not a URL such as"),
        (r#""http://a b""#, "is not a URL such as"),
        (r#""http://:80""#, "names no host"),
        (r#""ftp://u""#, "no connection can be made with"),
        (r#""http://user:pass@u""#, "holds user information"),
        (r#""http://u/?a=b""#, "holds a query or a fragment"),
        (r#""http://u/#a""#, "holds a query or a fragment"),
        (r#""http://u:0""#, "holds a port that is not a number from 1 to 65535"),
        (r#""http://u:99999""#, "holds a port that is not a number from 1 to 65535"),
        (r#""http://u:""#, "holds a port that is not a number from 1 to 65535"),
        (r#""http://[1.2.3.4]""#, "brackets without an IPv6 address"),
        ("3001", "3001 is not a URL such as"),
        (r#"{ weight = 1 }"#, r#""url" is missing in upstreams.u.servers[0]"#),
        (r#"{ url = "http://u", weight = 0 }"#, "servers[0].weight: 0 is not a whole number from 1 to 65535"),
        (r#"{ url = "http://u", weight = 65536 }"#, "65536 is not a whole number from 1 to 65535"),
        (
            r#"{ url = "http://u", weigth = 1 }"#,
            r#"unknown key "weigth" in upstreams.u.servers[0]; did you mean "weight"?"#,
        ),
    ] {
        let fault = one_server(entry).unwrap_err();
        assert!(fault.starts_with("gateway.toml:2:"), "{fault}");
        assert!(fault.contains(problem), "{entry}: {fault}");
        assert_eq!(fault.lines().count(), 1, "{fault}");
    }
    assert!(one_server("").unwrap_err().starts_with("gateway.toml:2:11: upstreams.u.servers: no server to send"));
}

#[test]
fn the_host_sent_upstream_is_the_servers_the_clients_or_a_text() {
    for (written, expected) in [
        ("upstream", UpstreamHost::Upstream),
        ("client", UpstreamHost::Client),
        ("users.internal:8080", UpstreamHost::Fixed("users.internal:8080".parse().unwrap())),
    ] {
        let config = accepted(upstream(&format!("host = \"{written}\"")));
        assert_eq!(config.upstreams["users"].host, expected);
    }
    for written in ["", "a b", "user@host", "a/b", "a:b"] {
        only_fault(upstream(&format!("host = \"{written}\"")));
    }
}

#[test]
fn paths_begin_with_a_slash_and_are_written_as_on_the_wire() {
    for written in ["/", "/api", "/api/", "/a%20b", "/a-b_c.d~e", "/@user:1"] {
        accepted(route(&format!("path = \"{written}\"")));
    }
    for (written, problem) in [
        ("", "is not a path that begins with"),
        ("api", "is not a path that begins with"),
        ("http://host/", "is not a path that begins with"),
        ("/a?b", "holds a query or a fragment"),
        ("/a#b", "holds a query or a fragment"),
        ("/a b", "holds characters that no path has"),
        ("/é", "holds characters that no path has"),
        ("/a\\nb", "holds characters that no path has"),
    ] {
        let fault = only_fault(route(&format!("path = \"{written}\"")));
        assert!(fault.starts_with("gateway.toml:5:8: routes.users.path: "), "{fault}");
        assert!(fault.contains(problem), "{fault}");
    }
}

#[test]
fn the_health_path_can_be_lifted() {
    let config = accepted(parse(&format!("[health]\npath = \"none\"\n{}", super::MINIMAL)));
    assert_eq!(config.health.path, None);
}

#[test]
fn a_path_that_no_request_has_when_it_is_matched_is_a_fault() {
    for (path, problem) in [
        ("/a//b", "is \"/a/b\" when it is matched; write that"),
        ("/%61dmin", "is \"/admin\" when it is matched; write that"),
        ("/a%2fb", "is \"/a%2Fb\" when it is matched; write that"),
        ("/../a", "is refused in every request; write another path"),
        ("/a%zz", "is refused in every request; write another path"),
    ] {
        let fault = only_fault(route(&format!("path = \"{path}\"")));
        assert!(fault.ends_with(problem), "{fault}");
    }
}

#[test]
fn encoded_slashes_are_refused_or_kept() {
    let fault = only_fault(route("path = \"/\"\nencoded_slashes = \"decode\""));
    assert!(fault.contains(r#""refuse" or "keep""#), "{fault}");
}
