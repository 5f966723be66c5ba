//! The mutation list, kept alive: every patch still applies to the sources as they are. `make mutants` does the rest.

use std::{path::Path, process::Command};

/// The historic bugs; each has a patch of its name.
const BUGS: [&str; 13] = [
    "absent_is_failed",
    "ack_before_work",
    "check_then_insert_refund",
    "delta_replay",
    "float_amount",
    "last_retry_is_failed",
    "lock_across_io",
    "lower_bound_on_due",
    "new_key_on_retry",
    "notification_posts_money",
    "response_overwrites_terminal",
    "single_zone_day",
    "timeout_is_failed",
];

#[test]
fn every_historic_bug_has_a_patch_that_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if Command::new("git").arg("--version").output().is_err() {
        println!("git is not here: the patches are not looked at");
        return;
    }
    for bug in BUGS {
        let patch = root.join("tests/mutants").join(format!("{bug}.patch"));
        let text = std::fs::read_to_string(&patch).unwrap_or_else(|error| panic!("{}: {error}", patch.display()));
        for header in ["Bug: ", "Source: ", "Test: ", "Says: "] {
            assert!(text.lines().any(|line| line.starts_with(header)), "{bug} does not name its {header}");
        }
        // Outside of any repository, so that it works in an unpacked archive, too.
        let applied = Command::new("git")
            .args(["apply", "--check"])
            .arg(&patch)
            .current_dir(root)
            .env("GIT_DIR", "/nonexistent")
            .output()
            .expect("git runs");
        assert!(applied.status.success(), "{bug} no longer applies: {}", String::from_utf8_lossy(&applied.stderr));
    }
    let found = std::fs::read_dir(root.join("tests/mutants")).expect("the folder is there").flatten();
    let patches = found.filter(|file| file.path().extension().is_some_and(|end| end == "patch")).count();
    assert_eq!(patches, BUGS.len(), "a patch that nobody lists");
}
