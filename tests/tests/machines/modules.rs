//! A kernel's modules in its machines: what nobody loads is loaded when it is used, whatever the image lacks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::{Detached, KERNEL, NEWER_KERNEL, machine, setting};

const GENERIC_KERNEL: &str = "debian-generic";

/// Everything that a plain busybox can use of a kernel, and that Debian's have as modules. Each line says what came
/// of it; `loaded` what the kernel asked for.
const USES: &str = r#"
    try() { name=$1; shift; "$@" >/dev/null 2>/tmp/error && echo "$name works" || { echo "$name fails"; cat /tmp/error >&2; }; }
    try wireguard ip link add wg0 type wireguard
    try veth ip link add name one type veth peer name two
    try dummy ip link add name three type dummy
    try tun tunctl -t tap0
    dd if=/dev/zero of=/tmp/disk bs=1M count=4 2>/dev/null && mkdosfs /tmp/disk && mkdir -p /tmp/mounted
    try vfat mount -t vfat -o loop /tmp/disk /tmp/mounted
    # It has no server behind it; but there is a driver.
    head -c1 /dev/fuse 2>&1 | grep -q 'No such device' || echo fuse works
    cut -d' ' -f1 /proc/modules | sort | tr '\n' ' ' | sed 's/^/loaded /'
"#;

#[track_caller]
fn all_works(kernel: &str) {
    let seen = machine("busybox").with(["--kernel", kernel]).shell(USES).patience(PATIENCE).run().succeeds();
    for what in ["wireguard", "veth", "dummy", "tun", "vfat", "fuse"] {
        assert_eq!(seen.value(what), "works", "{kernel}: {}\n{}", seen.text(), seen.stderr);
    }
    let loaded = seen.text();
    let loaded: Vec<_> = loaded.lines().last().unwrap_or_default().split(' ').collect();
    for module in ["wireguard", "udp_tunnel", "veth", "tun", "loop", "vfat"] {
        assert!(loaded.contains(&module), "{kernel}: {module} is not among {loaded:?}");
    }
}

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn what_is_used_is_loaded_without_kmod() {
    all_works(KERNEL);
}

#[test]
fn what_is_used_is_loaded_on_a_newer_kernel() {
    all_works(NEWER_KERNEL);
}

#[test]
fn what_is_used_is_loaded_on_a_generic_kernel() {
    all_works(GENERIC_KERNEL);
}

/// The modules are there, and nothing of that is the machine's.
#[test]
fn modules_are_in_no_layer() {
    let machine = Detached::run(&[], "busybox", &["sleep", "1000"]);
    let version = machine.exec("uname -r").text();
    let version = version.trim();
    machine.exec("test -s /lib/modules/$(uname -r)/modules.dep.bin").succeeds();
    let refused = machine.exec("touch /lib/modules/$(uname -r)/new; rm /lib/modules/$(uname -r)/modprobe");
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), "");
    machine.exec("mkdir /lib/modules/mine && echo x >/lib/modules/mine/file").succeeds();
    let differs = machine.vmrun(&["diff"], &[]).run().succeeds().text();
    assert_eq!(differs, "A /lib\nA /lib/modules\nA /lib/modules/mine\nA /lib/modules/mine/file\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("root.tar");
    machine.vmrun(&["export", "-o", file.to_str().unwrap()], &[]).run().succeeds();
    let mut tar = tar::Archive::new(File::open(&file).unwrap());
    let names: Vec<_> =
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    assert!(names.contains(&PathBuf::from("lib/modules/mine/file")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with(Path::new("lib/modules").join(version))), "{names:?}");
}

/// Where /lib is a link, where nothing can be written, where everything is in memory, and where there are none.
#[test]
fn modules_are_where_the_image_has_lib() {
    let listed = machine("debian")
        .with(["--tmpfs-root"])
        .shell("readlink /lib; ls -d /usr/lib/modules/$(uname -r)/kernel && grep -c ' /usr/lib/modules/' /proc/mounts")
        .run();
    let listed = listed.succeeds();
    assert!(listed.text().starts_with("usr/lib\n/usr/lib/modules/6.1."), "{}", listed.text());
    machine("busybox")
        .with(["--read-only"])
        .shell(
            "touch /x 2>/dev/null && exit 1; ls -d /lib/modules/*/kernel && ip link add wg0 type wireguard",
        )
        .run()
        .succeeds();
    let none = machine("busybox")
        .with(["--no-modules"])
        .shell("ls -d /lib /dev/fuse; cat /proc/sys/kernel/modprobe; ip link add wg0 type wireguard || echo refused")
        .run()
        .succeeds();
    assert_eq!(none.text(), "\nrefused\n", "{}", none.stderr);
}

