//! From the spec's devices to virtio devices behind their transport.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::layout;
use crate::observer::Troubles;
use crate::pci::msix::MessageSink;
use crate::spec::{Carrier, DiskPart, MachineSpec, Transport};
use crate::virtio::balloon::Balloon;
use crate::virtio::block::BlockDevice;
use crate::virtio::block::disk::{self, Disk, Part};
use crate::virtio::console::ConsoleDevice;
use crate::virtio::pmem::PmemDevice;
use crate::virtio::pmem::mapping::{self, Mapping, PrivateCopy};
use crate::virtio::rng::Rng;
use crate::virtio::vsock::VsockDevice;
use crate::virtio::{self, DeviceMemory, Frontend, GuestRam, MmioTransport, PciTransport, VirtioDevice};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("opening the disk part {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("disk of {path}")]
    Disk { path: PathBuf, source: disk::Error },
    #[error("memory of {path}")]
    Memory { path: PathBuf, source: mapping::Error },
    #[error("creating a pipe")]
    Pipe(#[source] io::Error),
    #[error(transparent)]
    Virtio(#[from] virtio::device::Error),
}

/// All devices of a machine.
pub struct Devices {
    /// In the order of their addresses: pmem, blocks, vsock (or the console in its place), rng, balloon.
    pub transports: Transports,
    /// What the guest is to see of persistent memory, and at which guest-physical address.
    pub pmem: Vec<(u64, Arc<Mapping>)>,
    pub troubles: Arc<Troubles>,
}

impl Devices {
    /// Opens everything the spec names and builds the devices over it.
    /// Their messages, where they send any, go to `sink`.
    pub fn build(spec: &MachineSpec, ram: &GuestRam, sink: Arc<dyn MessageSink>) -> Result<Self, Error> {
        let mut devices: Vec<Arc<Mutex<dyn VirtioDevice>>> = Vec::with_capacity(spec.devices());
        let mut pmem = Vec::with_capacity(spec.pmem.len());
        let troubles = Arc::new(Troubles::default());
        let mut start = layout::persistent_memory_start(spec.memory);
        for one in &spec.pmem {
            let parts = open(&one.parts, false)?;
            let mapping = match one.private {
                false => Mapping::shared(&parts),
                true => PrivateCopy::new(&parts).map(PrivateCopy::into_mapping),
            };
            let mapping = mapping.map_err(|source| Error::Memory { path: first(&one.parts), source })?;
            devices.push(Arc::new(Mutex::new(PmemDevice::new(start, mapping.size()))));
            let next = (start + mapping.size()).next_multiple_of(layout::PERSISTENT_MEMORY_ALIGNMENT);
            pmem.push((start, Arc::new(mapping)));
            start = next;
        }
        for one in &spec.blocks {
            let mut parts = open(&one.parts, one.writable)?;
            let disk = if one.private {
                let copy = PrivateCopy::new(&parts);
                Disk::in_memory(copy.map_err(|source| Error::Memory { path: first(&one.parts), source })?)
            } else {
                let disk = match parts.pop() {
                    // The spec has been checked: a writable disk has no other parts.
                    Some(part) if one.writable && one.flush => Disk::writable(part),
                    Some(part) if one.writable => Disk::writable(part).map(Disk::ignoring_flushes),
                    last => Disk::read_only(parts.into_iter().chain(last).collect()),
                };
                disk.map_err(|source| Error::Disk { path: first(&one.parts), source })?
            };
            let device = BlockDevice::new(disk, &one.id).telling(troubles.clone());
            devices.push(Arc::new(Mutex::new(device)));
        }
        if let Some(vsock) = &spec.vsock {
            devices.push(match vsock.carrier {
                Carrier::Vsock => Arc::new(Mutex::new(VsockDevice::bind(vsock.guest_cid, &vsock.socket)?)),
                Carrier::Console => {
                    Arc::new(Mutex::new(ConsoleDevice::bind(vsock.guest_cid, &vsock.socket)?))
                }
            });
        }
        if spec.rng {
            devices.push(Arc::new(Mutex::new(Rng::default())));
        }
        if spec.balloon {
            devices.push(Arc::new(Mutex::new(Balloon::default())));
        }
        let memory = DeviceMemory::new(ram.clone(), pmem.clone()).map(Arc::new).map_err(Error::Pipe)?;
        let transports = match spec.transport {
            Transport::Mmio => Transports::mmio(devices, &memory)?,
            Transport::Pci => Transports::pci(devices, &memory, sink)?,
        };
        Ok(Self { transports, pmem, troubles })
    }
}

/// The devices, as their drivers reach them.
pub enum Transports {
    Mmio(Vec<MmioTransport>),
    Pci(Vec<PciTransport>),
}

impl Transports {
    fn mmio(devices: Vec<Arc<Mutex<dyn VirtioDevice>>>, memory: &Arc<DeviceMemory>) -> Result<Self, Error> {
        let transports = devices.into_iter().map(|device| MmioTransport::new(device, memory.clone()));
        Ok(Self::Mmio(transports.collect::<Result<_, _>>()?))
    }

    fn pci(
        devices: Vec<Arc<Mutex<dyn VirtioDevice>>>,
        memory: &Arc<DeviceMemory>,
        sink: Arc<dyn MessageSink>,
    ) -> Result<Self, Error> {
        let mut transports = Vec::with_capacity(devices.len());
        let mut notifications = 0;
        for (index, device) in devices.into_iter().enumerate() {
            // Below 4 GiB, as all of the gap is.
            let home = layout::mmio_window(index) as u32;
            let one = PciTransport::new(device, memory.clone(), sink.clone(), home, notifications)?;
            notifications += one.frontend().queue_events().len();
            transports.push(one);
        }
        Ok(Self::Pci(transports))
    }

    /// The devices, in their order.
    pub fn frontends(&self) -> Vec<&Frontend> {
        match self {
            Self::Mmio(transports) => transports.iter().map(MmioTransport::frontend).collect(),
            Self::Pci(transports) => transports.iter().map(PciTransport::frontend).collect(),
        }
    }
}

fn open(parts: &[DiskPart], writable: bool) -> Result<Vec<Part>, Error> {
    let open = |part: &DiskPart| -> Result<Part, Error> {
        let file: io::Result<File> = OpenOptions::new().read(true).write(writable).open(&part.path);
        let file = file.map_err(|source| Error::Open { path: part.path.clone(), source })?;
        Ok(Part { file, length: part.length })
    };
    parts.iter().map(open).collect()
}

fn first(parts: &[DiskPart]) -> PathBuf {
    parts.first().map(|part| part.path.clone()).unwrap_or_default()
}
