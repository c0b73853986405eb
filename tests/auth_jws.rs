//! Signatures, before any claim is read: tokens and keys that must be refused, and those that must not.

#[path = "support/tokens.rs"]
mod tokens;

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_gateway::auth::{Algorithm, Fault, Key, KeyError, KeySet, KeySetError, MAX_TOKEN_LENGTH};

use self::tokens::{Signer, base64url};

/// One vector: what a verifier that pins an algorithm to a key says of a token.
///
/// `{"id", "alg", "key" or "keys", "token", "expected": "valid" | "invalid", "comment", "needs": "jws" | "jwk" | "lenient"}`
fn accepts(vector: &Value) -> Option<bool> {
    let algorithm: Algorithm = vector["alg"].as_str()?.parse().ok()?;
    let keys = match (&vector["key"], &vector["keys"]) {
        (Value::Null, set) => KeySet::from_json(set.to_string(), &[algorithm]).ok(),
        (key, _) => Key::jwk(algorithm, &key.to_string()).ok().map(KeySet::from),
    };
    let token = vector["token"].as_str()?;
    Some(keys.is_some_and(|keys| keys.verify(token).is_ok()))
}

/// Vectors made by others, from the file that JWS_VECTORS names, one JSON object a line.
#[test]
fn jws_vectors() {
    let Some(path) = std::env::var_os("JWS_VECTORS") else { return };
    let (vectors, disagreements) = disagreements(&std::fs::read_to_string(&path).unwrap());
    println!("{vectors} vectors, {disagreements} disagreements");
    assert_eq!(disagreements, 0);
}

/// Some of RFC 7515 and 8037, others made by Python's cryptography: each alone in what is wrong with it.
#[test]
fn vectors_of_other_libraries_are_judged_as_their_comments_say() {
    assert_eq!(disagreements(include_str!("vectors/jws.jsonl")), (90, 0));
}

/// How many vectors were judged, and how many of them otherwise than is expected.
fn disagreements(lines: &str) -> (usize, usize) {
    let (mut vectors, mut disagreements) = (0, 0);
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let vector: Value = serde_json::from_str(line).unwrap();
        let Some(accepted) = (vector["needs"] != "lenient").then(|| accepts(&vector)).flatten() else { continue };
        vectors += 1;
        if accepted != (vector["expected"] == "valid") {
            disagreements += 1;
            println!("{}: {} ({}), and it was {accepted}", vector["id"], vector["expected"], vector["comment"]);
        }
    }
    (vectors, disagreements)
}

fn key_of(algorithm: Algorithm, jwk: &Value) -> Result<Key, KeyError> {
    Key::jwk(algorithm, &jwk.to_string())
}

fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk[name] = value;
    jwk
}

#[test]
fn a_token_of_each_algorithm_verifies_under_its_key() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let token = signer.sign_text(&signer.header().to_string(), "any bytes");
        assert_eq!(signer.key().verify(&token).as_deref(), Ok(&b"any bytes"[..]), "{algorithm}");
        if !algorithm.is_symmetric() {
            let key = Key::pem(algorithm, &signer.pem()).unwrap();
            assert_eq!(key.verify(&token).as_deref(), Ok(&b"any bytes"[..]), "{algorithm} from PEM");
        }
        // Every RSA signer has the same key.
        let other = match algorithm.name().split_at(2) {
            ("RS" | "PS", _) => Signer::new(Algorithm::Es256),
            _ => Signer::new(algorithm),
        };
        assert!(other.key().verify(&token).is_err(), "{algorithm} under another key");
    }
}

