//! `bench/placement`: hit ratios of the engine's placement beside policies of the field.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its table is its purpose")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use twinpath_tests::placement::capture;
use twinpath_tests::placement::report::{ROOMS, Report, Row, rows};
use twinpath_tests::placement::trace::{NAMES, Trace};

const USAGE: &str = "\
usage: bench/placement [--quick] [--trace NAME]... [--pcap FILE]... [--packets N]
                       [--seed N] [--json FILE] [--docs FILE] [--check]

Runs the engine's placement and the policies it is compared with over traces on
virtual time, and prints which share of packets each had the card decide.

  --quick         3,000,000 packets a trace instead of 10,000,000: under a minute
  --trace NAME    only this trace; may be repeated
  --pcap FILE     a classic capture as a trace; may be repeated
  --packets N     packets of each generated trace
  --seed N        another seed than 7
  --json FILE     where the rows go, target/bench/placement.json unless said
  --docs FILE     replaces the tables between the markers of this page
  --check         exit code 1 when a bar is not met

examples:
  bench/placement --quick
  bench/placement --trace onoff --trace churn
  bench/placement --pcap capture.pcap";

/// Marks in a page between which the tables go.
const MARKS: [&str; 2] = ["<!-- placement:begin -->\n", "<!-- placement:end -->\n"];

struct Options {
    packets: usize,
    seed: u64,
    traces: Vec<String>,
    captures: Vec<PathBuf>,
    json: PathBuf,
    docs: Option<PathBuf>,
    check: bool,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        packets: 10_000_000,
        seed: 7,
        traces: Vec::new(),
        captures: Vec::new(),
        json: "target/bench/placement.json".into(),
        docs: None,
        check: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("not a number: {text}"));
        match argument.as_str() {
            "--quick" => options.packets = 3_000_000,
            "--packets" => {
                let count = number(value()?)?;
                options.packets =
                    usize::try_from(count).map_err(|_| format!("too many: {count}"))?;
            }
            "--seed" => options.seed = number(value()?)?,
            "--trace" => options.traces.push(value()?),
            "--pcap" => options.captures.push(value()?.into()),
            "--json" => options.json = value()?.into(),
            "--docs" => options.docs = Some(value()?.into()),
            "--check" => options.check = true,
            other => return Err(format!("unknown argument {other}; --help shows all")),
        }
    }
    if options.traces.is_empty() && options.captures.is_empty() {
        options.traces = NAMES.map(str::to_owned).to_vec();
    }
    Ok(options)
}

type Job = Box<dyn Fn() -> Result<Vec<Row>, String> + Send + Sync>;

fn jobs(options: &Options) -> Vec<Job> {
    let (packets, seed) = (options.packets, options.seed);
    let named = options.traces.iter().cloned().map(|name| {
        Box::new(move || {
            let trace = Trace::named(&name, packets, seed);
            let unknown = || format!("no trace {name}; there are: {}", NAMES.join(" "));
            Ok(rows(&trace.ok_or_else(unknown)?, &ROOMS))
        }) as Job
    });
    let captured = options.captures.iter().cloned().map(|path| {
        let read =
            move || capture::read(&path).map(|t| rows(&t, &ROOMS)).map_err(|e| e.to_string());
        Box::new(read) as Job
    });
    named.chain(captured).collect()
}

/// Runs the traces on as many threads as there are cores; the report does not depend on it.
fn run(jobs: &[Job]) -> Result<Report, String> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((number, job)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(number).map(|job| (number, job))
                } {
                    let rows = job();
                    done.lock().expect("no job panics while it holds this").push((number, rows));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no job panics while it holds this");
    done.sort_by_key(|(number, _)| *number);
    let mut report = Report::default();
    for (_, rows) in done {
        report.rows.extend(rows?);
    }
    Ok(report)
}

fn write(options: &Options, report: &Report) -> Result<(), String> {
    let place = |path: &PathBuf| path.display().to_string();
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let json = format!("{:#}\n", report.json());
    std::fs::write(&options.json, json).map_err(|e| format!("{}: {e}", place(&options.json)))?;
    let Some(page) = options.docs.as_ref() else { return Ok(()) };
    let text = std::fs::read_to_string(page).map_err(|e| format!("{}: {e}", place(page)))?;
    let no_marks = || format!("{}: no line {}", place(page), MARKS[0].trim());
    let (before, rest) = text.split_once(MARKS[0]).ok_or_else(no_marks)?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or_else(no_marks)?;
    let tables = format!("{}\n{}", report.markdown(), report.attacks());
    let text = [before, MARKS[0], &tables, MARKS[1], after].concat();
    std::fs::write(page, text).map_err(|e| format!("{}: {e}", place(page)))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let fail = |text: String| {
        eprintln!("placement: {text}");
        ExitCode::from(2)
    };
    let options = match options(arguments.into_iter()) {
        Ok(options) => options,
        Err(text) => return fail(text),
    };
    let report = match run(&jobs(&options)) {
        Ok(report) => report,
        Err(text) => return fail(text),
    };
    print!("{}\n{}", report.markdown(), report.attacks());
    if let Err(text) = write(&options, &report) {
        return fail(text);
    }
    let failures = report.failures();
    failures.iter().for_each(|line| println!("not met: {line}"));
    if failures.is_empty() {
        println!("all bars met");
    }
    if options.check && !failures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
