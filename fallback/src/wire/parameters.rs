//! `name=value,name=value` as wires write it; unknown names get the nearest known one as a hint.

use super::spec::WireSpecError;

/// One wire's parameters, taken one by one; what is left over at the end is unknown.
pub(super) struct Parameters<'a> {
    kind: &'static str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    /// Splits `text` at commas and each piece at its first `=`.
    pub(super) fn split(kind: &'static str, text: &'a str) -> Result<Self, WireSpecError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
            let (name, value) = piece
                .split_once('=')
                .ok_or_else(|| WireSpecError::NoValue { kind, parameter: piece.to_owned() })?;
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err(WireSpecError::Twice { kind, parameter: name.to_owned() });
            }
            pairs.push((name, value));
        }
        Ok(Self { kind, pairs })
    }

    /// Refuses names that are not in `known`.
    pub(super) fn expect_only(&self, known: &[&'static str]) -> Result<(), WireSpecError> {
        match self.pairs.iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(WireSpecError::UnknownParameter {
                kind: self.kind,
                given: (*name).to_owned(),
                nearest: nearest(name, known),
                known: known.join(", "),
            }),
        }
    }

    /// The value of that parameter.
    pub(super) fn find(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The value of that parameter read by `read`, or `default` when it was not written.
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, WireSpecError> {
        let Some(text) = self.find(name) else { return Ok(default) };
        read(text).ok_or_else(|| WireSpecError::BadValue {
            kind: self.kind,
            parameter: name,
            value: text.to_owned(),
            expected,
        })
    }
}

/// The known word nearest to `given`, if it is near enough to be a slip.
pub(super) fn nearest(given: &str, known: &[&'static str]) -> Option<&'static str> {
    let limit = given.len() / 3 + 1;
    known
        .iter()
        .map(|word| (distance(given.as_bytes(), word.as_bytes()), *word))
        .min()
        .filter(|(far, _)| *far <= limit)
        .map(|(_, word)| word)
}

/// Edit distance (Levenshtein) of two short words.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        assert_eq!(nearest("flosw", &["flows", "zipf"]), Some("flows"));
        assert_eq!(nearest("pcpa", &["pcap", "tap"]), Some("pcap"));
        assert_eq!(nearest("elephant", &["pcap", "tap"]), None);
    }
}
