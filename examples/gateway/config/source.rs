//! The text of the file: from byte offsets to lines and columns.

use super::fault::{Finding, Position};

pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { file, text, line_starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    pub(super) fn finding(&self, at: usize, key: &str, message: String) -> Finding {
        Finding { file: self.file.to_owned(), position: Some(self.position(at)), key: key.to_owned(), message }
    }

    /// Offsets past the end or inside a character are taken back to the nearest character before them.
    pub(super) fn position(&self, at: usize) -> Position {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let line = self.line_starts.partition_point(|start| *start <= at);
        let line_start = self.line_starts[line - 1];
        Position { line, column: self.text[line_start..at].chars().count() + 1 }
    }

    /// The text of a span, or nothing where the span does not lie within the text.
    pub(super) fn slice(&self, span: std::ops::Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }
}
