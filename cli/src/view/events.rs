//! Events for people.

use serde_json::Value;

/// One line an event: when, what kind, what.
pub(crate) fn list(events: &Value) -> String {
    let mut text = String::new();
    for event in events.as_array().into_iter().flatten() {
        let seconds = event["seconds"].as_f64().unwrap_or_default();
        let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        text += &format!("{seconds:14.6}  {:<10}  {}\n", word("kind"), word("text"));
        if let Some(frame) = event["frame"].as_str() {
            text += &format!("{:28}{frame}\n", "");
        }
    }
    text
}
