//! Any image on any kernel.

use std::fs;
use std::path::Path;

use tests::{Detached, KERNEL, NEWER_KERNEL, machine, setting, vmrun};

#[test]
fn two_images_run_on_one_kernel_and_one_image_on_two() {
    let release = |image: &str, kernel: &str| {
        machine(image).with(["--kernel", kernel]).command(["uname", "-r"]).run().succeeds().text()
    };
    let of_busybox = release("busybox", KERNEL);
    assert!(of_busybox.starts_with("6.1."), "{of_busybox}");
    assert_eq!(release("debian", KERNEL), of_busybox);
    let newer = release("busybox", NEWER_KERNEL);
    assert!(newer.starts_with("6.12."), "{newer}");
}

/// What the other tests show on the older kernel, in one start on the newer.
#[test]
fn a_newer_kernel_does_all_of_it() {
    let seen = machine("debian")
        .with(["-i", "--kernel", NEWER_KERNEL, "--cpus", "2"])
        .shell(
            "echo online $(nproc); probe dax /usr/bin/probe; rm /usr/bin/perl; cat; echo error >&2; exit 5",
        )
        .stdin("through\n")
        .run()
        .exits_with(5)
        .says(&["through"])
        .complains(&["error"]);
    assert_eq!(seen.value("online"), "2");
    assert_eq!(seen.value("dax"), "true");
}

#[test]
fn an_argument_reaches_the_kernel() {
    let seen =
        machine("busybox").with(["--kernel-arg", "vmrun.test=1"]).command(["cat", "/proc/cmdline"]).run();
    seen.succeeds().says(&["vmrun.test=1"]);
}

/// guest-init cannot tell by an I/O port how far it has come.
#[test]
fn a_kernel_that_is_locked_down_starts_and_is_reached() {
    let words = ["--timing", "--kernel-arg", "lockdown=integrity"];
    let seen = machine("busybox").with(words).shell("dmesg | grep -i 'locked down'").run();
    seen.succeeds().says(&["locked down"]).complains(&["rootfs"]);

    let machine = Detached::shell(&words[1..], "busybox", "echo kept >/kept; exec sleep 100000");
    machine.exec("until test -s /kept; do sleep 0.1; done").succeeds();
    machine.vmrun(&["stop", "-t", "0"], &[]).run().succeeds();
    // By a machine of vmrun's own, which has the same kernel and arguments.
    let kept = vmrun(["cp", &format!("{}:/kept", machine.id), "-"]).run().succeeds();
    assert!(kept.text().contains("kept\n"), "{}", kept.text());
}

/// A start is hastened; what runs has the kernel as it was asked for.
#[test]
fn grace_periods_are_the_kernels_own_when_the_machine_runs() {
    let expedited = |words: &[&str]| {
        let seen = machine("busybox").with(words).shell("sleep 1; cat /sys/kernel/rcu_expedited").run();
        seen.succeeds().text().trim().to_owned()
    };
    assert_eq!(expedited(&[]), "0");
    assert_eq!(expedited(&["--kernel-arg", "rcupdate.rcu_expedited=1"]), "1");
}

/// The monitor does what a bzImage's decompressor would: KASLR.
#[test]
fn the_kernel_lies_elsewhere_at_each_start_unless_it_is_not_to() {
    let text = |words: &[&str]| {
        let command = ["grep", "-w", "_text", "/proc/kallsyms"];
        machine("busybox").with(words).command(command).run().succeeds().text()
    };
    let inspected = vmrun(["kernel", "inspect", KERNEL]).run().succeeds();
    assert!(inspected.text().contains(" relocations"), "{}", inspected.text());
    for kernel in [KERNEL, NEWER_KERNEL] {
        let places = [(); 3].map(|()| text(&["--kernel", kernel]));
        assert!(places.iter().any(|place| *place != places[0]), "{places:?}");
    }
    let fixed = text(&["--kernel-arg", "nokaslr"]);
    assert!(fixed.starts_with("ffffffff81000000 "), "{fixed}");
    assert_eq!(text(&["--kernel-arg", "nokaslr"]), fixed);
}

#[test]
fn less_memory_than_the_kernel_needs_is_refused_with_the_floor() {
    machine("busybox")
        .with(["--memory", "64m"])
        .command(["true"])
        .run()
        .is_refused(&["floor", "128", KERNEL]);
}

/// Debian's kernel without its modules can start, and can do nothing for vmrun.
#[test]
fn a_kernel_that_lacks_something_is_refused_with_its_name() {
    let home = Path::new(&setting("VMRUN_HOME")).join("kernels").join(KERNEL);
    let directory = tempfile::tempdir().unwrap();
    let boot = directory.path().join("boot");
    fs::create_dir(&boot).unwrap();
    let version = vmrun(["kernel", "inspect", KERNEL]).run().succeeds().value("version");
    fs::copy(home.join("vmlinux"), boot.join(format!("vmlinuz-{version}"))).unwrap();
    let config = fs::read_to_string(home.join("config")).unwrap();
    let without = config
        .replace("CONFIG_EROFS_FS=m", "# CONFIG_EROFS_FS is not set")
        .replace("CONFIG_EXT4_FS=y", "# CONFIG_EXT4_FS is not set")
        .replace("=m\n", "=y\n");
    fs::write(boot.join(format!("config-{version}")), without).unwrap();
    let store = tempfile::tempdir().unwrap();
    let name = store.path().file_name().unwrap().to_str().unwrap().replace('.', "lacking");
    let added = vmrun([
        "kernel".as_ref(),
        "add".as_ref(),
        directory.path().as_os_str(),
        "--name".as_ref(),
        name.as_ref(),
    ])
    .run();
    added.succeeds();
    let outcome = machine("busybox").with(["--kernel", &name]).command(["true"]).run();
    vmrun(["kernel", "rm", &name]).run().succeeds();
    outcome.is_refused(&["lacks CONFIG_EROFS_FS for EROFS and CONFIG_EXT4_FS for ext4"]);
}

/// An older kernel than any that Debian still calls stable, and the next one. The older has EROFS
/// without DAX.
#[test]
#[ignore = "for make test-long, which adds these kernels"]
fn older_and_newer_distributions_kernels_do_all_of_it() {
    for (kernel, version) in [("bullseye", "5.10."), ("trixie", "6.12.")] {
        let seen = machine("debian")
            .with(["-i", "--kernel", kernel, "--cpus", "2"])
            .shell("echo release $(uname -r); echo online $(nproc); rm /usr/bin/perl; cat; exit 5")
            .stdin("through\n")
            .run()
            .exits_with(5)
            .says(&["through"]);
        assert!(seen.value("release").starts_with(version));
        assert_eq!(seen.value("online"), "2");
    }
}

/// From packages that rpmbuild has made, with all that was in one package of Debian's.
#[test]
fn a_kernel_from_rpms_boots() {
    let release = |kernel: &str| {
        machine("busybox").with(["--kernel", kernel]).command(["uname", "-r"]).run().succeeds().text()
    };
    assert_eq!(release("from-rpm"), release(KERNEL));
}