#[test]
fn the_algorithm_is_the_keys_whatever_the_token_says() {
    let rsa = Signer::new(Algorithm::Rs256);
    let mut confused = Signer::with_secret(Algorithm::Hs256, rsa.pem()).header();
    confused["kid"] = json!(rsa.id);
    let token = Signer::with_secret(Algorithm::Hs256, rsa.pem()).sign_text(&confused.to_string(), "{}");
    assert_eq!(rsa.key().verify(&token), Err(Fault::WrongAlgorithm));

    for name in ["none", "None", "NONE", "nOnE", "", "rs256", "RS384", "PS256", "HS256", "ES256"] {
        let header = json!({"alg": name, "kid": rsa.id}).to_string();
        assert_eq!(rsa.key().verify(&rsa.sign_text(&header, "{}")), Err(Fault::WrongAlgorithm), "{name}");
        let unsigned = format!("{}.{}.", base64url(header.as_bytes()), base64url(b"{}"));
        assert_eq!(rsa.key().verify(&unsigned), Err(Fault::WrongAlgorithm), "{name}");
    }
}

#[test]
fn keys_and_places_of_keys_that_a_token_brings_along_are_not_used() {
    let (own, evil) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    for (name, value) in [
        ("jwk", evil.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        let header = with(&own.header(), name, value).to_string();
        assert_eq!(own.key().verify(&evil.sign_text(&header, "{}")), Err(Fault::BadSignature), "{name}");
    }
}

#[test]
fn what_is_not_a_compact_jws_is_malformed() {
    let signer = Signer::new(Algorithm::Hs256);
    let key = signer.key();
    let good = signer.sign_text(&signer.header().to_string(), "{}");
    let (input, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        input.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{payload}.{signature}"),
        format!("{good}="),
        format!("{good}\n"),
        format!(" {good}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!("{header}. {payload}.{signature}"),
        format!("{good}AAAA").replace('A', "+"),
        format!("{header}.{payload}.{signature}%3D"),
        r#"{"payload":"e30","signatures":[]}"#.to_owned(),
    ] {
        assert!(key.verify(&bad).is_err(), "{bad}");
    }
    assert!(matches!(key.verify(&format!("{input}.")), Err(Fault::BadSignature)), "an empty signature");
    let long = format!("{header}.{}.{signature}", "A".repeat(MAX_TOKEN_LENGTH));
    assert_eq!(key.verify(&long), Err(Fault::TooLong));
}

/// The last character of a part holds bits that no byte has: only one of its values is base64url.
#[test]
fn stray_bits_are_not_base64url() {
    let signer = Signer::new(Algorithm::Hs256);
    let good = signer.sign_text(&signer.header().to_string(), r#"{"a":1}"#);
    let last = good.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for other in alphabet.chars().filter(|char| *char != last) {
        let changed = format!("{}{other}", &good[..good.len() - 1]);
        assert!(signer.key().verify(&changed).is_err(), "{other}");
    }
}

#[test]
fn a_signature_has_the_length_and_form_of_its_algorithm_and_no_other() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm);
        let key = signer.key();
        let input = format!("{}.{}", base64url(signer.header().to_string().as_bytes()), base64url(b"{}"));
        let signature = signer.sign(input.as_bytes());
        let shorter = &signature[..signature.len() - 1];
        let zero_in_front = [&[0], &signature[..]].concat();
        let zero_behind = [&signature[..], &[0]].concat();
        for bad in [
            &[],
            shorter,
            &zero_in_front,
            &zero_behind,
            &signature[1..],
            &vec![0; signature.len()],
            &vec![0xff; signature.len()],
        ] {
            let token = format!("{input}.{}", base64url(bad));
            assert_eq!(key.verify(&token), Err(Fault::BadSignature), "{algorithm}");
        }
        assert!(key.verify(&format!("{input}.{}", base64url(&signature))).is_ok());
    }
}

/// Both numbers as DER integers, which is how other protocols write them.
#[test]
fn an_ecdsa_signature_in_der_is_none() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384] {
        let signer = Signer::new(algorithm);
        let input = format!("{}.{}", base64url(signer.header().to_string().as_bytes()), base64url(b"{}"));
        let raw = signer.sign(input.as_bytes());
        let integer = |bytes: &[u8]| [&[2, bytes.len() as u8 + 1, 0], bytes].concat();
        let numbers = [integer(&raw[..raw.len() / 2]), integer(&raw[raw.len() / 2..])].concat();
        let der = [&[0x30, numbers.len() as u8], &numbers[..]].concat();
        assert_eq!(signer.key().verify(&format!("{input}.{}", base64url(&der))), Err(Fault::BadSignature));
    }
}

