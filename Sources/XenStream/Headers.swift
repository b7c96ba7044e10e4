/// The 48 bytes that `xl save` writes first.
package struct XLSaveHeader: Equatable, Sendable {
    /// Bytes of the header.
    package static let size = 48
    /// What it starts with: a text and five bytes that a transfer in text mode would damage.
    package static let magic: StaticString = "Xen saved domain, xl format\n \0 \r"
    /// The value of the byte order field, stored in the writer's own order.
    package static let byteOrderMark: UInt32 = 0x0102_0304
    /// Mandatory flag: the configuration is JSON.
    package static let jsonFlag: UInt32 = 1 << 0
    /// Mandatory flag: what follows is a version 2 libxl stream, not a legacy one.
    package static let streamV2Flag: UInt32 = 1 << 1

    /// Flags that a reader must know.
    package var mandatoryFlags: UInt32
    /// Flags that a reader may ignore; written as 0.
    package var optionalFlags: UInt32
    /// Bytes that follow the header: u32 configuration length, the configuration, and what later writers may add.
    package var optionalDataLength: UInt32

    /// A header as today's `xl` writes it, unless told otherwise.
    package init(
        mandatoryFlags: UInt32 = XLSaveHeader.jsonFlag | XLSaveHeader.streamV2Flag,
        optionalFlags: UInt32 = 0,
        optionalDataLength: UInt32
    ) {
        self.mandatoryFlags = mandatoryFlags
        self.optionalFlags = optionalFlags
        self.optionalDataLength = optionalDataLength
    }
}

/// The 16 bytes that start the libxl layer, big endian (libxl stream spec, "Headers").
package struct LibxlHeader: Equatable, Sendable {
    /// Bytes of the header.
    package static let size = 16
    /// ASCII "LibxlFmt".
    package static let ident: UInt64 = 0x4C69_6278_6C46_6D74
    /// The only version there is.
    package static let currentVersion: UInt32 = 2
    /// Option: the records are big endian; nothing on x86 writes or reads such.
    package static let bigEndianOption: UInt32 = 1 << 0
    /// Option: made from a legacy stream by Xen's converter.
    package static let convertedOption: UInt32 = 1 << 1

    /// The format's version.
    package var version: UInt32
    /// Option bits.
    package var options: UInt32

    /// A header of the current version.
    package init(version: UInt32 = LibxlHeader.currentVersion, options: UInt32 = 0) {
        self.version = version
        self.options = options
    }
}

/// The 24 bytes that start the libxc layer, big endian (libxc stream spec, "Image header").
package struct ImageHeader: Equatable, Sendable {
    /// Bytes of the header.
    package static let size = 24
    /// Eight bytes 0xff, which no legacy stream starts with.
    package static let marker: UInt64 = .max
    /// ASCII "XENF".
    package static let ident: UInt32 = 0x5845_4E46
    /// Option: the body is big endian; nothing on x86 writes or reads such.
    package static let bigEndianOption: UInt16 = 1 << 0

    /// 2 (Xen 4.6 to 4.13) or 3 (4.14 and later).
    package var version: UInt32
    /// Option bits.
    package var options: UInt16

    /// A header, of version 3 unless told otherwise.
    package init(version: UInt32 = 3, options: UInt16 = 0) {
        self.version = version
        self.options = options
    }
}

/// What kind of guest an image holds (libxc stream spec, "Domain header").
package enum GuestKind: UInt32, Sendable, CaseIterable {
    /// Paravirtualised.
    case pv = 1
    /// HVM or PVH: the libxc layer does not tell them apart.
    case hvm = 2
}

/// The 16 bytes after the image header, little endian (libxc stream spec, "Domain header").
package struct DomainHeader: Equatable, Sendable {
    /// Bytes of the header.
    package static let size = 16
    /// The only page size there is, as a shift.
    package static let pageShift: UInt16 = 12

    /// The kind of guest.
    package var kind: GuestKind
    /// Major version of the Xen that saved it; 0 when converted from a legacy stream.
    package var xenMajor: UInt32
    /// Minor version of the Xen that saved it.
    package var xenMinor: UInt32

    /// A header for a guest saved by the given version of Xen.
    package init(kind: GuestKind, xenMajor: UInt32, xenMinor: UInt32) {
        self.kind = kind
        self.xenMajor = xenMajor
        self.xenMinor = xenMinor
    }
}
