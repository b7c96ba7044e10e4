/// A network interface of the host's through which a guest's output comes.
package struct GuestPort: Equatable, Hashable, Sendable {
    /// The interface: `vif5.0`, `vif5.0-emu`, or the name that the guest's configuration gives it (vifname).
    package let interface: String
    /// The guest's number for the NIC (devid), from 0.
    package let device: Int
    /// The tap of a device model's NIC: an HVM guest's NIC has that and a vif.
    package let isEmulated: Bool
    /// Bytes that may be held; nil for the plug's own limit.
    package let limit: Int?

    package init(interface: String, device: Int, isEmulated: Bool = false, limit: Int? = nil) {
        self.interface = interface
        self.device = device
        self.isEmulated = isEmulated
        self.limit = limit
    }
}

/// The names of the devices that hold a guest's output: `rmd`, the guest's domain number, the NIC's number, `e` for an emulated
/// NIC's tap, and a letter, as in `rmd5.0a`. At most 15 bytes (IFNAMSIZ of linux/if.h).
package struct HoldName: Equatable, Sendable, CustomStringConvertible {
    /// As many devices as a port may have at a time. More than two only after owners that came and went without a release.
    package static let letters: [Character] = Array("abcdefghijklmnopqrstuvwxyz")

    package let domain: UInt32
    package let device: Int
    package let isEmulated: Bool
    package let letter: Character

    package init(domain: UInt32, port: GuestPort, letter: Character) {
        self.domain = domain
        device = port.device
        isEmulated = port.isEmulated
        self.letter = letter
    }

    /// Parses a device's name; nil if it is none of ours.
    package init?(_ name: String) {
        guard name.hasPrefix("rmd"), let letter = name.last, Self.letters.contains(letter) else { return nil }
        let parts = name.dropFirst(3).dropLast().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let domain = UInt32(parts[0]) else { return nil }
        isEmulated = parts[1].hasSuffix("e")
        guard let device = Int(isEmulated ? parts[1].dropLast() : parts[1]), device >= 0 else { return nil }
        self.domain = domain
        self.device = device
        self.letter = letter
        guard description == name else { return nil }
    }

    package var description: String { "rmd\(domain).\(device)\(isEmulated ? "e" : "")\(letter)" }

    package func isOf(_ port: GuestPort, domain: UInt32) -> Bool {
        self.domain == domain && device == port.device && isEmulated == port.isEmulated
    }
}
