//! Rules, packets and flows as text, in the syntax of `ovs-ofctl` (a subset of Open vSwitch 3.1).
//!
//! - [`rules`]: a file of rules; one bad line and nothing of it is loaded. [`selector`]: which
//!   rules to delete.
//! - [`mod@print`]: rules back to text; print of parse of print is print.
//! - [`packet`]: a packet written as for `ofproto/trace`, made into a frame.
//! - [`show`]: flows, steps and edits in the style of `dpctl/dump-flows`.
//! - [`error`]: what can be wrong, and where.
//!
//! Stricter than `ovs-ofctl`: values that do not fit are refused instead of cut off (1.2.3.400,
//! `ip_dscp=64`, `arp_op=256`), and so are ports that the port table does not have.

mod actions;
pub mod error;
mod fields;
mod frame;
mod items;
mod matching;
mod overlap;
pub mod packet;
pub mod print;
pub mod rules;
pub mod selector;
mod sets;
pub mod show;
mod spelling;
mod spelling_actions;
mod values;

pub use error::{Doubt, Problem, TextError, TextWarning};
pub use frame::frame_of;
pub use packet::{Packet, parse_packet};
pub use print::{RuleText, rule_actions_text, rule_match_text, rule_text};
pub use rules::{ParsedRule, parse_rule, parse_rules};
pub use selector::{Selector, parse_selector};
pub use show::{edit_text, match_text, steps_text};