/// iptables, in both of its ways, and kmod: from Debian's packages, installed in a machine.
#[test]
fn programs_of_an_image_find_what_they_need() {
    let machine = Detached::run(&[], "debian", &["sleep", "1000"]);
    let packages = PathBuf::from(setting("VMRUN_CACHE")).join("packages");
    let patiently = |script: &str| machine.vmrun(&["exec"], &["sh", "-c", script]).patience(PATIENCE).run();
    let install = |name: &str| {
        let from = packages.join(name);
        let to = format!("{}:/{name}", machine.id);
        tests::vmrun(["cp", from.to_str().unwrap(), &to]).run().succeeds();
        // Whatever minbase lacks of their dependencies is not needed here.
        patiently(&format!("dpkg --force-depends -i /{name}/*.deb")).succeeds();
    };
    install("iptables");
    for program in ["iptables-nft", "iptables-legacy"] {
        let rule = "-A POSTROUTING -j MASQUERADE";
        let listed = patiently(&format!("{program} -t nat {rule} && {program} -t nat -S")).succeeds().text();
        assert!(listed.contains(rule), "{program}: {listed}");
    }

    install("kmod");
    let found =
        patiently("modprobe xfs && grep -c '^xfs ' /proc/modules; modinfo -n wireguard").succeeds().text();
    assert!(found.starts_with("1\n/lib/modules/6.1.") && found.trim().ends_with("/wireguard.ko"), "{found}");
    patiently(
        "rm -rf /etc/modprobe.d && mkdir /etc/modprobe.d && echo 'blacklist tun' >/etc/modprobe.d/no.conf",
    )
    .succeeds();
    let refused = patiently("cat /dev/net/tun");
    assert!(refused.stderr.contains("No such device"), "{}", refused.stderr);
    patiently(
        "echo 'options loop max_loop=3' >/etc/modprobe.d/loop.conf; losetup -f && \
               test $(cat /sys/module/loop/parameters/max_loop) = 3",
    )
    .succeeds();
}

/// Whatever the machine's disks are and however it finds them, that of the modules is the last.
#[test]
fn modules_are_there_beside_any_other_disk() {
    let kinds: [&[&str]; 3] = [
        &["--rootfs-device", "blk"],
        &["--rootfs-device", "blk", "--tmpfs-root"],
        &["--transport", "pci", "--rootfs-device", "blk"],
    ];
    for words in kinds {
        let seen = machine("busybox")
            .with(words)
            .shell("ip link add wg0 type wireguard && ls /lib/modules/$(uname -r) && grep '^/dev/vd. /lib/mod' /proc/mounts")
            .run()
            .succeeds();
        assert!(seen.text().contains("modules.dep.bin"), "{words:?}: {}", seen.text());
    }
}

/// An image's own init hands nothing of this on.
#[test]
fn modules_load_where_the_image_has_its_own_init() {
    let machine = Detached::run(&["--init", "image"], "busybox", &["sh", "-c", "exec /bin/init"]);
    machine.exec("until test \"$(cat /proc/1/comm)\" = init; do sleep 0.1; done").succeeds();
    machine.exec("ip link add wg0 type wireguard && grep -q ^wireguard /proc/modules").succeeds();
}

/// Who may not load modules has those that the kernel asks for by itself.
#[test]
fn without_the_capability_only_the_kernel_loads_modules() {
    machine("busybox")
        .with(["--cap-drop", "SYS_MODULE"])
        .shell(
            "insmod /lib/modules/$(uname -r)/kernel/drivers/net/dummy.ko 2>/dev/null && exit 1; \
             /lib/modules/$(uname -r)/modprobe dummy && exit 2; ip link add wg0 type wireguard",
        )
        .run()
        .succeeds();
}

/// The kernel insists on signatures: those that the distribution made are there.
#[test]
fn signed_modules_load_where_signatures_are_enforced() {
    let seen = machine("busybox")
        .with(["--kernel-arg", "module.sig_enforce=1", "--kernel-arg", "loop.max_loop=2"])
        .shell(
            "cat /sys/module/module/parameters/sig_enforce; echo $(($(cat /proc/sys/kernel/tainted) & 0x2000)); losetup -f; \
             cat /sys/module/loop/parameters/max_loop",
        )
        .run()
        .succeeds();
    assert_eq!(seen.text(), "Y\n0\n/dev/loop0\n2\n");
}