/// CVE-2022-21449: a verifier that takes r = s = 0 takes it for every message.
#[test]
fn an_ecdsa_signature_of_zeros_or_of_the_order_is_none() {
    let signer = Signer::new(Algorithm::Es256);
    let input = format!("{}.{}", base64url(signer.header().to_string().as_bytes()), base64url(b"{}"));
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&order[2 * at..][..2], 16).unwrap()).collect();
    let one = [&[0; 31][..], &[1]].concat();
    for (r, s) in
        [([0; 32].to_vec(), [0; 32].to_vec()), (order.clone(), order.clone()), (one.clone(), order), (one, vec![0; 32])]
    {
        let token = format!("{input}.{}", base64url(&[r, s].concat()));
        assert_eq!(signer.key().verify(&token), Err(Fault::BadSignature));
    }
}

/// RFC 8032 section 5.1.7: S must be below the order, or each signature would have others beside it.
#[test]
fn an_ed25519_signature_has_one_form() {
    let signer = Signer::new(Algorithm::EdDsa);
    let input = format!("{}.{}", base64url(signer.header().to_string().as_bytes()), base64url(b"{}"));
    let mut signature = signer.sign(input.as_bytes());
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(signer.key().verify(&format!("{input}.{}", base64url(&signature))), Err(Fault::BadSignature));
}

#[test]
fn a_jwk_is_for_what_it_says_it_is_for() {
    for algorithm in Algorithm::ALL {
        let jwk = Signer::new(algorithm).jwk();
        let fits = |name, value| key_of(algorithm, &with(&jwk, name, value)).is_ok();
        assert!(
            fits("use", json!("sig"))
                && fits("alg", json!(algorithm.name()))
                && fits("key_ops", json!(["sign", "verify"]))
        );
        assert!(fits("x5t", json!("abc")) && fits("ext", json!(true)), "members that are not known are ignored");
        for (name, value) in [
            ("use", json!("enc")),
            ("use", json!("SIG")),
            ("use", json!(1)),
            ("alg", json!("none")),
            ("alg", json!(if algorithm == Algorithm::Hs256 { "HS512" } else { "HS256" })),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!(null)),
            ("key_ops", json!([])),
            ("key_ops", json!(["sign"])),
            ("key_ops", json!(["encrypt", "wrapKey"])),
            ("key_ops", json!("verify")),
            ("key_ops", json!(["verify", "verify"])),
            ("kty", json!("oct2")),
            ("kty", json!(null)),
            ("kid", json!(7)),
        ] {
            assert!(!fits(name, value.clone()), "{algorithm}: {name} {value}");
        }
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(key_of(other, &with(&jwk, "alg", json!(algorithm.name()))).is_err(), "{algorithm} as {other}");
        }
    }
}

