import Checkpoint

/// A guest's devices as xenstore has them, and which of them stand in the way of protection.
package struct GuestDevices: Equatable, Sendable {
    /// A virtual disk.
    package struct Disk: Equatable, Sendable {
        /// `xvda`
        package let name: String
        package let isWritable: Bool
    }

    /// A network card.
    package struct Card: Equatable, Sendable {
        /// Its number.
        package let device: Int
        package let mac: String
        /// The domain whose network it is in.
        package let backend: UInt32
        /// Its interface in that domain: `vif5.0`, or what the configuration names.
        package let interface: String
        /// It is an emulated card too, until the guest's drivers for Xen unplug that, with a tap named `interface` and `-emu`
        /// (libxl_nic.c: `type` in the backend's directory).
        package let isEmulated: Bool
        /// The most that it may send, in bytes a second (`rate` of xl-network-configuration(5)); nil where that is not limited.
        package let rate: UInt64?
    }

    package private(set) var disks: [Disk] = []
    package private(set) var cards: [Card] = []
    /// What else there is, by libxl's name for its kind, that is not replicated.
    package private(set) var others: [String] = []

    /// Reads what libxl has written down about a domain (/libxl/DOMID/device).
    package init(of domain: UInt32, _ store: some XenstoreReading) {
        let root = "/libxl/\(domain)/device"
        for kind in store.list(root).sorted() {
            for device in store.list("\(root)/\(kind)").sorted() {
                let backend = store.read("\(root)/\(kind)/\(device)/backend") ?? ""
                switch kind {
                case "vbd":
                    let name = store.read("\(backend)/dev") ?? device
                    disks.append(Disk(name: name, isWritable: store.read("\(backend)/mode") != "r"))
                case "vif":
                    let owner =
                        backend.split(separator: "/").dropFirst(2).first.flatMap { UInt32($0) } ?? .max
                    let mac = store.read("\(backend)/mac") ?? ""
                    let name = store.read("\(backend)/vifname") ?? "vif\(domain).\(device)"
                    cards.append(
                        Card(
                            device: Int(device) ?? -1,
                            mac: mac,
                            backend: owner,
                            interface: name,
                            isEmulated: store.read("\(backend)/type") == "vif_ioemu",
                            rate: Self.rate(store.read("\(backend)/rate"))
                        )
                    )
                // The first console, and a screen and keyboard, are stateless: a new one takes over.
                case "console" where device == "0", "vfb", "vkbd": break
                case "console": others.append("channel \(device)")
                default: others.append("\(kind) \(device)")
                }
            }
        }
    }

    /// `BYTES,MICROSECONDS`: so many bytes each time (linux drivers/net/xen-netback/xenbus.c, xen_net_read_rate).
    private static func rate(_ text: String?) -> UInt64? {
        let parts = (text ?? "").split(separator: ",").compactMap { UInt64($0) }
        guard parts.count == 2, parts[0] < 1 << 40, parts[1] > 0 else { return nil }
        return parts[0] * 1_000_000 / parts[1]
    }

    /// Why a guest with these devices cannot be protected, each in words; empty if it can.
    /// - Parameters:
    ///   - accepted: the writable disks that the operator accepts to be without protection.
    ///   - host: the domain that this is.
    package func refusals(accepted: [String], host: UInt32 = 0) -> [String] {
        var reasons: [String] = []
        for disk in disks where disk.isWritable && !accepted.contains(disk.name) {
            reasons.append(
                "nobody replicates its disk \(disk.name), which it can write to: with --unreplicated-disks \(disk.name) it "
                    + "is protected all the same, but for that disk"
            )
        }
        for name in accepted where !disks.contains(where: { $0.name == name && $0.isWritable }) {
            reasons.append("it has no writable disk \(name), which --unreplicated-disks names")
        }
        for card in cards where card.backend != host {
            reasons.append(
                "its network card \(card.device) is served by domain \(card.backend), where its output cannot be held"
            )
        }
        for other in others {
            reasons.append("its device \(other) has state that is not replicated: detach it first")
        }
        return reasons
    }
}
