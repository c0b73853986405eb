//! From the text of a template to its parts.

use thiserror::Error;

use super::{Field, Part};

/// A text that is no template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{fault}")]
pub struct TemplateError {
    /// Where, in bytes from the start of the text.
    pub at: usize,
    /// What is wrong there.
    pub fault: TemplateFault,
}

/// What can be wrong with a template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateFault {
    /// A placeholder that stands for nothing.
    #[error("\"{{{name}}}\" stands for nothing; write one of {}", Self::known())]
    Unknown {
        /// What stands between the braces, before a `|`.
        name: String,
    },
    /// `{` without `}`.
    #[error("\"{{\" is never closed; add \"}}\", or write \"{{{{\" for the character itself")]
    Unclosed,
    /// `}` without `{`.
    #[error("\"}}\" closes nothing; write \"}}}}\" for the character itself")]
    Unopened,
    /// `{` within a placeholder.
    #[error("a placeholder holds another \"{{\"; a fallback is plain text without braces")]
    Nested,
    /// A line break, or another control character.
    #[error("a control character, which neither a header field nor a URI can carry; remove it")]
    Control,
}

impl TemplateFault {
    fn known() -> String {
        let names = Field::ALL.map(|(name, _)| format!("{{{name}}}"));
        names.join(" ")
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    let error = |at, fault| Err(TemplateError { at, fault });
    if let Some(at) = text.find(char::is_control) {
        return error(at, TemplateFault::Control);
    }
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '}']) {
        literal.push_str(&text[at..at + found]);
        at += found;
        let rest = &text[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            literal.push_str(&rest[..1]);
            at += 2;
            continue;
        }
        let Some(inside) = rest.strip_prefix('{') else {
            return error(at, TemplateFault::Unopened);
        };
        let inside = match inside.find(['{', '}']) {
            None => return error(at, TemplateFault::Unclosed),
            Some(end) if inside[end..].starts_with('{') => return error(at, TemplateFault::Nested),
            Some(end) => &inside[..end],
        };
        let (name, fallback) = inside.split_once('|').unwrap_or((inside, ""));
        let Some((_, field)) = Field::ALL.into_iter().find(|(known, _)| *known == name) else {
            return error(at, TemplateFault::Unknown { name: name.to_owned() });
        };
        push_text(&mut parts, &mut literal);
        parts.push(Part::Gap { field, fallback: fallback.into() });
        at += inside.len() + 2;
    }
    literal.push_str(&text[at..]);
    push_text(&mut parts, &mut literal);
    Ok(parts)
}

fn push_text(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal).into()));
    }
}
