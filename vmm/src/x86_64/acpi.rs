//! Hardware-reduced ACPI tables (ACPI 6.5).
//!
//! They describe a machine that has nothing a kernel would have to probe for: no timer but the local APIC's, no
//! keyboard controller, no CMOS clock, no VGA, and no PCI bus unless the devices are on it. What is there is listed in
//! the DSDT.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace as Resource, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name,
    Package, ResourceTemplate, Scope,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

use crate::layout;
use crate::spec::{MachineSpec, Transport};

const OEM: [u8; 6] = *b"VMRUN ";
const TABLE: [u8; 8] = *b"VMRUNMON";
const REVISION: u32 = 1;
const TABLE_ALIGNMENT: usize = 16;
const SDT_HEADER: u32 = 36;

/// FADT boot architecture flags (ACPI 6.5, table 5.11): what is *not* there. That the bits for legacy devices and the
/// keyboard controller are clear says that these are missing too.
const NO_VGA: u16 = 1 << 2;
const NO_MSI: u16 = 1 << 3;
const NO_ASPM: u16 = 1 << 4;
const NO_CMOS_CLOCK: u16 = 1 << 5;

/// All tables as one block, to lie at [`layout::ACPI_START`]; the RSDP comes first.
pub fn tables(spec: &MachineSpec) -> Vec<u8> {
    let mut block = Block { bytes: vec![0; Rsdp::len()] };
    let dsdt = block.add(&dsdt(spec));
    let fadt = block.add(&fadt(dsdt, spec.transport));
    let madt = block.add(&madt(spec.vcpus));
    let mut xsdt = XSDT::new(OEM, TABLE, REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = block.add(&bytes(&xsdt));
    let rsdp = bytes(&Rsdp::new(OEM, xsdt));
    block.bytes[..rsdp.len()].copy_from_slice(&rsdp);
    block.bytes
}

struct Block {
    bytes: Vec<u8>,
}

impl Block {
    /// Appends a table and says at which guest-physical address it will be.
    fn add(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(TABLE_ALIGNMENT), 0);
        let address = layout::ACPI_START + self.bytes.len() as u64;
        self.bytes.extend(table);
        address
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

fn fadt(dsdt: u64, transport: Transport) -> Vec<u8> {
    let port = |port: u16| GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port.into());
    let mut fadt = FADTBuilder::new(OEM, TABLE, REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        // The kernel looks for fixed buttons where these are clear.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    let no_msi = match transport {
        Transport::Mmio => NO_MSI,
        Transport::Pci => 0,
    };
    fadt.iapc_boot_arch = (NO_VGA | no_msi | NO_ASPM | NO_CMOS_CLOCK).into();
    fadt.reset_reg = port(layout::RESET_PORT);
    fadt.reset_value = layout::RESET_VALUE;
    fadt.sleep_control_reg = port(layout::SLEEP_CONTROL_PORT);
    fadt.sleep_status_reg = port(layout::SLEEP_STATUS_PORT);
    bytes(&fadt.finalize())
}

fn madt(vcpus: u8) -> Vec<u8> {
    let mut madt = MADT::new(OEM, TABLE, REVISION, LocalInterruptController::Address(layout::LOCAL_APIC));
    for id in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(vcpus, layout::IOAPIC, 0));
    bytes(&madt)
}

fn dsdt(spec: &MachineSpec) -> Vec<u8> {
    let off = Name::new("_S5_".into(), &Package::new(vec![&layout::SLEEP_TYPE_OFF, &0u8]));
    let mut dsdt = Sdt::new(*b"DSDT", SDT_HEADER, 6, OEM, TABLE, REVISION);
    dsdt.append_slice(&bytes(&off));
    dsdt.append_slice(&bytes(&Scope::new(
        "_SB_".into(),
        vec![&Device::new(
            "COM1".into(),
            vec![
                &Name::new("_HID".into(), &EISAName::new("PNP0501")),
                &Name::new("_UID".into(), &0u8),
                &Name::new(
                    "_CRS".into(),
                    &ResourceTemplate::new(vec![
                        &IO::new(layout::SERIAL_PORT, layout::SERIAL_PORT, 1, layout::SERIAL_PORTS as u8),
                        &Interrupt::new(true, true, false, false, layout::SERIAL_GSI),
                    ]),
                ),
            ],
        )],
    )));
    match spec.transport {
        Transport::Mmio => (0..spec.devices()).for_each(|index| dsdt.append_slice(&virtio(index))),
        Transport::Pci => dsdt.append_slice(&host_bridge()),
    }
    dsdt.update_checksum();
    dsdt.as_slice().to_vec()
}

