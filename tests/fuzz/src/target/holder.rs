//! Datagrams between a daemon and the holder of its descriptors: what is read is written the same,
//! so that nothing is read two ways.

use twinpath_cli::hold::message::{Answer, Request};

/// Bytes: a datagram.
pub(super) fn run(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    if let Some(answer) = Answer::decode(data) {
        assert_eq!(Answer::decode(&answer.encode()), Some(answer));
    }
}
