//! Nobody needs root: whoever may use /dev/kvm adds a kernel, loads an image and has machines.

use std::path::PathBuf;

use tests::{OWN_KERNEL, User, setting};

#[test]
fn a_user_who_is_not_root_has_machines() {
    let user = User::with_kvm();
    let given = |setting_name, path: &str| {
        let file = user.give(&PathBuf::from(setting(setting_name)).join(path));
        file.to_str().unwrap().to_owned()
    };
    let kernel = given("VMRUN_HOME", &format!("kernels/{OWN_KERNEL}/vmlinux"));
    user.vmrun(["kernel", "add", "--name", "mine", &kernel]).run().succeeds();
    let image = given("VMRUN_CACHE", "tests/images/busybox.tar");
    user.vmrun(["import", &image, "busybox"]).run().succeeds();

    let seen =
        user.vmrun(["run", "--rm", "busybox", "sh", "-c", "id -u; touch /etc/mine && echo written"]).run();
    assert_eq!(seen.succeeds().text(), "0\nwritten\n");
    user.vmrun(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]).run().succeeds();
    let seen = user.vmrun(["exec", "box", "cat", "/proc/1/comm"]).run().succeeds();
    assert_eq!(seen.text(), "sleep\n");
    user.vmrun(["cp", &kernel, "box:/root/"]).run().succeeds();
    user.vmrun(["commit", "box", "with-a-kernel"]).run().succeeds();
    user.vmrun(["rm", "-f", "box"]).run().succeeds();
    let size =
        user.vmrun(["run", "--rm", "with-a-kernel", "stat", "-c", "%s", "/root/vmlinux"]).run().succeeds();
    assert_eq!(size.text().trim(), std::fs::metadata(&kernel).unwrap().len().to_string());
}
