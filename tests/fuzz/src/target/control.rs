//! Bytes as what a client of the control socket sends to a running process without packets. Every
//! line gets one answer, of JSON; no client ends the process or keeps it busy.

use std::cell::RefCell;
use std::path::PathBuf;
use twinpath_cli::hostile::Answering;

/// Runs of one process; rules that were added stay that long.
const RUNS: u32 = 64;

thread_local! {
    static PROCESS: RefCell<Option<(u32, Answering)>> = const { RefCell::new(None) };
}

fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("twinpath-fuzz-{}.sock", std::process::id()))
}

/// Bytes: what is sent.
pub(super) fn run(data: &[u8]) {
    PROCESS.with_borrow_mut(|process| {
        let (runs, answering) = process.get_or_insert_with(|| {
            (0, Answering::open(&socket()).expect("a socket for the process"))
        });
        *runs += 1;
        let answers = answering.client(data).expect("the socket works");
        let lines = data.iter().filter(|byte| **byte == b'\n').count();
        let answers = String::from_utf8(answers).expect("answers are text");
        assert_eq!(answers.lines().count(), lines, "one answer for each line");
        for line in answers.lines() {
            let whole = line.starts_with('{') && line.ends_with('}');
            assert!(whole, "not an answer: {line}");
        }
        if *runs >= RUNS {
            let _ = answering.request(br#"{"ask":"rules_del","selection":"","strict":false}"#);
            *runs = 0;
        }
    });
}
