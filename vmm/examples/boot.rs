//! Boots a kernel by hand: prints what comes from the serial port, the stamps with their times, and the report.
//!
//! `boot --kernel vmlinux [--initramfs FILE]… [--cmdline TEXT] [--memory MIB] [--vcpus N] [--pmem FILE]… [--disk FILE]…
//! [--rw-disk FILE]… [--vsock SOCKET] [--no-acpi] [--pci] [--kaslr SEED] [--quiet]`

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use vmm::{
    BlockSpec, Carrier, DiskPart, EventFd, Firmware, InitramfsPart, Machine, MachineSpec, Observer, PmemSpec,
    Transport, Trouble, VsockSpec,
};

struct Console {
    start: Instant,
    quiet: bool,
}

impl Observer for Console {
    fn stamp(&self, byte: u8) {
        eprintln!("[{:?}] stamp {byte}", self.start.elapsed());
    }

    fn serial(&self, bytes: &[u8]) {
        if !self.quiet {
            let _ = std::io::stdout().write_all(bytes);
        }
    }

    fn trouble(&self, trouble: Trouble) {
        eprintln!("[{:?}] {trouble:?}", self.start.elapsed());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let (spec, quiet) = read_arguments()?;
    let machine = Machine::new(spec)?;
    eprintln!("[{:?}] built", start.elapsed());
    let report = machine.run(Arc::new(Console { start, quiet }), EventFd::new(0)?)?;
    eprintln!(
        "[{:?}] {:?}, {} dropped writes, {} bytes of serial output, jail gaps {:?}",
        start.elapsed(),
        report.end,
        report.dropped_pmem_writes,
        report.last_serial.len(),
        report.jail_gaps
    );
    Ok(())
}

fn read_arguments() -> Result<(MachineSpec, bool), Box<dyn Error>> {
    let mut spec = MachineSpec {
        vcpus: 1,
        memory: 256 << 20,
        kernel: "vmlinux".into(),
        kaslr: None,
        initramfs: vec![],
        cmdline: String::new(),
        firmware: Firmware::Acpi,
        transport: Transport::Mmio,
        pmem: vec![],
        blocks: vec![],
        vsock: None,
        rng: true,
        balloon: false,
    };
    let mut extra = None;
    let mut quiet = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--kernel" => spec.kernel = value()?.into(),
            "--initramfs" => spec.initramfs.push(InitramfsPart::File(value()?.into())),
            "--cmdline" => extra = Some(value()?),
            "--memory" => spec.memory = value()?.parse::<u64>()? << 20,
            "--vcpus" => spec.vcpus = value()?.parse()?,
            "--pmem" => spec.pmem.push(PmemSpec { parts: vec![whole(value()?)?], private: false }),
            "--disk" => spec.blocks.push(disk(value()?, false)?),
            "--rw-disk" => spec.blocks.push(disk(value()?, true)?),
            "--vsock" => {
                spec.vsock =
                    Some(VsockSpec { guest_cid: 3, socket: value()?.into(), carrier: Carrier::Vsock })
            }
            "--no-rng" => spec.rng = false,
            "--no-acpi" => spec.firmware = Firmware::CommandLine,
            "--pci" => spec.transport = Transport::Pci,
            "--kaslr" => spec.kaslr = Some(value()?.parse()?),
            "--quiet" => quiet = true,
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let platform = vmm::cmdline::platform_options(spec.firmware, spec.transport).join(" ");
    let extra = extra.unwrap_or_default();
    spec.cmdline = format!("loglevel=1 console=ttyS0 panic=-1 panic_print=0x20 {platform} {extra}");
    Ok((spec, quiet))
}

fn whole(path: String) -> Result<DiskPart, Box<dyn Error>> {
    let length = std::fs::metadata(&path)?.len().next_multiple_of(4096);
    Ok(DiskPart { path: path.into(), length })
}

fn disk(path: String, writable: bool) -> Result<BlockSpec, Box<dyn Error>> {
    Ok(BlockSpec {
        id: "example".to_owned(),
        parts: vec![whole(path)?],
        writable,
        flush: true,
        private: false,
    })
}
