import Glibc
import Synchronization
import SystemSupport

/// Where lines for people go, without ever waiting for whoever reads them: a terminal may be stopped (Ctrl-S), a pager not
/// looked at, journald hang. What is not taken at once is left out and counted, and the next line that is taken follows one
/// that says so.
package final class LogSink: Sendable {
    /// Standard error.
    package static let standardError = LogSink(STDERR_FILENO)

    private enum Way {
        /// Not a thing to wait for: a file.
        case plain
        /// Each call says that it must not wait (send(2)).
        case socket
        /// An opening of our own of the same pipe or terminal: O_NONBLOCK would be everybody's who shares the other.
        case ownOpening(Descriptor)
        /// That is not to be had: looked at first. A terminal that takes a part of a line may then be waited for.
        case looking
    }

    private let raw: Int32
    private let way: Way
    private let leftOut = Atomic<Int>(0)
    /// The last line was taken in part.
    private let isTorn = Atomic<Bool>(false)

    /// - Parameter raw: stays whose it is, and open.
    init(_ raw: Int32) {
        self.raw = raw
        var info = stat()
        guard fstat(raw, &info) == 0 else {
            way = .plain
            return
        }
        switch info.st_mode & S_IFMT {
        case S_IFSOCK: way = .socket
        case S_IFIFO, S_IFCHR:
            let own = open("/proc/self/fd/\(raw)", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
            way = own >= 0 ? .ownOpening(Descriptor(owning: own)) : .looking
        default: way = .plain
        }
    }

    /// Writes a line, or counts it.
    /// - Parameter missing: the line that says how many are missing before it.
    func write(_ line: String, missing: (Int) -> String) {
        let count = leftOut.exchange(0, ordering: .relaxed)
        if count > 0, !offer(missing(count)) {
            leftOut.add(count + 1, ordering: .relaxed)
        } else if !offer(line) {
            leftOut.add(1, ordering: .relaxed)
        }
    }

    /// Writes `text` if it is taken at once, whole.
    /// - Returns: whether it was.
    @discardableResult
    func offer(_ text: String) -> Bool {
        let wasTorn = isTorn.exchange(false, ordering: .relaxed)
        var text = wasTorn ? "\n" + text : text
        let (taken, count) = text.withUTF8 { (put(UnsafeRawBufferPointer($0)), $0.count) }
        if taken > 0 ? taken < count : wasTorn { isTorn.store(true, ordering: .relaxed) }
        return taken == count
    }

    private func put(_ bytes: UnsafeRawBufferPointer) -> Int {
        switch way {
        case .plain: return Glibc.write(raw, bytes.baseAddress, bytes.count)
        case .socket:
            return send(raw, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        case .ownOpening(let own): return Glibc.write(own.raw, bytes.baseAddress, bytes.count)
        case .looking:
            guard Poll.wait(raw, readable: false, writable: true, milliseconds: 0) else { return 0 }
            return Glibc.write(raw, bytes.baseAddress, bytes.count)
        }
    }
}
