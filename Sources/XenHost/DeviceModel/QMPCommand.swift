/// What a device model is told (QEMU, qapi/misc.json and qapi/migration.json).
package enum QMPCommand: Equatable, Sendable, CustomStringConvertible {
    /// Ends the greeting: commands are taken from here on.
    case capabilities
    case status
    /// Stops the emulated devices, and waits for what they have in hand.
    case stop
    /// Lets them go on.
    case go
    /// Takes over the descriptor that comes with the command, into a new set.
    case addDescriptor
    /// Closes a set.
    case removeDescriptors(set: UInt32)
    /// Writes the state of all devices, without memory, into a set's descriptor. `knowsLive`: QEMU 2.11 or newer.
    case saveDevices(set: UInt32, knowsLive: Bool)
    /// Whether Xen is told of each page that the device model writes.
    case logWrites(Bool)

    /// The command's name.
    package var description: String {
        switch self {
        case .capabilities: "qmp_capabilities"
        case .status: "query-status"
        case .stop: "stop"
        case .go: "cont"
        case .addDescriptor: "add-fd"
        case .removeDescriptors: "remove-fd"
        case .saveDevices: "xen-save-devices-state"
        case .logWrites: "xen-set-global-dirty-log"
        }
    }

    /// The line that is sent.
    func line(id: UInt64) -> [UInt8] {
        let arguments = arguments.map { #","arguments":{\#($0)}"# } ?? ""
        return Array(#"{"execute":"\#(self)","id":\#(id)\#(arguments)}"#.utf8) + [0x0D, 0x0A]
    }

    private var arguments: String? {
        switch self {
        case .capabilities, .status, .stop, .go, .addDescriptor: nil
        case .removeDescriptors(let set): #""fdset-id":\#(set)"#
        // Not live: the guest goes on here, so its disks stay this QEMU's (QEMU, migration/savevm.c, qmp_xen_save_devices_state).
        case .saveDevices(let set, let knowsLive):
            #""filename":"/dev/fdset/\#(set)""# + (knowsLive ? #","live":false"# : "")
        case .logWrites(let on): #""enable":\#(on)"#
        }
    }
}
