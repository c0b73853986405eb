//! What is changed of requests and answers on their way: header fields, from [`Template`]s.

mod template;

pub use self::template::{NotAHeaderValue, Template, TemplateError, TemplateFault};
