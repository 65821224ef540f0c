//! Captures as a wire: frames are read from one file and written to another, in virtual time.
//!
//! Frames keep the order of the file; a timestamp earlier than one before it counts as that one.
//! A frame the capture holds only in part (snap length) is handed out as far as it was kept.

mod block;
mod reader;
mod source;
mod writer;

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use twinpath_flow::counters::Counts;
use twinpath_flow::time::Time;

use super::{FrameSink, Opened, Wire, WireCounters, WireError};
use reader::Reader;
use writer::Writer;

/// Both ends of a capture wire.
struct Captures {
    input: Option<Input>,
    output: Option<Output>,
    counters: WireCounters,
}

/// The capture that is read, one frame ahead.
struct Input {
    reader: Reader,
    /// Time of the frame the reader stands on; `None` at the end.
    ahead: Option<Time>,
    /// What ended the file early, told by the next `receive`.
    failure: Option<WireError>,
    /// Added to every timestamp (wrapping, so that it can also subtract).
    shift: u64,
    /// Latest time handed out.
    latest: Time,
}

/// The capture that is written.
struct Output {
    path: PathBuf,
    writer: Writer,
    failure: Option<std::io::Error>,
    told: bool,
}

/// Reads the headers of the whole capture, so that a corrupt one is refused before anything starts.
/// Pipes and devices cannot be read twice and are not checked.
pub(super) fn check(path: &Path) -> Result<(), WireError> {
    // Asked by path: opening a pipe and closing it again would take its reader away.
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        return Ok(());
    }
    let mut reader = Reader::new(path, open_file(path)?)?;
    while reader.advance()?.is_some() {}
    Ok(())
}

/// Opens the input first, so that a wrong one leaves no output behind.
pub(super) fn open(input: Option<&Path>, output: Option<&Path>) -> Result<Opened, WireError> {
    let input = match input {
        Some(path) => {
            check(path)?;
            Some(Input::new(Reader::new(path, open_file(path)?)?)?)
        }
        None => None,
    };
    let output = output.map(Output::create).transpose()?;
    Ok(Opened::quiet(Captures { input, output, counters: WireCounters::default() }))
}

fn open_file(path: &Path) -> Result<File, WireError> {
    let refused = |source| WireError::OpenCapture { path: path.to_owned(), source };
    let file = File::open(path).map_err(refused)?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Err(refused(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

impl Input {
    fn new(reader: Reader) -> Result<Self, WireError> {
        let mut input =
            Self { reader, ahead: None, failure: None, shift: 0, latest: Time::default() };
        input.ahead = input.reader.advance()?;
        Ok(input)
    }

    /// Arrival time of the frame the reader stands on.
    fn arrival(&self) -> Option<Time> {
        let shifted = Time(self.ahead?.0.wrapping_add(self.shift));
        Some(shifted.max(self.latest))
    }

    fn step(&mut self) {
        match self.reader.advance() {
            Ok(ahead) => self.ahead = ahead,
            Err(failure) => {
                self.ahead = None;
                self.failure = Some(failure);
            }
        }
    }
}

impl Output {
    fn create(path: &Path) -> Result<Self, WireError> {
        let file = File::create(path)
            .map_err(|source| WireError::OpenCapture { path: path.to_owned(), source })?;
        let mut writer = if path.extension().is_some_and(|extension| extension == "pcapng") {
            Writer::next_generation(file)
        } else {
            Writer::classic(file)
        };
        // The header goes out at once: a full disk is told before traffic starts.
        writer.flush().map_err(|cause| WireError::write(path, &cause))?;
        Ok(Self { path: path.to_owned(), writer, failure: None, told: false })
    }

    fn write(&mut self, frame: &[u8], departure: Time) -> bool {
        if self.failure.is_none() {
            self.failure = self.writer.write(frame, departure).err();
        }
        self.failure.is_none()
    }
}

impl Wire for Captures {
    fn receive(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut FrameSink<'_>,
    ) -> Result<usize, WireError> {
        let Some(input) = &mut self.input else { return Ok(0) };
        let mut taken = 0;
        while taken < limit
            && let Some(arrival) = input.arrival().filter(|arrival| *arrival <= now)
        {
            let frame = input.reader.frame();
            self.counters.received += Counts::one(frame.len());
            sink(frame, arrival);
            input.latest = arrival;
            input.step();
            taken += 1;
        }
        match input.failure.take() {
            Some(failure) if taken == 0 => Err(failure),
            failure => {
                input.failure = failure;
                Ok(taken)
            }
        }
    }

    fn next_arrival(&mut self) -> Option<Time> {
        let input = self.input.as_ref()?;
        input.arrival().or_else(|| input.failure.as_ref().map(|_| input.latest))
    }

    fn start_at(&mut self, time: Time) {
        if let Some(input) = &mut self.input
            && let Some(first) = input.ahead
        {
            input.shift = time.0.wrapping_sub(first.0);
        }
    }

    fn send(&mut self, frame: &[u8], departure: Time) {
        let written = self.output.as_mut().is_none_or(|output| output.write(frame, departure));
        if written {
            self.counters.sent += Counts::one(frame.len());
        } else {
            self.counters.send_dropped += 1;
        }
    }

    fn flush(&mut self) -> Result<(), WireError> {
        let Some(output) = &mut self.output else { return Ok(()) };
        match &output.failure {
            Some(cause) if !output.told => {
                output.told = true;
                Err(WireError::write(&output.path, cause))
            }
            _ => Ok(()),
        }
    }

    fn has_queued(&self) -> bool {
        false
    }

    fn is_finished(&self) -> bool {
        self.input.as_ref().is_none_or(|input| input.ahead.is_none() && input.failure.is_none())
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn counters(&self) -> WireCounters {
        self.counters
    }

    fn finish(&mut self) -> Result<(), WireError> {
        let Some(output) = &mut self.output else { return Ok(()) };
        if output.failure.is_none() {
            output.failure = output.writer.flush().err();
        }
        output.failure.as_ref().map_or(Ok(()), |cause| Err(WireError::write(&output.path, cause)))
    }
}
