//! Commands that need no node.

use super::User;

#[test]
fn check_names_kind_check_digit_and_near_matches() {
    insta::assert_snapshot!(User::new().session(&[
        &["check", "CSQU3054383"],
        &["check", "csqu 305438 3"],
        &["check", "MSKU0000080"],
        &["check", "CSQU3054384"],
        &["check", "9074729"],
        &["check", "IMO 9O74729"],
        &["check", "hello"],
        &["check", "440123456", "--json"],
        &["check", "CSQU3054384", "--json"],
    ]));
}

#[test]
fn explain_knows_rules_and_policies() {
    insta::assert_snapshot!(User::new().session(&[
        &["explain", "EX-07"],
        &["explain", "ex-07", "--json"],
        &["explain", "EX-99"],
    ]));
}

#[test]
fn wrong_usage_ends_with_64_and_invalid_values_with_3() {
    insta::assert_snapshot!(User::new().session(&[
        &["chekc", "x"],
        &["check"],
        &["check", "x", "--colour"],
        &["check", "x", "--color", "purple"],
        &["-n", "a", "--home", "b", "check", "x"],
        &["list", "--kind", "rumour"],
        &["list", "--kind", "rumour", "--json"],
        &["list", "--limit", "many"],
        &[
            "indicator",
            "publish",
            "--imo",
            "9074729",
            "--tlp",
            "purple"
        ],
    ]));
}

#[test]
fn a_node_that_is_not_there_is_said_to_be() {
    let user = User::new();
    user.file(".portcullis/nodes/port", "/srv/port\n");
    insta::assert_snapshot!(user.session(&[
        &["status"],
        &["status", "--json"],
        &["-n", "port", "list"],
        &["-n", "police", "list"],
        &["-n", "../police", "list"],
        &["show", "3f2a"],
    ]));
}

#[test]
fn what_is_wrong_with_a_draft_is_said_before_the_node_is_asked() {
    insta::assert_snapshot!(User::new().session(&[
        &["indicator", "publish"],
        &[
            "indicator",
            "publish",
            "--container",
            "CSQU3054384",
            "--from",
            "2021-03-01",
            "--until",
            "2021-03-31"
        ],
        &["indicator", "publish", "--container", "CSQU3054383"],
        &[
            "indicator",
            "publish",
            "--container",
            "CSQU3054383",
            "--from",
            "2021-03-01"
        ],
        &["indicator", "publish", "--imo", "9074728"],
        &[
            "indicator",
            "publish",
            "--imo",
            "9074729",
            "--tlp",
            "TLP:RED"
        ],
        &[
            "indicator",
            "publish",
            "--imo",
            "9074729",
            "--handling",
            "H3"
        ],
        &[
            "indicator",
            "publish",
            "--imo",
            "9074729",
            "--narrative",
            "@nowhere.txt"
        ],
        &["indicator", "publish", "--imo", "9074729"],
        &[
            "policy",
            "preview",
            "--container",
            "CSQU3054384",
            "--from",
            "2021-03-01",
            "--until",
            "2021-03-31",
            "--accept-unchecked"
        ],
    ]));
}

#[test]
fn a_file_of_indicators_is_read_whole_before_anything_is_sent() {
    let user = User::new();
    user.file("empty.csv", "");
    user.file("header.csv", "container,from,until\n");
    user.file("column.csv", "container,colour\nCSQU3054383,red\n");
    user.file(
        "wrong.csv",
        "container,from,until,evaluation\n\
         CSQU3054383,2021-03-01,2021-03-31,B2\n\
         CSQU3054384,2021-03-01,2021-03-31,B2\n\
         CSQU3054383,2021-03-31,2021-03-01,B2\n\
         CSQU3054383,2021-03-01,2021-03-31,Z9\n\
         CSQU3054383,2021-03-01\n",
    );
    user.file(
        "good.csv",
        "container,from,until,evaluation\nCSQU3054383,2021-03-01,2021-03-31,B2\n",
    );
    insta::assert_snapshot!(user.session(&[
        &["indicator", "import", "missing.csv"],
        &["indicator", "import", "empty.csv"],
        &["indicator", "import", "header.csv"],
        &["indicator", "import", "column.csv"],
        &["indicator", "import", "wrong.csv"],
        &["indicator", "import", "wrong.csv", "--json"],
        &["indicator", "import", "good.csv", "--dry-run"],
        &["indicator", "import", "good.csv"],
    ]));
}

#[test]
fn policies_that_do_not_parse_validate_or_tighten_are_refused() {
    let user = User::new();
    user.file("parse/a.cedar", "forbid (principal, action, resource\n");
    user.file(
        "invalid/a.cedar",
        "@id(\"typo\")\nforbid (principal, action, resource)\nwhen { resource.colour == \"red\" };\n",
    );
    user.file(
        "permit/a.cedar",
        "@id(\"wider\")\npermit (principal, action, resource);\n",
    );
    user.file(
        "good/a.cedar",
        "// Nothing leaves on my watch.\n@id(\"closed\")\nforbid (principal, action, resource);\n",
    );
    insta::assert_snapshot!(user.session(&[
        &["policy", "check", "parse"],
        &["policy", "check", "invalid"],
        &["policy", "check", "permit"],
        &["policy", "check", "nowhere"],
        &["policy", "explain", "no-such-policy"],
    ]));
    let good = user.good(&["policy", "check", "good"]);
    assert!(good.contains("closed"), "{good}");
}

/// Attack M11, C1, C2: who is heard is policy, and what an authority's own policies change of it is
/// shown before they are in force.
#[test]
fn policy_check_shows_who_is_heard_and_what_own_policies_change() {
    let user = User::new();
    user.file(
        "own/hear.cedar",
        "@id(\"terminals\")\npermit (principal, action == Portcullis::Action::\"hear\", \
         resource == Portcullis::Matter::\"outcomes\")\n\
         when { principal.kind == Portcullis::AuthorityKind::\"private-operator\" };\n",
    );
    let line = |folder: &str, who: &str| {
        let said = user.good(&["policy", "check", folder]);
        let line = said.lines().find(|line| line.contains(who));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let operators = line("own", "private-operator");
    for part in ["outcomes", "X3 X4", "hears outcomes"] {
        assert!(operators.contains(part), "{operators}");
    }
    assert!(!line("own", "port-authority").contains("hears"));
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let user = User::new();
    let script = user.good(&["completions", "bash"]);
    // The shell asks the program itself for what fits.
    assert!(script.contains("COMPLETE="), "{script}");
    assert!(script.contains("complete -o"), "{script}");
    user.good(&["man", "--out", "man"]);
    for page in [
        "portcullis.1",
        "portcullis-indicator-publish.1",
        "portcullis-check.1",
    ] {
        let text = std::fs::read_to_string(user.folder().join("man").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}
