//! Figures: told when they are known, then written as JSON and as a table of a page.

use std::path::Path;

/// One figure, told when it is known.
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it should be.
    bar: &'static str,
}

pub(super) fn tell(
    figures: &mut Vec<Figure>,
    name: String,
    (value, unit): (f64, &'static str),
    bar: &'static str,
) {
    println!("{name:58} {value:8.2} {unit:9} {bar}");
    figures.push(Figure { name, value, unit, bar });
}

/// Writes JSON, and a table between the markers of a page.
pub(super) fn write(figures: &[Figure], json: &str, docs: Option<&str>) -> std::io::Result<()> {
    let row = |f: &Figure| {
        let Figure { name, value, unit, bar } = f;
        format!(
            "  {{\"name\": \"{name}\", \"value\": {value:.3}, \"unit\": \"{unit}\", \"bar\": \"{bar}\"}}"
        )
    };
    let rows: Vec<String> = figures.iter().map(row).collect();
    if let Some(folder) = Path::new(json).parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(json, format!("[\n{}\n]\n", rows.join(",\n")))?;
    let Some(docs) = docs else { return Ok(()) };
    let page = std::fs::read_to_string(docs)?;
    let (begin, end) = ("<!-- host_cost:begin -->\n", "<!-- host_cost:end -->");
    let parts =
        page.split_once(begin).and_then(|(head, rest)| Some((head, rest.split_once(end)?.1)));
    let Some((head, tail)) = parts else {
        return Err(std::io::Error::other(format!("{docs} has no host_cost markers")));
    };
    let mut table = "| what | measured | to reach |\n|---|---:|---|\n".to_owned();
    for Figure { name, value, unit, bar } in figures {
        table += &format!("| {name} | {value:.2} {unit} | {bar} |\n");
    }
    std::fs::write(docs, format!("{head}{begin}{table}{end}{tail}"))
}
