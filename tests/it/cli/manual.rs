//! The manual and the binary say the same: every command, every option and every exit code of `docs/cli.md`.

use std::collections::BTreeSet;

use rekon::cli::{self, Exit};

const MANUAL: &str = include_str!("../../../docs/cli.md");

/// Every command that does something, by its whole name.
fn leaves(command: &clap::Command, above: &str, found: &mut Vec<(String, clap::Command)>) {
    let name = format!("{above} {}", command.get_name()).trim().to_owned();
    if command.get_subcommands().next().is_none() {
        found.push((name, command.clone()));
    } else {
        command.get_subcommands().for_each(|below| leaves(below, &name, found));
    }
}

fn commands() -> Vec<(String, clap::Command)> {
    let mut found = Vec::new();
    leaves(&cli::command(), "", &mut found);
    found
}

/// The sections of the manual: what stands between backquotes in a heading, and the text below it.
fn sections() -> Vec<(String, String)> {
    let parts = MANUAL.split("\n### `").skip(1);
    parts
        .map(|part| {
            let (name, text) = part.split_once('`').expect("a heading closes its quote");
            (name.to_owned(), text.split("\n## ").next().unwrap_or_default().to_owned())
        })
        .collect()
}

#[test]
fn the_manual_names_every_command_and_no_other() {
    let names: BTreeSet<String> = commands().into_iter().map(|(name, _)| name).collect();
    let headed: BTreeSet<String> = sections().into_iter().map(|(name, _)| name).collect();
    assert_eq!(headed, names, "left: headings of docs/cli.md, right: commands of the binary");
}

#[test]
fn the_manual_names_every_option_of_a_command_and_no_other() {
    let global: BTreeSet<String> =
        cli::command().get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    for (name, command) in commands() {
        let (_, text) = sections().into_iter().find(|(head, _)| *head == name).expect("it has a section");
        let own = command.get_arguments().filter_map(|arg| arg.get_long()).filter(|long| !global.contains(*long));
        let options: BTreeSet<String> = own.map(|long| format!("--{long}")).collect();
        let said: BTreeSet<String> = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.starts_with("--"))
            .map(|code| code.split([' ', '=']).next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(said, options, "{name}; left: options in docs/cli.md, right: options of the binary");
    }
}

#[test]
fn the_manual_names_every_exit_code_and_no_other() {
    let rows = MANUAL.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let said: Vec<u8> = rows.filter_map(|(code, _)| code.trim().parse().ok()).collect();
    assert_eq!(said, Exit::ALL.map(Exit::code));
    for exit in Exit::ALL {
        assert!(MANUAL.contains(exit.meaning()), "docs/cli.md does not say {:?}", exit.meaning());
    }
}

#[test]
fn every_command_says_what_it_does_and_gives_an_example_that_parses() {
    for (name, command) in commands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.starts_with(char::is_uppercase) && !about.ends_with('.'), "{name}: {about:?}");
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = after.lines().find_map(|line| line.strip_prefix("Example: ")).unwrap_or_default();
        assert!(example.starts_with(&name), "{name} has no example: {after:?}");
        let parsed = cli::command().try_get_matches_from(example.split_whitespace());
        assert!(parsed.is_ok(), "{example}: {parsed:?}");
    }
}
