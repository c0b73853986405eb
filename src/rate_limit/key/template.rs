//! Paths with names for some of their segments.

/// A template such as `/tenants/{tenant}/orders`, and which of its names is meant.
#[derive(Debug)]
pub(super) struct PathTemplate {
    segments: Box<[Segment]>,
    wanted: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Named(Box<str>),
}

/// A template that names no such parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathTemplateError {
    /// It does not begin with a slash, or has braces that are not around a whole segment, or a name twice.
    #[error(
        "{0:?} is no path such as \"/tenants/{{tenant}}/orders\", with braces around whole segments and each name once"
    )]
    Malformed(String),
    /// The name is not in it.
    #[error("{template:?} has no parameter {{{name}}}")]
    NoSuchName {
        /// The template.
        template: String,
        /// The name that was looked for.
        name: String,
    },
}

impl PathTemplate {
    pub(super) fn new(template: &str, name: &str) -> Result<Self, PathTemplateError> {
        let malformed = || PathTemplateError::Malformed(template.to_owned());
        let mut segments = Vec::new();
        for segment in template.strip_prefix('/').ok_or_else(malformed)?.split('/') {
            let named = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let segment = match named {
                Some(name) if !name.is_empty() => Segment::Named(name.into()),
                _ => Segment::Literal(segment.into()),
            };
            let (Segment::Named(text) | Segment::Literal(text)) = &segment;
            let is_named_twice = matches!(segment, Segment::Named(_)) && segments.contains(&segment);
            if text.contains(['{', '}']) || is_named_twice {
                return Err(malformed());
            }
            segments.push(segment);
        }
        let wanted = segments.iter().position(|segment| matches!(segment, Segment::Named(own) if **own == *name));
        let no_such = || PathTemplateError::NoSuchName { template: template.to_owned(), name: name.to_owned() };
        Ok(Self { wanted: wanted.ok_or_else(no_such)?, segments: segments.into() })
    }

    /// The parameter of a path that the template is, or is the beginning of, by whole segments.
    pub(super) fn find<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut own = path.strip_prefix('/')?.split('/');
        let mut found = None;
        for (at, segment) in self.segments.iter().enumerate() {
            let text = own.next().filter(|text| !text.is_empty())?;
            match segment {
                Segment::Literal(literal) if **literal != *text => return None,
                Segment::Named(_) if at == self.wanted => found = Some(text),
                _ => {}
            }
        }
        found
    }

    pub(super) fn name(&self) -> &str {
        let (Segment::Named(name) | Segment::Literal(name)) = &self.segments[self.wanted];
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_name_in_paths_that_begin_as_the_template_says() {
        let order = PathTemplate::new("/tenants/{tenant}/orders/{order}", "order").unwrap();
        assert_eq!(order.find("/tenants/a/orders/7"), Some("7"));
        assert_eq!(order.find("/tenants/a/orders/7/lines/1"), Some("7"));
        for other in
            ["/tenants/a/orders", "/tenants/a/orders/", "/tenants//orders/7", "/tenants/a/users/7", "/", "", "*"]
        {
            assert_eq!(order.find(other), None, "{other}");
        }
        let tenant = PathTemplate::new("/tenants/{tenant}/orders/{order}", "tenant").unwrap();
        assert_eq!(tenant.find("/tenants/a/orders/7"), Some("a"));
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_refused() {
        for bad in ["", "tenants/{x}", "/{x}/{x}", "/a{x}", "/{x", "/{}", "/{a}{b}"] {
            assert_eq!(PathTemplate::new(bad, "x").unwrap_err(), PathTemplateError::Malformed(bad.to_owned()), "{bad}");
        }
        assert!(matches!(PathTemplate::new("/{x}", "y"), Err(PathTemplateError::NoSuchName { .. })));
    }
}
