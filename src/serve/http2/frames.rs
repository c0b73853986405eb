//! Frames as they pass (RFC 9113 section 4.1): only so much of them as tells a client that is slow, or floods.

/// A frame's length, type, flags and stream.
const HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the frames that one side sends, without their contents.
#[derive(Debug, Default)]
pub(super) struct FrameWatch {
    /// Of the preface, which comes before the first frame.
    preface: usize,
    header: [u8; HEADER],
    /// How much of `header` is there.
    filled: usize,
    /// Of the current frame's payload, what has not come yet.
    payload: usize,
    /// A field section has begun, and its last frame has not: nothing else may come in between.
    in_section: bool,
    /// The type of the first frame.
    first: Option<u8>,
}

/// What the frames that were seen are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// Those that bring something: field sections and data.
    pub(super) useful: u32,
    /// Those that cost work and bring nothing.
    pub(super) idle: u32,
}

impl FrameWatch {
    /// For a side that begins with a preface of so many bytes.
    pub(super) fn after_preface(preface: usize) -> Self {
        Self { preface, ..Self::default() }
    }

    /// Takes in what came next.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Frames {
        let mut seen = Frames::default();
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len());
                self.payload -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                self.filled = 0;
                if self.begin() { seen.useful += 1 } else { seen.idle += 1 }
            }
        }
        seen
    }

    /// True while a frame, or a field section of several, is there in part.
    pub(super) fn is_within(&self) -> bool {
        self.preface > 0 || self.filled > 0 || self.payload > 0 || self.in_section
    }

    /// The first frame is not SETTINGS, which completes the preface (RFC 9113 section 3.4).
    pub(super) fn began_badly(&self) -> bool {
        self.first.is_some_and(|kind| kind != SETTINGS)
    }

    /// A frame whose header is there. True when it brings something.
    fn begin(&mut self) -> bool {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.first.get_or_insert(kind);
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            HEADERS => {
                self.in_section = flags & END_HEADERS == 0;
                true
            }
            CONTINUATION => {
                self.in_section = flags & END_HEADERS == 0;
                self.payload > 0
            }
            DATA => self.payload > 0 || flags & END_STREAM != 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        [&length.to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn what_brings_something_is_told_from_what_does_not() {
        let useful = [frame(HEADERS, END_HEADERS, b"x"), frame(DATA, 0, b"x"), frame(DATA, END_STREAM, b"")];
        let idle =
            [frame(DATA, 0, b""), frame(2, 0, &[0; 5]), frame(6, 0, &[0; 8]), frame(4, 0, b""), frame(99, 0, b"x")];
        let wire = [useful.concat(), idle.concat()].concat();
        assert_eq!(FrameWatch::default().scan(&wire), Frames { useful: 3, idle: 5 });
        let mut watch = FrameWatch::default();
        let seen = wire.iter().map(|byte| watch.scan(&[*byte]));
        let (useful, idle) = seen.fold((0, 0), |sum, seen| (sum.0 + seen.useful, sum.1 + seen.idle));
        assert_eq!((useful, idle), (3, 5));
        assert!(!watch.is_within());
    }

    #[test]
    fn a_field_section_is_open_until_its_last_frame_has_ended() {
        let mut watch = FrameWatch::default();
        watch.scan(&frame(HEADERS, 0, b"abc"));
        assert!(watch.is_within());
        let last = frame(CONTINUATION, END_HEADERS, b"def");
        watch.scan(&last[..last.len() - 1]);
        assert!(watch.is_within());
        watch.scan(&last[last.len() - 1..]);
        assert!(!watch.is_within());
    }

    #[test]
    fn the_preface_is_no_frame() {
        let mut watch = FrameWatch::after_preface(24);
        assert_eq!(watch.scan(&[b'P'; 23]), Frames::default());
        assert!(watch.is_within());
        let wire = [&b"\n"[..], &frame(4, 0, b"")].concat();
        assert_eq!(watch.scan(&wire), Frames { useful: 0, idle: 1 });
        assert!(!watch.is_within() && !watch.began_badly());
        watch.scan(&frame(6, 0, &[0; 8]));
        assert!(!watch.began_badly());
        let mut watch = FrameWatch::default();
        watch.scan(&frame(6, 0, &[0; 8]));
        assert!(watch.began_badly());
    }
}
