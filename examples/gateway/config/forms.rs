//! Forms made of other forms.

use std::marker::PhantomData;
use std::ops::Range;

use toml::de::DeValue;

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
}

/// What a route may have from `[defaults]`, or `false` to go without it.
pub(super) struct OrFalse<F>(PhantomData<F>);

impl<F: Form> Form for OrFalse<F> {
    type Output = Option<F::Output>;

    fn expects() -> String {
        format!("{}, or false", F::expects())
    }

    fn read(value: &Value<'_>) -> Option<Self::Output> {
        if let DeValue::Boolean(false) = value.node.get_ref() {
            return Some(None);
        }
        F::read(value).map(Some)
    }
}

/// A value that is checked against others later, when a fault must still find its place.
#[derive(Clone)]
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
}

/// A switch of the contract whose other position is not built yet.
pub(super) struct OnlyFalse;

impl Form for OnlyFalse {
    type Output = ();

    fn expects() -> String {
        "false".to_owned()
    }

    fn read(value: &Value<'_>) -> Option<()> {
        if bool::read(value)? {
            value.fault("true is part of the format but not built yet; write false");
            return None;
        }
        Some(())
    }
}
