//! What a process without CAP_SYS_ADMIN cannot do to its machine's kernel, whatever its image holds.

use std::time::Duration;

use tests::{Detached, machine, vmrun};

const PATIENCE: Duration = Duration::from_secs(300);

/// Removed when this is dropped.
struct Image(&'static str);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = vmrun(["rmi", "-f", self.0]).run();
    }
}

/// An image in which a user may say where /lib leads, and which has programs that the kernel runs.
const HOSTILE: &str = r#"
    set -e
    mkdir -p /usr/lib/modules/$(uname -r) /srv/evil/modules/$(uname -r)
    ln -s ../usr/lib /srv/lib
    ln -s /usr/lib/x86_64-linux-gnu /srv/evil/x86_64-linux-gnu
    ln -s evil /srv/next
    ln -sfn srv/lib /lib
    printf '#!/bin/sh\nid >/srv/modprobe-ran\n' >/srv/evil/modules/$(uname -r)/modprobe
    printf '#!/bin/sh\nid >/srv/request-key-ran\n' >/usr/sbin/request-key
    chmod +x /srv/evil/modules/*/modprobe /usr/sbin/request-key
    chown -hR 1000:1000 /srv
    echo made; exec sleep 100000
"#;

/// As a user: has /lib lead elsewhere, asks the kernel for families of sockets (one exists), and for a key.
const ATTACK: &str = r#"
    mv -T /srv/next /srv/lib
    perl -e 'socket(my $a, 9, 5, 0); socket(my $b, 38, 5, 0);
             my @key = ("user", "vmrun:key", "callout"); syscall(249, $key[0], $key[1], $key[2], 0);'
    echo algorithms $(grep -c ^af_alg /proc/modules)
    cd /srv; echo ran $(ls | grep ran) only
"#;

#[test]
fn the_kernel_runs_no_program_of_an_image_for_who_may_not_run_it() {
    let image = Image("walls:hostile");
    let made = Detached::shell(&["--no-modules"], "debian", HOSTILE);
    made.logs("made");
    vmrun(["commit", "-q", &made.id, image.0]).patience(PATIENCE).run().succeeds();
    drop(made);
    let attack = |words: &[&str]| {
        machine(image.0)
            .with(["--user", "1000"])
            .with(words)
            .shell(ATTACK)
            .patience(PATIENCE)
            .run()
            .succeeds()
    };
    // Whose machine it is, his image's programs run in it.
    assert_eq!(attack(&[]).value("ran"), "modprobe-ran request-key-ran only");
    let seen = attack(&["--cap-drop", "ALL"]);
    assert_eq!((seen.value("ran"), seen.value("algorithms")), ("only".into(), "1".into()), "{}", seen.stderr);
}

#[test]
fn the_kernel_is_not_changed_through_what_it_shows() {
    let script = r#"
        try() { name=$1; shift; sh -c "$*" 2>/tmp/error && echo "$name works" || { echo "$name fails"; cat /tmp/error >&2; }; }
        try sysctl 'echo 1 >/proc/sys/kernel/sysrq'
        try modprobe 'echo /x >/proc/sys/kernel/modprobe'
        try again 'mount -o remount,rw /proc/sys'
        try trigger 'echo h >/proc/sysrq-trigger'
        try sysfs 'echo 1 >/sys/kernel/rcu_expedited'
        try disks 'cat /dev/vd* /dev/pmem* | head -c1 | grep -q .'
        try cgroups 'mkdir /sys/fs/cgroup/inner'
        try wireguard 'ip link add wg0 type wireguard'
        echo modprobe-is $(cat /proc/sys/kernel/modprobe)
        try program '$(cat /proc/sys/kernel/modprobe) dummy && grep -q ^dummy /proc/modules'
    "#;
    let walled = machine("busybox").with(["--cap-drop", "SYS_ADMIN"]).shell(script).run().succeeds();
    for name in ["sysctl", "modprobe", "again", "trigger", "sysfs", "disks"] {
        assert_eq!(walled.value(name), "fails", "{name}: {}\n{}", walled.text(), walled.stderr);
    }
    for name in ["cgroups", "wireguard", "program"] {
        assert_eq!(walled.value(name), "works", "{name}: {}\n{}", walled.text(), walled.stderr);
    }
    let open = machine("busybox").shell(script).run().succeeds();
    for name in ["sysctl", "modprobe", "trigger", "sysfs", "disks", "cgroups"] {
        assert_eq!(open.value(name), "works", "{name}: {}\n{}", open.text(), open.stderr);
    }
}

/// A limit is the cgroup's, in which a process may do as it likes, and not with it.
#[test]
fn limits_of_the_machines_cgroup_are_not_lifted_from_within() {
    let script = "cd /sys/fs/cgroup; mkdir inner || exit 1
        echo max 2>/dev/null >pids.max && echo lifted
        mkdir /again && mount -t cgroup2 again /again && echo max 2>/dev/null >/again/pids.max && echo lifted
        echo limit $(cat pids.max)
        echo $$ >inner/cgroup.procs && echo +pids >cgroup.subtree_control && echo 5 >inner/pids.max && echo inner $(cat inner/pids.max)";
    for words in [&["--pids-limit", "100"][..], &["--pids-limit", "100", "--cap-drop", "ALL"]] {
        let seen = machine("busybox").with(words).shell(script).run().succeeds();
        assert_eq!((seen.value("limit"), seen.value("inner")), ("100".into(), "5".into()), "{}", seen.stderr);
        assert!(!seen.text().contains("lifted"), "{words:?}: {}", seen.text());
    }
}

/// As with every distribution's user land, which an image has or has not.
#[test]
fn links_of_others_are_no_traps() {
    let script = "ln -s /etc/passwd /tmp/link && chown -h 1000 /tmp/link && chmod 1777 /tmp && cat /tmp/link >/dev/null || echo refused";
    assert_eq!(machine("busybox").shell(script).run().succeeds().text(), "refused\n");
}
