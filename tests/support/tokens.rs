//! Keys of every kind and the tokens they sign, made by aws-lc-rs beside all that is tested.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_gateway::auth::{Algorithm, Key};

/// Something that signs by one algorithm.
pub struct Signer {
    pub algorithm: Algorithm,
    pub id: String,
    material: Material,
}

enum Material {
    Secret(Vec<u8>),
    Rsa(&'static RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Making one takes long, so every signer has the same.
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

impl Signer {
    /// With a new key, except for RSA, and the algorithm's name for a `kid`.
    pub fn new(algorithm: Algorithm) -> Self {
        let material = match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Material::Secret(random(64)),
            Algorithm::Es256 => {
                Material::Ec(EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
            }
            Algorithm::Es384 => {
                Material::Ec(EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
            }
            Algorithm::EdDsa => Material::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Material::Rsa(&RSA),
        };
        Self { algorithm, id: algorithm.name().to_owned(), material }
    }

    pub fn with_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    pub fn with_secret(algorithm: Algorithm, secret: impl AsRef<[u8]>) -> Self {
        Self { algorithm, id: "secret".to_owned(), material: Material::Secret(secret.as_ref().to_vec()) }
    }

    /// The public half, or the secret, as a JWK with its `kid`.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.material {
            Material::Secret(secret) => json!({"kty": "oct", "k": base64url(secret)}),
            Material::Rsa(pair) => {
                let public = pair.public_key();
                let number = |bytes: &[u8]| base64url(bytes);
                json!({
                    "kty": "RSA",
                    "n": number(public.modulus().big_endian_without_leading_zero()),
                    "e": number(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Material::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Material::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())}),
        };
        jwk["kid"] = json!(self.id);
        jwk
    }

    /// The public half as PEM.
    pub fn pem(&self) -> String {
        let der = match &self.material {
            Material::Secret(_) => panic!("a secret has no PEM"),
            Material::Rsa(pair) => {
                AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec()
            }
            Material::Ec(pair) => {
                AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec()
            }
            Material::Ed(pair) => {
                AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec()
            }
        };
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// The key as the layer is given it.
    pub fn key(&self) -> Key {
        Key::jwk(self.algorithm, &self.jwk().to_string()).unwrap()
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }

    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm.name(), "typ": "JWT", "kid": self.id})
    }

    /// A token of any header and payload.
    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        self.sign_input(&format!("{}.{}", base64url(header.as_bytes()), base64url(payload.as_bytes())))
    }

    /// A token whose first two parts are as they are given.
    pub fn sign_input(&self, input: &str) -> String {
        format!("{input}.{}", base64url(&self.sign(input.as_bytes())))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.material {
            Material::Secret(secret) => {
                let algorithm = match self.algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            }
            Material::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut bytes).unwrap();
                bytes
            }
            Material::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Material::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

/// The hexadecimal SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that expire in an hour, of one subject.
pub fn claims(subject: &str) -> Value {
    json!({"sub": subject, "iss": "https://issuer.example/", "aud": "gateway", "exp": now() + 3600})
}

/// A token as issuers make them, of some 400 bytes with HS256.
pub fn typical(signer: &Signer) -> String {
    let mut claims = claims("0f8fad5b-d9cb-469f-a165-70867728950e");
    claims["scope"] = json!("users:read users:write");
    claims["roles"] = json!(["user", "editor"]);
    claims["iat"] = json!(now());
    signer.token(&claims)
}
