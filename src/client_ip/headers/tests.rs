use super::*;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn fields(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    fields.sort_unstable();
    fields
}

/// What a trusted peer's `sent` makes of the client, and what is left of it.
#[track_caller]
fn assert_believed(header: ForwardingHeader, sent: &[(&str, &str)], client: &str, left: &[(&str, &str)]) {
    let mut headers = headers(sent);
    let trusted = CidrSet::parse(["10.0.0.0/8"]).unwrap();
    let believed = ForwardingHeaders::believing(header).believe(&mut headers, PEER, &trusted);
    assert_eq!(believed.to_string(), client);
    assert_eq!(fields(&headers), left);
}

fn single() -> ForwardingHeader {
    HeaderName::from_static("cf-connecting-ip").into()
}

#[test]
fn a_name_becomes_the_header_it_stands_for() {
    let from = |name| ForwardingHeader::from(HeaderName::from_static(name));
    assert_eq!(from("x-forwarded-for"), ForwardingHeader::XForwardedFor);
    assert_eq!(from("forwarded"), ForwardingHeader::Forwarded);
    assert_eq!(from("x-real-ip"), ForwardingHeader::Single(HeaderName::from_static("x-real-ip")));
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        assert_eq!(from(name).name(), name);
    }
}

#[test]
fn x_forwarded_for_keeps_the_client_and_what_is_to_its_right() {
    assert_believed(
        ForwardingHeader::XForwardedFor,
        &[
            ("x-forwarded-for", "192.0.2.66,  [2001:db8::9]:80"),
            ("accept", "*/*"),
            ("x-forwarded-for", "10.0.0.3 ,10.0.0.2"),
        ],
        "2001:db8::9",
        &[("accept", "*/*"), ("x-forwarded-for", "2001:db8::9, 10.0.0.3, 10.0.0.2")],
    );
}

#[test]
fn a_trusted_peer_that_names_nobody_is_the_client_itself() {
    for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded, single()] {
        assert_believed(header.clone(), &[], "10.0.0.1", &[]);
        assert_believed(header.clone(), &[(header.name().as_str(), "unknown")], "10.0.0.1", &[]);
        assert_believed(header.clone(), &[(header.name().as_str(), "")], "10.0.0.1", &[]);
    }
}

#[test]
fn other_spellings_of_the_believed_header_are_not_it() {
    assert_believed(
        ForwardingHeader::XForwardedFor,
        &[("x_forwarded_for", "192.0.2.66"), ("X-Forwarded-For", "203.0.113.9"), ("x-forwarded_for", "192.0.2.66")],
        "203.0.113.9",
        &[("x-forwarded-for", "203.0.113.9")],
    );
}

#[test]
fn x_forwarded_companions_stay_where_they_are_sane() {
    for (name, value) in [
        ("x-forwarded-proto", "http"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-host", "shop.example:8443"),
        ("x-forwarded-host", "[2001:db8::1]:8443"),
        ("x-forwarded-port", "443"),
    ] {
        assert_believed(ForwardingHeader::XForwardedFor, &[(name, value)], "10.0.0.1", &[(name, value)]);
        assert_believed(ForwardingHeader::Forwarded, &[(name, value)], "10.0.0.1", &[]);
        assert_believed(single(), &[(name, value)], "10.0.0.1", &[]);
    }
}

#[test]
fn x_forwarded_companions_that_could_mislead_are_removed() {
    for (name, value) in [
        ("x-forwarded-proto", "https,http"),
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-proto", ""),
        ("x-forwarded-host", "shop.example, evil.example"),
        ("x-forwarded-host", "shop.example@evil.example"),
        ("x-forwarded-host", "shop.example@shop.example"),
        ("x-forwarded-host", "shop.example:80@shop.example"),
        ("x-forwarded-host", "shop.example/evil"),
        ("x-forwarded-host", "shop.example:"),
        ("x-forwarded-host", "shop.example:99999"),
        ("x-forwarded-host", "[::evil]"),
        ("x-forwarded-host", ":443"),
        ("x-forwarded-host", ""),
        ("x-forwarded-port", "0"),
        ("x-forwarded-port", "65536"),
        ("x-forwarded-port", "+443"),
    ] {
        assert_believed(ForwardingHeader::XForwardedFor, &[(name, value)], "10.0.0.1", &[]);
    }
    let twice = [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https"), ("x_forwarded_host", "shop.example")];
    assert_believed(ForwardingHeader::XForwardedFor, &twice, "10.0.0.1", &[]);
}

#[test]
fn forwarded_keeps_its_believed_elements_as_they_were_written() {
    assert_believed(
        ForwardingHeader::Forwarded,
        &[
            ("forwarded", r#"for=192.0.2.66, for="[2001:db8::9]:80";proto=https;host="a,b""#),
            ("forwarded", "for=10.0.0.3"),
            ("x-forwarded-for", "192.0.2.66"),
        ],
        "2001:db8::9",
        &[("forwarded", r#"for="[2001:db8::9]:80";proto=https;host="a,b", for=10.0.0.3"#)],
    );
}

#[test]
fn a_client_that_leaves_a_quote_open_is_not_taken_for_the_proxy() {
    assert_believed(
        ForwardingHeader::Forwarded,
        &[("forwarded", r#"for=10.0.0.9;x=", for="203.0.113.9:80""#)],
        "203.0.113.9",
        &[("forwarded", r#"for="203.0.113.9:80""#)],
    );
}

#[test]
fn a_single_header_stays_alone_and_only_as_one_address() {
    assert_believed(
        single(),
        &[("cf-connecting-ip", "203.0.113.9"), ("x-real-ip", "192.0.2.66"), ("forwarded", "for=192.0.2.66")],
        "203.0.113.9",
        &[("cf-connecting-ip", "203.0.113.9")],
    );
    assert_believed(single(), &[("cf-connecting-ip", "203.0.113.9, 192.0.2.66")], "10.0.0.1", &[]);
    let twice = [("cf-connecting-ip", "203.0.113.9"), ("cf-connecting-ip", "203.0.113.9")];
    assert_believed(single(), &twice, "10.0.0.1", &[]);
}

#[test]
fn from_a_stranger_no_forwarding_header_is_left_in_any_spelling() {
    let header = ForwardingHeader::from(HeaderName::from_static("x-our-cdn-client"));
    let rule = ForwardingHeaders::believing(header);
    let mut headers = headers(&[("accept", "*/*"), ("x-our-cdn-client", "1"), ("X_Our_Cdn-Client", "1")]);
    for name in FORWARDING_NAMES {
        for spelling in [name.to_owned(), name.replace('-', "_"), name.replacen('-', "_", 1)] {
            headers
                .append(HeaderName::from_bytes(spelling.as_bytes()).unwrap(), HeaderValue::from_static("192.0.2.66"));
        }
    }
    rule.remove_all(&mut headers);
    assert_eq!(fields(&headers), [("accept", "*/*")]);
}
