//! Tables and texts for people.

pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod flows;
pub(crate) mod replace;
pub(crate) mod stats;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Columns of a terminal nobody complains about.
const WIDTH: u16 = 80;

/// A table with these heads; columns named in `numbers` are right-aligned.
pub(crate) fn table(heads: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.set_header(heads.to_vec());
    for number in numbers {
        if let Some(column) = table.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A number that may be unknown.
pub(crate) fn known(value: Option<u64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

/// The table's lines without trailing blanks.
pub(crate) fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
