//! Words that a key chooses between.

use std::marker::PhantomData;

use serde_json::Value as Json;

use super::nearest::nearest;
use super::schema;
use super::value::{Form, Value};

/// What one of several words stands for.
pub(super) trait Choice: Copy + 'static {
    const BUILT: &'static [(&'static str, Self)];
    /// Words of the contract that later versions know. `NAME` at the end of one stands for any text.
    const NOT_BUILT: &'static [&'static str] = &[];
}

/// One of the words of `C`.
pub(super) struct Word<C>(PhantomData<C>);

impl<C: Choice> Form for Word<C> {
    type Output = C;

    fn expects() -> String {
        let words: Vec<String> = C::BUILT.iter().map(|(word, _)| format!("{word:?}")).collect();
        match words.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => words.concat(),
        }
    }

    fn read(value: &Value<'_>) -> Option<C> {
        let text = value.text::<Self>()?;
        if let Some((_, found)) = C::BUILT.iter().find(|(word, _)| *word == text.text) {
            return Some(*found);
        }
        let is_known = |word: &&str| match word.strip_suffix("NAME") {
            Some(prefix) => text.text.starts_with(prefix),
            None => **word == text.text,
        };
        if C::NOT_BUILT.iter().any(is_known) {
            let expects = Self::expects();
            value.fault(&format!("{} is part of the format but not built yet; write {expects}", text.quoted()));
            return None;
        }
        let words = C::BUILT.iter().map(|(word, _)| *word).chain(C::NOT_BUILT.iter().copied());
        match nearest(&text.text, words).filter(|nearest| nearest.is_close() && !text.is_expanded()) {
            Some(nearest) => {
                value.fault(&format!("{} is not {}; did you mean {:?}?", text.quoted(), Self::expects(), nearest.name))
            }
            None => value.is_not::<Self>(),
        }
        None
    }

    fn schema() -> Json {
        schema::words(C::BUILT.iter().map(|(word, _)| *word))
    }
}
