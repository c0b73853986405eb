//! Files of every kind that the schema allows, and some that it does not know to be wrong.

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value as Json};

/// The names that tables are given, and that others name in turn.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// How far numbers go.
#[derive(Clone, Copy)]
pub(crate) enum Numbers {
    /// As far as the schema says.
    #[allow(dead_code, reason = "each user of this file has one of the two")]
    Extreme,
    /// No further than a test machine.
    #[allow(dead_code, reason = "each user of this file has one of the two")]
    Small,
}

/// Texts of whole files, by their [schema](super::super::Config::schema).
pub(crate) fn file(schema: &Json, numbers: Numbers) -> BoxedStrategy<String> {
    // A line for each key of the top level; within them everything stands on one line.
    let keys = properties(schema, numbers, |name| matches!(name, "upstreams" | "rate_limits" | "routes"));
    keys.prop_map(|keys| keys.into_iter().map(|key| key + "\n").collect()).boxed()
}

fn value(schema: &Json, numbers: Numbers) -> BoxedStrategy<String> {
    if let Some(alternatives) = schema.get("anyOf").and_then(Json::as_array) {
        let (references, values): (Vec<_>, Vec<_>) = alternatives.iter().partition(|schema| is_reference(schema));
        // What is meant first is meant most.
        let weighted =
            values.iter().enumerate().map(|(at, schema)| (if at == 0 { 8 } else { 2 }, value(schema, numbers)));
        let from_variable = value(values[0], numbers).prop_map(|text| from_variable(text.trim_matches('"')));
        let from_variable = references.iter().map(|_| (1, from_variable.clone().boxed()));
        return Union::new_weighted(weighted.chain(from_variable).collect()).boxed();
    }
    if let Some(constant) = schema.get("const") {
        return Just(constant.to_string()).boxed();
    }
    if let Some(words) = schema.get("enum").and_then(Json::as_array) {
        return prop::sample::select(words.iter().map(Json::to_string).collect::<Vec<_>>()).boxed();
    }
    match schema["type"].as_str() {
        Some("boolean") => any::<bool>().prop_map(|boolean| boolean.to_string()).boxed(),
        Some("integer") => integer(schema, numbers),
        Some("number") => prop::sample::select(vec!["0", "0.0", "0.25", "1.0"]).prop_map(str::to_owned).boxed(),
        Some("string") => string(schema),
        Some("array") => {
            let least = schema["minItems"].as_u64().map_or(0, |least| least as usize);
            let items = prop::collection::vec(value(&schema["items"], numbers), least..least + 3);
            items.prop_map(|items| format!("[{}]", items.join(", "))).boxed()
        }
        Some("object") => table(schema, numbers, 1, 1),
        other => unreachable!("a schema of the type {other:?}: {schema}"),
    }
}

fn table(schema: &Json, numbers: Numbers, alone: u32, others: u32) -> BoxedStrategy<String> {
    let entries = entries(schema, numbers, alone, others);
    entries.prop_map(|entries| format!("{{ {} }}", entries.join(", "))).boxed()
}

/// A text that stands for a value of another type when it is expanded.
fn is_reference(schema: &Json) -> bool {
    schema["pattern"].as_str().is_some_and(|pattern| pattern.starts_with(r"\$\{"))
}

fn from_variable(text: &str) -> String {
    match text.contains(['{', '}', '"', '\\']) {
        true => Json::from(text).to_string(),
        false => format!("\"${{UNSET_VARIABLE:-{text}}}\""),
    }
}

fn is_possible(schema: &Json) -> bool {
    schema.get("not").is_none()
}

fn integer(schema: &Json, numbers: Numbers) -> BoxedStrategy<String> {
    let least = schema["minimum"].as_u64().unwrap_or(0);
    let most = schema["maximum"].as_u64().unwrap_or(u64::MAX);
    let small = least..=least.saturating_add(10).min(most);
    match numbers {
        Numbers::Small => small.prop_map(|number| number.to_string()).boxed(),
        Numbers::Extreme => prop_oneof![small, Just(most), least..=most].prop_map(|number| number.to_string()).boxed(),
    }
}

fn string(schema: &Json) -> BoxedStrategy<String> {
    let examples = schema["examples"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let mut likely: Vec<String> = examples.map(str::to_owned).collect();
    if likely.is_empty() {
        likely = NAMES.map(str::to_owned).to_vec();
    }
    let from_variable = prop::sample::select(likely.clone()).prop_map(|text| from_variable(&text));
    let likely = prop::sample::select(likely).prop_map(|text| Json::from(text).to_string());
    let other = "[ -~]{0,12}".prop_map(|text| Json::from(text).to_string());
    prop_oneof![40 => likely, 4 => from_variable, 1 => other].boxed()
}

/// The `key = value`s of a table.
///
/// Of tables with names there are `alone` times one, and `others` times all that there may be.
fn entries(schema: &Json, numbers: Numbers, alone: u32, others: u32) -> BoxedStrategy<Vec<String>> {
    match schema.get("additionalProperties").filter(|named| named.is_object()) {
        None => properties(schema, numbers, |_| false),
        Some(named) => {
            let one = |name: &'static str| value(named, numbers).prop_map(move |value| format!("{name} = {value}"));
            let all = NAMES.iter().map(|name| one(name)).collect::<Vec<_>>();
            prop_oneof![others => all, alone => one(NAMES[0]).prop_map(|first| vec![first])].boxed()
        }
    }
}

fn properties(schema: &Json, numbers: Numbers, always: impl Fn(&str) -> bool) -> BoxedStrategy<Vec<String>> {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let is_required =
        |name: &str| schema["required"].as_array().is_some_and(|required| required.iter().any(|own| own == name));
    let entry = |(name, schema): (&String, &Json)| {
        let name = name.clone();
        // What routes cannot do without is not required of each, since it may stand in the defaults.
        let likely = matches!(name.as_str(), "path" | "upstream" | "max");
        let value = match name.as_str() {
            // What is referred to is mostly there, and the more routes, the more of them have a fault.
            "upstreams" | "rate_limits" => table(schema, numbers, 1, 8),
            "routes" => table(schema, numbers, 3, 1),
            _ => value(schema, numbers),
        };
        let value = value.prop_map({
            let name = name.clone();
            move |value| format!("{name} = {value}")
        });
        if is_required(&name) || always(&name) {
            return value.prop_map(Some).boxed();
        }
        prop::option::weighted(if likely { 0.99 } else { 0.12 }, value).boxed()
    };
    let entries: Vec<_> = properties.iter().filter(|(_, schema)| is_possible(schema)).map(entry).collect();
    entries.prop_map(|entries| entries.into_iter().flatten().collect()).boxed()
}
