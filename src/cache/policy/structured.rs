//! Dictionaries of RFC 9651 (Structured Fields), as much of them as a targeted cache control field can hold (RFC 9213).

/// What a member of a dictionary is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Boolean(bool),
    /// Anything else that is well formed: decimals, strings, tokens, bytes, dates, lists.
    Other,
}

/// The members of a dictionary, the last of each name (RFC 9651 section 4.2.2). `None` when it does not parse, which
/// makes the whole field as if it were absent.
pub(super) fn dictionary(text: &str) -> Option<Vec<(&str, Value)>> {
    let mut members: Vec<(&str, Value)> = Vec::new();
    let mut rest = Parser(text.trim_matches(' '));
    while !rest.0.is_empty() {
        let key = rest.key()?;
        let value = if rest.take('=') { rest.member()? } else { Value::Boolean(true) };
        rest.parameters()?;
        members.retain(|(name, _)| *name != key);
        members.push((key, value));
        rest.whitespace();
        if rest.0.is_empty() {
            return Some(members);
        }
        if !rest.take(',') {
            return None;
        }
        rest.whitespace();
        // A comma at the end is an error.
        if rest.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    fn take(&mut self, expected: char) -> bool {
        match self.0.strip_prefix(expected) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn whitespace(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn while_true(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.0.bytes().position(|byte| !belongs(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'a str> {
        self.0.bytes().next().filter(|byte| byte.is_ascii_lowercase() || *byte == b'*')?;
        Some(self.while_true(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*')
        }))
    }

    fn member(&mut self) -> Option<Value> {
        if !self.take('(') {
            return self.bare_item();
        }
        loop {
            self.0 = self.0.trim_start_matches(' ');
            if self.take(')') {
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(';') {
            self.0 = self.0.trim_start_matches(' ');
            self.key()?;
            if self.take('=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<Value> {
        match self.0.bytes().next()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => self.boolean(),
            b':' => {
                self.take(':');
                self.while_true(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
                self.take(':').then_some(Value::Other)
            }
            b'@' => {
                self.take('@');
                matches!(self.number()?, Value::Integer(_)).then_some(Value::Other)
            }
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                self.while_true(|byte| is_token_byte(byte) || matches!(byte, b':' | b'/'));
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let negative = self.take('-');
        let digits = self.while_true(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return None;
        }
        if self.take('.') {
            let fraction = self.while_true(|byte| byte.is_ascii_digit());
            return (digits.len() <= 12 && (1..=3).contains(&fraction.len())).then_some(Value::Other);
        }
        if digits.len() > 15 {
            return None;
        }
        let value: i64 = digits.parse().ok()?;
        Some(Value::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<Value> {
        self.take('"');
        let mut bytes = self.0.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(Value::Other);
                }
                b'\\' => {
                    bytes.next().filter(|(_, escaped)| matches!(escaped, b'"' | b'\\'))?;
                }
                0x20..=0x7e => {}
                _ => return None,
            }
        }
        None
    }

    fn boolean(&mut self) -> Option<Value> {
        self.take('?');
        if self.take('1') {
            return Some(Value::Boolean(true));
        }
        self.take('0').then_some(Value::Boolean(false))
    }
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_integers_booleans_or_something_else() {
        let members =
            dictionary(r#"max-age=10;x, no-store, a=?0, b="q\"", c=(1 2;y "s"), d=1.5, e=tok/en, f=:aa==:, g=@1"#);
        let members = members.unwrap();
        assert_eq!(members[0], ("max-age", Value::Integer(10)));
        assert_eq!(members[1], ("no-store", Value::Boolean(true)));
        assert_eq!(members[2], ("a", Value::Boolean(false)));
        assert!(members[3..].iter().all(|(_, value)| *value == Value::Other));
    }

    #[test]
    fn the_last_of_each_name_counts() {
        assert_eq!(dictionary("a=1, b, a=2").unwrap(), [("b", Value::Boolean(true)), ("a", Value::Integer(2))]);
    }

    #[test]
    fn one_fault_spoils_the_whole_dictionary() {
        for text in ["Max-Age=10", "max-age =10", "max-age= 10", "a=1,", ",a", "a b", "a=\"x", "a=1 000", "a=-", "a=&"]
        {
            assert_eq!(dictionary(text), None, "{text}");
        }
        assert_eq!(dictionary("a=1000000000000000"), None, "more than fifteen digits");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = dictionary(&text);
        }
    }
}
