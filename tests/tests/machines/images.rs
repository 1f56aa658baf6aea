//! What was loaded from each kind of source is what runs.

use tests::machine;

/// Everything that the second layer of the image `layered` did to the first.
const LAYERS: &str = r"
    cd / &&
    echo replaced $(cat replaced) && echo added $(cat added) && echo kept $(cat kept/file) &&
    echo becomes-file $(cat becomes-file) && echo opaque $(ls opaque) && echo hidden $(ls hidden 2>&1) &&
    echo links $(stat -c %h kept/linked) $(stat -c %i added) $(stat -c %i kept/linked) &&
    echo mode $(stat -c %a added) && echo whiteouts $(find / -xdev -name '.wh.*') && echo env $LAYERED";

fn layers_are_merged(image: &str) {
    let seen = machine(image).shell(LAYERS).run().succeeds();
    assert_eq!(seen.value("replaced"), "two");
    assert_eq!(seen.value("added"), "two");
    assert_eq!(seen.value("kept"), "one");
    assert_eq!(seen.value("becomes-file"), "two");
    assert_eq!(seen.value("opaque"), "shown");
    assert!(seen.value("hidden").contains("No such file"));
    let links = seen.value("links");
    let [count, one, other] = links.split(' ').collect::<Vec<_>>()[..] else { panic!("{links}") };
    assert_eq!(count, "2");
    assert_eq!(one, other, "a hard link is the same file");
    assert_eq!(seen.value("mode"), "4755");
    assert_eq!(seen.text().lines().find(|line| line.starts_with("whiteouts")), Some("whiteouts"));
    assert_eq!(seen.value("env"), "yes");
}

#[test]
fn an_oci_layout_runs() {
    layers_are_merged("from-directory");
}

#[test]
fn an_oci_archive_runs() {
    layers_are_merged("from-archive");
}

#[test]
fn a_docker_archive_runs() {
    layers_are_merged("example.org/saved:1");
}

#[test]
fn an_images_own_command_runs() {
    let seen = machine("from-directory").run().succeeds();
    assert_eq!(seen.text(), "two\n");
}

#[test]
fn an_imported_image_runs_as_its_configuration_says() {
    let own = machine("configured:1").run().succeeds();
    assert_eq!(own.text(), "entry one two  words\n");
    let seen = machine("configured:1")
        .with(["--entrypoint", "sh"])
        .command(["-c", "echo user $(id -un); echo directory $(pwd); echo colour $COLOUR"])
        .run()
        .succeeds();
    assert_eq!(seen.value("user"), "alice");
    assert_eq!(seen.value("directory"), "/data");
    assert_eq!(seen.value("colour"), "blue");
}

#[test]
fn a_distribution_runs() {
    let seen = machine("debian")
        .shell(". /etc/os-release; echo id $ID; echo packages $(dpkg-query -W | wc -l); perl -e 'print \"perl \", 6*7, \"\\n\"'")
        .run()
        .succeeds();
    assert_eq!(seen.value("id"), "debian");
    assert!(seen.number("packages") > 50);
    assert_eq!(seen.number("perl"), 42);
}
