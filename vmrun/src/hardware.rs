//! What this host's processor can do.

use std::arch::x86_64::__cpuid;

/// The processor's virtualization extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Virtualization {
    Vmx,
    Svm,
}

/// The extension that CPUID announces. A KVM without one opens, makes machines, and never gets a
/// stock kernel through its boot, so /dev/kvm alone proves nothing.
pub fn virtualization() -> Option<Virtualization> {
    // Leaf 1, ECX bit 5: VMX (Intel SDM, CPUID).
    if __cpuid(1).ecx & 1 << 5 != 0 {
        return Some(Virtualization::Vmx);
    }
    // Leaf 8000_0001h, ECX bit 2: SVM (AMD APM volume 3, appendix E).
    if __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).ecx & 1 << 2 != 0 {
        return Some(Virtualization::Svm);
    }
    None
}

/// Whether this processor is QEMU's own emulation (TCG), as on the machine of `vmrun emulate`.
pub fn is_emulated() -> bool {
    // Leaf 1, ECX bit 31: there is a hypervisor, whose name is in leaf 4000_0000h (KVM's cpuid.rst).
    if __cpuid(1).ecx & 1 << 31 == 0 {
        return false;
    }
    let name = __cpuid(0x4000_0000);
    [name.ebx, name.ecx, name.edx].map(u32::to_le_bytes).concat() == b"TCGTCGTCGTCG"
}
