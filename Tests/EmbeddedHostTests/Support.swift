import Checkpoint
import EmbeddedHost
import Foundation
import Glibc
import SystemSupport
import XenStream

/// A seeded generator (SplitMix64), so that a failing run can be repeated.
struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ text: String) { description = text }
}

/// A runtime directory of its own, gone with the object.
final class RuntimeDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/remusd-embedded-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try SmallFile.makeDirectories(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The built `remusd`, beside the tests' bundle.
func builtRemusd() throws -> String {
    let own = ChildProcess.ownPath
    let candidates =
        [Bundle.main.bundlePath, String(own.prefix(upTo: own.lastIndex(of: "/") ?? own.startIndex))]
        + CommandLine.arguments.map { String($0.prefix(upTo: $0.lastIndex(of: "/") ?? $0.startIndex)) }
    for directory in candidates where access(directory + "/remusd", X_OK) == 0 {
        return directory + "/remusd"
    }
    throw TestFailure("no built remusd beside \(candidates)")
}

/// A guest as a real child process; killed with the object.
final class GuestProcess: Sendable {
    let name: String
    let pid: Int32
    let address: SocketAddress
    let directory: RuntimeDirectory

    init(_ name: String = "g1", memory: String = "16MiB", directory: RuntimeDirectory? = nil) throws {
        let directory = try directory ?? RuntimeDirectory()
        let pipe = try Pipe.create()
        let environment =
            ChildProcess.environment.filter { !$0.hasPrefix("REMUSD_RUNTIME_DIR=") }
            + ["REMUSD_RUNTIME_DIR=\(directory.path)"]
        let silent = Descriptor(owning: open("/dev/null", O_WRONLY))
        pid = try ChildProcess.spawn(
            builtRemusd(),
            ["guest", "run", name, "--memory", memory, "--listen", "127.0.0.1:0", "--ready-fd", "5"],
            inherited: [1: silent, 5: pipe.write],
            environment: environment
        )
        self.name = name
        self.directory = directory
        var line = ""
        while !line.hasSuffix("\n") {
            guard pipe.read.waitReadable(until: Clock.monotonic + 10_000_000_000) else {
                throw TestFailure("guest \(name) is not ready")
            }
            var byte: UInt8 = 0
            guard read(pipe.read.raw, &byte, 1) == 1 else {
                throw TestFailure("guest \(name) ended: \(line)")
            }
            line.append(Character(UnicodeScalar(byte)))
            // Our own copy of the write end would keep the pipe open if the guest died.
            if line.count > 500 { break }
        }
        guard line.hasPrefix("ready "), let address = SocketAddress(String(line.dropFirst(6).dropLast()))
        else {
            throw TestFailure("guest \(name) said: \(line)")
        }
        self.address = address
    }

    func control(_ tracking: DirtyTracking? = nil) throws -> EmbeddedGuest {
        try EmbeddedGuest(name: name, runtimeDirectory: directory.path, tracking: tracking)
    }

    deinit {
        kill(pid, SIGCONT)
        kill(pid, SIGKILL)
        ChildProcess.reap(pid)
    }
}

/// A client of a guest: sends commands, reads replies, each with a deadline.
///
/// Unchecked: each test uses one from one thread at a time.
final class Client: @unchecked Sendable {
    let socket: Descriptor
    private var buffer: [UInt8] = []

    init(_ address: SocketAddress) throws { socket = try TCP.connect(to: address, milliseconds: 2000) }

    func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            done += try retryingInterrupts("send") {
                bytes.withUnsafeBytes {
                    Glibc.send(
                        socket.raw,
                        $0.baseAddress?.advanced(by: done),
                        $0.count - done,
                        Int32(MSG_NOSIGNAL)
                    )
                }
            }
        }
    }

    static func request(_ words: [String]) -> [UInt8] {
        Array(("*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()).utf8)
    }

    func send(_ words: String...) throws { try send(Self.request(words)) }

    /// The next whole reply as text (bulk strings without their framing, `nil` as "(nil)"); nil at the deadline or
    /// the connection's end.
    func reply(milliseconds: UInt64 = 3000) -> String? {
        let deadline = Clock.monotonic + milliseconds * 1_000_000
        while true {
            if let (text, length) = Self.parse(buffer) {
                buffer.removeFirst(length)
                return text
            }
            guard socket.waitReadable(until: deadline) else { return nil }
            var chunk = [UInt8](repeating: 0, count: 65536)
            let count = recv(socket.raw, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            buffer += chunk[..<count]
        }
    }

    func ask(_ words: String...) throws -> String? {
        try send(Self.request(words))
        return reply()
    }

    private static func parse(_ bytes: [UInt8]) -> (String, Int)? {
        guard let end = bytes.firstIndex(of: 10), end >= 1 else { return nil }
        let line = String(decoding: bytes[..<(end - 1)], as: UTF8.self)
        switch line.first {
        case "$":
            guard let length = Int(line.dropFirst()) else { return nil }
            if length < 0 { return ("(nil)", end + 1) }
            guard bytes.count >= end + 1 + length + 2 else { return nil }
            return (String(decoding: bytes[end + 1..<end + 1 + length], as: UTF8.self), end + 1 + length + 2)
        case "*":
            guard var count = Int(line.dropFirst()), count >= 0 else { return nil }
            var parts: [String] = []
            var offset = end + 1
            while count > 0 {
                guard let (text, length) = parse(Array(bytes[offset...])) else { return nil }
                parts.append(text)
                offset += length
                count -= 1
            }
            return (parts.joined(separator: " "), offset)
        default: return (line, end + 1)
        }
    }
}

/// What a controller and a standby do together, in one place: full copy, then dirty copies, into a memory file.
final class Replica {
    let guest: EmbeddedGuest
    let file: Descriptor
    let image: Mapping
    var state: [UInt8] = []
    var epoch: UInt64 = 0

    init(_ guest: EmbeddedGuest) throws {
        self.guest = guest
        let size = guest.description.pageCount * guestPageSize
        file = try Memfd.create(name: "replica", size: size)
        image = try Mapping.shared(file, count: size)
    }

    func copy(_ bitmap: borrowing PageBitmap) throws {
        let pfns = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 256)
        let types = UnsafeMutableBufferPointer<PageType>.allocate(capacity: 256)
        let contents = UnsafeMutableRawPointer.allocate(byteCount: 256 * guestPageSize, alignment: 4096)
        defer {
            pfns.deallocate()
            types.deallocate()
            contents.deallocate()
        }
        var next = 0
        while next < bitmap.pageCount {
            let (count, resume) = bitmap.next(from: next, into: pfns)
            next = resume
            let batch = UnsafeBufferPointer(rebasing: pfns[..<count])
            let copied = try guest.copyPages(batch, types: types, into: contents)
            guard copied == count else { throw TestFailure("copied \(copied) of \(count)") }
            for index in 0..<count {
                memcpy(
                    image.base + Int(batch[index]) * guestPageSize,
                    contents + index * guestPageSize,
                    guestPageSize
                )
            }
        }
    }

    /// Tracking on, and a first copy while the guest runs.
    func start() throws {
        try guest.startDirtyTracking()
        var bitmap = PageBitmap(pageCount: guest.description.pageCount)
        try guest.collectPopulated(into: &bitmap)
        try copy(bitmap)
    }

    /// One checkpoint. Returns how many pages were dirty.
    @discardableResult
    func checkpoint(cut: Bool = true, whileSuspended: () throws -> Void = {}) throws -> Int {
        let outcome = try guest.suspend(deadline: Instant(nanoseconds: Clock.boot + 2_000_000_000))
        guard outcome == .suspended else { throw TestFailure("suspend: \(outcome)") }
        var bitmap = PageBitmap(pageCount: guest.description.pageCount)
        try guest.collectDirty(into: &bitmap)
        try copy(bitmap)
        var bytes = [UInt8](repeating: 0, count: guest.stateCapacity)
        let length = try bytes.withUnsafeMutableBytes { memory -> Int in
            var writer = StreamWriter(memory)
            try guest.writeState(into: &writer)
            return writer.count
        }
        state = Array(bytes[..<length])
        try whileSuspended()
        epoch += 1
        if cut { try guest.output.cut(epoch: epoch) }
        try guest.resume()
        return bitmap.count
    }
}

extension EmbeddedGuest {
    /// Asks the guest to suspend and waits for it, as a checkpoint loop with nothing else to do would.
    func suspend(deadline: Instant) throws -> SuspendOutcome {
        try requestSuspend()
        while true {
            if let outcome = try suspendOutcome() { return outcome }
            let now = Instant(nanoseconds: Clock.boot)
            if now >= deadline {
                cancelSuspend()
                return .refused
            }
            _ = Poll.wait(eventDescriptor, milliseconds: Int32((deadline - now).milliseconds) + 1)
        }
    }
}
