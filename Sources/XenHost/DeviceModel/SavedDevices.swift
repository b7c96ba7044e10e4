import Glibc
import SystemSupport

/// Memory that a device model writes its state into: nobody else's file, empty at first, gone with its last holder.
struct SavedDevices {
    /// How QEMU begins what it saves: `QEVM` (QEMU, migration/savevm.h, QEMU_VM_FILE_MAGIC).
    private static let magic: [UInt8] = [0x51, 0x45, 0x56, 0x4D]

    private let file: Descriptor

    init() throws(SystemError) { file = try Memfd.create(name: "remusd-devices", size: 0) }

    /// What QEMU gets: the same file, for writing only, as /dev/fdset wants it (QEMU, monitor/fds.c, monitor_fdset_dup_fd_add).
    func writer() throws(SystemError) -> Descriptor {
        let raw = open("/proc/self/fd/\(file.raw)", O_WRONLY | O_CLOEXEC)
        guard raw >= 0 else { throw SystemError("open a memory file for writing") }
        return Descriptor(owning: raw)
    }

    /// Reads what was written, all of it.
    /// - Returns: its length in bytes.
    func read(into target: UnsafeMutableRawBufferPointer) throws(QMPError) -> Int {
        let size = try QMPError.wrapping { () throws(SystemError) in try Memfd.size(of: file) }
        guard size <= target.count else {
            throw .badState("has \(size) bytes, more than the \(target.count) that are taken")
        }
        var done = 0
        while done < size {
            let count = try QMPError.wrapping { () throws(SystemError) in
                try retryingInterrupts("read a memory file") {
                    pread(file.raw, target.baseAddress?.advanced(by: done), size - done, done)
                }
            }
            guard count > 0 else { throw .badState("changes while it is read") }
            done += count
        }
        guard size > Self.magic.count, target.prefix(Self.magic.count).elementsEqual(Self.magic) else {
            throw .badState("is none of QEMU's (\(size) bytes)")
        }
        return size
    }
}
