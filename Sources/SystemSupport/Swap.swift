/// Where the kernel may write memory to (proc(5), /proc/swaps).
package enum Swap {
    /// The swap areas whose disk gets memory as it is: all but compressed memory, and what lies on a dm-crypt device.
    package static var unencrypted: [String] {
        (SmallFile.read("/proc/swaps") ?? "").split(separator: "\n").dropFirst()
            .compactMap { $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).first.map(String.init) }
            .filter { !$0.hasPrefix("/dev/zram") && !isEncrypted($0) }
    }

    /// The kernel names a device-mapper area /dev/dm-N; its UUID says who made it.
    private static func isEncrypted(_ area: String) -> Bool {
        guard area.hasPrefix("/dev/dm-") else { return false }
        let uuid = SmallFile.read("/sys/block/\(area.dropFirst(5))/dm/uuid") ?? ""
        return uuid.hasPrefix("CRYPT-")
    }
}
