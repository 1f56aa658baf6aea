//! A kernel with less than Debian's has.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{KERNEL, setting, vmrun};

/// The kernel of the other tests without some of its modules, and with a configuration that says so; removed when
/// this is dropped.
pub struct LesserKernel {
    pub name: String,
    /// What `vmrun kernel add` said on standard error.
    pub remarks: String,
}

impl LesserKernel {
    /// Without these options (no `CONFIG_`) and these files of modules.
    #[track_caller]
    pub fn new(name: &str, options: &[&str], files: &[&str]) -> LesserKernel {
        let stored = Path::new(&setting("VMRUN_HOME")).join("kernels").join(KERNEL);
        let version = vmrun(["kernel", "inspect", KERNEL]).run().succeeds().value("version");
        let source = tempfile::tempdir().unwrap();
        let (boot, modules) = (source.path().join("boot"), source.path().join("lib/modules").join(&version));
        for directory in [&boot, &modules] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::copy(stored.join("vmlinux"), boot.join(format!("vmlinuz-{version}"))).unwrap();
        let mut config = fs::read_to_string(stored.join("config")).unwrap();
        for option in options {
            for set in ["y", "m"] {
                config = config.replace(&format!("CONFIG_{option}={set}\n"), "");
            }
        }
        fs::write(boot.join(format!("config-{version}")), config).unwrap();
        let run = |program: &str, words: &[&str]| {
            let status = Command::new(program).args(words).current_dir(stored.join("modules")).status();
            assert!(status.unwrap().success(), "{program} {words:?}");
        };
        run("cp", &["-r", ".", modules.to_str().unwrap()]);
        for file in files {
            run("find", &[modules.to_str().unwrap(), "-name", file, "-delete"]);
        }
        let name = format!("{name}-{}", std::process::id());
        let added =
            vmrun(["kernel", "add", source.path().to_str().unwrap(), "--name", &name]).run().succeeds();
        LesserKernel { name, remarks: added.stderr.clone() }
    }
}

impl Drop for LesserKernel {
    fn drop(&mut self) {
        vmrun(["kernel", "rm", &self.name]).run();
    }
}
