use super::*;

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
fn a_version_is_looked_for_where_it_should_be_first() {
    let first = |text: &str| text.parse::<Wanted>().unwrap().groups()[0].join(" ");
    assert_eq!(first("debian:6.1"), "bookworm bookworm-security");
    assert_eq!(first("debian:5.10.209-2"), "bullseye bullseye-security");
    assert_eq!(first("debian:6.12-generic"), "trixie trixie-security");
    assert_eq!(first("debian:7.2"), "sid");
    assert_eq!(first("debian:stable"), "stable stable-security");
    assert_eq!(first("debian:sid"), "sid");
    assert_eq!(first("debian:bookworm-backports"), "bookworm-backports");
}

#[test]
fn what_is_shown_means_the_same_again() {
    for text in
        ["debian:6.1", "debian:trixie-rt", "debian:linux-image-6.1.0-37-cloud-amd64", "debian:6.1.0-37-amd64"]
    {
        let wanted: Wanted = text.parse().unwrap();
        assert_eq!(wanted.to_string().parse::<Wanted>().unwrap(), wanted);
    }
    for bad in ["6.1-rt-cloud", "linux-image-linux-image-6.1", "6.1.0-37-amd64-cloud", "6.1-cloud-cloud"] {
        assert!(format!("debian:{bad}").parse::<Wanted>().is_err(), "{bad}");
    }
}
