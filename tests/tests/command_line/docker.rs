//! docs/docker.md and the help say the same.

use std::fs;
use std::path::Path;

use tests::vmrun;

#[test]
fn every_flag_that_is_called_done_is_in_the_help() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/docker.md");
    let page = fs::read_to_string(path).unwrap();
    let (run, verbs) = page.split_once("## Verbs").unwrap();
    let (mut done, mut absent) = (Vec::new(), Vec::new());
    for cells in run.lines().map(cells).filter(|cells| cells.len() == 3) {
        match cells[1] {
            "done" => done.extend(flags(cells[0])),
            "not yet" | "not for VMs" => absent.extend(flags(cells[0])),
            _ => {}
        }
    }
    assert!(done.len() > 30 && absent.len() > 30, "{done:?} {absent:?}");
    let help = help("run");
    for flag in &done {
        assert!(has(&help, flag), "run has no {flag}");
    }
    // Docker's --init is another one than ours.
    for flag in absent.iter().filter(|flag| **flag != "--init") {
        assert!(!has(&help, flag), "run has {flag}: the page may say so");
    }
    let mut count = 0;
    for cells in verbs.lines().map(cells).filter(|cells| cells.len() == 4 && cells[1] == "done") {
        for verb in cells[0].split(", ").map(|verb| verb.trim_matches('`')) {
            if verb == "version" {
                continue;
            }
            let help = self::help(verb);
            for flag in flags(cells[2]).into_iter().filter(|_| verb != "create") {
                assert!(has(&help, flag), "{verb} has no {flag}");
            }
            count += 1;
        }
    }
    assert!(count > 30, "{count} verbs");
}

/// Without a store, so that nothing could be pulled into one.
#[test]
fn a_verb_that_is_not_here_says_so_and_is_no_image() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/docker.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, verbs) = page.split_once("## Verbs").unwrap();
    let mut absent = Vec::new();
    for cells in verbs.lines().map(cells).filter(|cells| cells.len() == 4 && cells[1].starts_with("not ")) {
        absent.extend(cells[0].split(", ").map(|verb| verb.trim_matches('`')));
    }
    // An image that many run.
    absent.retain(|verb| *verb != "node");
    assert!(absent.len() > 10, "{absent:?}");
    let home = tempfile::tempdir().unwrap();
    for verb in absent {
        vmrun([verb, "x"]).home(home.path()).run().is_refused(&[&format!("no `vmrun {verb}`")]);
    }
    vmrun(["strat", "web"]).home(home.path()).run().is_refused(&["`vmrun start`", "`vmrun run strat`"]);
    let root = ["--root", home.path().to_str().unwrap(), "imgaes"];
    vmrun(root).run().is_refused(&["`vmrun images`"]);
}

#[test]
fn help_and_version_are_verbs_as_they_are_docker_s() {
    let text = |words: &[&str]| vmrun(words.iter().copied()).run().succeeds().text();
    assert_eq!(text(&["help"]), text(&["--help"]));
    assert_eq!(text(&["help", "kernel", "add"]), text(&["kernel", "add", "--help"]));
    assert_eq!(text(&["version"]), text(&["--version"]));
    vmrun(["help", "imgaes"]).run().is_refused(&["'images'"]);
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(str::trim).collect()).unwrap_or_default()
}

fn flags(cell: &str) -> Vec<&str> {
    cell.split(", ").map(|flag| flag.trim_matches('`')).filter(|flag| flag.starts_with("--")).collect()
}

fn help(verb: &str) -> String {
    vmrun([verb, "--help"]).run().succeeds().text()
}

fn has(help: &str, flag: &str) -> bool {
    help.split(|letter: char| letter.is_whitespace() || letter == ',' || letter == '[')
        .any(|word| word == flag)
}
