//! A replayed divergence for people.

use crate::reproducer::{FrameAt, Replayed};
use std::fmt::Write as _;

/// What was received, demanded and sent, and what comes of it now.
pub(crate) fn story(replayed: &Replayed) -> String {
    let recorded = &replayed.recorded;
    let mut text = format!("recorded       {}\n", recorded.divergence);
    let _ = writeln!(text, "packet         in port {}", recorded.packet.port);
    let _ = writeln!(text, "               {}", recorded.packet.frame);
    for (who, frames) in [
        ("card sent", &recorded.got),
        ("rules then", &recorded.expected),
        ("specification", &replayed.specification),
        ("software path", &replayed.software),
    ] {
        text += &list(who, frames);
    }
    if let Some(right) = recorded.expected_counts {
        let got = recorded.got_counts;
        let _ = writeln!(
            text,
            "entry counts   {} packets, {} bytes; {} and {} are right",
            got.packets, got.bytes, right.packets, right.bytes
        );
    }
    text += match replayed.confirmed {
        true => "confirmed: what the card did is not what the rules demand\n",
        false => "not confirmed: specification or software path now do what the card did\n",
    };
    text
}

fn list(who: &str, frames: &[FrameAt]) -> String {
    if frames.is_empty() {
        return format!("{who:<15}nothing\n");
    }
    let mut text = String::new();
    for (at, frame) in frames.iter().enumerate() {
        let head = if at == 0 { who } else { "" };
        let _ = writeln!(text, "{head:<15}out port {}", frame.port);
        let _ = writeln!(text, "               {}", frame.frame);
    }
    text
}