/// A conventional PCI host bridge: one bus, configuration mechanism #1, and the addresses its devices may be moved to.
/// There are no interrupt lines to route.
fn host_bridge() -> Vec<u8> {
    let start = layout::MMIO_START as u32;
    let end = (layout::MMIO_START + layout::PCI_MEMORY_SIZE - 1) as u32;
    bytes(&Scope::new(
        "_SB_".into(),
        vec![&Device::new(
            "PCI0".into(),
            vec![
                &Name::new("_HID".into(), &EISAName::new("PNP0A03")),
                &Name::new("_UID".into(), &0u8),
                &Name::new("_SEG".into(), &0u8),
                &Name::new("_BBN".into(), &0u8),
                &Name::new("_CCA".into(), &1u8),
                &Name::new(
                    "_CRS".into(),
                    &ResourceTemplate::new(vec![
                        &Resource::new_bus_number(0u16, 0u16),
                        &IO::new(
                            layout::PCI_ADDRESS_PORT,
                            layout::PCI_ADDRESS_PORT,
                            1,
                            layout::PCI_PORTS as u8,
                        ),
                        &Resource::new_memory(AddressSpaceCacheable::NotCacheable, true, start, end, None),
                    ]),
                ),
            ],
        )],
    ))
}

/// Linux's virtio_mmio driver binds to "LNRO0005".
fn virtio(index: usize) -> Vec<u8> {
    let name = format!("V{index:03}");
    bytes(&Scope::new(
        "_SB_".into(),
        vec![&Device::new(
            name.as_str().into(),
            vec![
                &Name::new("_HID".into(), &"LNRO0005"),
                &Name::new("_UID".into(), &(index as u8)),
                &Name::new("_CCA".into(), &1u8),
                &Name::new(
                    "_CRS".into(),
                    &ResourceTemplate::new(vec![
                        &Memory32Fixed::new(
                            true,
                            layout::mmio_window(index) as u32,
                            layout::MMIO_SIZE as u32,
                        ),
                        &Interrupt::new(true, true, false, false, layout::gsi(index)),
                    ]),
                ),
            ],
        )],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Firmware, MAX_VCPUS};

    fn number(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// The table at guest-physical `address`, whose checksum must hold.
    fn table(block: &[u8], address: usize) -> &[u8] {
        let at = address - layout::ACPI_START as usize;
        let table = &block[at..at + number(block, at + 4)];
        assert_eq!(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        table
    }

    #[test]
    fn the_largest_machine_is_described_within_the_bios_area() {
        let spec = MachineSpec {
            vcpus: MAX_VCPUS,
            memory: 2 << 20,
            kernel: Default::default(),
            kaslr: None,
            initramfs: vec![],
            cmdline: String::new(),
            firmware: Firmware::Acpi,
            transport: Transport::Mmio,
            pmem: vec![crate::PmemSpec { parts: vec![], private: false }; layout::MAX_DEVICES - 1],
            blocks: vec![],
            vsock: None,
            rng: true,
            balloon: false,
        };
        let block = tables(&spec);
        assert!(layout::ACPI_START + (block.len() as u64) < layout::BIOS_ENTRY);
        assert_eq!(&block[..8], b"RSD PTR ");
        assert_eq!(block[..20].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        let xsdt = table(&block, number(&block, 24));
        let [fadt, madt] = [36, 44].map(|entry| table(&block, number(xsdt, entry)));
        assert_eq!((&xsdt[..4], &fadt[..4], &madt[..4]), (&b"XSDT"[..], &b"FACP"[..], &b"APIC"[..]));
        let dsdt = table(&block, number(fadt, 140));
        assert_eq!(dsdt.windows(8).filter(|name| name == b"LNRO0005").count(), layout::MAX_DEVICES);
        assert_eq!(madt.len(), 44 + usize::from(MAX_VCPUS) * 8 + 12);
    }
}
