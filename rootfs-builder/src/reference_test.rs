use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn names_are_filled_in_and_shown_in_their_familiar_form() {
    let with_digest = format!("busybox@{DIGEST}");
    let with_both = format!("localhost:5000/a/b:1@{DIGEST}");
    for (given, full, familiar) in [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.38.0-glibc", "docker.io/library/busybox:1.38.0-glibc", "busybox:1.38.0-glibc"),
        ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest", "grafana/grafana:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("quay.io/fedora/fedora:41", "quay.io/fedora/fedora:41", "quay.io/fedora/fedora:41"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x:latest"),
        ("Registry/x", "Registry/x:latest", "Registry/x:latest"),
        ("a__b/c-----d/e.f_g:_T.-x", "docker.io/a__b/c-----d/e.f_g:_T.-x", "a__b/c-----d/e.f_g:_T.-x"),
        (&with_digest, &format!("docker.io/library/busybox@{DIGEST}"), &with_digest),
        (&with_both, &with_both, &with_both),
    ] {
        let reference = parse(given);
        assert_eq!(reference.full(), full, "{given}");
        assert_eq!(reference.to_string(), familiar, "{given}");
        assert_eq!(parse(full), reference);
        assert_eq!(parse(familiar), reference);
    }
}

#[test]
fn what_docker_refuses_is_refused() {
    for bad in [
        ":latest",
        "busybox:",
        "busybox@",
        "a//b",
        "/a",
        "a/",
        "a b",
        "a\n",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "_a",
        "a:b:c",
        "a:-b",
        "a:.b",
        "https://x/y",
        "ex ample.com/x",
        "-x.com/y",
        "x.com:/y",
        "x.com:http/y",
        "[::1/x",
        "[]/x",
        "[::g]/x",
        "é",
        "a/é",
        "..",
        "../a",
        "a/../b",
        "a@sha256:12",
        "x.com/",
        "a:b/c",
    ] {
        assert!(bad.parse::<Reference>().is_err(), "{bad:?} was taken");
    }
    assert_eq!("".parse::<Reference>(), Err(Error::Empty));
    for bad in ["Busybox", "x.com/Foo:1", "library/Busybox"] {
        assert!(matches!(bad.parse::<Reference>(), Err(Error::UpperCase(_))), "{bad}");
    }
    let hex = &DIGEST[7..];
    assert_eq!(hex.parse::<Reference>(), Err(Error::Identifier(hex.to_owned())));
    assert!(matches!("a@sha512:00".parse::<Reference>(), Err(Error::Digest(_))));
}

#[test]
fn lengths_are_limited_as_dockers_are() {
    let tag = |n: usize| format!("a:{}", "t".repeat(n)).parse::<Reference>();
    assert!(tag(128).is_ok());
    assert!(matches!(tag(129), Err(Error::Tag(_))));
    let name = |n: usize| format!("x.com/{}", "n".repeat(n)).parse::<Reference>();
    assert!(name(255).is_ok());
    assert!(matches!(name(256), Err(Error::TooLong(_))));
    assert!("n".repeat(247).parse::<Reference>().is_ok());
    assert!(matches!("n".repeat(248).parse::<Reference>(), Err(Error::TooLong(_))));
}

#[test]
fn a_message_stays_one_line() {
    let error = "a\nb\u{1b}[31m".parse::<Reference>().expect_err("not a name");
    assert!(!error.to_string().contains(['\n', '\u{1b}']), "{error}");
}
