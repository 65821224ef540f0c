//! The nearest known word to a mistyped one.

/// The word of `known` that differs from `given` least, if it is near enough to be meant: at most
/// a third of its letters differ.
pub(crate) fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, word) = known.iter().map(|word| (distance(given, word), *word)).min()?;
    (distance <= word.len().div_ceil(3)).then_some(word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_and_another_word_does_not() {
        let known = ["wire", "number", "remote_ip"];
        assert_eq!(nearest("wrie", &known), Some("wire"));
        assert_eq!(nearest("numbr", &known), Some("number"));
        assert_eq!(nearest("remote-ip", &known), Some("remote_ip"));
        assert_eq!(nearest("device", &known), None);
        assert_eq!(nearest("anything", &[]), None);
    }
}
