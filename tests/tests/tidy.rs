//! Rules about the tree itself: dependency arrows, islands of unsafe, file heads and lengths.

use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates each crate may use in its code (design section 4).
const ARROWS: [(&str, &[&str]); 7] = [
    ("flow", &[]),
    ("abi", &[]),
    ("hw-sim", &["abi"]),
    ("host-driver", &["abi", "flow"]),
    ("offload", &["flow"]),
    ("fallback", &["flow"]),
    ("cli", &["abi", "flow", "offload", "fallback", "host-driver", "hw-sim"]),
];

/// The only files that may hold unsafe code.
const ISLANDS: [&str; 20] = [
    "cli/src/bench/cycles.rs",
    "cli/src/hold/inherited.rs",
    "fallback/src/isa.rs",
    "fallback/src/packet/arena.rs",
    "fallback/src/prefetch.rs",
    "fallback/src/ring.rs",
    "fallback/src/ring/cell.rs",
    "fallback/src/slab.rs",
    "fallback/src/software_path/kernels.rs",
    "fallback/src/wire/tap/sys.rs",
    "fallback/src/wire/packet/blocks.rs",
    "fallback/src/wire/packet/sys.rs",
    "fallback/src/wire/xdp/bpf.rs",
    "fallback/src/wire/xdp/ring.rs",
    "fallback/src/wire/xdp/sys.rs",
    "host-driver/src/vfio/dma.rs",
    "host-driver/src/vfio/mmio.rs",
    "host-driver/src/vfio/sys.rs",
    "host-driver/src/vfio_user/shared.rs",
    "tests/src/heap.rs",
];

/// Lines of a source file without its `mod tests`; style asks for about 350.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").into()
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn sources(extension: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    files(&root, extension, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below the root").display().to_string();
            (name, fs::read_to_string(path).expect("text"))
        })
        .collect()
}

/// The part of a manifest between `[dependencies]` and the next table.
fn dependencies(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("twinpath-"))
        .map(|line| line.split(['.', ' ', '=']).next().expect("split gives one").to_owned())
        .collect()
}

#[test]
fn crates_depend_only_along_the_arrows_of_the_design() {
    for (folder, allowed) in ARROWS {
        let manifest =
            fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("manifest");
        for dependency in dependencies(&manifest) {
            assert!(allowed.contains(&dependency.as_str()), "{folder} must not use {dependency}");
        }
    }
}

#[test]
fn unsafe_stays_in_the_named_islands() {
    let word = concat!("un", "safe ");
    let forms = ["{", "fn", "impl", "extern"].map(|what| format!("{word}{what}"));
    for (name, text) in sources("rs") {
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().expect("split gives one");
            forms.iter().any(|form| code.contains(form))
        });
        assert!(!uses || ISLANDS.contains(&name.as_str()), "{name} holds unsafe code");
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for (name, text) in sources("rs") {
        assert!(text.starts_with("//! "), "{name} does not start with a //! line");
    }
}

#[test]
fn no_source_file_grows_beyond_a_sitting() {
    let mut long = Vec::new();
    for (name, text) in sources("rs") {
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().expect("split gives one");
        let lines = code.lines().count();
        if lines > LINES_MAX {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "longer than {LINES_MAX} lines: {long:?}");
}

#[test]
fn no_work_is_left_as_a_note_in_the_code() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for extension in ["rs", "py", "md"] {
        for (name, text) in sources(extension) {
            for mark in marks {
                assert!(!text.contains(mark), "{name} contains {mark}");
            }
        }
    }
}

#[test]
fn every_document_has_one_title() {
    for (name, text) in sources("md") {
        let mut fenced = false;
        let titles = text
            .lines()
            .filter(|line| {
                fenced ^= line.starts_with("```");
                !fenced && line.starts_with("# ")
            })
            .count();
        assert_eq!(titles, 1, "{name}");
    }
}

#[test]
fn the_architecture_fits_on_its_pages() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("document");
    assert!(text.lines().count() <= 200);
}
