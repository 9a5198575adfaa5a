//! The `bts` command as a script sees it, as far as that needs no cluster: what is printed where,
//! and the exit codes.

use std::process::{Command, Output};

fn bts(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bts"))
        .args(arguments)
        .env_remove("BTS_CONFIG")
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the command was built")
}

/// Exit code and stderr of a command that prints nothing else.
fn complaint(arguments: &[&str]) -> (i32, String) {
    let output = bts(arguments);
    assert!(
        output.stdout.is_empty(),
        "stdout is for results: {output:?}"
    );
    let told = String::from_utf8(output.stderr).expect("messages are text");
    (output.status.code().expect("no signal"), told)
}

#[test]
fn command_mistakes_in_tuples_are_told_before_anything_is_connected() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["out", r#"("task", next)"#],
            r#"error: invalid value '("task", next)' for '<TUPLE>...': column 10: next is no value; text is written in quotes: "next"

  ("task", next)
           ^

For more information, try '--help'.
"#,
        ),
        (
            &["out", "(int)"],
            r#"error: invalid value '(int)' for '<TUPLE>...': column 2: a type can stand in templates only; text is written in quotes

  (int)
   ^

For more information, try '--help'.
"#,
        ),
        (
            &["rdp", r#"["task", {"type": "text"}]"#],
            r#"error: invalid value '["task", {"type": "text"}]' for '<TEMPLATE>': field 1: an object is one of {"uint": 17}, {"float": "nan"}, {"bytes": "00ff"}, {"type": "int"}, {"taken": 0}

For more information, try '--help'.
"#,
        ),
        (
            &["in", "(_)", "--timeout", "soon"],
            r#"error: invalid value 'soon' for '--timeout <SECONDS>': expected seconds, as 5 or 0.5, or `none`

For more information, try '--help'.
"#,
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(complaint(arguments), (2, expected.to_owned()));
    }
}

#[test]
fn command_without_settings_says_where_it_looked() {
    let (code, told) = complaint(&["rdp", "(_)", "--config", "no/client.toml"]);
    assert_eq!(code, 2);
    assert!(
        told.starts_with("bts: cannot read no/client.toml: "),
        "{told}"
    );
}

#[test]
fn command_help_documents_the_exit_codes() {
    let output = bts(&["--help"]);
    let help = String::from_utf8(output.stdout).expect("help is text");
    assert!(output.status.success());
    for line in [
        "  1  nothing matches",
        "  4  refused",
        "  130  interrupted",
        "  swapp ",
    ] {
        assert!(help.contains(line), "{help}");
    }
}
