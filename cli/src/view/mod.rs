//! Tables and texts for people.

pub(crate) mod card;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod fault;
pub(crate) mod flows;
pub(crate) mod replace;
pub(crate) mod replay;
pub(crate) mod stats;
pub(crate) mod why;

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

/// `list` with `head` before it, broken after commas so that lines fit where they can.
pub(crate) fn wrapped(head: &str, list: &str) -> String {
    let mut text = String::new();
    let mut line = head.to_owned();
    for item in list.split_inclusive(',') {
        if line.chars().count() + item.chars().count() > WIDTH.into() && line.len() > head.len() {
            text += &format!("{line}\n");
            line = " ".repeat(head.chars().count() + 2);
        }
        line += item;
    }
    text + &line + "\n"
}

/// Words in lines that fit, each `indent` characters in.
pub(crate) fn paragraph(indent: usize, words: &str) -> String {
    let mut text = String::new();
    let mut line = " ".repeat(indent);
    for word in words.split(' ') {
        let is_first = line.len() == indent;
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH.into() {
            text += &format!("{line}\n");
            line = " ".repeat(indent);
        } else if !is_first {
            line.push(' ');
        }
        line += word;
    }
    text + &line + "\n"
}

/// A part in percent; empty when there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    if whole == 0 { String::new() } else { format!("{:.2} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_break_between_words_and_keep_their_indent() {
        let text = paragraph(4, &["three words here"; 20].join(" "));
        assert!(text.lines().all(|line| line.len() <= 80 && line.len() - line.trim().len() == 4));
        assert_eq!(paragraph(2, "one"), "  one\n");
    }

    #[test]
    fn long_lists_break_after_commas_and_fit_80_columns() {
        let list = ["nw_dst=255.255.255.255/32"; 9].join(",");
        let text = wrapped("  → ", &list);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.replace(['\n', ' '], ""), format!("→{list}"));
        assert_eq!(wrapped("  ", "drop"), "  drop\n");
    }
}
