//! Runs a target: under libFuzzer, the one that `FUZZ_TARGET` names; else TARGET on FILE....
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod fuzzer {
    //! libFuzzer's way in.

    use std::sync::OnceLock;
    use twinpath_fuzz::target::{Target, named};

    static CHOSEN: OnceLock<Target> = OnceLock::new();

    fn choose() {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = named(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name}: no such target"));
        let _ = CHOSEN.set(target);
    }

    libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
        CHOSEN.get().expect("chosen at the start")(data);
    });
}

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use twinpath_fuzz::target::{TARGETS, named};

    let mut arguments = std::env::args().skip(1);
    let Some(target) = arguments.next().as_deref().and_then(named) else {
        let names = TARGETS.map(|(name, _)| name).join("|");
        eprintln!("usage: twinpath-fuzz {names} FILE...");
        return ExitCode::from(2);
    };
    for file in arguments {
        match std::fs::read(&file) {
            Ok(bytes) => target(&bytes),
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
