/// What a device model has written into xenstore and needs again elsewhere: where it has put the guest's emulated memory
/// (stream-v2.md, section 3.2, EMULATOR_XENSTORE_DATA).
package enum DeviceModelKeys {
    /// The most of it that is taken, in bytes; one or two entries of some sixty are usual.
    package static let longest = 64 << 10

    /// Key and value by turns, each with a NUL after it; keys are relative to the device model's own directory.
    /// - Returns: nil if it is longer than `longest`.
    package static func content(of domain: UInt32, _ store: some XenstoreReading) -> [UInt8]? {
        let root = "/local/domain/0/device-model/\(domain)"
        var content: [UInt8] = []
        for entry in store.list("\(root)/physmap") {
            for name in ["start_addr", "size", "name"] {
                let key = "physmap/\(entry)/\(name)"
                guard let value = store.read("\(root)/\(key)") else { continue }
                content += Array(key.utf8) + [0] + Array(value.utf8) + [0]
            }
            guard content.count <= longest else { return nil }
        }
        return content
    }
}
