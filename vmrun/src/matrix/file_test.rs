use super::*;

fn sheet(text: &str) -> Result<Sheet> {
    Text { path: "m.toml".into(), text: text.into() }.sheet()
}

/// Asserts that a file is refused there, with that in the line.
#[track_caller]
fn refused(text: &str, place: &str, words: &[&str]) {
    let error = sheet(text).expect_err(text).to_string();
    assert!(error.starts_with(&format!("m.toml:{place}: ")), "{error}");
    assert!(words.iter().all(|word| error.contains(word)) && !error.contains('\n'), "{error}");
}

#[test]
fn all_that_a_file_can_say_is_read() {
    let sheet = sheet(
        r#"
        kernels = ["debian:5.10", "debian:6.1"]
        images = ["busybox"]
        memory = "1g"
        cpus = 2
        env = { LANG = "C", A = "b c" }
        run = ["--privileged"]
        timeout = 30
        jobs = 3
        fail-fast = true
        [commands]
        zeta = "echo $A | wc"
        alpha = ["ls", "-l"]
        [[cell]]
        kernel = "debian:5.*"
        skip = "too old"
        [[cell]]
        image = "busy*"
        command = "alpha"
        xfail = "a bug"
        exit-code = 3
        stdout = "x"
        timeout = 1
        cpus = "1.5"
        "#,
    )
    .unwrap();
    assert_eq!(sheet.kernels, ["debian:5.10", "debian:6.1"]);
    assert_eq!(sheet.words, ["--memory=1g", "--cpus=2", "--env=A=b c", "--env=LANG=C", "--privileged"]);
    assert_eq!((sheet.timeout, sheet.jobs, sheet.fail_fast), (Some(30), Some(3), true));
    let named: Vec<_> = sheet.commands.iter().map(|command| command.name.as_deref().unwrap()).collect();
    assert_eq!(named, ["zeta", "alpha"]);
    assert_eq!(sheet.commands[0].words, ["sh", "-c", "echo $A | wc"]);
    let [first, second] = &sheet.rules[..] else { panic!() };
    assert!(first.kernel.matches("debian:5.10") && first.image.matches("any"));
    assert_eq!(first.skip.as_deref(), Some("too old"));
    assert_eq!((second.exit_code, second.timeout, second.stdout.as_deref()), (Some(3), Some(1), Some("x")));
    assert_eq!(second.words, ["--cpus=1.5"]);
}

#[test]
fn mistakes_have_a_line_and_a_column() {
    refused("kernels = [\"a\"]\nkernals = []\n", "2:1", &["kernals", "kernels"]);
    refused("kernels = [\"a\",\n  7]\n", "2:3", &["string"]);
    refused("kernels = [\"a\", \"a\"]\n", "1:17", &["'a'", "already"]);
    refused("images = [\"\"]\n", "1:11", &["empty"]);
    refused("kernels = [\"a\"\nimages = []\n", "2:1", &[]);
    refused("memory = \"much\"\n", "1:10", &["much"]);
    refused("cpus = 99\n", "1:8", &["99"]);
    refused("run = [\"--rm\"]\n", "1:7", &["--rm"]);
    refused("run = [\"--kernel=x\"]\n", "1:7", &["--kernel"]);
    refused("timeout = -1\n", "1:11", &[]);
    refused("jobs = 0\n", "1:8", &["one"]);
    refused("command = 7\n", "1:11", &["sh -c"]);
    refused("command = []\n", "1:11", &["word"]);
    refused("command = \"a\"\n[commands]\nb = \"c\"\n", "3:1", &["name"]);
    refused("env = { \"A B\" = \"c\" }\n", "1:9", &["A B"]);
    refused("env = { \"\" = \"c\" }\n", "1:9", &["NAME=VALUE"]);
    refused("[[cell]]\nenv = { A = \"c\\u0000\" }\n", "2:9", &["A=c"]);
    refused("env = { \"A=B\" = \"c\" }\n", "1:9", &["A=B"]);
    refused("[[cell]]\nkernel = \"[\"\n", "2:10", &["pattern"]);
    refused("[[cell]]\nkernel = \"é\"\nskpi = \"x\"\n", "3:1", &["skpi", "skip"]);
    refused("[[cell]]\nskip = \" \"\n", "2:8", &["reason"]);
    refused("[[cell]]\nskip = \"a\"\nxfail = \"b\"\n", "3:9", &["skip"]);
    refused("[[cell]]\nexit-code = 256\n", "2:13", &[]);
    refused("a = \"\u{e9}\" b\n", "1:9", &[]);
    refused("\t\tkernel = \"\u{e9}\"\n", "1:3", &["kernels"]);
    refused("\u{feff}images = []\r\nfoo = 1\r\n", "2:1", &["foo"]);
    refused("[commands]\n\"\" = \"true\"\n", "2:1", &["name"]);
    // In words, not in a program's types.
    refused("kernels = \"a\"\n", "1:11", &["expected a list, such as [\"a\""]);
    refused("[cell]\nskip = \"x\"\n", "1:1", &["[[cell]]"]);
    refused("timeout = 99999999999\n", "1:11", &["from 0 to 4294967295"]);
    refused("jobs = 70000\n", "1:8", &["from 1 to 65535"]);
    refused("fail-fast = 1\n", "1:13", &["true or false"]);
    refused("env = 1\n", "1:7", &["{ NAME = \"value\" }"]);
}

/// What only a machine's making used to find.
#[test]
fn each_option_is_checked_where_it_stands() {
    for (option, said) in [
        ("--ulimit=nofil=10", "'nofil'"),
        ("--sysctl=x", "--sysctl x"),
        ("--cap-drop=FLY", "FLY"),
        ("--tmpfs=rel", "--tmpfs rel"),
        ("--disk-size=1k", "16m"),
        ("--shm-size=0", "--shm-size"),
        ("--env-file=/no/such/file", "/no/such/file"),
        ("--pids-limit=-2", "--pids-limit"),
        ("--oom-score-adj=5000", "--oom-score-adj"),
        ("--group-add=", "--group-add"),
        ("--env==x", "NAME=VALUE"),
    ] {
        refused(&format!("run = [\"{option}\"]\n"), "1:7", &[said]);
        refused(&format!("[[cell]]\nrun = [\"--read-only\", \"{option}\"]\n"), "2:7", &[said]);
    }
}

#[test]
fn no_bytes_break_the_reader() {
    for text in [
        "\0",
        "[[[[",
        "= = =",
        "kernels = [\"\\uD800\"]",
        "'''",
        "[cell]\n",
        "a.b.c.d=1",
        &"[".repeat(100_000),
    ] {
        let error = sheet(text).expect_err(text).to_string();
        assert!(error.starts_with("m.toml:") && !error.contains('\n'), "{error}");
    }
}
