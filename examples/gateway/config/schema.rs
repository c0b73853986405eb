//! What editors are told about the file: a JSON Schema (draft-07, which the editors' TOML plugins know).
//!
//! Nothing in it is written for it alone. The keys are those that [`Table::read`] asks for, found by letting it read a
//! table that is empty; what a key may hold is its [`Form`]'s to say, and its default is the text that is read when the
//! key is absent.

use serde_json::{Map, Value as Json, json};

use super::literal::Literal;
use super::table::Table;
use super::value::Form;

/// A key that a table asked for.
pub(super) struct KnownKey {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) presence: Presence,
    /// Of the key's form.
    pub(super) schema: fn() -> Json,
    /// `false` stands for its absence.
    pub(super) switchable: bool,
}

/// What holds when a key is absent.
pub(super) enum Presence {
    Optional,
    Default(Literal),
    Required,
}

/// A string of one of these forms; any string may hold references, which are looked up when the file is read.
pub(super) fn string(examples: &[&str]) -> Json {
    json!({ "type": "string", "examples": examples })
}

pub(super) fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Json {
    either(json!({ "enum": words.into_iter().collect::<Vec<_>>() }), reference())
}

/// A value that is no string, or a string that becomes one.
pub(super) fn number_or_boolean(schema: Json) -> Json {
    either(schema, reference())
}

/// A string with a reference in it: `${NAME}`, `${NAME:-fallback}`, `${file:PATH}`.
pub(super) fn reference() -> Json {
    json!({ "type": "string", "pattern": r"\$\{.+\}" })
}

pub(super) fn either(one: Json, other: Json) -> Json {
    json!({ "anyOf": [one, other] })
}

/// The whole file.
pub(super) fn document<T: Table>() -> Json {
    let mut schema = T::schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("tower-gateway's example gateway");
    schema
}

pub(super) fn of_table(known: &[KnownKey], not_built: &[&str]) -> Json {
    let mut properties: Map<String, Json> = known.iter().map(|key| (key.name.to_owned(), of_key(key))).collect();
    for name in not_built {
        let nothing = json!({ "not": {}, "description": "part of the format but not built yet" });
        properties.insert((*name).to_owned(), nothing);
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let required: Vec<_> =
        known.iter().filter(|key| matches!(key.presence, Presence::Required)).map(|key| key.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Tables whose names are the user's.
pub(super) fn of_named(one: Json) -> Json {
    json!({ "type": "object", "propertyNames": { "minLength": 1 }, "additionalProperties": one })
}

fn of_key(key: &KnownKey) -> Json {
    let mut schema = (key.schema)();
    if key.switchable {
        schema = either(schema, json!({ "const": false }));
    }
    schema["description"] = json!(key.about);
    if let Presence::Default(default) = &key.presence {
        schema["default"] = default.to_json();
    }
    schema
}
