//! The control socket: one line of JSON a request, one line an answer.

pub(crate) mod client;
pub(crate) mod path;
pub(crate) mod peer;
pub(crate) mod request;
pub(crate) mod server;

/// Longest request line in bytes, enough for some 300,000 rules; a client that sends more is cut off.
pub(crate) const REQUEST_MAX: usize = 1 << 25;

/// Longest answer line in bytes that a client reads.
pub(crate) const ANSWER_MAX: usize = 1 << 28;
