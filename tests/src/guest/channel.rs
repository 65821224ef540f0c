//! The control channel: a serial port over which the guest runs shell commands.

use crate::tool;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest boot, on a machine busy with other things.
const BOOT_MAX: Duration = Duration::from_secs(60);
/// Longest command.
const COMMAND_MAX: Duration = Duration::from_secs(30);
/// How often a command is sent at most: a busy guest loses bytes of its serial port.
const SEND_TRIES: u32 = 10;
/// Looks, 5 ms apart, for QEMU's socket.
const CONNECT_TRIES: u32 = 2_000;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a command wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Standard output and error together.
    pub text: String,
    /// Exit code.
    pub code: i32,
}

/// The channel.
#[derive(Debug)]
pub(super) struct Channel {
    stream: BufReader<UnixStream>,
}

impl Channel {
    /// Connects to a machine that has just been started.
    ///
    /// # Errors
    /// QEMU does not open its socket: it has ended.
    pub(super) fn connect(path: &Path) -> Result<Self, String> {
        let stream = tool::wait_for(CONNECT_TRIES, || UnixStream::connect(path).ok());
        Ok(Self { stream: BufReader::new(stream.ok_or("QEMU does not run")?) })
    }

    /// Waits until the guest takes commands; its kernel's release and the seconds it was up then.
    ///
    /// # Errors
    /// It does not come up.
    pub(super) fn wait_ready(&mut self) -> Result<(String, String), String> {
        self.limit(BOOT_MAX);
        // Ends: what the firmware writes is finite, and the read times out.
        loop {
            let line = self.line()?;
            // The firmware greets on every serial port, without a line's end.
            if let Some((_, words)) = line.rsplit_once("ready ") {
                let (release, uptime) = words.split_once(' ').ok_or("a strange greeting")?;
                return Ok((release.to_owned(), uptime.to_owned()));
            }
        }
    }

    /// Runs a shell command to its end.
    ///
    /// # Errors
    /// The guest does not answer.
    pub(super) fn run(&mut self, command: &str) -> Result<Output, String> {
        self.limit(COMMAND_MAX);
        let line = format!("{:08x} {}\n", crc32(command.as_bytes()), encode(command.as_bytes()));
        for _ in 0..SEND_TRIES {
            let sent = self.stream.get_mut().write_all(line.as_bytes());
            sent.map_err(|error| format!("{command}: {error}"))?;
            match self.line().map_err(|error| format!("{command}: {error}"))?.as_str() {
                "begin" => return self.answer(command),
                "again" => {}
                other => return Err(format!("{command}: a strange answer: {other}")),
            }
        }
        Err(format!("{command}: hurt on its way {SEND_TRIES} times"))
    }

    fn answer(&mut self, command: &str) -> Result<Output, String> {
        let mut encoded = String::new();
        // Ends: the answer is finite, and the read times out.
        loop {
            let line = self.line().map_err(|error| format!("{command}: {error}"))?;
            if let Some(code) = line.strip_prefix("end ") {
                let code = code.parse().map_err(|_| format!("exit code {code:?}"))?;
                let text = String::from_utf8_lossy(&decode(&encoded)).into_owned();
                return Ok(Output { text, code });
            }
            encoded.push_str(&line);
        }
    }

    fn limit(&self, longest: Duration) {
        self.stream.get_ref().set_read_timeout(Some(longest)).expect("a timeout above zero");
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => Err("QEMU has ended".into()),
            Ok(_) => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Err(error) => Err(format!("the guest is silent: {error}")),
        }
    }
}

/// CRC-32 (ISO 3309), as busybox computes it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

/// Base64 (RFC 4648 section 4).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit)) & 0x3f;
            let filled = digit <= chunk.len();
            text.push(if filled { char::from(ALPHABET[value as usize]) } else { '=' });
        }
    }
    text
}

/// Reverses [`encode`]; padding inside ends a run of digits, as at the end.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.as_bytes().chunks(4) {
        let digits = chunk.iter().map_while(|byte| ALPHABET.iter().position(|at| at == byte));
        let (mut word, mut count) = (0_u32, 0);
        for digit in digits {
            word |= u32::try_from(digit).expect("below 64") << (18 - 6 * count);
            count += 1;
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..][..(count * 6) / 8]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in vectors {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded), plain.as_bytes());
        }
    }
}
