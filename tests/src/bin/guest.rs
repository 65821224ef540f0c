//! `./check guest [NAME...]`: one line per case, `PASS name evidence` or `FAIL name reason`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its purpose")]

use std::process::ExitCode;
use twinpath_tests::guest::{Laboratory, cases, runner};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut cases = cases::all();
    if let Some(unknown) = wanted.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        eprintln!("guest: no case {unknown}; there are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    cases.retain(|case| wanted.is_empty() || wanted.iter().any(|name| name == case.name));
    // A failure is told in its case's line.
    std::panic::set_hook(Box::new(|_| {}));
    #[expect(clippy::disallowed_methods, reason = "how long all took is part of the report")]
    let start = std::time::Instant::now();
    let laboratory = match std::panic::catch_unwind(Laboratory::new) {
        Ok(laboratory) => laboratory,
        Err(panic) => {
            eprintln!("guest: {}", runner::message(panic));
            return ExitCode::FAILURE;
        }
    };
    let tally = runner::run(&laboratory, &cases, &mut |line| println!("{line}"));
    println!("{} passed, {} failed in {:.0?}", tally.passed, tally.failed, start.elapsed());
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
