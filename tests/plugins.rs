//! The example's plugin, as an origin meets it.

mod support;

use aws_lc_rs::hmac;
use support::gateway::{Gateway, status};
use support::{RawOrigin, field};

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_signs_what_the_gateway_sends_and_nobody_else_can() {
    let mut origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let gateway = Gateway::with_config(&format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        workers = 1
        [upstreams.o]
        servers = ["{}"]
        [routes.signed]
        path = "/signed"
        upstream = "o"
        [routes.signed.plugins]
        signature = {{ secret = "${{NONE:-the key}}", header = "X-Gateway-Signature" }}
        [routes.plain]
        path = "/"
        upstream = "o"
        "#,
        origin.url()
    ));
    let post = |path: &str| {
        let forged = "X-Gateway-Signature: t=1,v1=00\r\nx_gateway_signature: t=1,v1=00\r\n";
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n{forged}\r\nbody");
        gateway.exchange(&head)
    };
    assert_eq!(status(&post("/signed/x?y=z")), "200");
    let received = origin.received().await;
    assert!(received.ends_with("\r\n\r\nbody"));
    assert_eq!(field(&received, "x_gateway_signature"), None);
    let signature = field(&received, "x-gateway-signature").unwrap();
    let (time, tag) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    let text = format!("{time}\nPOST\n/signed/x?y=z\n\n");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"the key");
    hmac::verify(&key, text.as_bytes(), &tag).expect("the signature of this request");

    assert_eq!(status(&post("/plain")), "200");
    assert_eq!(field(&origin.received().await, "x-gateway-signature"), Some("t=1,v1=00"));
}
