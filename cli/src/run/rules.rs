//! The rule file of a configuration.

use crate::config::Config;
use anyhow::{Context as _, Result, anyhow};
use std::fs;
use std::path::Path;
use twinpath_flow::port::PortTable;
use twinpath_flow::rule::Rule;
use twinpath_flow::text::parse_rules;

/// Errors of a rule file shown at once.
const SHOWN_MAX: usize = 5;

/// Reads the rule file that `config` names; no rules when it names none.
///
/// # Errors
/// The file cannot be read, or a line is wrong: then nothing of it is used.
pub(crate) fn load(config: &Config) -> Result<Vec<Rule>> {
    match (&config.rules, &config.rules_place) {
        (Some(path), Some(place)) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("{place}: rules: cannot read {}", path.display()))?;
            parse(path, &text, &config.ports)
        }
        _ => Ok(Vec::new()),
    }
}

/// A digest of the rule file that `config` names, to see later whether it was changed; 0 without one.
pub(crate) fn file_digest(config: &Config) -> u64 {
    let text = config.rules.as_ref().and_then(|path| fs::read(path).ok()).unwrap_or_default();
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    text.iter().fold(0, step)
}

/// Reads a rule file.
///
/// # Errors
/// A line is wrong, or the file cannot be read.
pub(crate) fn read(path: &Path, ports: &PortTable) -> Result<Vec<Rule>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{}: cannot read", path.display()))?;
    parse(path, &text, ports)
}

fn parse(path: &Path, text: &str, ports: &PortTable) -> Result<Vec<Rule>> {
    let (rules, warnings) = parse_text(&path.display().to_string(), text, ports)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(rules)
}

/// Reads the text of a rule file called `name`: rules and warnings.
///
/// # Errors
/// A line is wrong; the first few are told.
pub(crate) fn parse_text(
    name: &str,
    text: &str,
    ports: &PortTable,
) -> Result<(Vec<Rule>, Vec<String>)> {
    let parsed = parse_rules(name, text, ports).map_err(|errors| {
        let more = errors.len().saturating_sub(SHOWN_MAX);
        let mut lines: Vec<String> =
            errors.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        anyhow!(lines.join("\n"))
    })?;
    let warnings = parsed.iter().flat_map(|rule| &rule.warnings).map(ToString::to_string).collect();
    Ok((parsed.into_iter().map(|parsed| parsed.rule).collect(), warnings))
}
