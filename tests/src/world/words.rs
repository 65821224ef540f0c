//! A scenario in words, `SEED=4 STEPS=5000 FAULTS=all`: on a command line, in a failure, and in the file
//! of worlds that once found something.

use super::scenario::{Changes, Faults, Scenario};
use twinpath_hw_sim::fault::Class;

/// Worlds that once found something, a line each: words, then what it was.
pub const REGRESSIONS: &str = include_str!("../../world-seeds");

/// The words there are.
pub const NAMES: [&str; 6] = ["SEED", "STEPS", "STREAMS", "RULES", "CHANGES", "FAULTS"];

/// A word that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No such word.
    #[error("no such word: {0}; there are {NAMES:?}")]
    Name(String),
    /// A value that is no number.
    #[error("{0} is not a number: {1:?}")]
    Number(String, String),
    /// A fault class that does not exist.
    #[error("FAULTS: {0}")]
    Faults(String),
}

fn faults(text: &str) -> Result<Faults, WordError> {
    match text {
        "all" => return Ok(Faults::All),
        "none" => return Ok(Faults::Only(Vec::new())),
        _ => {}
    }
    let names = text.split(',').filter(|name| !name.is_empty());
    let class = |name: &str| name.parse::<Class>().map_err(|e| WordError::Faults(e.to_string()));
    names.map(class).collect::<Result<_, _>>().map(Faults::Only)
}

impl Scenario {
    /// Takes a word.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), WordError> {
        let number = || {
            let number = value.parse::<u64>();
            number.map_err(|_| WordError::Number(name.to_owned(), value.to_owned()))
        };
        let size = || number().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        match name {
            "SEED" => self.seed = number()?,
            "STEPS" => self.steps = size()?,
            "STREAMS" => self.streams = size()?,
            "RULES" => self.rules = size()?,
            "CHANGES" => {
                self.changes = if number()? == 0 { Changes::None } else { Changes::Some };
            }
            "FAULTS" => self.faults = faults(value)?,
            _ => return Err(WordError::Name(name.to_owned())),
        }
        Ok(())
    }

    /// The scenario of a line of the file; `None` of one that is empty or a comment.
    ///
    /// # Errors
    /// [`WordError`].
    pub fn of_line(line: &str) -> Result<Option<Self>, WordError> {
        let mut scenario = None;
        for (name, value) in line.split_whitespace().map_while(|word| word.split_once('=')) {
            scenario.get_or_insert_with(|| Self::new(0)).set(name, value)?;
        }
        Ok(scenario)
    }

    /// The command that runs it again.
    #[must_use]
    pub fn command(&self) -> String {
        let whole = Self::new(self.seed);
        let mut words = vec![format!("SEED={}", self.seed)];
        if self.steps != whole.steps {
            words.push(format!("STEPS={}", self.steps));
        }
        if self.streams != whole.streams {
            words.push(format!("STREAMS={}", self.streams));
        }
        if self.rules != whole.rules {
            words.push(format!("RULES={}", self.rules));
        }
        if self.changes == Changes::None {
            words.push("CHANGES=0".into());
        }
        match &self.faults {
            Faults::All => words.push("FAULTS=all".into()),
            Faults::Only(classes) if classes.is_empty() => words.push("FAULTS=none".into()),
            Faults::Only(classes) => {
                let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
                words.push(format!("FAULTS={}", names.join(",")));
            }
        }
        words.push("./check world".into());
        words.join(" ")
    }
}

/// The worlds that once found something.
///
/// # Errors
/// [`WordError`] when the file has nonsense in it.
pub fn regressions() -> Result<Vec<Scenario>, WordError> {
    REGRESSIONS.lines().filter_map(|line| Scenario::of_line(line).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_as_it_is_written() {
        let text = "SEED=7 STEPS=12 RULES=3 CHANGES=0 FAULTS=removed,dma-wrong ./check world";
        let scenario = Scenario::of_line(text).unwrap().unwrap();
        assert_eq!(scenario.command(), text);
        assert_eq!(Scenario::of_line("# nothing"), Ok(None));
        assert!(Scenario::of_line("SEED=x").is_err() && Scenario::of_line("SED=1").is_err());
    }

    #[test]
    fn the_file_of_worlds_that_found_something_can_be_read() {
        assert!(!regressions().unwrap().is_empty());
    }
}
