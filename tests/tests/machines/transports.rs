//! The ways on which a guest reaches its devices.

use tests::{KERNEL, LesserKernel, NEWER_KERNEL, machine};

/// The rootfs, the writable disk, the channel and the streams over it.
const ALL_OF_IT: &str = "echo functions $(ls /sys/bus/pci/devices 2>/dev/null | wc -l); \
     echo messages $(grep -c PCI-MSI /proc/interrupts); echo online $(nproc); \
     rm /usr/bin/perl && dd if=/dev/zero of=/big bs=1M count=8 status=none && sync && sha256sum </big; cat; exit 5";
const SUM_OF_8_MIB_OF_ZEROES: &str = "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74";

#[test]
fn a_machine_on_a_pci_bus_does_all_of_it() {
    for kernel in [KERNEL, NEWER_KERNEL] {
        let seen = machine("debian")
            .with(["-i", "--transport", "pci", "--kernel", kernel, "--cpus", "2"])
            .shell(ALL_OF_IT)
            .stdin("through\n")
            .run()
            .exits_with(5)
            .says(&["through", SUM_OF_8_MIB_OF_ZEROES]);
        // The host bridge, the rootfs, the disk, the channel, the balloon.
        assert!(seen.number("functions") >= 4, "{}", seen.text());
        assert!(seen.number("messages") >= 6, "{}", seen.text());
        assert_eq!(seen.value("online"), "2");
    }
}

/// The machine that everybody gets has no bus to look for.
#[test]
fn without_a_word_there_is_no_pci_bus() {
    let seen = machine("debian").with(["-i"]).shell(ALL_OF_IT).stdin("through\n").run().exits_with(5);
    assert_eq!((seen.number("functions"), seen.number("messages")), (0, 0));
}

/// As Red Hat's kernels are.
#[test]
fn a_kernel_without_virtio_mmio_runs_over_pci() {
    let kernel = LesserKernel::new("no-mmio", &["VIRTIO_MMIO"], &["virtio_mmio.ko"]);
    let seen =
        machine("debian").with(["-i", "--kernel", &kernel.name]).shell(ALL_OF_IT).stdin("through\n").run();
    let seen = seen.exits_with(5).says(&["through", SUM_OF_8_MIB_OF_ZEROES]);
    assert!(seen.number("functions") >= 4, "{}", seen.text());
    machine("debian")
        .with(["--transport", "mmio", "--kernel", &kernel.name])
        .command(["true"])
        .run()
        .is_refused(&["CONFIG_VIRTIO_MMIO", "--transport"]);
}

/// What would start, and be heard of no more, is refused before that.
#[test]
fn a_word_that_takes_the_devices_away_is_refused() {
    for (transport, word) in [("mmio", "acpi=off"), ("pci", "pci=noaer,nomsi"), ("pci", "pci=off")] {
        machine("busybox")
            .with(["--transport", transport, "--kernel-arg", word])
            .command(["true"])
            .run()
            .is_refused(&[word, "--transport"]);
    }
}

/// Without its devices, guest-init has nobody to tell but the kernel's log.
#[test]
fn what_guest_init_could_tell_only_the_log_is_told() {
    for init in ["none", "image"] {
        let seen = machine("busybox")
            .with(["--init", init, "--kernel-arg", "module_blacklist=virtio_mmio"])
            .command(["true"])
            .run()
            .exits_with(125);
        assert!(seen.stderr.contains("could not be brought up: "), "{init}: {}", seen.stderr);
        assert!(seen.stderr.contains("virtio"), "{init}: {}", seen.stderr);
    }
}
