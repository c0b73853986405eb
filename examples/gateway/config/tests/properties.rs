use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::super::Config;
use super::super::path::is_prefix_by_segments;
use super::super::target::Target;
use super::{parse, server};

/// Pieces that files are made of, so that random ones get beyond the first character.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "[server]",
        "[health]",
        "[upstreams.u]",
        "[upstreams.\"é\"]",
        "[[routes]]",
        "[routes.r]",
        "[routes.s]",
        "[routes]",
        "[upstreams]",
        "[defaults]",
        "[routes.r.timeouts]",
        "[access_log]",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "#",
        "=",
        ".",
        ",",
        "\n",
        "\r\n",
        "\r",
        "\t",
        " ",
        "\\",
        "\u{feff}",
        "\0",
        "é",
        "listen",
        "workers",
        "servers",
        "path",
        "upstream",
        "match",
        "timeouts",
        "total",
        "strip_prefix",
        "response",
        "weight",
        "url",
        "a.b.c",
        " = ",
        " = 1\n",
        " = -1\n",
        " = 0x_\n",
        " = true\n",
        " = false\n",
        " = 1979-05-27\n",
        " = nan\n",
        " = []\n",
        " = {}\n",
        " = [{}, []]\n",
        " = \"none\"\n",
        " = \"/a\"\n",
        " = \"u\"\n",
        " = \"1s\"\n",
        " = \"${A}\"\n",
        " = \"${A:-x}\"\n",
        " = \"${\"\n",
        " = [\"http://u\"]\n",
        " = [\"127.0.0.1:80\"]\n",
        "path = \"/a\"\n",
        "upstream = \"u\"\n",
        "servers = [\"http://u\"]\n",
        "strip_prefix = \"/a\"\n",
        "match = \"exact\"\n",
    ]);
    prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => ".{0,5}"]
}

fn assert_consistent(config: &Config) {
    assert!(!config.routes.is_empty());
    let mut matched = HashSet::new();
    for route in config.routes.values() {
        assert!(matches!(&route.target, Target::Upstream(upstream) if config.upstreams.contains_key(upstream)));
        assert!(route.matching.path.starts_with('/'));
        assert!(matched.insert(&route.matching));
        if let Some(prefix) = &route.path_rules.strip_prefix {
            assert!(prefix.starts_with('/') && is_prefix_by_segments(prefix, &route.matching.path));
        }
    }
    assert!(config.upstreams.values().all(|upstream| !upstream.servers.is_empty()));
    assert!(!config.server.listen.is_empty());
}

fn assert_sound(text: &str) {
    match parse(text) {
        Ok(loaded) => assert_consistent(&loaded.config),
        Err(faults) => {
            assert!(!faults.faults.is_empty());
            let lines = text.split('\n').count();
            for fault in &faults.faults {
                let position = fault.position.expect("every fault within a text has its place");
                assert!((1..=lines).contains(&position.line), "{fault}");
            }
        }
    }
}

fn small_file() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let path = || prop::sample::select(vec!["/", "/a", "/a/b", "/ab", "/b"]);
    let upstreams = prop::collection::btree_set(name(), 1..4);
    let key = |key: &'static str, values: BoxedStrategy<&'static str>| {
        prop::option::of(values)
            .prop_map(move |value| value.map_or(String::new(), |value| format!("{key} = \"{value}\"\n")))
    };
    let keys = (
        key("path", path().boxed()),
        key("match", prop::sample::select(vec!["exact", "prefix"]).boxed()),
        key("upstream", name().boxed()),
        key("strip_prefix", path().boxed()),
    )
        .prop_map(|(path, matched, upstream, strip)| format!("{path}{matched}{upstream}{strip}"));
    let routes = prop::collection::btree_map(name(), keys.clone(), 1..4);
    (upstreams, routes, keys).prop_map(|(upstreams, routes, defaults)| {
        let mut file = format!("[defaults]\n{defaults}");
        for name in upstreams {
            file.push_str(&format!("[upstreams.{name}]\nservers = [\"http://{name}\"]\n"));
        }
        for (name, keys) in routes {
            file.push_str(&format!("[routes.{name}]\n{keys}"));
        }
        file
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
        assert_sound(&text);
    }

    #[test]
    fn no_string_of_toml_makes_the_reader_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        assert_sound(&pieces.concat());
    }

    #[test]
    fn no_value_makes_a_key_panic(
        key in prop::sample::select(vec!["listen", "workers", "trusted_proxies", "client_ip_from", "write_timeout", "max_body_bytes"]),
        value in r"[^'\x00-\x1f\x7f]{0,20}",
    ) {
        let _ = server(&format!("{key} = '{value}'"));
        let _ = server(&format!("{key} = ['{value}']"));
        let _ = server(&format!("{key} = {value}"));
    }

    #[test]
    fn what_is_accepted_is_consistent(file in small_file()) {
        assert_sound(&file);
    }

    #[test]
    fn a_duration_is_read_as_it_is_printed(number in 0_u64..4000, unit in prop::sample::select(vec![("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)])) {
        let (unit, milliseconds) = unit;
        let duration = Duration::from_millis(number * milliseconds);
        let read = server(&format!("drain_delay = \"{number}{unit}\""));
        if duration <= Duration::from_secs(3650 * 86_400) {
            prop_assert_eq!(read.map(|loaded| loaded.config.server.drain_delay), Ok(duration));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn a_size_is_read_as_it_is_printed(number in 0_u64..(1 << 51), unit in prop::sample::select(vec![("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30)])) {
        let (unit, shift) = unit;
        let read = server(&format!("max_body_bytes = \"{number}{unit}\""));
        if number <= (1 << 50 >> shift) {
            prop_assert_eq!(read.map(|loaded| loaded.config.server.max_body_bytes), Ok(Some(number << shift)));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn a_plain_number_of_bytes_is_that_number(number in 0_u64..=(1 << 50)) {
        let read = server(&format!("max_body_bytes = {number}"));
        prop_assert_eq!(read.map(|loaded| loaded.config.server.max_body_bytes), Ok(Some(number)));
    }
}
