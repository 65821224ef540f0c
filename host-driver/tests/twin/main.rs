//! One suite for every way to reach a twin card: the driver over a transport, with real frames
//! through the card. A transport is a `Rig`: the simulated card in this
//! process, and served over a vfio-user socket.
#![expect(
    clippy::unwrap_used,
    reason = "the suite is generic, so its bodies are no test functions"
)]

mod adoption;
mod counters;
mod faults;
mod forwarding;
mod generations;
mod hardship;
mod holding;
mod lives;
mod placement;
mod remote;
mod rig;
mod world;

/// Instantiates the suite over a rig.
macro_rules! suite {
    ($rig:ty: $($module:ident::{$($name:ident),* $(,)?}),* $(,)?) => {
        $($(#[test] fn $name() { $module::$name::<$rig>(); })*)*
    };
}

/// The whole suite over a rig.
macro_rules! every_test {
    ($rig:ty) => {
        suite!($rig:
            forwarding::{
                a_miss_comes_to_the_host_as_it_was,
                an_entry_forwards_and_edits_in_the_card,
                a_modified_entry_edits_anew,
                a_packet_at_its_ttl_threshold_is_an_exception,
                an_entry_without_outputs_drops,
                a_ternary_entry_serves_after_the_banks,
                frames_of_the_host_leave_in_order_over_many_laps,
                every_queue_receives_and_each_flow_stays_on_one,
            },
            counters::{
                a_sweep_counts_what_was_forwarded_and_final_counts_agree,
                a_sweep_of_a_full_card_is_complete,
                a_ring_that_was_full_is_swept_without_another_operation,
            },
            placement::{
                moves_under_traffic_lose_neither_packets_nor_counts,
                structured_keys_load_a_bank_of_4096_to_95_percent,
                a_full_table_says_so_and_takes_again_after_a_delete,
            },
            generations::{
                a_commit_changes_many_entries_between_two_packets,
                more_entries_end_with_a_commit_than_the_rings_have_slots,
            },
            holding::{
                a_held_entry_keeps_the_order_of_its_packets,
                an_overflowing_hold_gives_its_frames_back_in_order,
                a_held_entry_can_be_deleted,
                without_a_free_hold_queue_an_add_is_cancelled,
            },
            lives::{
                random_lives_end_every_operation_once_and_leave_the_card_as_the_model_says,
            },
            faults::{
                a_reset_empties_the_card_and_it_works_again,
                a_silent_card_is_dead_within_ten_milliseconds_and_comes_back,
                scribbled_rings_are_garbage_and_a_reset_heals_them,
                a_function_reset_behind_the_drivers_back_is_noticed,
            },
        );
    };
}

/// In this process.
mod in_process {
    use crate::*;
    every_test!(rig::InProcess);
}

/// Over a vfio-user socket.
mod vfio_user {
    use crate::*;
    every_test!(remote::OverSocket);
}
