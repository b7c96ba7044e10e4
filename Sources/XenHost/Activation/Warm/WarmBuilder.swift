import CXen
import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// What makes a domain of a checkpointed stream, as a warm helper needs it.
package protocol WarmBuilder: Sendable {
    /// Builds the domain from `stream` until that ends, and leaves it paused. Blocks.
    /// - Throws: if it cannot; then there is no domain.
    func build(from stream: Descriptor) throws(XenError) -> UInt32
    /// Has a `build` that another thread is in fail soon.
    func abort()
    /// Gives the domain the guest's own name and lets it run.
    func run(_ domid: UInt32) throws(XenError)
    func destroy(_ domid: UInt32)
    /// Stays with a running domain until it ends, and does then what its configuration says. Blocks.
    func accompany(_ domid: UInt32)
}

/// The builder of libxenlight.
package final class LibxlBuilder: WarmBuilder {
    /// Unchecked: a libxl context has a lock of its own (libxl_event.h), and this pointer never changes.
    private struct Light: @unchecked Sendable { let pointer: OpaquePointer }

    private let name: String
    /// The effective configuration: its path, and libxl's form of it.
    private let configuration: String
    private let json: [UInt8]
    private let light: Light

    /// While the guest runs elsewhere, this name says that it is not the guest (as xl does in a migration).
    static func incomingName(_ name: String) -> String { name + "--incoming" }

    package init(name: String, configuration: String, json: [UInt8]) throws(XenError) {
        self.name = name
        self.configuration = configuration
        self.json = json + [0]
        if let missing = CXen_light_load() { throw XenError(String(cString: missing)) }
        guard let pointer = CXen_light_open() else { throw XenError("libxl cannot be used here") }
        light = Light(pointer: pointer)
    }

    package func build(from stream: Descriptor) throws(XenError) -> UInt32 {
        var domid: UInt32 = .max
        let result = json.withUnsafeBytes { json in
            CXen_light_build(
                light.pointer,
                json.bindMemory(to: CChar.self).baseAddress,
                Self.incomingName(name),
                stream.raw,
                &domid
            )
        }
        guard result == 0 else {
            throw XenError(
                "libxl could not build the domain (\(result)); its messages are in the helper's log"
            )
        }
        return domid
    }

    /// Ends libxl's child that reads the stream; libxl then destroys the domain.
    package func abort() { Self.endStreamReaders() }

    /// Ends this process's children that are libxl's `libxl-save-helper`, and no others: libxl destroys a domain in a child as
    /// well, and one that is killed in the middle of that leaves it behind without a name, for ever.
    package static func endStreamReaders() {
        for task in SmallFile.names(in: "/proc/self/task") {
            let children = SmallFile.read("/proc/self/task/\(task)/children") ?? ""
            for pid in children.split(separator: " ").compactMap({ Int32($0) }) {
                // Its first 15 bytes are what the kernel keeps (proc(5), comm).
                let name = SmallFile.read("/proc/\(pid)/comm") ?? ""
                if name.hasPrefix("libxl-save-help") { kill(pid, SIGKILL) }
            }
        }
    }

    package func run(_ domid: UInt32) throws(XenError) {
        let renamed = CXen_light_rename(light.pointer, domid, Self.incomingName(name), name)
        guard renamed == 0 else { throw XenError("the domain cannot be given the name \(name) (\(renamed))") }
        Self.reopenConsoleLogs()
        let result = CXen_light_unpause(light.pointer, domid)
        guard result == 0 else { throw XenError("the domain cannot be let run (\(result))") }
    }

    /// xenconsoled names a log after the domain when it opens it, and opens them anew on SIGHUP (xenconsoled(8)).
    private static func reopenConsoleLogs() {
        guard
            let text = SmallFile.read("/run/xen/xenconsoled.pid")
                ?? SmallFile.read("/var/run/xenconsoled.pid"),
            let pid = Int32(text.filter(\.isNumber)), pid > 1,
            SmallFile.read("/proc/\(pid)/comm")?.hasPrefix("xenconsoled") == true
        else { return }
        kill(pid, SIGHUP)
    }

    package func destroy(_ domid: UInt32) { _ = CXen_light_destroy(light.pointer, domid) }

    package func accompany(_ domid: UInt32) {
        // Suspended: it is being protected or saved, and whoever does that looks after it from here on, as with xl.
        guard let end = GuestEnd(shutdownReason: CXen_light_await_end(light.pointer, domid)) else { return }
        let action = GuestEndActions(config: json.dropLast()).action(for: end)
        guard action.destroys else { return }
        if action.dumpsCore { try? XlProgram().dumpCore(domid, name: name) }
        destroy(domid)
        guard action.restarts else { return }
        // From here on the guest has a monitor of xl's.
        try? XlProgram().create(configuration: configuration)
    }
}
