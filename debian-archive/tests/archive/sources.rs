//! Packages of the kernel's source: which suite has it, and what counts when none can be asked.

use debian_archive::{Archive, Error, Package, Silent};

use super::Setting;

fn stanza(name: &str, version: &str, more: &str) -> String {
    let sha256 = super::sha256(version.as_bytes());
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\n{more}Filename: pool/{name}_{version}.deb\nSize: 9\n\
         SHA256: {sha256}\n\n"
    )
}

/// A mirror with a release that has 6.1 and late versions of 6.12, and the one that 6.12 came with.
fn setting() -> Setting {
    let mut setting = Setting::new();
    let suites = [
        (
            "bookworm",
            [
                stanza("linux-source-6.1", "6.1.9-1", ""),
                stanza("linux-source", "6.1.9-1", "Depends: linux-source-6.1\n"),
            ],
        ),
        (
            "bookworm-security",
            [
                stanza("linux-source-6.12", "6.12.9-1~deb12u1", ""),
                stanza("linux-source-6.12", "6.12.8-1~deb12u1", ""),
            ],
        ),
        (
            "trixie",
            [stanza("linux-source-6.12", "6.12.7-1", ""), stanza("linux-source-6.12", "6.12.6-1", "")],
        ),
    ];
    for (suite, packages) in suites {
        setting.packages = packages.concat();
        setting.publish(
            suite,
            if suite == "trixie" { "Valid-Until: Sat, 16 Aug 2098 09:16:30 UTC\n" } else { "" },
        );
    }
    setting
}

/// As a host of that release asks.
fn archive(setting: &Setting, release: Option<&str>) -> Archive {
    let mut options = setting.archive().options().clone();
    options.security_mirror = Some(options.mirror.clone());
    options.release = release.map(str::to_owned);
    Archive::open(&setting.directory.path().join("cache"), options).unwrap()
}

fn found(archive: &Archive, name: &str) -> (Package, Vec<Error>) {
    archive.find_source(name, &Silent).unwrap()
}

#[test]
fn the_hosts_own_release_goes_before_the_one_that_came_with_the_kernel() {
    let setting = setting();
    let version = |release, name: &str| {
        let (package, failures) = found(&archive(&setting, release), name);
        assert!(failures.is_empty(), "{failures:?}");
        package.version.as_str().to_owned()
    };
    assert_eq!(version(Some("bookworm"), "linux-source-6.12"), "6.12.9-1~deb12u1");
    assert_eq!(version(Some("trixie"), "linux-source-6.12"), "6.12.7-1");
    assert_eq!(version(None, "linux-source-6.12"), "6.12.7-1");
    assert_eq!(version(Some("trixie"), "linux-source-6.1"), "6.1.9-1", "its own release has none");
    assert_eq!(version(Some("no-such"), "linux-source-6.1"), "6.1.9-1");
    let (package, _) = found(&archive(&setting, Some("bookworm")), "linux-source");
    assert_eq!(package.name, "linux-source-6.1", "the other has no source in it");
    let missing = archive(&setting, None).find_source("linux-source-6.66", &Silent).unwrap_err().to_string();
    assert!(missing.starts_with("Debian has no package linux-source-6.66, "), "{missing}");
}

#[test]
fn what_the_archive_had_last_counts_while_it_cannot_be_reached() {
    let setting = setting();
    let away = |is_away| {
        setting.mirror.content.lock().unwrap().away = is_away;
        archive(&setting, Some("bookworm"))
    };
    assert!(matches!(away(true).find_source("linux-source-6.12", &Silent), Err(Error::Web(_))));
    let (known, _) = found(&away(false), "linux-source-6.12");
    let (kept, failures) = found(&away(true), "linux-source-6.12");
    assert_eq!(kept, known);
    assert!(matches!(failures[..], [Error::Web(_), ..]), "{failures:?}");

    // Nothing of it is believed: not what was changed, and not what was good until yesterday.
    setting.publish("bookworm-security", "Valid-Until: Sat, 16 Aug 2025 09:16:30 UTC\n");
    assert!(away(false).packages("bookworm-security", |_| true, &Silent).is_err());
    assert!(matches!(away(true).find_source("linux-source-6.12", &Silent), Err(Error::Web(_))));
}
