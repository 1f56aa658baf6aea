//! Machines on kernels that lack what others have.

use tests::{Detached, LesserKernel, machine};

/// Streams, their ends, commands beside the process and files go over the ports of a virtio-console.
#[test]
fn without_vsock_the_host_comes_by_a_console() {
    let files = ["vmw_vsock_virtio_transport*.ko"];
    let kernel = LesserKernel::new("no-vsock", &["VIRTIO_VSOCKETS"], &files);
    let on_it = ["--kernel", &kernel.name];
    let input: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let seen = machine("busybox")
        .with(["-i", "--kernel", &kernel.name])
        .shell("cat; echo to stderr >&2; exit 3")
        .stdin(input.as_str())
        .run()
        .exits_with(3);
    assert!(seen.stdout == input.as_bytes());
    assert!(seen.stderr.contains("to stderr"), "{}", seen.stderr);
    let machine = Detached::shell(&on_it, "busybox", "echo begun; sleep 1000");
    machine.logs("begun");
    let execs: Vec<_> = (0..4)
        .map(|number| machine.vmrun(&["exec"], &["sh", "-c", &format!("exit {number}")]).start())
        .collect();
    for (number, exec) in execs.into_iter().enumerate() {
        exec.wait().exits_with(number as i32);
    }
    machine.exec("echo new >/etc/new").succeeds();
    assert!(machine.vmrun(&["diff"], &[]).run().succeeds().text().contains("A /etc/new"));
    machine.vmrun(&["stop", "-t", "1"], &[]).run().succeeds();
}

#[test]
fn a_channel_can_be_asked_for() {
    machine("busybox").with(["--channel", "console"]).shell("echo over ports").run().says(&["over ports"]);
    let kernel = LesserKernel::new("no-console", &["VIRTIO_CONSOLE", "VIRTIO_VSOCKETS"], &[]);
    machine("busybox").with(["--kernel", &kernel.name]).shell("true").run().is_refused(&[
        "CONFIG_VIRTIO_VSOCKETS",
        "CONFIG_VIRTIO_CONSOLE",
        &kernel.name,
    ]);
}

/// The root is a copy then, which lasts as a writable layer does; or the image itself, which cannot be written.
#[test]
fn without_overlayfs_the_root_is_a_copy() {
    let kernel = LesserKernel::new("no-overlay", &["OVERLAY_FS"], &["overlay.ko"]);
    let on_it = ["--kernel", &kernel.name, "--no-modules"];
    let count = "find / -xdev | wc -l; stat -c '%a %U %G %Y' /usr/bin/passwd";
    let expected = machine("debian").with(["--no-modules"]).shell(count).run().succeeds().text();
    let script = "cat /mark; find / -xdev ! -path /mark | wc -l; stat -c '%a %U %G %Y' /usr/bin/passwd; echo kept >/mark";
    let copied = Detached::create(&on_it, "debian", &["sh", "-c", script]);
    let first = copied.vmrun(&["start", "-a"], &[]).run().succeeds();
    assert_eq!(first.text(), expected);
    assert!(first.stderr.contains("lacks CONFIG_OVERLAY_FS: the root is a copy"), "{}", first.stderr);
    let second = copied.vmrun(&["start", "-a"], &[]).run().succeeds();
    assert_eq!(second.text(), format!("kept\n{expected}"));
    copied.vmrun(&["diff"], &[]).run().is_refused(&["overlay"]);
    machine("debian")
        .with(["--kernel", &kernel.name, "--read-only"])
        .shell("grep -c overlay /proc/mounts; touch /x || echo cannot")
        .run()
        .says(&["0\n", "cannot"]);
}

/// It starts all the same, and whoever adds it is told.
#[test]
fn without_a_serial_console_there_is_no_log_and_that_is_said() {
    let kernel = LesserKernel::new("silent", &["SERIAL_8250_CONSOLE"], &[]);
    assert!(
        kernel.remarks.contains("lacks CONFIG_SERIAL_8250_CONSOLE: there is no log"),
        "{}",
        kernel.remarks
    );
}
