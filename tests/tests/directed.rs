//! The directed schedules against the protocol as it is. The command `mutants` shows that each of
//! them would fail if a rule were broken.

use bts_tests::directed;
use bts_tests::sim::batch::quietly;

#[test]
fn directed_schedules_hold() {
    let mut failed = Vec::new();
    for schedule in directed::all() {
        if let Err(why) = quietly(schedule.run) {
            failed.push(format!("{}: {why}", schedule.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
