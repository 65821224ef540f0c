//! Rules, packets and flows as text, in the syntax of `ovs-ofctl` (a subset of Open vSwitch 3.1).
//!
//! - [`rules`]: a file of rules; one bad line and nothing of it is loaded.
//! - [`print`]: rules back to text; print of parse of print is print.
//! - [`packet`]: a packet written as for `ofproto/trace`, made into a frame.
//! - [`show`]: flows, steps and edits in the style of `dpctl/dump-flows`.
//! - [`error`]: what can be wrong, and where.

pub mod error;
pub mod packet;
pub mod print;
pub mod rules;
pub mod show;

pub use error::{Doubt, Problem, TextError, TextWarning};
pub use packet::{Packet, parse_packet};
pub use print::{RuleText, rule_text};
pub use rules::{ParsedRule, Selector, parse_rule, parse_rules, parse_selector};
pub use show::{edit_text, match_text, steps_text};
