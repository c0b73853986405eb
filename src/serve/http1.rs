//! HTTP/1.1 from clients (RFC 9112): one request at a time, driven by the connection's own task.
//!
//! The rules know nothing of sockets: [`head`] reads a request's head, [`opening`] tells HTTP/2 from it, [`encode`] writes an
//! answer. [`line`] receives and sends, [`upload`] hands a body to the service, [`exchange`] is one request after the other,
//! and [`connection`] keeps the time and closes.
//!
//! It is ours and not hyper's for what a gateway does with every request: a head that is read into a map whose names are
//! remembered, an answer that leaves in one piece, interim answers, refusals that say why, and timeouts of their own for each
//! thing a client can be slow with. What hyper calls an upgrade is still hyper's: see [`upgrade`].

mod connection;
mod encode;
mod exchange;
mod head;
mod interim;
mod line;
mod opening;
#[cfg(test)]
mod oracle;
mod out;
mod places;
mod upgrade;
mod upload;

pub(super) use self::connection::Http1;
pub(super) use self::places::Places;
pub(super) use self::upload::Upload;

/// The method, target, number of fields and content of every whole request in `wire`.
#[cfg(fuzzing)]
pub(super) fn fuzz_requests(wire: &[u8], step: usize) -> Vec<(String, String, usize, Vec<u8>)> {
    use crate::h1::decode::Decoder;
    use bytes::BytesMut;

    let (mut pieces, mut buffer, mut all) = (wire.chunks(step.max(1)), BytesMut::new(), Vec::new());
    let mut more = |buffer: &mut BytesMut| pieces.next().map(|piece| buffer.extend_from_slice(piece)).is_some();
    loop {
        let mut request = http::Request::new(());
        let head = match head::read_head(&mut buffer, head::Limits { bytes: 8192, fields: 100 }, &mut request) {
            Ok(Some(head)) => head,
            Ok(None) if more(&mut buffer) => continue,
            _ => return all,
        };
        let (mut decoder, mut content) = (Decoder::new(head.framing), Vec::new());
        while !decoder.has_ended() {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => content.extend(frame.into_data().into_iter().flatten()),
                Ok(None) if decoder.has_ended() || more(&mut buffer) => {}
                _ => return all,
            }
        }
        all.push((request.method().to_string(), request.uri().to_string(), request.headers().len(), content));
    }
}
