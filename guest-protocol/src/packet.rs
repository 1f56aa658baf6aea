//! The header before every packet of a socket device (virtio 1.2, section 5.10.6).
//!
//! Where the guest's kernel has no socket device, the same packets cross a port of a console device
//! ([`CHANNEL_PORT`]), and guest-init does with them what that kernel would have done.

/// The name of the port that carries packets.
pub const CHANNEL_PORT: &str = "channel";

/// The longest packet that crosses a port to the host, in bytes with its header: what the kernel's driver passes
/// on as one buffer.
pub const LONGEST_ON_PORT: usize = 32 << 10;

/// Bytes of a header.
pub const HEADER_LENGTH: usize = 44;
/// The context ID of the host, the other end of every packet that the guest sends us.
pub const HOST_CID: u64 = 2;
/// The one kind of socket that we speak.
pub const STREAM: u16 = 1;

/// Flags of a SHUTDOWN: what its sender will do no more.
pub const SHUTDOWN_RECEIVE: u32 = 1;
pub const SHUTDOWN_SEND: u32 = 2;
pub const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// What a packet is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    #[default]
    Invalid = 0,
    Request = 1,
    Response = 2,
    Reset = 3,
    Shutdown = 4,
    Data = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
}

impl From<u16> for Operation {
    fn from(code: u16) -> Self {
        match code {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::Data,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => Self::Invalid,
        }
    }
}

/// `struct virtio_vsock_hdr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub source_cid: u64,
    pub destination_cid: u64,
    pub source_port: u32,
    pub destination_port: u32,
    /// Bytes of payload that follow.
    pub length: u32,
    pub kind: u16,
    pub operation: Operation,
    pub flags: u32,
    /// The sender's receive buffer for this connection, bytes.
    pub buffer_size: u32,
    /// Bytes that have left that buffer since the connection began, modulo 2^32.
    pub forwarded: u32,
}

impl Header {
    pub fn from_bytes(bytes: &[u8; HEADER_LENGTH]) -> Self {
        Self {
            source_cid: u64::from_le_bytes(field(bytes, 0)),
            destination_cid: u64::from_le_bytes(field(bytes, 8)),
            source_port: u32::from_le_bytes(field(bytes, 16)),
            destination_port: u32::from_le_bytes(field(bytes, 20)),
            length: u32::from_le_bytes(field(bytes, 24)),
            kind: u16::from_le_bytes(field(bytes, 28)),
            operation: u16::from_le_bytes(field(bytes, 30)).into(),
            flags: u32::from_le_bytes(field(bytes, 32)),
            buffer_size: u32::from_le_bytes(field(bytes, 36)),
            forwarded: u32::from_le_bytes(field(bytes, 40)),
        }
    }

    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.source_cid.to_le_bytes());
        put(8, &self.destination_cid.to_le_bytes());
        put(16, &self.source_port.to_le_bytes());
        put(20, &self.destination_port.to_le_bytes());
        put(24, &self.length.to_le_bytes());
        put(28, &self.kind.to_le_bytes());
        put(30, &(self.operation as u16).to_le_bytes());
        put(32, &self.flags.to_le_bytes());
        put(36, &self.buffer_size.to_le_bytes());
        put(40, &self.forwarded.to_le_bytes());
        bytes
    }

    /// The packet that tells this one's sender that there is no such connection.
    pub fn reset(&self) -> Self {
        Self {
            source_cid: self.destination_cid,
            destination_cid: self.source_cid,
            source_port: self.destination_port,
            destination_port: self.source_port,
            kind: STREAM,
            operation: Operation::Reset,
            ..Self::default()
        }
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_LENGTH], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}
