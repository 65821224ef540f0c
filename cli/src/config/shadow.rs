//! `[shadow]`: how much of what the card forwards is checked.

use super::raw::{Located, RawConfig};
use super::value::number;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// One in so many frames that the card decides is checked unless the file says otherwise.
const SAMPLE: u32 = 1_000;

/// Samples judged in a second at most unless the file says otherwise.
const PER_SECOND: u32 = 2_000;

/// What may be said of both.
const ANY: (RangeInclusive<u32>, &str) = (0..=u32::MAX, "a number from 0");

/// How much is checked, and where findings go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    /// About one in so many; 0 for none.
    pub sample: u32,
    /// Samples judged in a second at most.
    pub per_second: u32,
    /// Folder of the reproducers.
    pub folder: PathBuf,
}

impl Shadow {
    /// What the file says, with relative paths below `folder`.
    ///
    /// # Errors
    /// A number is out of range.
    pub(super) fn read(raw: &RawConfig, folder: &Path) -> Result<Self, Located> {
        let shadow = raw.shadow.as_ref();
        let sample = shadow.and_then(|shadow| shadow.sample.as_ref());
        let per_second = shadow.and_then(|shadow| shadow.per_second.as_ref());
        let below = shadow.and_then(|shadow| shadow.folder.as_ref());
        Ok(Self {
            sample: number("sample", sample, ANY)?.unwrap_or(SAMPLE),
            per_second: number("per_second", per_second, ANY)?.unwrap_or(PER_SECOND),
            folder: below.map_or_else(|| folder.to_owned(), |path| folder.join(path.get_ref())),
        })
    }
}
