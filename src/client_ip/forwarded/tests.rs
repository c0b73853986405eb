use super::*;
use proptest::prelude::*;

fn address(text: &str) -> Result<Node, Malformed> {
    Ok(Node::Address(text.parse().unwrap()))
}

fn elements(line: &str) -> Vec<&str> {
    elements_from_right(line.as_bytes()).map(|element| std::str::from_utf8(element).unwrap()).collect()
}

#[test]
fn the_rfcs_own_examples_are_read() {
    for (element, node) in [
        (r#"for="_gazonk""#, Ok(Node::Obfuscated)),
        (r#"For="[2001:db8:cafe::17]:4711""#, address("2001:db8:cafe::17")),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", address("192.0.2.60")),
        (r#"for="192.0.2.43:47011""#, address("192.0.2.43")),
        ("for=_hidden", Ok(Node::Obfuscated)),
        ("for=_SEVKISEK", Ok(Node::Obfuscated)),
        ("for=unknown", Ok(Node::Unknown)),
        (r#"for="[2001:db8:cafe::17]""#, address("2001:db8:cafe::17")),
    ] {
        assert_eq!(client_of(element.as_bytes()), node, "{element}");
    }
}

#[test]
fn what_the_grammar_allows_is_read() {
    for (element, node) in [
        ("FOR=192.0.2.1", address("192.0.2.1")),
        (r#"for="\1\92.0.2.1""#, address("192.0.2.1")),
        (r#"for="192.0.2.1:_port""#, address("192.0.2.1")),
        (r#"for="[::ffff:192.0.2.1]:80""#, address("192.0.2.1")),
        (";;for=192.0.2.1;;proto=https;", address("192.0.2.1")),
        (r#"host="a;for=9.9.9.9,\"b\\";for=192.0.2.1;secret=x;secret=y"#, address("192.0.2.1")),
        (r#"for="Unknown:4711""#, Ok(Node::Unknown)),
        ("proto=https", Ok(Node::Unknown)),
        ("host=\"caf\u{e9}\t\";for=192.0.2.1", address("192.0.2.1")),
    ] {
        assert_eq!(client_of(element.as_bytes()), node, "{element}");
    }
}

#[test]
fn what_the_grammar_forbids_is_malformed() {
    for element in [
        "for",
        "for=",
        "=192.0.2.1",
        "192.0.2.1",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "for=192.0.2.1 ;proto=http",
        "for=192.0.2.1; proto=http",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;For=192.0.2.1",
        "for=192.0.2.1;proto=http;PROTO=https",
        "for=192.0.2.1:80",
        "for=[2001:db8::1]",
        r#"for="2001:db8::1""#,
        r#"for="[192.0.2.1]""#,
        r#"for="[2001:db8::1""#,
        r#"for="[2001:db8::1]80""#,
        r#"for="192.0.2.1:""#,
        r#"for="192.0.2.1:65536""#,
        r#"for=" 192.0.2.1""#,
        r#"for="""#,
        r#"for="_""#,
        r#"for="_a b""#,
        "for=example",
        r#"for="192.0.2.1"#,
        r#"for="192.0.2.1\"#,
        r#"for="192.0.2.1"x"#,
        "for=192.0.2.1\"",
        "for=\"192.0.2.1\u{7f}\"",
        "for='192.0.2.1'",
    ] {
        assert_eq!(client_of(element.as_bytes()), Err(Malformed), "{element}");
    }
}

#[test]
fn elements_come_from_the_right_and_commas_in_quotes_part_nothing() {
    assert_eq!(elements("for=a, for=b ,\tfor=c"), ["for=c", "for=b", "for=a"]);
    assert_eq!(elements(r#"host="a,b", for="c\",d\\",e="""#), [r#"e="""#, r#"for="c\",d\\""#, r#"host="a,b""#]);
}

#[test]
fn empty_elements_are_nothing() {
    assert_eq!(elements(" , for=a,, ,"), ["for=a"]);
    assert!(elements("").is_empty());
}

#[test]
fn a_quote_that_the_client_left_open_cannot_swallow_the_proxys_element() {
    for open in [r#"for=""#, r#"for=9.9.9.9;x=""#, r#"x="\"#, r#"x="a\"#, r#"""#, r#"x="a\\", ""#] {
        for own in ["for=203.0.113.9", r#"for="[2001:db8::9]:80";host="a,b""#] {
            assert_eq!(elements(&format!("{open}, {own}"))[0], own, "{open}");
        }
    }
}

/// One pair, as it is meant and as RFC 7239 writes it.
fn printed(name: &str, value: &str) -> String {
    let is_token = !value.is_empty() && token(value.as_bytes()) == Ok((value.as_bytes(), b""));
    if is_token {
        return format!("{name}={value}");
    }
    let escaped = value.replace('\\', r"\\").replace('"', r#"\""#);
    format!("{name}=\"{escaped}\"")
}

fn any_node() -> impl Strategy<Value = (String, Node)> {
    let name = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|v4| (v4.to_string(), Node::Address(v4.into()))),
        any::<std::net::Ipv6Addr>().prop_map(|v6| (format!("[{v6}]"), Node::Address(IpAddr::V6(v6).to_canonical()))),
        "_[A-Za-z0-9._-]{1,20}".prop_map(|name| (name, Node::Obfuscated)),
        Just(("unknown".to_owned(), Node::Unknown)),
    ];
    let port = prop_oneof![Just(String::new()), any::<u16>().prop_map(|port| format!(":{port}")), ":_[a-z.]{1,5}"];
    (name, port).prop_map(|((name, node), port)| (name + &port, node))
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(
        clients in proptest::collection::vec((any_node(), r#"[ -~]{0,20}"#, "[a-z]{5}"), 1..6),
        breaks in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let mut lines = vec![String::new()];
        for (((node, _), host, extension), new_line) in clients.iter().zip(breaks) {
            let element =
                format!("{};{};{}", printed("host", host), printed("for", node), printed(extension, host));
            match lines.last_mut() {
                Some(line) if !new_line && !line.is_empty() => *line = format!("{line}, {element}"),
                _ => lines.push(element),
            }
        }
        let read: Vec<_> =
            lines.iter().rev().flat_map(|line| elements_from_right(line.as_bytes())).map(client_of).collect();
        let meant: Vec<_> = clients.iter().rev().map(|((_, node), ..)| Ok(*node)).collect();
        prop_assert_eq!(read, meant);
    }

    #[test]
    fn whatever_the_client_sends_the_proxys_element_stays_whole(sent in r#"[ -~\t]{0,40}"#) {
        let line = format!("{sent}, for=203.0.113.9");
        prop_assert_eq!(elements_from_right(line.as_bytes()).next(), Some(&b"for=203.0.113.9"[..]));
    }

    #[test]
    fn no_line_makes_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _: Vec<_> = elements_from_right(&line).map(client_of).collect();
        let _ = client_of(&line);
    }

    #[test]
    fn no_line_of_its_own_letters_makes_the_parser_panic(line in r#"(for=|host=|[",;=\\ :_\[\]0-9.]){0,30}"#) {
        let _: Vec<_> = elements_from_right(line.as_bytes()).map(client_of).collect();
        let _ = client_of(line.as_bytes());
    }
}
