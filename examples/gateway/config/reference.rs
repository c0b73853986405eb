//! Names that stand for tables: `upstream = "users"` for `[upstreams.users]`.

use std::marker::PhantomData;

use serde_json::Value as Json;

use super::schema;
use super::table::Listed;
use super::value::{Form, Value};

/// The name of one of the tables `T`. That there is such a table is checked when all are read, by
/// [`check::refuse_unknown_names`](super::check::refuse_unknown_names).
pub(super) struct NameOf<T>(PhantomData<T>);

impl<T: Listed> Form for NameOf<T> {
    type Output = String;

    fn expects() -> String {
        let article = if T::KIND.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("the name of {article} {}", T::KIND)
    }

    fn read(value: &Value<'_>) -> Option<String> {
        let name = value.text::<Self>()?;
        value.reader.refer(T::SECTION, name.clone(), value.path.clone(), value.at());
        Some(name.text)
    }

    fn schema() -> Json {
        schema::string(&[])
    }
}
