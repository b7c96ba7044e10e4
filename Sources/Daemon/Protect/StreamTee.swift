import Checkpoint
import Glibc
import Logging
import SystemSupport

/// A file that gets every byte of the stream once, in order, as a standby would commit it; of an epoch that had to be made
/// anew, both. For inspection only: a tee that fails ends, and never holds up protection longer than a write to the file.
final class StreamTee {
    private let path: String
    private let file: Descriptor
    private var nextEpoch: UInt64 = 0
    private var broken = false

    init(path: String) throws(SystemError) {
        self.path = path
        let raw = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw SystemError("write the tee \(path)") }
        file = Descriptor(owning: raw)
    }

    /// A new stream begins: the file holds the newest only.
    func restart(_ log: Logger) {
        nextEpoch = 0
        if ftruncate(file.raw, 0) != 0 || lseek(file.raw, 0, SEEK_SET) != 0 { give(up: log) }
    }

    /// An epoch was cut: whatever the file has of it was made before.
    func began(_ epoch: UInt64) { nextEpoch = epoch }

    /// Appends bytes. `epoch` is given for the last piece of an epoch: a repeated one is not written twice.
    func append(_ bytes: UnsafeRawBufferPointer, epoch: UInt64?, _ log: Logger) {
        if let epoch {
            guard epoch == nextEpoch else { return }
            nextEpoch += 1
        }
        var done = 0
        while !broken, done < bytes.count {
            let count = write(file.raw, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            if count >= 0 { done += count } else if errno != EINTR { give(up: log) }
        }
    }

    private func give(up log: Logger) {
        guard !broken else { return }
        broken = true
        log.error("the tee ends here: \(SystemError("write \(path)"))")
    }
}