#[test]
fn weak_and_misfit_keys_are_refused_when_they_are_loaded() {
    for (algorithm, least) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        assert!(Key::secret(algorithm, vec![7; least]).is_ok());
        let error = Key::secret(algorithm, vec![7; least - 1]).unwrap_err();
        assert_eq!(error, KeyError::ShortSecret { algorithm, length: least - 1, needed: least });
    }
    let (es256, es384, ed) =
        (Signer::new(Algorithm::Es256).jwk(), Signer::new(Algorithm::Es384).jwk(), Signer::new(Algorithm::EdDsa).jwk());
    assert!(key_of(Algorithm::Es384, &es256).is_err() && key_of(Algorithm::Es256, &es384).is_err());
    assert!(key_of(Algorithm::Es256, &with(&es256, "crv", json!("P-384"))).is_err());
    assert!(key_of(Algorithm::Es256, &with(&es256, "crv", json!("secp256k1"))).is_err());
    assert_eq!(
        key_of(Algorithm::Es256, &with(&es256, "y", es256["x"].clone())).unwrap_err(),
        KeyError::NoPoint(Algorithm::Es256)
    );
    assert!(key_of(Algorithm::Es256, &with(&es256, "x", json!(base64url(&[1; 31])))).is_err());
    assert!(key_of(Algorithm::Es256, &with(&es256, "x", json!(format!("{}=", es256["x"].as_str().unwrap())))).is_err());
    assert!(key_of(Algorithm::EdDsa, &with(&ed, "x", json!(base64url(&[0; 32])))).is_err());
    assert!(key_of(Algorithm::EdDsa, &with(&ed, "x", json!(base64url(&[7; 31])))).is_err());
    assert!(key_of(Algorithm::EdDsa, &with(&ed, "crv", json!("X25519"))).is_err());
    let rsa = Signer::new(Algorithm::Rs256).jwk();
    assert!(key_of(Algorithm::Rs256, &with(&rsa, "e", json!("AQ"))).is_err());
    assert!(key_of(Algorithm::Rs256, &with(&rsa, "n", json!(base64url(&[0xff; 128])))).is_err());
    for private in ["d", "p", "q", "dp", "dq", "qi"] {
        assert!(key_of(Algorithm::Rs256, &with(&rsa, private, json!("AQAB"))).is_err(), "{private}");
    }
    let twice = rsa.to_string().replacen('{', r#"{"kty":"RSA","#, 1);
    assert!(Key::jwk(Algorithm::Rs256, &twice).is_err());
}

