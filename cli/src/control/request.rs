//! What may be asked over the control socket, and the form of the answer.

use crate::run::host::Order;
use crate::run::listing::Page;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One request: one line of JSON, for instance `{"ask":"flows","place":"software","limit":10}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// The statistics of design section 8.
    Stats,
    /// Flows, busiest first.
    Flows {
        /// `card` or `software`; both when absent.
        place: Option<String>,
        /// Most flows in the listing.
        limit: usize,
        /// Where it goes on: an answer says so in `next`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<Page>,
    },
    /// Tables, flow and place of a packet or flow number.
    Explain {
        /// Packet text or flow number.
        what: String,
        /// Another device to judge the flow by.
        #[serde(default)]
        device: Option<String>,
    },
    /// Why packets went through software, in sums.
    Reasons,
    /// The rules in place, as loadable text.
    RulesDump,
    /// Adds rules.
    RulesAdd {
        /// Rule texts.
        rules: Vec<String>,
    },
    /// Deletes rules.
    RulesDel {
        /// Match text.
        selection: String,
        /// Exactly this match and priority.
        strict: bool,
    },
    /// Makes the rules of a file the rules in place, all at once.
    RulesReplace {
        /// Name of the file, for errors.
        name: String,
        /// The whole file.
        text: String,
        /// Only says what would change.
        dry_run: bool,
    },
    /// What the card holds, compared with what it should.
    Reconcile,
    /// What happened lately.
    Events,
    /// Faults of the simulated card.
    Fault {
        /// What is wanted.
        order: FaultOrder,
    },
    /// The card: how it does, and whether it is trusted.
    Card,
    /// Does something with the card, then tells of it.
    CardOrder {
        /// What.
        order: Order,
    },
}

impl Request {
    /// Whether it leaves everything as it is; who is not trusted may ask nothing else.
    pub(crate) const fn only_looks(&self) -> bool {
        match self {
            Self::Stats
            | Self::Flows { .. }
            | Self::Explain { .. }
            | Self::Reasons
            | Self::RulesDump
            | Self::RulesReplace { dry_run: true, .. }
            | Self::Fault { order: FaultOrder::List }
            | Self::Card
            | Self::Reconcile
            | Self::Events => true,
            Self::RulesAdd { .. }
            | Self::RulesDel { .. }
            | Self::RulesReplace { .. }
            | Self::Fault { .. }
            | Self::CardOrder { .. } => false,
        }
    }

    /// Whether it changes the rules in place.
    pub(crate) const fn changes_rules(&self) -> bool {
        match self {
            Self::RulesAdd { .. } | Self::RulesDel { .. } => true,
            Self::RulesReplace { dry_run, .. } => !*dry_run,
            Self::Stats
            | Self::Flows { .. }
            | Self::Explain { .. }
            | Self::Reasons
            | Self::RulesDump
            | Self::Reconcile
            | Self::Events
            | Self::Fault { .. }
            | Self::Card
            | Self::CardOrder { .. } => false,
        }
    }
}

/// What is wanted of the simulated card's faults; times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultOrder {
    /// All classes with their rates and how often they fired.
    List,
    /// Sets the rate of a class.
    Set {
        /// Its name.
        class: String,
        /// One chance in so many; 0 for never.
        one_in: u32,
        /// Nanoseconds or entries; the class's own when absent.
        amount: Option<u64>,
        /// Where draws come from, if there was no plan.
        seed: u64,
    },
    /// Makes one happen.
    Once {
        /// Its name.
        class: String,
        /// From now.
        after: u64,
        /// For so long every chance is taken; the next one only when absent.
        lasts: Option<u64>,
        /// As in a rate.
        amount: Option<u64>,
    },
    /// Ends all faults and mends the card.
    Clear,
}

/// One answer: one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// What was asked for.
    Ok(Value),
    /// The request was wrong: the caller's fault.
    Refused(String),
    /// It could not be done.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_plain_lines() {
        let request = Request::Flows { place: Some("card".into()), limit: 5, page: None };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"ask":"flows","place":"card","limit":5}"#);
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        assert_eq!(serde_json::from_str::<Request>(r#"{"ask":"stats"}"#).unwrap(), Request::Stats);
        assert!(serde_json::from_str::<Request>(r#"{"ask":"stat"}"#).is_err());
        let answer = serde_json::to_string(&Answer::Refused("no".into())).unwrap();
        assert_eq!(answer, r#"{"refused":"no"}"#);
    }
}
