//! JSON that can be read in one way only.
//!
//! RFC 8259 leaves open what two members of one name mean, and programs differ: the first, the last, or both. A token, a key
//! set or a claim that one of them checks and another uses must not hold any, at any depth.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The object that `text` is, or `None` when it is none, holds a member twice, or is followed by anything.
pub(super) fn object(text: &[u8]) -> Option<Map<String, Value>> {
    // Checked as a whole: serde_json does not look into strings that it skips.
    let text = std::str::from_utf8(text).ok()?;
    let mut document = serde_json::Deserializer::from_str(text);
    let members = Once.deserialize(&mut document).ok()?;
    document.end().ok()?;
    // Values are read by serde_json itself, which keeps one of two members and says nothing; so where there are objects within,
    // which is seldom, they are looked through once more.
    if members.values().any(holds_an_object) {
        Unambiguous.deserialize(&mut serde_json::Deserializer::from_str(text)).ok()?;
    }
    Some(members)
}

fn holds_an_object(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(holds_an_object),
        _ => false,
    }
}

/// Reads an object, and fails when a member of it is there twice.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that has each member once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(map)
    }
}

/// Reads a value, and fails when any object in it has a member twice.
struct Unambiguous;

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON whose objects have each member once")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Unambiguous)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(Name(name)) = members.next_key()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a member is there twice"));
            }
            members.next_value_seed(Unambiguous)?;
        }
        Ok(())
    }
}

/// A member's name after its escapes are read: `"\u0061lg"` is `alg`.
#[derive(PartialEq, Eq, Hash)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_makes_the_whole_no_object() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":{"a":1,"a":2}}"#, r#"{"x":[0,{"a":1,"b":2,"a":3}]}"#]
        {
            assert!(object(text.as_bytes()).is_none(), "{text}");
        }
        assert!(object(br#"{"a":{"a":1},"b":{"a":[1.5,-2,true,null,"x"]}}"#).is_some());
    }

    #[test]
    fn what_is_not_one_object_is_none() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(2_000), "}".repeat(2_000));
        for text in
            ["", "null", "[]", r#""a""#, "{", r#"{"a":1}x"#, r#"{"a":1}{"#, r#"{"a":1,}"#, "{'a':1}", r#"{"a":1e999}"#]
                .into_iter()
                .chain([deep.as_str(), "\u{feff}{}", r#"{"a":"\ud800"}"#])
        {
            assert!(object(text.as_bytes()).is_none(), "{text:.40}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none());
        assert!(object(b" {\"a\" :\n1 } ").is_some());
    }
}
