//! Every seed and every input that once crashed, without libFuzzer.

use std::fs;
use std::path::Path;
use twinpath_fuzz::target::TARGETS;

#[test]
fn no_kept_input_crashes_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, target) in TARGETS {
        let mut seeds = 0;
        for kind in ["corpus", "regressions"] {
            // A target that never crashed has no folder of regressions.
            let Ok(folder) = fs::read_dir(root.join(kind).join(name)) else { continue };
            for entry in folder.flatten() {
                eprintln!("{}", entry.path().display());
                target(&fs::read(entry.path()).expect("readable"));
                seeds += u32::from(kind == "corpus");
            }
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}

#[test]
fn every_folder_is_of_a_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in ["corpus", "regressions"] {
        for entry in fs::read_dir(root.join(kind)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let known = TARGETS.iter().any(|(target, _)| name == *target);
            assert!(known, "{}", entry.path().display());
        }
    }
}
