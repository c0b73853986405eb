//! What a body said of itself before each frame, and the frame: written down by whoever reads one, and compared.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, SizeHint};

use super::Rule;
use super::origin::TestError;
use crate::BoxError;

#[derive(Debug)]
pub(super) struct Moment {
    ended: bool,
    hint: SizeHint,
    next: Next,
}

#[derive(Debug, PartialEq)]
enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    Failed(Result<TestError, String>),
    End,
}

/// Reads a body until it ends or fails.
pub(super) async fn read<B>(body: B) -> Vec<Moment>
where
    B: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut moments = Vec::new();
    loop {
        let (ended, hint) = (body.is_end_stream(), body.size_hint());
        let next = match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => Next::End,
            Some(Err(error)) => {
                let error = error.into();
                Next::Failed(TestError::find(&*error).ok_or_else(|| error.to_string()))
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => Next::Data(data.copy_to_bytes(data.remaining())),
                Err(frame) => Next::Trailers(frame.into_trailers().unwrap_or_default()),
            },
        };
        let over = matches!(next, Next::End | Next::Failed(_));
        moments.push(Moment { ended, hint, next });
        if over {
            return moments;
        }
    }
}

/// The data of a whole transcript.
pub(super) fn data(moments: &[Moment]) -> Vec<u8> {
    let chunk = |moment: &Moment| if let Next::Data(data) = &moment.next { data.clone() } else { Bytes::new() };
    moments.iter().flat_map(chunk).collect()
}

/// How `seen` differs from `expected`, and which rule that breaks.
pub(super) fn difference(expected: &[Moment], seen: &[Moment]) -> Option<(Rule, String)> {
    let count = expected.len().max(seen.len());
    for index in 0..count {
        let (expected_next, seen_next) =
            (expected.get(index).map(|moment| &moment.next), seen.get(index).map(|moment| &moment.next));
        if expected_next != seen_next {
            let detail = format!("frame {index} was {expected_next:?} inside and came out as {seen_next:?}");
            return Some((Rule::FramesUntouched, detail));
        }
    }
    for (index, (inside, outside)) in expected.iter().zip(seen).enumerate() {
        if inside.ended != outside.ended {
            let detail = format!(
                "before frame {index} the inner body's is_end_stream was {}, the outer one's {}",
                inside.ended, outside.ended
            );
            return Some((Rule::EndOfStream, detail));
        }
        if looser(&outside.hint, &inside.hint) {
            let detail =
                format!("before frame {index} the inner hint was {:?}, the outer one {:?}", inside.hint, outside.hint);
            return Some((Rule::SizeHint, detail));
        }
    }
    untrue(seen)
}

/// What a body says of itself that its own frames disprove.
pub(super) fn untrue(seen: &[Moment]) -> Option<(Rule, String)> {
    // A body that failed has shown fewer bytes than it was to have.
    let failed = matches!(seen.last(), Some(Moment { next: Next::Failed(_), .. }));
    for (index, moment) in seen.iter().enumerate() {
        if moment.ended && moment.next != Next::End {
            let detail = format!("is_end_stream was true before frame {index}, {:?}", moment.next);
            return Some((Rule::EndOfStream, detail));
        }
        let left = data(&seen[index..]).len() as u64;
        let hint = &moment.hint;
        if !failed && (hint.lower() > left || hint.upper().is_some_and(|upper| upper < left)) {
            return Some((Rule::SizeHint, format!("{left} bytes were to come, the hint was {hint:?}")));
        }
    }
    None
}

/// A layer may know more of a body's length than the inner service did (a limit, say), never less.
fn looser(outside: &SizeHint, inside: &SizeHint) -> bool {
    outside.lower() < inside.lower()
        || inside.upper().is_some_and(|inside| outside.upper().is_none_or(|outside| outside > inside))
}

impl TestError {
    fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(*found);
            }
            next = error.source();
        }
        None
    }
}