#[test]
fn a_pem_text_holds_one_public_key_of_the_algorithms_kind() {
    let (rsa, ec, ed) = (Signer::new(Algorithm::Rs256), Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    assert_eq!(Key::pem(Algorithm::Es384, &ec.pem()).unwrap_err(), KeyError::WrongKind(Algorithm::Es384));
    assert!(Key::pem(Algorithm::Hs256, &rsa.pem()).is_err(), "a public key is no secret");
    assert!(Key::pem(Algorithm::Rs256, &ec.pem()).is_err() && Key::pem(Algorithm::Es256, &ed.pem()).is_err());
    assert!(Key::pem(Algorithm::Es256, &format!("{}{}", ec.pem(), ec.pem())).is_err(), "two keys");
    assert!(
        Key::pem(Algorithm::Es256, &ec.pem().replace("PUBLIC", "PRIVATE")).unwrap_err().to_string().contains("pubout")
    );
    for end in 0..ec.pem().len() - 2 {
        assert!(Key::pem(Algorithm::Es256, &ec.pem()[..end]).is_err());
    }
    let commented = format!("the issuer's key\n{}", ed.pem().replace('\n', "\r\n"));
    assert!(Key::pem(Algorithm::EdDsa, &commented).is_ok());
}

fn set(jwks: &[Value]) -> String {
    json!({"keys": jwks}).to_string()
}

#[test]
fn a_key_set_is_searched_by_kid_and_algorithm() {
    let (one, two) = (Signer::new(Algorithm::Es256).with_id("one"), Signer::new(Algorithm::Es256).with_id("two"));
    let keys = KeySet::from_json(set(&[one.jwk(), two.jwk()]), &[Algorithm::Es256]).unwrap();
    assert!(keys.verify(&one.sign_text(&one.header().to_string(), "{}")).is_ok());
    let swapped = with(&one.header(), "kid", json!("two")).to_string();
    assert_eq!(keys.verify(&one.sign_text(&swapped, "{}")), Err(Fault::BadSignature));
    let unknown = with(&one.header(), "kid", json!("three")).to_string();
    assert_eq!(keys.verify(&one.sign_text(&unknown, "{}")), Err(Fault::UnknownKey));
    let nameless = json!({"alg": "ES256"}).to_string();
    assert!(keys.verify(&two.sign_text(&nameless, "{}")).is_ok(), "each may be the one, and one is");

    let mut unnamed = two.jwk();
    unnamed.as_object_mut().unwrap().remove("kid");
    let keys = KeySet::from_json(set(&[one.jwk(), unnamed]), &[Algorithm::Es256]).unwrap();
    assert!(keys.verify(&two.sign_text(&two.header().to_string(), "{}")).is_ok(), "a key without kid may be any");
    assert_eq!(keys.verify(&two.sign_text(&swapped.replace("two", "one"), "{}")), Err(Fault::BadSignature));
}

#[test]
fn a_key_set_leaves_out_what_is_not_for_it_and_is_refused_where_it_is_ambiguous() {
    let (ec, rsa, oct) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Rs256), Signer::new(Algorithm::Hs256));
    let both = [Algorithm::Es256, Algorithm::Rs256];
    let weak = with(&rsa.jwk(), "n", json!(base64url(&[0xff; 64])));
    let of = |jwks: &[Value]| KeySet::from_json(set(jwks), &both).map(|keys| keys.iter().len());

    let unknown = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "pq"});
    let encrypting = with(&with(&rsa.jwk(), "use", json!("enc")), "kid", json!("e"));
    let other_curve = json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k"});
    assert_eq!(of(&[ec.jwk(), unknown, encrypting, other_curve, weak.clone()]), Ok(1));
    assert_eq!(of(&[ec.jwk(), rsa.jwk()]), Ok(2));
    assert_eq!(
        of(&[ec.jwk(), with(&rsa.jwk(), "kid", ec.jwk()["kid"].clone())]),
        Err(KeySetError::DuplicateId("ES256".into()))
    );
    assert_eq!(of(&[ec.jwk(), oct.jwk()]), Err(KeySetError::Secret));
    assert!(matches!(of(&[weak]), Err(KeySetError::NoKey(Some(KeyError::RsaSize { .. })))));
    assert_eq!(of(&[]), Err(KeySetError::NoKey(None)));
    let many: Vec<_> = (0..101).map(|id| with(&ec.jwk(), "kid", json!(id.to_string()))).collect();
    assert_eq!(of(&many), Err(KeySetError::TooMany));
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::from_json(text, &both).is_err(), "{text}");
    }
    let secrets =
        KeySet::from_json(set(&[oct.jwk(), Signer::new(Algorithm::Hs256).with_id("b").jwk()]), &[Algorithm::Hs256]);
    assert_eq!(secrets.unwrap().iter().len(), 2, "a set of secrets alone, from a file of your own");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_token_that_verifies_never_does_after_any_change_of_one_byte(at in any::<prop::sample::Index>(), to in any::<u8>(), which in 0_usize..12) {
        let signer = Signer::new(Algorithm::ALL[which]);
        let token = signer.sign_text(&signer.header().to_string(), r#"{"sub":"u1"}"#);
        prop_assert!(signer.key().verify(&token).is_ok());
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(changed) = String::from_utf8(bytes)
            && changed != token
        {
            prop_assert!(signer.key().verify(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn no_text_makes_a_verifier_panic(token in "[A-Za-z0-9_=.{}\"-]{0,200}", header in "\\PC{0,60}", signature in any::<Vec<u8>>()) {
        let signer = Signer::new(Algorithm::Es256);
        prop_assert!(signer.key().verify(&token).is_err());
        let made = format!("{}.{}.{}", base64url(header.as_bytes()), base64url(b"{}"), base64url(&signature));
        prop_assert!(signer.key().verify(&made).is_err());
    }

    #[test]
    fn no_text_makes_a_loader_panic(text in "\\PC{0,200}", which in 0_usize..12) {
        let algorithm = Algorithm::ALL[which];
        prop_assert!(Key::jwk(algorithm, &text).is_err());
        prop_assert!(Key::pem(algorithm, &text).is_err());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----");
        prop_assert!(Key::pem(algorithm, &pem).is_err());
        prop_assert!(KeySet::from_json(&text, &[algorithm]).is_err());
    }
}
