import XenStream

/// A guest's UUID: 16 bytes in the order in which the text form shows them (RFC 9562, section 4).
package struct GuestUUID: Hashable, Sendable, CustomStringConvertible {
    /// The first and the last eight bytes, most significant byte first.
    package let high: UInt64, low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A random (version 4) UUID.
    package static func random() -> GuestUUID {
        let high = UInt64.random(in: .min ... .max) & ~0xF000 | 0x4000
        let low = UInt64.random(in: .min ... .max) & ~(0b11 << 62) | (0b10 << 62)
        return GuestUUID(high: high, low: low)
    }

    /// Parses the text form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, in either case.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.count) == [8, 4, 4, 4, 12] else { return nil }
        let digits = parts.joined()
        guard let high = UInt64(digits.prefix(16), radix: 16), let low = UInt64(digits.suffix(16), radix: 16)
        else {
            return nil
        }
        self.init(high: high, low: low)
    }

    package var description: String {
        func hex(_ value: UInt64, _ digits: Int) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: digits - text.count) + text
        }
        return [
            hex(high >> 32, 8), hex(high >> 16 & 0xFFFF, 4), hex(high & 0xFFFF, 4), hex(low >> 48, 4),
            hex(low & 0xFFFF_FFFF_FFFF, 12),
        ].joined(separator: "-")
    }
}

/// What does not change while a guest is protected.
package struct GuestDescription: Equatable, Sendable {
    package var name: String
    package var uuid: GuestUUID
    package var kind: GuestKind
    /// Guest-physical pages of 4096 bytes; every pfn is below this.
    package var pageCount: Int
    /// Where its clients reach it, for people and for activation: `127.0.0.1:6400`. Empty if it has no address.
    package var address: String
    /// The JSON configuration that goes into the xl header (`libxl_domain_config_to_json`), without a NUL.
    package var config: [UInt8]

    package init(
        name: String,
        uuid: GuestUUID,
        kind: GuestKind,
        pageCount: Int,
        address: String,
        config: [UInt8]
    ) {
        self.name = name
        self.uuid = uuid
        self.kind = kind
        self.pageCount = pageCount
        self.address = address
        self.config = config
    }
}

/// Bytes in a guest page, the only page size of the stream.
package let guestPageSize = 4096
