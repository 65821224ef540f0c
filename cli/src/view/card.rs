//! The card as text.

use crate::statistics::CardView;
use std::fmt::Write as _;

/// One line: how it does, and whether it is trusted if there is anything to say of that.
pub(crate) fn line(card: &CardView) -> String {
    let mut text = format!("card {}: {}", card.name, card.health);
    if card.standing != "trusted" && card.standing != card.health {
        let _ = write!(text, ", {}", card.standing);
    }
    text.push('\n');
    text
}

/// The answer to `twinpath card`.
pub(crate) fn story(card: &CardView) -> String {
    let mut text = line(card);
    let _ = match &card.last_failure {
        None => writeln!(text, "it has not failed"),
        Some(last) => writeln!(text, "failed {} times, at last: {last}", card.failures),
    };
    let used: u32 = card.tables.iter().map(|table| table.used).sum();
    let capacity: u64 = card.tables.iter().map(|table| u64::from(table.capacity)).sum();
    let _ = writeln!(text, "{used} of {capacity} places used");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_left_out_says_so() {
        let standing = "left out after 9 failures in 60 s: heartbeat stopped".to_owned();
        let last_failure = Some("heartbeat stopped".to_owned());
        let (name, health, tables) = ("twin".to_owned(), "bypass".to_owned(), Vec::new());
        let card = CardView { name, health, standing, failures: 9, last_failure, tables };
        assert_eq!(
            story(&card),
            "card twin: bypass, left out after 9 failures in 60 s: heartbeat stopped\n\
             failed 9 times, at last: heartbeat stopped\n0 of 0 places used\n"
        );
    }
}
