//! The kernel that `vmrun kernel build` makes: what software in containers asks of a kernel works in it.

use std::path::PathBuf;
use std::time::Duration;

use tests::{Detached, OWN_KERNEL, machine, setting};

const PATIENCE: Duration = Duration::from_secs(300);

/// As a busybox can try it. Each line says what came of it.
const USES: &str = r#"
    try() { name=$1; shift; "$@" >/dev/null 2>/tmp/error && echo "$name works" || { echo "$name fails"; cat /tmp/error >&2; }; }
    try release sh -c 'uname -r | grep -q -- -vmrun$'
    try modules sh -c '! test -e /proc/modules'
    try config sh -c 'zcat /proc/config.gz | grep -qx CONFIG_CRYPTO_MANAGER_DISABLE_TESTS=y'
    try upper grep -q ' /upper ext4 \| / overlay ' /proc/mounts
    try wireguard ip link add wg0 type wireguard
    try veth ip link add name one type veth peer name two
    try bridge ip link add name bridge0 type bridge
    try dummy ip link add name three type dummy
    try macvlan ip link add link three name four type macvlan
    try tun tunctl -t tap0
    dd if=/dev/zero of=/tmp/disk bs=1M count=4 2>/dev/null && mkdosfs /tmp/disk >/dev/null && mkdir -p /tmp/mounted
    try vfat mount -t vfat -o loop /tmp/disk /tmp/mounted
    try namespaces unshare --user --net --pid --mount --ipc --uts --fork true
    try overlay sh -c 'mkdir -p /tmp/o && mount -t tmpfs o /tmp/o && mkdir /tmp/o/l /tmp/o/u /tmp/o/w /tmp/o/m &&
        mount -t overlay -o lowerdir=/tmp/o/l,upperdir=/tmp/o/u,workdir=/tmp/o/w o /tmp/o/m && touch /tmp/o/m/x'
    for controller in cpuset cpu cpuacct blkio memory devices freezer perf_event hugetlb pids; do
        try "cgroup-$controller" grep -q "^$controller[[:space:]].*1$" /proc/cgroups
    done
    try mitigations sh -c '! grep -q "^Vulnerable$" /sys/devices/system/cpu/vulnerabilities/spectre_v2'
    # It has no server behind it; but there is a driver.
    head -c1 /dev/fuse 2>&1 | grep -q 'No such device' || echo fuse works
    for binary in vsock net/tun; do try "$binary" test -e "/dev/$binary"; done
"#;

#[test]
fn software_finds_what_it_needs() {
    let seen =
        machine("busybox").with(["--kernel", OWN_KERNEL]).shell(USES).patience(PATIENCE).run().succeeds();
    let text = seen.text();
    assert!(!text.contains(" fails"), "{text}\n{}", seen.stderr);
    assert_eq!(text.lines().filter(|line| line.ends_with(" works")).count(), 27, "{text}");
}

/// Its image is mapped, and more than one processor comes up.
#[test]
fn it_maps_its_image_and_has_processors() {
    let seen = machine("busybox")
        .with(["--kernel", OWN_KERNEL, "--cpus", "2", "--timing"])
        // It finds an MP table where it looks first: to look everywhere takes it longer than anything else of ACPI's.
        .shell("nproc; dmesg | grep -c 'found SMP MP-table at .mem 0x0009fc00'")
        .patience(PATIENCE)
        .run()
        .succeeds();
    assert_eq!(seen.text(), "2\n1\n");
    assert!(seen.stderr.contains("pmem: mapped with DAX"), "{}", seen.stderr);
}

/// Each way to a machine's devices is in it.
#[test]
fn it_knows_every_transport() {
    for transport in ["mmio", "mmio-cmdline", "pci"] {
        let seen = machine("busybox")
            .with(["--kernel", OWN_KERNEL, "--transport", transport])
            .shell("echo hello")
            .patience(PATIENCE)
            .run();
        assert_eq!(seen.succeeds().text(), "hello\n", "{transport}");
    }
}

/// iptables in both of its ways, from Debian's packages, installed in a machine.
#[test]
fn iptables_works_in_both_of_its_ways() {
    let machine = Detached::run(&["--kernel", OWN_KERNEL], "debian", &["sleep", "1000"]);
    let from = PathBuf::from(setting("VMRUN_CACHE")).join("packages/iptables");
    let to = format!("{}:/iptables", machine.id);
    tests::vmrun(["cp", from.to_str().unwrap(), &to]).run().succeeds();
    let patiently = |script: &str| machine.vmrun(&["exec"], &["sh", "-c", script]).patience(PATIENCE).run();
    patiently("dpkg --force-depends -i /iptables/*.deb").succeeds();
    for program in ["iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"] {
        let rules = [
            "-t nat -A POSTROUTING -j MASQUERADE",
            "-t nat -A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080",
            "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j RETURN",
            "-A FORWARD -m comment --comment docker -j REJECT",
        ];
        for rule in rules {
            patiently(&format!("{program} {rule}")).succeeds();
        }
        let listed = patiently(&format!("{program} -t nat -S")).succeeds().text();
        assert!(
            listed.contains("-j MASQUERADE") && listed.contains("--to-ports 8080"),
            "{program}: {listed}"
        );
    }
}
