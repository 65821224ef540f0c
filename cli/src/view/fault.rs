//! Faults of the simulated card as a table.

use super::{lines, table};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// The answer to `twinpath sim fault`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultList {
    /// Every class.
    pub faults: Vec<FaultLine>,
    /// Events that are still to come, or have not ended.
    pub script: Vec<Scripted>,
}

/// A class of faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultLine {
    /// Name.
    pub class: String,
    /// Rate: one chance in so many; 0 for never.
    pub one_in: u32,
    /// What one chance is.
    pub chance: String,
    /// Nanoseconds or entries.
    pub amount: u64,
    /// Whether the amount is nanoseconds.
    pub is_time: bool,
    /// How often it fired.
    pub fired: u64,
    /// What happens.
    pub what: String,
}

/// A scripted event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scripted {
    /// Name of its class.
    pub class: String,
    /// When, on the card's clock, in nanoseconds.
    pub at: u64,
    /// For how long, in nanoseconds; null for once.
    pub lasts: Option<u64>,
}

/// The table.
pub(crate) fn list(faults: &FaultList) -> String {
    let mut rows = table(&["fault", "one in", "fired", "what happens"], &[1, 2]);
    for fault in &faults.faults {
        let rate = match fault.one_in {
            0 => "-".to_owned(),
            one_in => one_in.to_string(),
        };
        let amount = if fault.is_time {
            format!("{:?}", Duration::from_nanos(fault.amount))
        } else {
            fault.amount.to_string()
        };
        let what = format!("{}: {}", fault.chance, fault.what.replace("AMOUNT", &amount));
        rows.add_row([fault.class.clone(), rate, fault.fired.to_string(), what]);
    }
    let mut text = lines(&rows);
    for event in &faults.script {
        let _ = match event.lasts {
            None => writeln!(text, "once: {}", event.class),
            Some(lasts) => {
                writeln!(text, "for {:?}: {}", Duration::from_nanos(lasts), event.class)
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_an_amount_and_an_event_are_shown() {
        let fault = FaultLine {
            class: "command-slow".to_owned(),
            one_in: 10,
            chance: "command".to_owned(),
            amount: 5_000_000,
            is_time: true,
            fired: 3,
            what: "takes AMOUNT longer".to_owned(),
        };
        let event = Scripted { class: "removed".to_owned(), at: 0, lasts: Some(50_000_000) };
        let text = list(&FaultList { faults: vec![fault], script: vec![event] });
        assert!(text.contains("command-slow") && text.contains("command: takes 5ms longer"));
        assert!(text.ends_with("for 50ms: removed\n"), "{text}");
    }
}
