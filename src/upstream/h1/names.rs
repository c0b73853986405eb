//! The field names of the answers that come over one connection.

use http::HeaderName;

use super::decode::Malformed;

/// How many names are remembered, and how long they may be: a kilobyte for each connection.
const REMEMBERED: usize = 16;
const LONGEST: usize = 31;

/// The names of the last head, each at its place. An origin sends nearly the same fields in nearly the same order with
/// every answer, and to see that a name is the one that stood there before costs a tenth of reading it.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<Known>);

#[derive(Debug)]
struct Known {
    written: [u8; LONGEST],
    length: u8,
    name: HeaderName,
}

impl Names {
    /// The name that is written so, at this place of a head.
    pub(super) fn read(&mut self, place: usize, written: &[u8]) -> Result<HeaderName, Malformed> {
        if let Some(known) = self.0.get(place)
            && known.written() == written
        {
            return Ok(known.name.clone());
        }
        let name = HeaderName::from_bytes(written).map_err(|_| Malformed)?;
        if let Some(known) = Known::new(written, &name) {
            if let Some(other) = self.0.get_mut(place) {
                *other = known;
            } else if place == self.0.len() && place < REMEMBERED {
                self.0.push(known);
            }
        }
        Ok(name)
    }
}

impl Known {
    /// `None` for a name that is too long.
    fn new(written: &[u8], name: &HeaderName) -> Option<Self> {
        let mut own = [0; LONGEST];
        own.get_mut(..written.len())?.copy_from_slice(written);
        Some(Self { written: own, length: written.len() as u8, name: name.clone() })
    }

    fn written(&self) -> &[u8] {
        &self.written[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &mut Names, head: &[&str]) -> Vec<String> {
        let read = head.iter().enumerate().map(|(place, name)| names.read(place, name.as_bytes()));
        read.map(|name| name.unwrap().to_string()).collect()
    }

    #[test]
    fn a_name_is_what_is_written_whatever_stood_there_before() {
        let mut names = Names::default();
        for head in [&["Date", "X-A"][..], &["Date", "X-A"], &["date", "X-Ab", "Server"], &["X", "X-A"], &[], &["Date"]]
        {
            let lower: Vec<_> = head.iter().map(|name| name.to_lowercase()).collect();
            assert_eq!(read(&mut names, head), lower);
        }
        assert_eq!(names.read(0, b"a b").unwrap_err(), Malformed);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut names = Names::default();
        let long = "x".repeat(LONGEST + 1);
        let head: Vec<_> = (0..100).map(|field| format!("x-{field}")).chain([long]).collect();
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        assert_eq!(read(&mut names, &head), head);
        assert_eq!(read(&mut names, &head), head);
        assert_eq!(names.0.len(), REMEMBERED);
    }
}
