use http::Request;
use proptest::prelude::*;

use super::*;
use crate::{ClientIp, CredentialKind, Identity, RequestContext, RequestId};

fn request(target: &str, host: &str) -> Request<()> {
    let mut request = Request::get(target).header("host", host).body(()).unwrap();
    RequestContext::of(request.extensions_mut());
    request
}

fn made_by(identity: Identity) -> Request<()> {
    let request = request("/p?q=1", "example.com");
    request.extensions().get::<RequestContext>().unwrap().set_identity(identity);
    request
}

fn subject(subject: &str) -> Request<()> {
    made_by(Identity::builder(CredentialKind::Jwt).subject(subject).build())
}

fn rendered(template: &str, request: &Request<()>) -> String {
    Template::parse(template).unwrap().render(Head::of(request))
}

fn header(template: &str, request: &Request<()>) -> Result<Option<HeaderValue>, NotAHeaderValue> {
    Template::parse(template).unwrap().header_value(Head::of(request))
}

#[test]
fn each_placeholder_stands_for_its_value() {
    let identity = Identity::builder(CredentialKind::Jwt).subject("u1").roles(["admin", "user"]).plan("pro").build();
    let request = made_by(identity);
    let context = request.extensions().get::<RequestContext>().unwrap();
    context.set_route("users".into());
    context.set_request_id(RequestId::new(HeaderValue::from_static("r-1")).unwrap());
    context.set_client_ip(ClientIp::from_peer("192.0.2.1:9".parse().unwrap(), 64));
    let all = "{subject} {role} {plan} {client_ip} {request_id} {route} {path} {host} {query}";
    assert_eq!(rendered(all, &request), "u1 admin,user pro 192.0.2.1 r-1 users /p example.com ?q=1");
}

#[test]
fn what_is_not_known_is_empty_or_the_fallback() {
    let bare = Request::new(());
    assert_eq!(rendered("<{subject}{role}{plan}{client_ip}{request_id}{route}{host}{query}>", &bare), "<>");
    assert_eq!(rendered("{subject|nobody}", &bare), "nobody");
    assert_eq!(rendered("{subject|nobody}", &subject("")), "nobody");
    assert_eq!(rendered("{subject|a|b}", &bare), "a|b");
    assert_eq!(rendered("{subject|nobody}", &subject("u1")), "u1");
    assert_eq!(rendered("{role|user}", &subject("u1")), "user");
}

#[test]
fn the_host_is_the_requests_without_its_port() {
    for (host, expected) in [
        ("A.example:8080", "a.example"),
        ("a.example", "a.example"),
        ("[::1]:80", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
    ] {
        assert_eq!(rendered("{host}", &request("/", host)), expected);
    }
    assert_eq!(rendered("{host}", &request("http://user@b.example:1/", "a.example")), "b.example");
}

#[test]
fn a_target_without_a_path_has_none() {
    let asterisk = Request::options("*").body(()).unwrap();
    assert_eq!(rendered("<{path}{query}>", &asterisk), "<>");
    assert_eq!(rendered("{path}{query}", &request("/?", "a")), "/");
}

#[test]
fn doubled_braces_are_braces() {
    assert_eq!(rendered("{{subject}} {{{subject}}}", &subject("u1")), "{subject} {u1}");
    assert_eq!(rendered("{{}}", &Request::new(())), "{}");
}

#[test]
fn a_fault_says_what_it_is_and_where() {
    let fault = |text: &str| Template::parse(text).unwrap_err();
    let at = |text: &str| (fault(text).at, fault(text).fault);
    assert_eq!(at("ab{sub}"), (2, TemplateFault::Unknown { name: "sub".to_owned() }));
    assert_eq!(at("{}"), (0, TemplateFault::Unknown { name: String::new() }));
    assert_eq!(at("{Subject}"), (0, TemplateFault::Unknown { name: "Subject".to_owned() }));
    assert_eq!(at("a{path"), (1, TemplateFault::Unclosed));
    assert_eq!(at("a}b"), (1, TemplateFault::Unopened));
    assert_eq!(at("{path|{host}}"), (0, TemplateFault::Nested));
    assert_eq!(at("a\r\nb"), (1, TemplateFault::Control));
    assert_eq!(at("{path|\n}"), (6, TemplateFault::Control));
    let message = fault("{sub}").to_string();
    assert!(message.starts_with("\"{sub}\" stands for nothing; write one of {subject} {role}"), "{message}");
}

#[test]
fn an_empty_result_is_no_header_field() {
    assert_eq!(header("{subject}", &Request::new(())), Ok(None));
    assert_eq!(header(" {subject} ", &Request::new(())), Ok(None));
    assert_eq!(header("{subject} {role}", &subject("u1")).unwrap().unwrap(), "u1");
}

#[test]
fn a_value_that_no_field_can_carry_is_refused_and_never_cut() {
    for bad in ["u1\r\nx-admin: yes", "u1\n", "a\0b", "a\x7fb", " u1", "u1 ", "\tu1"] {
        assert_eq!(header("{subject}", &subject(bad)), Err(NotAHeaderValue), "{bad:?}");
    }
    assert_eq!(header("{subject}", &subject("josé \"x\", y")).unwrap().unwrap().as_bytes(), "josé \"x\", y".as_bytes());
}

#[test]
fn in_a_uri_no_value_ends_the_part_it_stands_in() {
    let template = Template::parse("https://{host}{path}/{subject}{query}&s={subject|a b}").unwrap();
    let uri = template.render_uri(Head::of(&subject("../a?b#c d&é")));
    assert_eq!(uri, "https://example.com/p/..%2Fa%3Fb%23c%20d%26%C3%A9?q=1&s=..%2Fa%3Fb%23c%20d%26%C3%A9");
    assert_eq!(Template::parse("{subject|a b}").unwrap().render_uri(Head::of(&Request::new(()))), "a b");
}

#[test]
fn only_the_target_is_asked_for_where_it_is_named() {
    let reads = |text: &str| Template::parse(text).unwrap().reads_target();
    assert!(reads("{path}") && reads("x{query|y}") && reads("{host}"));
    assert!(!reads("{subject}{route}{{path}}"));
}

proptest! {
    #[test]
    fn what_is_escaped_is_read_back(text in "[^\\x00-\\x1f\\x7f-\\u{9f}]*") {
        let escaped = text.replace('{', "{{").replace('}', "}}");
        prop_assert_eq!(rendered(&escaped, &Request::new(())), text);
    }

    #[test]
    fn any_text_is_a_template_or_a_fault_within_it(text in ".{0,20}|[{}|a-z]{0,20}") {
        match Template::parse(&text) {
            Ok(template) => drop(template.render(Head::of(&Request::new(())))),
            Err(error) => prop_assert!(text.is_char_boundary(error.at) && error.at < text.len()),
        }
    }

    #[test]
    fn a_header_value_is_what_was_meant_or_nothing(value in "\\PC{0,8}|[ -~\\r\\n\\t]{0,8}") {
        if let Ok(Some(header)) = header("{subject}", &subject(&value)) {
            prop_assert_eq!(header.as_bytes(), value.as_bytes());
        }
    }

    #[test]
    fn an_encoded_value_has_no_delimiters(value in any::<String>()) {
        let mut text = String::new();
        push_encoded(&mut text, &value);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    }
}
