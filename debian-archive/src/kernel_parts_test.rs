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
fn a_kernel_without_one_of_its_parts_is_none() {
    let parts = ["linux-binary-7.2.13+deb14-amd64", "linux-modules-7.2.13+deb14-amd64"];
    let all = [
        package("linux-image-7.2.13+deb14-amd64", "7.2.13-1", &[parts[0], parts[1], "kmod", "linux-base"]),
        package(parts[0], "7.2.13-1", &[]),
        package(parts[1], "7.2.13-1", &[]),
    ];
    assert_eq!(assemble(all.to_vec()).len(), 1);
    for missing in 1..all.len() {
        let mut packages = all.to_vec();
        packages.remove(missing);
        assert_eq!(assemble(packages.clone()), [], "without {}", all[missing].name);
        packages.push(package(&all[missing].name, "7.2.12-1", &[]));
        assert_eq!(assemble(packages), [], "{} of another version", all[missing].name);
    }
}

#[test]
fn parts_are_told_from_what_is_called_alike() {
    assert!(is_part("linux-image-6.1.0-37-cloud-amd64") && is_part("linux-modules-7.2.13+deb14-amd64"));
    for other in [
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
fn what_only_depends_is_no_kernel_and_tells_the_suites_own() {
    let kernels = assemble(vec![
        package("linux-image-6.1.0-37-amd64", "6.1.170-1", &["kmod"]),
        package("linux-image-6.12.9+deb12-amd64", "6.12.9-1", &["kmod"]),
        package("linux-image-6.12-amd64", "6.12.9-1", &["linux-image-6.12.9+deb12-amd64"]),
        package("linux-image-amd64", "6.1.170-1", &["linux-image-6.1.0-37-amd64"]),
        package("linux-image-amd64", "6.1.9-1", &["linux-image-6.12.9+deb12-amd64"]),
    ]);
    let shown: Vec<_> =
        kernels.iter().map(|kernel| (kernel.release.as_str(), kernel.is_suites_own)).collect();
    assert_eq!(shown, [("6.1.0-37-amd64", true), ("6.12.9+deb12-amd64", false)]);
}
