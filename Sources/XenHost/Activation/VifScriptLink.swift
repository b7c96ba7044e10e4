import Glibc
import SystemSupport

/// This program as the hotplug script of network cards, in place of Xen's own vif-bridge, which takes its time: libxl runs it under
/// the name that lies here (xl-network-configuration(5), script).
///
/// A guest keeps the name for as long as it lives, and saved it takes it along. So it lies where it outlives a boot of the host, and
/// leads to whichever program is installed.
package struct VifScriptLink: Sendable {
    /// The file's name, by which the program knows what it is run for.
    package static let file = "vif-remusd"

    /// What a card may say and still be served: all that libxl itself heeds. Anything else is meant for a script (ip, gatewaydev,
    /// vlan, forwarddev), for another domain (backend), or unknown here. Names as in libxl_types.idl, libxl_device_nic.
    private static let known: Set<String> = [
        "devid", "mac", "bridge", "model", "mtu", "nictype", "ifname", "trusted", "rate_bytes_per_interval",
        "rate_interval_usecs", "script",
    ]

    /// Where it lies: an absolute path.
    package let path: String
    private let program: String
    private let scripts: String
    private let devices: String

    /// - Parameters:
    ///   - folder: where it lies, beyond a boot of the host.
    ///   - program: this program's own path.
    ///   - scripts: Xen's own scripts (XEN_SCRIPT_DIR).
    ///   - devices: the folder that has an entry for each network device of this host (sysfs, class/net).
    package init(
        in folder: String,
        program: String = ChildProcess.ownPath,
        scripts: String = "/etc/xen/scripts",
        devices: String = "/sys/class/net"
    ) {
        path = "\(folder)/\(Self.file)"
        self.program = program
        self.scripts = scripts
        self.devices = devices
    }

    /// Makes it lead to this program.
    package func install() throws(SystemError) {
        guard access(program, X_OK) == 0 else { throw SystemError("run \(program)") }
        guard SmallFile.target(ofLink: path) != program else { return }
        try SmallFile.replaceLink(path, to: program)
    }

    /// Names it as the script of the cards that it can serve.
    /// - Parameter json: libxl's form of a configuration.
    /// - Returns: the same with that; nil if it serves none of them.
    package func given(to json: [UInt8]) -> [UInt8]? {
        guard var config = JSONValue(json), case .array(var cards)? = config["nics"] else { return nil }
        let served = cards.indices.filter { serves(cards[$0]) }
        // What an operator has vif-bridge run at its end, no other script does.
        let hasHooks = SmallFile.names(in: scripts + "/vif-post.d").contains { $0.hasSuffix(".hook") }
        guard !served.isEmpty, !hasHooks, (try? install()) != nil else { return nil }
        for index in served { cards[index]["script"] = JSONValue.string(path) }
        config["nics"] = JSONValue.array(cards)
        return config.text
    }

    private func serves(_ card: JSONValue) -> Bool {
        guard case .object(var members) = card else { return false }
        if members["backend_domid"] == .integer(0) { members["backend_domid"] = nil }
        guard Self.known.isSuperset(of: members.keys) else { return false }
        let script = card["script"]?.string
        guard script == nil || script == "vif-bridge" || script == scripts + "/vif-bridge" else {
            return false
        }
        // libxl's own default (libxl_nic.c, libxl__device_nic_setdefault). Open vSwitch's bridges are none here.
        let bridge = card["bridge"]?.string ?? "xenbr0"
        return access("\(devices)/\(bridge)/bridge", F_OK) == 0
    }

    /// Takes it out of a configuration again, which is for other hosts too: there vif-bridge does the same.
    static func remove(from config: inout JSONValue) {
        guard case .array(var cards)? = config["nics"] else { return }
        for index in cards.indices where cards[index]["script"]?.string?.hasSuffix("/" + file) == true {
            cards[index]["script"] = nil
        }
        config["nics"] = JSONValue.array(cards)
    }
}
