//! What is wrong with a file, and where.

use std::fmt;

use super::stamp::Files;

/// A place in the file. Both count from one; columns count characters, as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One fault or one warning. Prints as `gateway.toml:12:3: what is wrong; the remedy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file as the user named it.
    pub(crate) file: String,
    /// Absent where the file could not be read at all.
    pub(crate) position: Option<Position>,
    /// The dotted path of the key, such as `upstreams.users.servers[1].weight`; empty where no key is at fault.
    pub(crate) key: String,
    /// What is wrong and the remedy. Quotes values as they stand in the file: what `${NAME}` stands for may be
    /// a secret.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => {
                write!(f, "{}:{line}:{column}: {}", self.file, self.message)
            }
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Everything that is wrong with a file, in the file's order. Prints one fault a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Never empty.
    pub(crate) faults: Vec<Finding>,
    /// What would have been warned of without the faults.
    pub(crate) warnings: Vec<Finding>,
    /// The file and those that it names: what is wrong may be put right in any of them.
    pub(crate) files: Files,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
