//! The short form of every campaign is a test: each promise holds under each fault for a few seconds.

/// Nothing runs beside a campaign: it counts what it sees.
#[cfg(test)]
mod alone {
    use std::process::Command;

    #[track_caller]
    fn kept(promise: &str) {
        let status = Command::new(env!("CARGO_BIN_EXE_plinth-promises")).arg(promise).status().unwrap();
        assert!(status.success(), "{promise} was not kept: see the table above");
    }

    #[test]
    fn a_confirmed_publish_is_not_lost() {
        kept("P1");
    }

    #[test]
    fn a_unit_of_work_has_all_its_effects_or_none() {
        kept("P2");
    }

    #[test]
    fn a_message_is_done_or_a_dead_letter_that_says_why() {
        kept("P3");
    }

    #[test]
    fn whatever_is_changed_in_the_audit_log_is_found() {
        kept("P5");
    }

    #[test]
    fn each_seat_is_sold_once() {
        kept("P13");
    }

    #[test]
    fn a_fleet_agrees_or_leaves_all_as_it_was() {
        kept("FLEET");
    }
}
