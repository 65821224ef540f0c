//! Why a wire could not be opened, read or written.

use std::io;
use std::path::PathBuf;

/// Failure of a wire; each message names the file or interface, and the remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A capture could not be opened or created.
    #[error("{}: cannot open: {source}", path.display())]
    OpenCapture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed.
    #[error("{}: cannot read at byte {offset}: {source}", path.display())]
    ReadCapture {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed, for instance because the disk is full.
    #[error("{}: cannot write: {source}", path.display())]
    WriteCapture {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
