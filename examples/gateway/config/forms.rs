//! Forms made of other forms.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::reader::join;
use super::schema::either;
use super::value::{Form, Value};

/// A list of values that all have the form `F`.
pub(super) struct ListOf<F>(PhantomData<F>);

impl<F: Form> Form for ListOf<F> {
    type Output = Vec<F::Output>;

    fn expects() -> String {
        format!("a list in brackets, each entry {}", F::expects())
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        Self::entries(value)?.into_iter().collect()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": F::schema() })
    }
}

impl<F: Form> ListOf<F> {
    /// All entries, for those who have more to say of them than each alone; absent are those with a fault.
    pub(super) fn entries(value: &Value<'_>) -> Option<Vec<Option<F::Output>>> {
        let items = value.items();
        if items.is_none() {
            value.is_not::<Self>();
        }
        Some(items?.map(|item| F::read(&item)).collect())
    }
}

/// A list with something in it.
pub(super) struct NonEmpty<F>(PhantomData<F>);

impl<F: Form> Form for NonEmpty<F> {
    type Output = Vec<F::Output>;

    fn expects() -> String {
        ListOf::<F>::expects()
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        let items = ListOf::<F>::read(value)?;
        if items.is_empty() {
            value.fault(&format!("the list is empty; write {}, or leave the key out", Self::expects()));
            return None;
        }
        Some(items)
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": F::schema(), "minItems": 1 })
    }
}

/// One value, or a list with something in it.
pub(super) struct OneOrMany<F>(PhantomData<F>);

impl<F: Form> Form for OneOrMany<F> {
    type Output = Vec<F::Output>;

    fn expects() -> String {
        format!("{}, or a list of such in brackets", F::expects())
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        match value.node.get_ref() {
            DeValue::Array(_) => NonEmpty::<F>::read(value),
            _ => F::read(value).map(|one| vec![one]),
        }
    }

    fn schema() -> Json {
        either(F::schema(), NonEmpty::<F>::schema())
    }
}

/// A table whose keys are the user's, such as `{ pro = 1000 }`. A key is read as `K` reads a text.
pub(super) struct MapOf<K, F>(PhantomData<(K, F)>);

/// What a key of a [`MapOf`] may be.
pub(super) trait KeyForm {
    type Output: Ord;

    fn expects() -> String;

    fn parse(key: &str) -> Option<Self::Output>;
}

/// Any key that is not empty.
pub(super) struct AnyKey;

impl KeyForm for AnyKey {
    type Output = String;

    fn expects() -> String {
        "a name".to_owned()
    }

    fn parse(key: &str) -> Option<String> {
        (!key.is_empty()).then(|| key.to_owned())
    }
}

impl<K: KeyForm, F: Form> Form for MapOf<K, F> {
    type Output = BTreeMap<K::Output, F::Output>;

    fn expects() -> String {
        format!("a table, each key {} and each value {}", K::expects(), F::expects())
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        let Some(table) = value.table() else {
            value.is_not::<Self>();
            return None;
        };
        let mut map = BTreeMap::new();
        let mut is_whole = true;
        for (name, node) in table {
            let path = join(&value.path, name.get_ref());
            let entry = Value { reader: value.reader, path: path.clone(), node };
            let key = K::parse(name.get_ref());
            if key.is_none() {
                let problem = format!("{path}: the key {:?} is not {}", name.get_ref(), K::expects());
                value.reader.fault(&name.span(), &path, problem);
            }
            match key.zip(F::read(&entry)) {
                None => is_whole = false,
                Some((key, read)) => {
                    if map.insert(key, read).is_some() {
                        value.reader.fault(
                            &name.span(),
                            &path,
                            format!("{path}: the same as another key of the table; remove one"),
                        );
                        is_whole = false;
                    }
                }
            }
        }
        is_whole.then_some(map)
    }

    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": F::schema() })
    }
}

/// A limit, or `"none"` to lift it.
pub(super) struct OrNone<F>(PhantomData<F>);

impl<F: Form> Form for OrNone<F> {
    type Output = Option<F::Output>;

    fn expects() -> String {
        format!("{}, or \"none\"", F::expects())
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        if let DeValue::String(_) = value.node.get_ref()
            && value.text::<Self>()?.text == "none"
        {
            return Some(None);
        }
        F::read(value).map(Some)
    }

    fn schema() -> Json {
        either(F::schema(), json!({ "const": "none" }))
    }
}

/// A value that is checked against others later, when a fault must still find its place.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) path: String,
    pub(super) at: Range<usize>,
}

/// The form `F`, and where it stands.
pub(super) struct Locate<F>(PhantomData<F>);

impl<F: Form> Form for Locate<F> {
    type Output = Located<F::Output>;

    fn expects() -> String {
        F::expects()
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        Some(Located { value: F::read(value)?, path: value.path.clone(), at: value.at() })
    }

    fn schema() -> Json {
        F::schema()
    }
}
