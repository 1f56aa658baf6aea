//! An image's disk as EROFS and as ext4: nobody in the machine, nor who asks about it, sees a difference.

use std::fs;
use std::path::Path;
use std::process;

use tests::{Detached, KERNEL, LesserKernel, NEWER_KERNEL, machine, vmrun};

const FORMATS: [&str; 2] = ["erofs", "ext4"];

/// All of the image that nobody has a reason to write to, with all that `stat` tells but sizes and links of
/// directories, which are the file system's own affair.
const TREE: &str = "find /usr /var /opt /root /home /srv /boot /bin /sbin /lib ! -type d \
        -printf '%p %y %m %U %G %s %T@ %n %l\\n' -o -printf '%p %y %m %U %G %T@\\n' | sort >/tmp/tree; \
    echo files $(wc -l </tmp/tree); echo tree $(sha256sum </tmp/tree); \
    echo contents $(find /usr/bin /usr/sbin /usr/share/doc -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)";

#[test]
fn one_tree_whatever_it_is_on() {
    let tree = |kernel: &str, format: &str, device: &str| {
        // Where the modules are mounted has the time of the start.
        let words =
            ["--no-modules", "--kernel", kernel, "--rootfs-format", format, "--rootfs-device", device];
        let seen = machine("debian").with(words).shell(TREE).run().succeeds();
        assert!(seen.number("files") > 5000, "{}", seen.text());
        (seen.number("files"), seen.value("tree"), seen.value("contents"))
    };
    let expected = tree(KERNEL, "erofs", "pmem");
    for (kernel, device) in [(KERNEL, "pmem"), (KERNEL, "blk"), (NEWER_KERNEL, "pmem")] {
        assert!(tree(kernel, "ext4", device) == expected, "{kernel}, {device}");
    }
}

/// Every kernel of which there is one, and the oldest of them has no DAX for EROFS.
#[test]
#[ignore = "for make test-long, which adds these kernels"]
fn ext4_on_older_and_newer_distributions_kernels() {
    for (kernel, device) in [("bullseye", "pmem"), ("bullseye", "blk"), ("trixie", "pmem"), ("trixie", "blk")]
    {
        let words = ["--kernel", kernel, "--rootfs-format", "ext4", "--rootfs-device", device];
        let seen = machine("debian").with(words).shell("probe dax /usr/bin/probe; rm /usr/bin/perl").run();
        assert_eq!(seen.succeeds().value("dax"), (device == "pmem").to_string(), "{kernel}");
    }
}

/// Everything about the files in a tree but when they were written.
fn listing(tree: &Path) -> String {
    let script = "cd \"$1\" && find . -mindepth 1 ! -type d -printf '%P %y %m %U %G %s %n %l\\n' -o \
        -mindepth 1 -printf '%P %y %m %U %G\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let words = ["-c", script, "sh", tree.to_str().unwrap()];
    String::from_utf8(process::Command::new("sh").args(words).output().unwrap().stdout).unwrap()
}

/// What `diff`, `export` and `cp` tell of a machine, and what an image made of it runs like.
#[test]
fn what_a_machine_has_changed_is_told_and_kept_alike() {
    let told = |format: &str| {
        let words = ["--rootfs-format", format];
        let changed = Detached::run(&words, "from-directory", &["sleep", "1000"]);
        changed
            .exec(
                "cd / && rm -r kept && mkdir kept && echo new >kept/new && rm added becomes-file && mkdir becomes-file &&
                 echo x >replaced && mkdir -p a/b && echo y >a/b/c && ln a/b/c a/hard && ln -s nowhere a/link &&
                 chown 1000:50 a/b/c && chmod 4750 a/b/c && chmod 700 var",
            )
            .succeeds();
        let diff = changed.vmrun(&["diff"], &[]).run().succeeds().text();
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
        vmrun(["export", "-o", &path("root.tar"), &changed.id]).run().succeeds();
        fs::create_dir(path("exported")).unwrap();
        let unpacked =
            process::Command::new("tar").args(["-C", &path("exported"), "-xpf", &path("root.tar")]).status();
        assert!(unpacked.unwrap().success());
        vmrun(["cp", &format!("{}:/bin", changed.id), &path("bin")]).run().succeeds();
        let name = format!("formats:{format}");
        vmrun(["commit", &changed.id, &name]).run().succeeds();
        drop(changed);
        let script = "cat kept/new a/hard; ls /; stat -c '%a %u %g %h' a/b/c";
        let seen = machine(&name).with(words).shell(script).run().succeeds().text();
        vmrun(["rmi", &name]).run().succeeds();
        [diff, listing(Path::new(&path("exported"))), listing(Path::new(&path("bin"))), seen]
    };
    let [erofs, ext4] = FORMATS.map(told);
    assert!(erofs[0].contains("C /var\n") && erofs[1].contains("a/b/c f 4750 1000 50"), "{erofs:?}");
    assert!(erofs[3].starts_with("new\ny\n"), "{erofs:?}");
    assert_eq!(erofs, ext4);
}

/// Debian's kernel without the one module: it has ext4 built in.
#[test]
fn a_kernel_without_erofs_gets_ext4_and_the_user_is_told_why() {
    let kernel = LesserKernel::new("without-erofs", &["EROFS_FS"], &["erofs.ko"]);
    let name = &kernel.name;
    let ran = machine("busybox")
        .with(["--verbose", "--kernel", name])
        .shell("ls -d /lib/modules/$(uname -r)/kernel")
        .run();
    let forced =
        machine("busybox").with(["--kernel", name, "--rootfs-format", "erofs"]).command(["true"]).run();
    let reason = format!("ext4: kernel {name} lacks CONFIG_EROFS_FS");
    // Its modules, too, are on a disk that it can mount.
    ran.succeeds().says(&["/lib/modules/6.1."]).complains(&[&reason]);
    forced.is_refused(&["lacks CONFIG_EROFS_FS", "--rootfs-format erofs"]);
}

/// What only EROFS can hold is refused as ext4, before anything starts, with the file's name.
#[test]
fn what_ext4_cannot_hold_is_said_with_the_files_name() {
    let work = tempfile::tempdir().unwrap();
    let tar = work.path().join("tar");
    let script = "cd \"$1\" && echo x >many && \
        tar --format=pax --pax-option=SCHILY.xattr.user.large:=$(head -c 5000 /dev/zero | tr '\\0' x) -cf tar many";
    let made = process::Command::new("sh").args(["-c", script, "sh", work.path().to_str().unwrap()]).status();
    assert!(made.unwrap().success());
    vmrun(["import".as_ref(), "--quiet".as_ref(), tar.as_os_str(), "too-much".as_ref()]).run().succeeds();
    let outcome = machine("too-much").with(["--rootfs-format", "ext4"]).command(["true"]).run();
    vmrun(["rmi", "too-much"]).run().succeeds();
    outcome.is_refused(&["cannot be an ext4", "`/many`: its extended attributes are over the 4 KiB"]);
}
