//! `${NAME}`, `${NAME:-fallback}`, `${file:PATH}` and `$${` in the strings of the file.
//!
//! What is put in is taken as it is, never expanded again, so a secret may hold any character. As in a shell, `:-`
//! takes the fallback where the variable is unset or empty. A fallback is plain text: it ends at the first `}`.

/// What stands between `${` and `}`.
pub(super) enum Expansion<'a> {
    Variable { name: &'a str, fallback: Option<&'a str> },
    File(&'a str),
}

/// Expands every reference by `look_up`, or tells all that is wrong, never only the first.
pub(super) fn expand(
    written: &str,
    look_up: &dyn Fn(Expansion<'_>) -> Result<String, String>,
) -> Result<String, Vec<String>> {
    let mut expanded = String::with_capacity(written.len());
    let mut problems = Vec::new();
    let mut rest = written;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$${") {
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let Some(after) = rest.strip_prefix("${") else {
            expanded.push('$');
            rest = &rest[1..];
            continue;
        };
        let Some((inside, after)) = after.split_once('}') else {
            problems.push(r#""${" is never closed; add "}", or write "$${" for the text itself"#.to_owned());
            rest = "";
            break;
        };
        rest = after;
        match reference(inside).and_then(look_up) {
            Ok(text) => expanded.push_str(&text),
            Err(problem) => problems.push(problem),
        }
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok(expanded) } else { Err(problems) }
}

fn reference(inside: &str) -> Result<Expansion<'_>, String> {
    if inside.contains("${") {
        return Err(format!(
            "{:?} holds another reference, and these do not nest; write it as plain text",
            format!("${{{inside}}}")
        ));
    }
    if let Some(path) = inside.strip_prefix("file:") {
        return match path {
            "" => Err(r#""${file:}" names no file; write "${file:PATH}""#.to_owned()),
            path => Ok(Expansion::File(path)),
        };
    }
    let (name, fallback) = match inside.split_once(":-") {
        Some((name, fallback)) => (name, Some(fallback)),
        None => (inside, None),
    };
    if is_variable_name(name) {
        Ok(Expansion::Variable { name, fallback })
    } else {
        Err(format!(
            "{name:?} is not the name of a variable: letters, digits and \"_\", no digit first; write \"$${{\" for the text itself"
        ))
    }
}

/// POSIX.1-2017, section 8.1.
fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
