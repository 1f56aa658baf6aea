//! What the guest's processors say of themselves: what KVM can do on this host, minus what costs a kernel time to look
//! into and is not there anyway, plus the machine's own topology (one package, one core a vCPU).

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::{Cap, Kvm};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("asking KVM which processor features it supports")]
    Supported(#[source] kvm_ioctls::Error),
    #[error("building the processor features of a vCPU: {0}")]
    Table(&'static str),
}

/// Leaf 1, ECX.
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, ECX: no debug store, no performance capabilities.
const DTES64: u32 = 1 << 2;
const DS_CPL: u32 = 1 << 4;
const PDCM: u32 = 1 << 15;
/// Leaf 1, ECX: Intel's virtualization; leaf 0x8000_0001, ECX: AMD's, of which [`SVM_LEAF`] tells more. Nobody asks for
/// machines within machines, and it is much code of the host's kernel that no guest then reaches.
const VMX: u32 = 1 << 5;
const SVM: u32 = 1 << 2;
const SVM_LEAF: u32 = 0x8000_000a;
/// Leaf 1, EDX.
const DEBUG_STORE: u32 = 1 << 21;
const HYPER_THREADING: u32 = 1 << 28;
/// Leaf 0x8000_0001, ECX: AMD's counters, and the topology extensions' leaf 0x8000_001e, which stays.
const AMD_COUNTERS: u32 = 1 << 23 | 1 << 24 | 1 << 28;

/// Levels of leaf 0xb, in ECX bits 15:8.
const LEVEL_THREAD: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;

/// The part of the table that all vCPUs share, fetched from KVM once.
pub struct Supported {
    entries: Vec<kvm_cpuid_entry2>,
    tsc_deadline: bool,
}

impl Supported {
    pub fn query(kvm: &Kvm) -> Result<Self, Error> {
        let table = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(Error::Supported)?;
        // KVM's local APIC has the timer, but the list leaves its bit to us.
        let tsc_deadline = kvm.check_extension(Cap::TscDeadlineTimer);
        Ok(Self { entries: table.as_slice().to_vec(), tsc_deadline })
    }

    /// The table of vCPU `id` of `vcpus`.
    pub fn for_vcpu(&self, id: u8, vcpus: u8) -> Result<CpuId, Error> {
        let topology = Topology { id: id.into(), vcpus: vcpus.into() };
        let mut entries: Vec<_> =
            self.entries.iter().filter(|entry| !topology.leaves_out(entry.function)).copied().collect();
        for entry in &mut entries {
            topology.adapt(entry, self.tsc_deadline);
        }
        if self.entries.iter().any(|entry| entry.function == 0 && entry.eax >= 0xb) {
            entries.extend(topology.levels());
        }
        CpuId::from_entries(&entries).map_err(|_| Error::Table("too many entries"))
    }
}

struct Topology {
    id: u32,
    vcpus: u32,
}

impl Topology {
    /// Leaves that describe the host's topology and are written anew, and what no guest has.
    fn leaves_out(&self, leaf: u32) -> bool {
        matches!(leaf, 0xb | 0x1f | SVM_LEAF)
    }

    fn adapt(&self, entry: &mut kvm_cpuid_entry2, tsc_deadline: bool) {
        match entry.function {
            1 => {
                entry.ecx |= HYPERVISOR | if tsc_deadline { TSC_DEADLINE } else { 0 };
                entry.ecx &= !(DTES64 | DS_CPL | PDCM | VMX);
                entry.edx &= !DEBUG_STORE;
                entry.edx = with_bits(entry.edx, HYPER_THREADING, self.vcpus > 1);
                entry.ebx = entry.ebx & 0xffff | self.vcpus << 16 | self.id << 24;
            }
            // Caches: the first two levels belong to a core, the others to the package.
            4 if entry.eax & 0x1f != 0 => {
                let level = entry.eax >> 5 & 7;
                let sharing = if level < 3 { 0 } else { self.vcpus - 1 };
                entry.eax = entry.eax & 0x3fff | sharing << 14 | (self.vcpus - 1) << 26;
            }
            // Power management: no energy policy to set, no turbo.
            6 => (entry.ecx, entry.eax) = (entry.ecx & !(1 << 3), entry.eax & !(1 << 1)),
            // Performance counters: the kernel would set up a watchdog on them.
            0xa => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
            0x8000_0001 => entry.ecx &= !(AMD_COUNTERS | SVM),
            0x8000_0008 => entry.ecx = self.package_bits() << 12 | (self.vcpus - 1),
            0x8000_001d if entry.eax & 0x1f != 0 => {
                let level = entry.eax >> 5 & 7;
                let sharing = if level < 3 { 0 } else { self.vcpus - 1 };
                entry.eax = entry.eax & 0x3fff | sharing << 14;
            }
            // AMD's own place for it: APIC ID, core ID with one thread each, one node.
            0x8000_001e => (entry.eax, entry.ebx, entry.ecx) = (self.id, self.id & 0xff, 0),
            // Performance monitoring version 2.
            0x8000_0022 => (entry.eax, entry.ebx) = (0, 0),
            _ => {}
        }
    }

    fn levels(&self) -> [kvm_cpuid_entry2; 3] {
        let level = |index, shift, count, kind| kvm_cpuid_entry2 {
            function: 0xb,
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax: shift,
            ebx: count,
            ecx: kind | index,
            edx: self.id,
            ..Default::default()
        };
        [
            level(0, 0, 1, LEVEL_THREAD),
            level(1, self.package_bits(), self.vcpus, LEVEL_CORE),
            level(2, 0, 0, 0),
        ]
    }

    /// How far to shift an APIC ID to get its package's.
    fn package_bits(&self) -> u32 {
        self.vcpus.next_power_of_two().trailing_zeros()
    }
}

fn with_bits(value: u32, bits: u32, set: bool) -> u32 {
    if set { value | bits } else { value & !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vcpu_knows_its_place() {
        let supported = Supported::query(&Kvm::new().unwrap()).unwrap();
        let table = supported.for_vcpu(2, 3).unwrap();
        let leaf = |function, index| {
            *table.as_slice().iter().find(|entry| entry.function == function && entry.index == index).unwrap()
        };
        assert_eq!(leaf(1, 0).ebx >> 24, 2);
        assert_ne!(leaf(1, 0).ecx & HYPERVISOR, 0);
        assert_eq!((leaf(0xb, 1).eax, leaf(0xb, 1).ebx, leaf(0xb, 1).edx), (2, 3, 2));
    }

    #[test]
    fn no_guest_can_be_a_host() {
        let entry = |function, ecx| kvm_cpuid_entry2 { function, ecx, ..Default::default() };
        let entries = vec![entry(1, u32::MAX), entry(0x8000_0001, u32::MAX), entry(SVM_LEAF, 1)];
        let table = Supported { entries, tsc_deadline: true }.for_vcpu(0, 1).unwrap();
        let of = |function| {
            table.as_slice().iter().find(|entry| entry.function == function).map(|entry| entry.ecx)
        };
        assert_eq!(of(1).unwrap() & VMX, 0);
        assert_eq!(of(0x8000_0001).unwrap() & SVM, 0);
        assert_eq!(of(SVM_LEAF), None);
    }
}
