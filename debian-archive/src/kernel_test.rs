use super::*;

fn package(name: &str, version: &str, depends: &[&str]) -> Package {
    Package {
        name: name.into(),
        version: Version::new(version),
        architecture: "amd64".into(),
        depends: depends.iter().map(|name| (*name).to_owned()).collect(),
        filename: "pool/x.deb".into(),
        size: 10,
        sha256: "a".repeat(64),
        suite: "sid".into(),
        signers: Vec::new(),
    }
}

#[test]
fn wishes_are_understood_and_called_by_one_name() {
    for (text, what, flavour, name) in [
        ("debian:6.1", "6.1", Flavour::Cloud, "debian:6.1"),
        ("debian:6.1-cloud", "6.1", Flavour::Cloud, "debian:6.1"),
        ("debian:6.1-generic", "6.1", Flavour::Generic, "debian:6.1-generic"),
        ("debian:sid-rt", "sid", Flavour::Rt, "debian:sid-rt"),
        ("debian:bookworm-backports", "bookworm-backports", Flavour::Cloud, "debian:bookworm-backports"),
        ("debian:6.12.90+deb12.1-1", "6.12.90+deb12.1-1", Flavour::Cloud, "debian:6.12.90+deb12.1-1"),
        ("debian:6.1.0-37-amd64", "6.1.0-37-amd64", Flavour::Generic, "debian:6.1.0-37-amd64"),
        (
            "debian:linux-image-6.1.0-37-rt-amd64",
            "6.1.0-37-rt-amd64",
            Flavour::Rt,
            "debian:6.1.0-37-rt-amd64",
        ),
    ] {
        let wanted: Wanted = text.parse().unwrap();
        assert_eq!(
            (wanted.what.as_str(), wanted.flavour, wanted.to_string().as_str()),
            (what, flavour, name)
        );
    }
    for bad in ["6.1", "debian:", "ubuntu:6.1", "debian:../x", "debian:-generic", "debian:a b", "debian:a\n"]
    {
        assert!(bad.parse::<Wanted>().is_err(), "{bad}");
    }
}

#[test]
fn a_kernel_in_parts_is_put_together() {
    let suffix = "7.2.13+deb14-cloud-amd64";
    let name = |part: &str| format!("linux-{part}-{suffix}");
    let depends = [name("base"), name("binary"), name("modules"), "kmod".to_owned()];
    let depends: Vec<&str> = depends.iter().map(String::as_str).collect();
    let kernels = assemble(vec![
        package(&name("image"), "7.2.13-1", &depends),
        package(&name("modules"), "7.2.13-1", &[]),
        package(&name("modules"), "7.2.12-1", &[]),
        package(&name("binary"), "7.2.13-1", &[]),
        package(&name("base"), "7.2.13-1", &[]),
        package("linux-image-6.1.0-37-amd64", "6.1.170-1", &["kmod", "linux-base"]),
    ]);
    let shown: Vec<_> = kernels
        .iter()
        .map(|kernel| (kernel.release.as_str(), kernel.flavour, kernel.packages.len()))
        .collect();
    assert_eq!(shown, [("6.1.0-37-amd64", Flavour::Generic, 1), (suffix, Flavour::Cloud, 3)]);
    assert!(kernels[1].packages.iter().all(|package| package.version.as_str() == "7.2.13-1"));
}

#[test]
fn parts_are_told_from_what_is_called_alike() {
    assert!(is_part("linux-image-6.1.0-37-cloud-amd64") && is_part("linux-modules-7.2.13+deb14-amd64"));
    for other in [
        "linux-image-amd64",
        "linux-image-6.1.0-37-amd64-dbg",
        "linux-image-amd64-signed-template",
        "linux-headers-6.1.0-37-amd64",
        "linux-binary-unsigned-7.2.13+deb14-amd64",
        "linux-image-6.1.0-37-amd64-unsigned",
    ] {
        assert!(!is_part(other), "{other}");
    }
}

#[test]
fn a_version_is_looked_for_where_it_should_be_first() {
    let first = |text: &str| text.parse::<Wanted>().unwrap().groups()[0].join(" ");
    assert_eq!(first("debian:6.1"), "bookworm bookworm-security");
    assert_eq!(first("debian:5.10.209-2"), "bullseye bullseye-security");
    assert_eq!(first("debian:6.12-generic"), "trixie trixie-security");
    assert_eq!(first("debian:7.2"), "sid");
    assert_eq!(first("debian:stable"), "trixie trixie-security");
    assert_eq!(first("debian:bookworm-backports"), "bookworm-backports");
}
