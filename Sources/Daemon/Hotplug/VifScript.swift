import NetBuffer
import XenHost

/// What libxl asks of the hotplug script of a network card: `online` and `offline` for a vif, `add` and `remove` for the tap of an
/// emulated card (xl-network-configuration(5), script; tools/libs/light/libxl_linux.c, libxl__hotplug_nic and get_hotplug_env).
package struct VifScript: Equatable, Sendable {
    package enum Action: Equatable, Sendable {
        /// Into the bridge, and up.
        case enter
        /// Out of it, and down.
        case leave
        /// It is the other interface's turn.
        case nothing
    }

    package let action: Action
    /// Of an emulated card, by QEMU; libxl waits for no word about it.
    package let isTap: Bool
    /// As it is called until now.
    package let interface: String
    /// The card's directory in xenstore, below that of this domain: `backend/vif/DOMAIN/NUMBER`.
    package let backend: String

    /// - Parameters:
    ///   - arguments: without the program's name: the command, and `type_if=vif` or `type_if=tap`.
    ///   - environment: the value of a variable.
    package init(
        arguments: [String],
        environment: (String) -> String?
    ) throws(VifScriptError) {
        let type = arguments.last { $0.hasPrefix("type_if=") }?.dropFirst(8) ?? "vif"
        guard type == "vif" || type == "tap" else {
            throw VifScriptError("there is no kind of interface called \(type)")
        }
        isTap = type == "tap"
        let command = arguments.first { !$0.contains("=") } ?? ""
        switch command {
        case "online": action = isTap ? .nothing : .enter
        case "offline": action = isTap ? .nothing : .leave
        case "add": action = isTap ? .enter : .nothing
        case "remove": action = isTap ? .leave : .nothing
        default:
            throw VifScriptError("there is no command called '\(command)': libxl runs this, not a person")
        }
        let variable = isTap ? "INTERFACE" : "vif"
        guard let backend = environment("XENBUS_PATH"), backend.contains("backend/vif/") else {
            throw VifScriptError("XENBUS_PATH does not name a network card")
        }
        self.backend = backend
        guard let interface = environment(variable), !interface.isEmpty else {
            throw VifScriptError("\(variable) names no interface")
        }
        self.interface = interface
    }

    /// Does what is asked for. What the guest's driver, and libxl, wait for is said at the end, when all is done.
    package func perform(_ store: some XenstoreWriting, _ kernel: some BridgeKernel) throws {
        let name = value("vifname", store).map { isTap ? $0 + "-emu" : $0 }
        switch action {
        case .nothing: break
        case .leave: try BridgePort.leave(name ?? interface, kernel)
        case .enter:
            guard let bridge = value("bridge", store) else {
                throw VifScriptError("\(backend) in xenstore names no bridge")
            }
            let mtu = try BridgePort.enter(
                interface,
                as: name,
                bridge: bridge,
                mtu: value("mtu", store).flatMap { UInt32($0) },
                kernel
            )
            guard !isTap else { return }
            if let frontend = value("frontend", store) { try store.write("\(frontend)/mtu", "\(mtu)") }
            // netback connects to the guest once it reads that (linux drivers/net/xen-netback/xenbus.c).
            try store.write("\(backend)/hotplug-status", "connected")
        }
    }

    /// Says why it could not be done, where libxl looks.
    package func report(_ error: any Error, _ store: some XenstoreWriting) {
        try? store.write("\(backend)/hotplug-error", "\(error)")
        try? store.write("\(backend)/hotplug-status", "error")
    }

    /// An entry of the card's; nil where there is none, or nothing in it.
    private func value(_ key: String, _ store: some XenstoreWriting) -> String? {
        store.read("\(backend)/\(key)").flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// Why a card's interface was not put into its bridge.
package struct VifScriptError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
