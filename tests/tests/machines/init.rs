//! Images whose own init is the machine's.

use std::time::Duration;

use tests::Detached;

#[test]
fn systemd_boots_serves_and_shuts_down() {
    let machine = Detached::run(&["-m", "512m"], "systemd", &[]);
    let patiently = |script: &str| {
        machine.vmrun(&["exec"], &["sh", "-c", script]).patience(Duration::from_secs(400)).run()
    };
    // Its bus takes a while to be there.
    let running =
        "until systemctl is-system-running --wait 2>/dev/null | grep -E 'running|degraded'; do sleep 1; done";
    let state = patiently(running).succeeds().text();
    let failed = machine.exec("systemctl --failed --no-pager --no-legend").text();
    assert_eq!(state.trim(), "running", "{failed}");
    assert_eq!(machine.exec("cat /proc/1/comm").text().trim(), "systemd");
    patiently("journalctl -b --no-pager").succeeds().says(&["Reached target multi-user.target"]);
    machine.logs("Reached target");

    let rows = machine.vmrun(&["top"], &[]).run().succeeds().text();
    assert!(rows.contains("systemd-journald") && !rows.contains("@init"), "{rows}");
    machine.vmrun(&["pause"], &[]).run().succeeds();
    machine.vmrun(&["unpause"], &[]).run().succeeds();
    machine.exec("echo kept >/root/kept").succeeds();

    let stopped =
        machine.vmrun(&["stop", "-t", "100"], &[]).patience(Duration::from_secs(200)).run().succeeds();
    assert_eq!(stopped.stderr, "");
    assert_eq!(machine.inspect(".State.ExitCode"), "0");
    machine.logs("Reached target poweroff.target");
}

/// Nobody has to be systemd.
#[test]
fn a_plain_init_is_asked_to_power_off() {
    let machine = Detached::run(&["--init", "image"], "busybox", &["sh", "-c", "exec /bin/init"]);
    machine.exec("until test \"$(cat /proc/1/comm)\" = init; do sleep 0.1; done").succeeds();
    machine.exec("echo inside $(cat /proc/self/cgroup)").says(&["0::/machine"]);
    // guest-init is not PID 1, which the kernel spares whatever happens.
    let refused = "exec <&-; sleep 1; echo on";
    let unread = machine.vmrun(&["exec", "-i"], &["sh", "-c", refused]).stdin(vec![0; 4 << 20]).run();
    unread.succeeds().says(&["on"]);
    let scores = "for process in /proc/[0-9]*; do
            grep -q ^@ $process/cmdline && echo agent $(cat $process/oom_score_adj)
        done; echo own $(cat /proc/self/oom_score_adj); kill -PIPE $$";
    let seen = machine.exec(scores).exits_with(141);
    assert_eq!((seen.value("agent"), seen.value("own")), ("-1000".into(), "0".into()));
    let rows = machine.vmrun(&["top"], &[]).run().succeeds().text();
    assert!(rows.contains("init") && !rows.contains("@init"), "{rows}");
    machine.vmrun(&["stop", "-t", "30"], &[]).run().succeeds();
    assert_eq!(machine.inspect(".State.ExitCode"), "0");
}

#[test]
fn an_init_that_is_not_there_is_told() {
    let machine = Detached::create(&[], "busybox", &["/usr/lib/systemd/systemd"]);
    machine.vmrun(&["start", "-a"], &[]).run().exits_with(127).complains(&["systemd"]);
    // The same word, without the meaning.
    let plain = Detached::create(&["--init", "none"], "busybox", &["init", "--help"]);
    assert_eq!(plain.inspect(".Config.Init"), "None");
}
