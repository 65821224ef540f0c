//! VERSION: what both ends speak and how much they take at once.

use super::{BodyError, DATA_MAX, DESCRIPTORS_MAX, head};
use serde_json::{Value, json};

/// Major version of the protocol.
pub const MAJOR: u16 = 0;
/// Minor version of the protocol.
pub const MINOR: u16 = 1;

/// Descriptors in one message where a peer says nothing (specification).
const DESCRIPTORS_DEFAULT: usize = 1;

/// Longest capability text taken.
const TEXT_MAX: usize = 4096;

/// What one end says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Major version; must agree.
    pub major: u16,
    /// Minor version; the lower one counts.
    pub minor: u16,
    /// Most descriptors it takes in one message.
    pub descriptors_max: usize,
    /// Most data bytes it takes in one access.
    pub data_max: usize,
}

/// Why a peer's VERSION is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// It is too short.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its capabilities are not JSON as the protocol has it.
    #[error("capabilities are not readable")]
    Capabilities,
    /// It speaks another major version.
    #[error("version {major}.{minor} is not of major version 0")]
    Other {
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
}

impl Version {
    /// What we say.
    #[must_use]
    pub const fn ours() -> Self {
        let (descriptors_max, data_max) = (DESCRIPTORS_MAX, DATA_MAX);
        Self { major: MAJOR, minor: MINOR, descriptors_max, data_max }
    }

    /// The body: versions, then JSON that ends with a zero byte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = json!({ "capabilities": {
            "max_msg_fds": self.descriptors_max,
            "max_data_xfer_size": self.data_max,
        }});
        let mut bytes = Vec::from(self.major.to_le_bytes());
        bytes.extend(self.minor.to_le_bytes());
        bytes.extend(text.to_string().into_bytes());
        bytes.push(0);
        bytes
    }

    /// Reads a peer's body.
    ///
    /// # Errors
    /// [`VersionError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionError> {
        let [a, b, c, d] = *head::<4>(bytes)?;
        let (major, minor) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        // rust-vmm's server answers 0.0 and speaks 0.1: only the major version decides.
        if major != MAJOR {
            return Err(VersionError::Other { major, minor });
        }
        let text = bytes[4..].strip_suffix(&[0]).unwrap_or_else(|| &bytes[4..]);
        let value: Value = match text {
            [] => Value::Null,
            text if text.len() > TEXT_MAX => return Err(VersionError::Capabilities),
            text => serde_json::from_slice(text).map_err(|_| VersionError::Capabilities)?,
        };
        let limit = |name: &str, default: usize| match &value["capabilities"][name] {
            Value::Null => Ok(default),
            Value::Number(number) => {
                let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
                number.ok_or(VersionError::Capabilities)
            }
            _ => Err(VersionError::Capabilities),
        };
        let descriptors_max = limit("max_msg_fds", DESCRIPTORS_DEFAULT)?;
        let data_max = limit("max_data_xfer_size", DATA_MAX)?;
        Ok(Self { major, minor, descriptors_max, data_max })
    }
}
