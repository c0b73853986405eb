//! What has come of a body, and how far each reader is.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::{Recording, Source};

pub(super) struct State {
    chunks: VecDeque<Bytes>,
    /// Chunks before these, which every reader has had.
    passed: usize,
    /// Bytes in `chunks`.
    held: u64,
    /// Bytes that came at all.
    pub(super) received: u64,
    /// What the head says they will be.
    pub(super) length: Option<u64>,
    limit: u64,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) end: Option<End>,
    pub(super) source: Place,
    /// The next chunk of each reader, by its number.
    readers: Vec<Option<usize>>,
    recording: Option<Box<dyn Recording>>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum End {
    Complete,
    Failed,
}

pub(super) enum Place {
    Here(Pin<Box<dyn Source>>),
    /// A reader is polling it right now.
    Away,
    Gone,
}

/// What is done once the lock is released.
pub(super) type Afterwards = Option<Box<dyn FnOnce() + Send>>;

impl State {
    pub(super) const FIRST_READER: usize = 0;

    /// A body that begins with `first`, and has one reader.
    pub(super) fn new(
        first: Vec<Bytes>,
        source: Pin<Box<dyn Source>>,
        length: Option<u64>,
        limit: u64,
        recording: Option<Box<dyn Recording>>,
    ) -> Self {
        let received = first.iter().map(|chunk| chunk.len() as u64).sum();
        Self {
            chunks: first.into(),
            passed: 0,
            held: received,
            received,
            length,
            limit,
            trailers: None,
            end: None,
            source: Place::Here(source),
            readers: vec![Some(0)],
            recording,
        }
    }

    /// The number of another reader from the first byte on. `None` when that is gone.
    pub(super) fn join(&mut self) -> Option<usize> {
        let is_kept = self.recording.is_some() || self.end == Some(End::Complete);
        if !is_kept || self.passed > 0 {
            return None;
        }
        let free = self.readers.iter().position(Option::is_none).unwrap_or_else(|| {
            self.readers.push(None);
            self.readers.len() - 1
        });
        self.readers[free] = Some(0);
        Some(free)
    }

    /// A reader leaves. True when it was the last one.
    pub(super) fn leave(&mut self, reader: usize) -> bool {
        self.readers[reader] = None;
        self.readers.iter().all(Option::is_none)
    }

    /// Whoever takes the place of a reader that has left reads what is still to come.
    pub(super) fn take_over(&mut self, reader: usize) {
        self.readers[reader] = Some(self.passed + self.chunks.len());
    }

    /// True when a reader has had all that has come.
    pub(super) fn has_read(&self, reader: usize) -> bool {
        self.readers.get(reader).copied().flatten() == Some(self.passed + self.chunks.len())
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// The next chunk for a reader.
    pub(super) fn next(&mut self, reader: usize) -> Option<Bytes> {
        let at = self.readers.get_mut(reader)?.as_mut()?;
        let chunk = self.chunks.get(*at - self.passed)?.clone();
        *at += 1;
        Some(chunk)
    }

    /// Lets go of what every reader has had, unless it is recorded. True when somebody may have waited for that.
    pub(super) fn pass(&mut self) -> bool {
        if self.recording.is_some() || self.end == Some(End::Complete) {
            return false;
        }
        let slowest = self.readers.iter().flatten().min().copied().unwrap_or(self.passed);
        let was_full = self.is_full();
        while self.passed < slowest
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.passed += 1;
            self.held -= chunk.len() as u64;
        }
        was_full && !self.is_full()
    }

    pub(super) fn is_full(&self) -> bool {
        self.recording.is_none() && self.held > 0 && self.held >= self.limit
    }

    pub(super) fn receive(&mut self, frame: Frame<Bytes>) -> Afterwards {
        match frame.into_data() {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => {
                self.received += chunk.len() as u64;
                self.held += chunk.len() as u64;
                self.chunks.push_back(chunk);
                if self.received > self.limit { self.give_up(true) } else { None }
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                None
            }
        }
    }

    pub(super) fn complete(&mut self) -> Afterwards {
        self.end = Some(End::Complete);
        self.source = Place::Gone;
        // A body of another length than its head says is not what the origin meant.
        if self.length.is_some_and(|length| length != self.received) {
            return self.give_up(false);
        }
        let recording = self.recording.take()?;
        let (chunks, trailers) = (self.chunks.iter().cloned().collect(), self.trailers.clone());
        Some(Box::new(move || recording.complete(chunks, trailers)))
    }

    pub(super) fn fail(&mut self) -> Afterwards {
        self.end = Some(End::Failed);
        self.source = Place::Gone;
        self.give_up(false)
    }

    fn give_up(&mut self, too_long: bool) -> Afterwards {
        let recording = self.recording.take()?;
        Some(Box::new(move || recording.give_up(too_long)))
    }
}
