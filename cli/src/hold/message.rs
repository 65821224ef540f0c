//! What daemon and holder say to each other: lines of `KEY=VALUE` in one datagram, as systemd's
//! sd_notify(3) has them (FDSTORE, FDSTOREREMOVE, FDNAME); LIST and FETCH are the holder's own.

use std::fmt;

/// Longest name; systemd's limit too.
pub const NAME_MAX: usize = 255;

/// Descriptors held at most.
pub const HELD_MAX: usize = 512;

/// Longest datagram: a list of the names we make, of which one has well below 64 bytes.
pub const MESSAGE_MAX: usize = 64 * HELD_MAX;

/// The name of a descriptor: printable, without `:` and `=`, as LISTEN_FDNAMES needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// A name, if it is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b':' && byte != b'=';
        let whole = !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(plain);
        whole.then(|| Self(text.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What a daemon asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Hold the descriptor that comes with it, in place of one of that name.
    Store(Name),
    /// Close that one.
    Remove(Name),
    /// Say what is held.
    List,
    /// Give a copy of that one.
    Fetch(Name),
}

/// What is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request")]
pub struct NotARequest;

impl Request {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Store(name) => format!("FDSTORE=1\nFDNAME={name}"),
            Self::Remove(name) => format!("FDSTOREREMOVE=1\nFDNAME={name}"),
            Self::List => "LIST=1".to_owned(),
            Self::Fetch(name) => format!("FETCH=1\nFDNAME={name}"),
        }
        .into_bytes()
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotARequest> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotARequest)?;
        let mut lines = text.lines();
        let (verb, name) = (lines.next(), lines.next());
        let name = name.and_then(|line| Name::new(line.strip_prefix("FDNAME=")?));
        match (verb, name, lines.next()) {
            (Some("LIST=1"), None, None) if text == "LIST=1" => Ok(Self::List),
            (Some("FDSTORE=1"), Some(name), None) => Ok(Self::Store(name)),
            (Some("FDSTOREREMOVE=1"), Some(name), None) => Ok(Self::Remove(name)),
            (Some("FETCH=1"), Some(name), None) => Ok(Self::Fetch(name)),
            _ => Err(NotARequest),
        }
    }
}

/// What a holder answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done; with a descriptor if one was asked for.
    Done,
    /// What is held.
    Names(Vec<Name>),
    /// It does not.
    Refused(String),
}

impl Answer {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Done => "OK=1".to_owned(),
            Self::Names(names) => {
                let names: Vec<&str> = names.iter().map(Name::as_str).collect();
                format!("NAMES={}", names.join(":"))
            }
            Self::Refused(reason) => format!("ERROR={reason}"),
        }
        .into_bytes()
    }

    /// From bytes; `None` when they are no answer.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (key, value) = text.split_once('=')?;
        match key {
            "OK" => Some(Self::Done),
            "ERROR" => Some(Self::Refused(value.chars().take(200).collect())),
            "NAMES" if value.is_empty() => Some(Self::Names(Vec::new())),
            "NAMES" => value.split(':').map(Name::new).collect::<Option<_>>().map(Self::Names),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let name = || Name::new("0123abcd.socket").unwrap();
        let requests = [
            Request::Store(name()),
            Request::Remove(name()),
            Request::List,
            Request::Fetch(name()),
        ];
        for request in requests {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        let answers = [
            Answer::Done,
            Answer::Names(Vec::new()),
            Answer::Names(vec![name(), name()]),
            Answer::Refused("why".into()),
        ];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong: [&[u8]; 8] = [
            b"",
            b"FDSTORE=1",
            b"FDSTORE=1\nFDNAME=",
            b"FDSTORE=1\nFDNAME=a:b",
            b"FDSTORE=1\nFDNAME=a\nFDPOLL=0",
            b"LIST=1\nFDNAME=a",
            b"STOP=1",
            b"\xff\xfe",
        ];
        for bytes in wrong {
            assert_eq!(Request::decode(bytes), Err(NotARequest), "{bytes:?}");
        }
        assert_eq!(Name::new(&"x".repeat(NAME_MAX + 1)), None);
        assert_eq!(Answer::decode(b"NAMES=a::b"), None);
    }
}
