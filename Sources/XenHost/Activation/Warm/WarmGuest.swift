import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// A guest's domain in a warm helper, as its standby sees it. One thread at a time talks to it; any may ask `isGone`.
package final class WarmGuest: PreparedGuest {
    /// How long a helper may take nothing, or owe an answer, before it is given up. Nanoseconds.
    private static let patience: UInt64 = 60_000_000_000
    /// For the end of the build: device models and hotplug scripts. Nanoseconds.
    private static let buildPatience: UInt64 = 300_000_000_000
    /// Bytes of the xl header (stream-v2.md, section 2) before its optional data; their length is at 44.
    private static let headerSize = 48

    private let name: String
    private let socket: Descriptor
    /// What of epoch 0 came before libxl's own stream: the xl header, until it is known how long it is.
    private let head = Mutex<(bytes: [UInt8], skip: Int?)>(([], nil))
    private let trouble = Mutex<String?>(nil)

    /// Removes the domain of a helper that cannot do it itself.
    private let clear: @Sendable () -> Void

    private init(_ name: String, _ socket: Descriptor, _ clear: @escaping @Sendable () -> Void) {
        self.name = name
        self.socket = socket
        self.clear = clear
    }

    /// Connects to the helper at `path`.
    /// - Parameters:
    ///   - milliseconds: how long it may take to listen there.
    ///   - clear: removes the domain of a helper that died.
    package static func connect(
        to path: String,
        guest: String,
        milliseconds: UInt64 = 0,
        clear: @escaping @Sendable () -> Void = {}
    ) throws(GuestError) -> WarmGuest {
        let deadline = Clock.monotonic + milliseconds * 1_000_000
        while true {
            do {
                return WarmGuest(guest, try UnixSocket.connect(to: path), clear)
            } catch {
                guard Clock.monotonic < deadline else {
                    throw GuestError(guest: guest, reason: "its warm helper does not answer: \(error)")
                }
                usleep(10_000)
            }
        }
    }

    /// Whether the helper has ended, and the domain with it; why, if it said so.
    package var isGone: Bool { trouble.withLock { $0 != nil } || Poll.peerHasClosed(socket.raw) }

    /// Why the domain is lost.
    package var reason: String {
        if let said = trouble.withLock({ $0 }) { return said }
        var patience: UInt64 = 0
        _ = try? receive(within: &patience) {}
        return trouble.withLock { $0 } ?? "its warm helper ended"
    }

    // MARK: Epochs

    /// Hands on bytes of epoch 0 as they come.
    package func take(_ piece: UnsafeRawBufferPointer, progress: () -> Void) throws(GuestError) {
        let rest = UnsafeRawBufferPointer(rebasing: piece[header(in: piece)...])
        guard !rest.isEmpty else { return }
        try send(WarmMessage(.piece, length: rest.count), progress)
        try send(rest, progress)
    }

    /// How many bytes of `piece` belong to the xl header, which libxl does not know.
    private func header(in piece: UnsafeRawBufferPointer) -> Int {
        let bytes = Array(piece.prefix(Self.headerSize))
        return head.withLock { head in
            var count = 0
            if head.skip == nil {
                count = min(bytes.count, Self.headerSize - head.bytes.count)
                head.bytes += bytes[..<count]
                guard head.bytes.count == Self.headerSize else { return count }
                head.skip = Int(
                    head.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 44, as: UInt32.self) }
                )
            }
            let skipped = min(piece.count - count, head.skip ?? 0)
            head.skip = (head.skip ?? 0) - skipped
            return count + skipped
        }
    }

    /// Epoch 0 is whole.
    package func whole(progress: () -> Void) throws(GuestError) {
        try send(WarmMessage(.whole), progress)
        _ = try expect(.fed, within: Self.patience, progress)
    }

    /// Has a whole epoch fed: the first `length` bytes of `file`, which stay as they are until this returns.
    package func feed(
        _ epoch: UInt64,
        length: Int,
        of file: Descriptor,
        progress: () -> Void
    ) throws(GuestError) {
        let message = WarmMessage(.feed, epoch: epoch, value: UInt64(length))
        do throws(SystemError) {
            try UnixSocket.send(message.header, descriptors: [file], over: socket)
        } catch { throw lost("\(error)") }
        let answer = try expect(.fed, within: Self.patience, progress)
        guard answer.epoch == epoch else {
            throw lost("its warm helper fed epoch \(answer.epoch) for \(epoch)")
        }
    }

    /// The epoch that was fed last, and how far the domain is.
    package func ask() throws(GuestError) -> (fed: UInt64?, stage: WarmMessage.Stage) {
        try send(WarmMessage(.ask)) {}
        let answer = try expect(.state, within: Self.patience) {}
        guard let stage = WarmMessage.Stage(rawValue: answer.value) else {
            throw lost("its warm helper is of another version")
        }
        return (answer.epoch == 0 ? nil : answer.epoch - 1, stage)
    }

    // MARK: The end

    package func run(willRun: () -> Void) throws(GuestError) {
        try send(WarmMessage(.end)) {}
        _ = try expect(.built, within: Self.buildPatience) {}
        willRun()
        try send(WarmMessage(.run)) {}
        _ = try expect(.running, within: Self.patience) {}
    }

    /// Destroys the domain. Returns when it is gone, or can be waited for no longer.
    package func drop() {
        try? send(WarmMessage(.drop)) {}
        if (try? expect(.dropped, within: Self.patience, {})) == nil { clear() }
        trouble.withLock { $0 = $0 ?? "its domain was given up" }
        socket.shutDown()
    }

    // MARK: Messages

    private func lost(_ reason: String) -> GuestError {
        let reason = trouble.withLock { trouble in
            let first = trouble ?? reason
            trouble = first
            return first
        }
        return GuestError(guest: name, reason: "its warm image is lost: \(reason)")
    }

    private func send(_ message: WarmMessage, _ progress: () -> Void) throws(GuestError) {
        try message.header.withUnsafeBytes { bytes in
            Result { () throws(GuestError) in try send(bytes, progress) }
        }.get()
    }

    private func send(_ bytes: UnsafeRawBufferPointer, _ progress: () -> Void) throws(GuestError) {
        var done = 0
        var deadline = Clock.monotonic + Self.patience
        while done < bytes.count {
            do {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
                if let count = try socket.sendNow(rest) {
                    done += count
                    deadline = Clock.monotonic + Self.patience
                    continue
                }
            } catch {
                // It may have said why before it went.
                throw lost(lastWord ?? "\(error)")
            }
            if !Poll.wait(socket.raw, readable: false, writable: true, milliseconds: 50) { progress() }
            guard Clock.monotonic < deadline else { throw lost("its warm helper takes nothing any more") }
        }
    }

    /// What the helper said last, if it said why it ends.
    private var lastWord: String? {
        var patience: UInt64 = 0
        _ = try? receive(within: &patience) {}
        return trouble.withLock { $0 }
    }

    private func expect(
        _ kind: WarmMessage.Kind,
        within limit: UInt64,
        _ progress: () -> Void
    ) throws(GuestError) -> WarmMessage {
        var limit = limit
        let message = try receive(within: &limit, progress)
        guard message.kind == kind else { throw lost("its warm helper said \(message.kind) for \(kind)") }
        return message
    }

    /// Receives one message. A `failed` is thrown.
    private func receive(within limit: inout UInt64, _ progress: () -> Void) throws(GuestError) -> WarmMessage
    {
        let deadline = Clock.monotonic + limit
        let header = try receive(WarmMessage.headerSize, until: deadline, progress)
        guard let message = WarmMessage(header: header) else { throw lost("its warm helper talks nonsense") }
        let body = try receive(message.length, until: deadline, progress)
        if message.kind == .failed { throw lost(String(decoding: body, as: UTF8.self)) }
        return message
    }

    private func receive(_ count: Int, until deadline: UInt64, _ progress: () -> Void) throws(GuestError)
        -> [UInt8]
    {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var chunk = [UInt8](repeating: 0, count: count - bytes.count)
            let got: Int?
            do throws(SystemError) {
                got = try chunk.withUnsafeMutableBytes { chunk in
                    Result { () throws(SystemError) in try socket.receiveNow(into: chunk) }
                }.get()
            } catch { throw lost("\(error)") }
            switch got {
            case 0?: throw lost("its warm helper ended")
            case let got?: bytes += chunk[..<got]
            case nil:
                guard Clock.monotonic < deadline else { throw lost("its warm helper does not answer") }
                if !Poll.wait(socket.raw, milliseconds: 50) { progress() }
            }
        }
        return bytes
    }
}
