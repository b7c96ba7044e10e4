import Checkpoint
import FoundationEssentials

/// What libxl's JSON form of a domain's configuration (`libxl_domain_config_to_json`) says that matters to a standby.
/// `xl create --dryrun` prints the same form of a template.
package struct DomainConfiguration: Decodable, Equatable, Sendable {
    /// A network interface.
    package struct Interface: Decodable, Equatable, Sendable {
        /// `00:16:3e:…`; absent if libxl is to make one up.
        package var mac: String?
        package var bridge: String?
        /// This host's name of it; absent for libxl's own, `vifDOMID.N`.
        package var interface: String?
        /// Addresses that the interface may use, separated by spaces or commas.
        package var addresses: String?

        package enum CodingKeys: String, CodingKey {
            case mac, bridge
            case interface = "ifname"
            case addresses = "ip"
        }
    }

    /// A disk, by the name under which the guest sees it.
    package struct Disk: Decodable, Equatable, Sendable {
        package var vdev: String?
    }

    struct Identity: Decodable, Equatable {
        var type: String?
        var name: String?
        var uuid: String?
    }

    struct Build: Decodable, Equatable {
        var vcpus: Int?
        var memoryKiB: UInt64?

        enum CodingKeys: String, CodingKey {
            case vcpus = "max_vcpus"
            case memoryKiB = "max_memkb"
        }
    }

    private var identity: Identity?
    private var build: Build?
    private var nics: [Interface]?
    private var vbds: [Disk]?

    enum CodingKeys: String, CodingKey {
        case identity = "c_info"
        case build = "b_info"
        case nics
        case vbds = "disks"
    }

    /// `pv`, `pvh` or `hvm`.
    package var type: String? { identity?.type }
    package var name: String? { identity?.name }
    package var uuid: String? { identity?.uuid }
    package var vcpus: Int? { build?.vcpus }
    /// The most memory it may have, in KiB.
    package var memoryKiB: UInt64? { build?.memoryKiB }
    package var interfaces: [Interface] { nics ?? [] }
    package var disks: [Disk] { vbds ?? [] }

    /// The network interfaces of a domain made with it, as its host sees them.
    package func interfaces(of domid: UInt32) -> [GuestInterface] {
        interfaces.enumerated().compactMap { number, nic in
            nic.mac.map { mac in
                GuestInterface(
                    name: nic.interface ?? "vif\(domid).\(number)",
                    mac: mac,
                    addresses: (nic.addresses ?? "").split { " ,".contains($0) }.map(String.init)
                )
            }
        }
    }

    /// Reads the JSON form, with or without a NUL at its end; nil if it is none.
    package init?(json: [UInt8]) {
        let text = json.prefix { $0 != 0 }
        guard let read = try? JSONDecoder().decode(Self.self, from: Data(text)) else { return nil }
        self = read
    }
}
