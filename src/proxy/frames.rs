//! The frames of WebSocket (RFC 6455 section 5), followed by their heads: where one ends, another may be put in.

/// So long a head is at most: two bytes, a length of eight, a mask of four.
const MAX_HEAD: usize = 14;

const CLOSE: u8 = 0x8;
/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL: u64 = 125;

/// "Going away", such as a server going down (section 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// What has passed in one direction. Payloads are counted, and not looked at.
#[derive(Debug)]
pub(super) struct Frames {
    /// Whose they are: a client masks its frames, a server must not (section 5.1).
    from_client: bool,
    head: [u8; MAX_HEAD],
    of_head: usize,
    /// Bytes of the payload to come.
    left: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A Close frame is passing.
    Closing,
    /// It has passed: no frame follows (section 5.5.1).
    Closed,
    /// These are no frames.
    Unknown,
}

impl Frames {
    pub(super) fn of_client() -> Self {
        Self { from_client: true, head: [0; MAX_HEAD], of_head: 0, left: 0, state: State::Open }
    }

    pub(super) fn of_server() -> Self {
        Self { from_client: false, ..Self::of_client() }
    }

    /// True where another frame may be put in.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Open && self.of_head == 0 && self.left == 0
    }

    /// True when a Close frame has passed whole.
    pub(super) fn has_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// A Close frame of the same side, that says that it goes away. `mask` is of no meaning to a server's.
    pub(super) fn going_away(&self, mask: [u8; 4]) -> Vec<u8> {
        let [high, low] = GOING_AWAY;
        match self.from_client {
            false => vec![0x80 | CLOSE, 2, high, low],
            true => {
                let [a, b, c, d] = mask;
                vec![0x80 | CLOSE, 0x82, a, b, c, d, high ^ a, low ^ b]
            }
        }
    }

    /// Follows all of what passes.
    #[inline]
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Follows what passes as far as the end of the frame that it begins within; how far that is, if it comes to it.
    pub(super) fn follow_to_end(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_between() {
            taken += self.step(&bytes[taken..]);
        }
        taken
    }

    /// Takes one step into what passes; how many bytes that was.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if matches!(self.state, State::Closed | State::Unknown) {
            return bytes.len();
        }
        if self.left > 0 {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= taken as u64;
            self.end_if_complete();
            return taken;
        }
        self.head[self.of_head] = bytes[0];
        self.of_head += 1;
        if self.of_head == self.head_length() {
            self.take_head();
        }
        1
    }

    fn head_length(&self) -> usize {
        if self.of_head < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    /// The head is there whole (section 5.2).
    fn take_head(&mut self) {
        let [first, second, ..] = self.head;
        let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
        let left = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => self.head[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        let is_control = opcode & 0x8 != 0;
        let is_known = matches!(opcode, 0x0..=0x2 | 0x8..=0xa);
        let is_masked = second & 0x80 != 0;
        let fits = left >> 63 == 0 && (!is_control || left <= MAX_CONTROL && is_last);
        (self.of_head, self.left) = (0, left);
        self.state = match opcode {
            _ if !is_known || !fits || is_masked != self.from_client => State::Unknown,
            CLOSE => State::Closing,
            _ => State::Open,
        };
        self.end_if_complete();
    }

    fn end_if_complete(&mut self) {
        if self.left == 0 && self.state == State::Closing {
            self.state = State::Closed;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

    use super::*;

    /// A frame as another implementation writes it.
    fn written(opcode: OpCode, payload: Vec<u8>, mask: Option<[u8; 4]>) -> Vec<u8> {
        let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
        let mut bytes = Vec::new();
        Frame::from_payload(header, payload.into()).format(&mut bytes).unwrap();
        bytes
    }

    fn opcode() -> impl Strategy<Value = OpCode> {
        prop_oneof![
            Just(OpCode::Data(Data::Text)),
            Just(OpCode::Data(Data::Binary)),
            Just(OpCode::Data(Data::Continue)),
            Just(OpCode::Control(Control::Ping)),
        ]
    }

    fn frames() -> impl Strategy<Value = Vec<(OpCode, usize)>> {
        let length = prop_oneof![0..126_usize, 120..140_usize, 65_530..65_540_usize];
        prop::collection::vec((opcode(), length), 1..6)
    }

    proptest! {
        #[test]
        fn whatever_pieces_they_come_in_frames_end_where_they_end(
            frames in frames(), masked: bool, step in 1..200_usize,
        ) {
            let mask = masked.then_some([1, 2, 3, 4]);
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for (opcode, length) in frames {
                let length = if matches!(opcode, OpCode::Control(_)) { length.min(125) } else { length };
                bytes.extend(written(opcode, vec![0x88; length], mask));
                ends.push(bytes.len());
            }
            let mut own = if masked { Frames::of_client() } else { Frames::of_server() };
            let mut at = 0;
            for piece in bytes.chunks(step) {
                prop_assert_eq!(own.is_between(), ends.contains(&at));
                own.follow(piece);
                at += piece.len();
            }
            prop_assert!(own.is_between() && !own.has_closed());
            // And from within: as far as the next end, and no farther.
            let mut own = if masked { Frames::of_client() } else { Frames::of_server() };
            own.follow(&bytes[..1]);
            prop_assert_eq!(1 + own.follow_to_end(&bytes[1..]), ends[1]);
            prop_assert!(own.is_between());
        }

        #[test]
        fn nothing_that_comes_breaks_it(bytes: Vec<u8>, masked: bool) {
            let mut own = if masked { Frames::of_client() } else { Frames::of_server() };
            own.follow(&bytes);
            prop_assert_eq!(own.follow_to_end(b""), 0);
        }
    }

    #[test]
    fn a_close_frame_is_the_last_once_it_has_passed_whole() {
        for (mut own, mask) in [(Frames::of_client(), Some([9; 4])), (Frames::of_server(), None)] {
            let mut close = written(OpCode::Control(Control::Close), b"\x03\xe8bye".to_vec(), mask);
            let last = close.pop().unwrap();
            own.follow(&close);
            assert!(!own.has_closed() && !own.is_between());
            own.follow(&[last]);
            assert!(own.has_closed() && !own.is_between());
            own.follow(b"whatever else");
            assert!(own.has_closed());
        }
        let mut own = Frames::of_server();
        own.follow(&[0x88, 0]);
        assert!(own.has_closed(), "one without a reason");
    }

    #[test]
    fn what_is_no_frame_of_that_side_has_no_end() {
        let masked = written(OpCode::Data(Data::Text), b"x".to_vec(), Some([1; 4]));
        let open = written(OpCode::Data(Data::Text), b"x".to_vec(), None);
        for (mut own, bytes) in [
            (Frames::of_server(), masked),
            (Frames::of_client(), open),
            (Frames::of_server(), vec![0x83, 0]),
            (Frames::of_server(), vec![0x89, 126, 0, 126]),
            (Frames::of_server(), vec![0x08, 0]),
            (Frames::of_server(), vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            own.follow(&bytes);
            assert!(!own.is_between() && !own.has_closed(), "{bytes:?}");
        }
    }

    #[test]
    fn going_away_is_what_another_implementation_takes_it_for() {
        for (own, mask) in [(Frames::of_client(), Some([7, 8, 9, 10])), (Frames::of_server(), None)] {
            let close = written(OpCode::Control(Control::Close), 1001_u16.to_be_bytes().to_vec(), mask);
            assert_eq!(own.going_away([7, 8, 9, 10]), close);
            assert_eq!(CloseCode::from(u16::from_be_bytes(GOING_AWAY)), CloseCode::Away);
        }
    }
}
