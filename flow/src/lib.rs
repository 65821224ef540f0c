//! Vocabulary and reference semantics of Twinpath: no I/O, no clock, no unsafe.
//!
//! From the bottom up:
//!
//! - [`field`], [`key`]: header fields and the 64-byte key (plus a second line) they live in.
//! - [`port`]: the port table: physical ports and tunnel ports.
//! - [`action`], [`rule`]: what a user writes; [`pipeline`]: tables of rules, the intent.
//! - [`check`]: prerequisites of fields; whether a rule's actions fit its match.
//! - [`steps`]: what the slow path derives: a *flow* is a masked key plus composed steps.
//! - [`edit`]: the steps of one flow folded into a single edit, the form cards can hold.
//! - [`card`]: the words host and card driver speak: capabilities, operations, events.
//! - [`text`]: rules, packets and flows as text, in the syntax of `ovs-ofctl`.
//! - [`parse`], [`apply`], [`encap`]: frame to key, steps on frames, outer headers.
//! - [`mod@reference`]: the executable specification of all of it.
//! - [`sample`]: random worlds from a seed, for tests.
//! - [`counters`], [`time`]: 64-bit counters and the time type handed in by callers.
#![forbid(unsafe_code)]

pub mod action;
pub mod apply;
pub mod card;
pub mod check;
pub mod counters;
pub mod edit;
pub mod encap;
pub mod field;
pub mod frame;
pub mod key;
pub mod parse;
pub mod pipeline;
pub mod port;
pub mod reference;
pub mod rule;
#[cfg(sabotage)]
pub mod sabotage;
pub mod sample;
pub mod steps;
pub mod text;
pub mod time;
