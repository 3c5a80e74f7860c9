//! The suite itself: which checks there are.

pub mod auditing;
pub mod claiming;
pub mod erasing;
pub mod ledger;
pub mod merging;
pub mod model;
pub mod operating;
pub mod place;
pub mod reading;
pub mod recording;
pub mod records;
pub mod refusing;
pub mod requeuing;
pub mod searching;
pub mod times;

/// One test per check of the suite.
#[macro_export]
macro_rules! conformance {
    ($database:expr; $($module:ident: $($check:ident)*;)*) => {
        $($(
            #[tokio::test]
            async fn $check() {
                let place = $crate::support::store_suite::place::Place::new($database);
                $crate::support::store_suite::$module::$check(&place).await;
                assert_eq!(place.disagreements(), Vec::<String>::new());
            }
        )*)*

        #[test]
        fn any_sequence_of_operations_does_what_the_model_does() {
            $crate::support::store_suite::model::any_sequence_of_operations_does_what_the_model_does($database);
        }
    };
}

/// The suite on one database.
#[macro_export]
macro_rules! on {
    ($database:expr) => {
        $crate::conformance! {
            $database;
            recording:
                a_callback_is_new_once_and_repeated_ever_after
                a_repeat_is_recognised_after_a_restart
                another_status_of_a_leg_is_new
                the_same_callback_recorded_at_once_by_many_is_new_exactly_once
                calls_whose_sids_share_a_hash_stay_apart
                two_accounts_with_one_call_sid_stay_apart
                bytes_are_kept_as_they_came
                a_repeat_with_new_fields_is_stored
                at_most_four_callbacks_of_a_key_are_stored;
            merging:
                every_order_of_a_chain_makes_one_call
                a_call_that_is_being_sent_is_merged_into_its_parent_once_it_is_settled
                a_call_that_was_being_sent_at_a_crash_is_merged_into_its_parent
                a_call_that_is_merged_into_its_parent_keeps_its_retry_now
                a_chain_that_is_merged_while_its_last_leg_is_being_sent_is_one_call
                a_call_that_ends_while_its_leg_is_being_sent_waits_for_it
                legs_that_name_each_other_as_parents_are_one_call;
            claiming:
                calls_are_handed_out_in_the_order_they_fell_due
                a_claimed_call_is_handed_out_again_only_after_its_lease
                a_ticket_is_stale_once_another_claim_was_made
                a_ticket_settles_once
                a_late_ticket_is_valid_while_no_other_node_claimed
                a_retry_is_handed_out_when_it_is_due
                a_callback_recorded_while_claimed_makes_the_call_due_at_once
                a_claim_returns_what_the_last_settled_one_had
                a_leg_that_ends_after_delivery_makes_the_call_due
                a_leg_that_ends_after_parking_makes_the_call_due
                a_claim_ends_with_the_process
                an_offer_takes_a_new_call_or_wakes_the_worker
                attempts_are_read_back_as_they_were_made
                the_next_due_time_leaves_claimed_calls_out
                of_a_backlog_the_freshest_calls_come_first
                calls_that_wait_for_more_than_a_second_are_a_backlog
                calls_that_have_not_failed_come_first_where_some_fail
                a_thousand_failing_calls_hide_no_healthy_one
                a_call_that_failed_again_after_it_was_retried_now_keeps_its_time
                calls_are_handed_out_by_account
                many_calls_of_others_are_passed_over_step_by_step
                calls_with_attempts_are_retried_now_and_no_others
                a_call_that_is_being_sent_is_retried_now_once_it_is_settled
                a_due_call_with_a_later_retry_is_retried_now_also_after_a_restart;
            requeuing:
                a_requeued_call_is_due_whatever_its_state
                a_requeued_call_is_handed_out_with_its_earlier_attempts_apart
                a_requeue_while_claimed_makes_the_call_due_at_once
                a_requeued_call_has_not_failed
                a_call_is_requeued_by_a_child_leg_too
                an_unknown_call_is_not_requeued
                a_sid_that_two_accounts_signed_reaches_the_calls_of_both
                requeued_calls_stand_behind_fresh_ones;
            auditing:
                a_requeue_and_a_dismissal_write_one_row_each
                an_act_without_effect_writes_no_row
                of_the_calls_of_two_accounts_the_parked_one_is_dismissed
                rows_that_are_written_at_once_are_one_chain
                rows_are_found_by_actor_act_and_time
                calls_that_expire_parked_are_in_the_log
                a_row_that_was_changed_or_removed_is_found;
            operating:
                a_batch_changes_its_calls_and_moves_the_operation_in_one_step
                a_key_makes_one_operation
                a_slot_of_the_rate_is_taken_once
                a_paused_operation_changes_nothing_until_it_is_resumed
                a_call_that_is_being_sent_is_left_alone;
            erasing:
                an_erased_number_is_in_no_row_and_other_calls_stay
                callbacks_of_an_erased_call_store_nothing
                a_call_is_erased_once_its_request_in_flight_has_ended
                the_ledger_keeps_an_erased_call;
            times:
                times_that_a_wrong_clock_wrote_are_corrected
                the_time_of_the_last_purge_is_kept
                an_expired_parked_call_leaves_its_cause_without_personal_data
                a_call_that_twilio_reported_later_is_not_removed;
            refusing:
                a_refused_request_is_read_back_as_it_was
                refused_requests_are_counted_and_listed_by_cause
                a_flood_of_one_cause_pushes_out_no_other
                refused_requests_go_when_their_time_is_over
                the_number_of_a_refused_request_is_not_used_again;
            records:
                each_leg_has_its_own_callbacks
                a_leg_of_a_removed_call_is_marked
                notes_are_written_found_by_prefix_and_removed
                a_note_is_replaced_only_if_it_is_as_it_was_read
                a_signed_callback_is_stored_beside_the_row_and_the_row_never_beside_it
                an_imported_call_stands_behind_fresh_ones;
            ledger:
                a_finished_call_has_a_cause_until_it_is_due_again;
            searching:
                a_call_is_found_by_its_addresses_once_it_is_settled
                an_unsettled_call_is_indexed_by_the_background_task
                a_call_without_addresses_is_indexed_once
                a_merged_or_removed_call_is_found_no_more
                the_newest_of_many_calls_of_one_number_come_first
                a_page_ends_early_after_many_calls_and_continues
                every_page_of_a_list_is_as_a_plain_scan_while_calls_arrive;
            reading:
                a_call_is_found_by_any_of_its_legs
                a_list_is_newest_first_and_by_state
                of_a_long_list_those_that_are_wanted_are_found
                a_claimed_call_is_shown_as_claimed
                counts_have_every_state_and_the_oldest_due_time
                expired_calls_are_purged_oldest_first
                callbacks_of_a_removed_call_are_repeats
                a_ping_is_answered;
        }
    };
}
