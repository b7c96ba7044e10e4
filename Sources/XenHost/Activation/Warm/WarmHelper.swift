import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// The process beside a standby that keeps one guest's domain up to date, paused, ready to run (design, "warm").
///
/// It feeds libxl whole committed epochs only, through a pipe that only it can end: nothing but the order `end` makes libxl
/// finish the domain, and nothing but the order `run` lets it run. It outlives the standby, which comes back to it.
package final class WarmHelper {
    /// The pipe to libxl, in bytes (fcntl(2), F_SETPIPE_SZ, 1031).
    private static let pipeSize: Int32 = 1 << 20
    /// How long libxl may take to give up a domain, in tenths of a second.
    private static let abortTries = 600

    private var listener: Descriptor?
    private let path: String
    private let builder: any WarmBuilder
    private let outcome = Monitor<Result<UInt32, XenError>?>(nil)
    private let isBuilt: EventFD
    private var stream: Descriptor?
    private var client: Descriptor?
    private var fed: UInt64?
    private var stage = WarmMessage.Stage.fed
    private var domid: UInt32?
    private var isDone = false

    /// Listens at `path` and begins to build.
    package init(path: String, builder: any WarmBuilder) throws(SystemError) {
        self.path = path
        self.builder = builder
        isBuilt = try EventFD()
        let listener = try UnixSocket.listen(at: path)
        try listener.setNonBlocking(true)
        self.listener = listener
        let pipe = try Pipe.create()
        _ = fcntl(pipe.write.raw, 1031, Self.pipeSize)
        stream = pipe.write
        try build(from: pipe.read)
    }

    private func build(from source: Descriptor) throws(SystemError) {
        let thread = try WorkerThread("build") { [outcome, isBuilt, builder] in
            let result = Result { () throws(XenError) in try builder.build(from: source) }
            outcome.withLock { $0 = result }
            isBuilt.signal()
        }
        thread.detach()
    }

    /// Serves until the domain runs and has ended, or is given up.
    package func run() {
        defer { withdraw() }
        while !isDone {
            var entries = [isBuilt.descriptor, listener, client].map { Poll.Entry($0?.raw ?? -1) }
            Poll.wait(&entries, milliseconds: -1)
            if entries[0].isReady { noticeOutcome() }
            if entries[1].isReady, let listener, let next = try? UnixSocket.accept(listener) {
                try? next.setNonBlocking(false)
                client = next
            } else if entries[2].isReady, !isDone, !serve() {
                client = nil
                // What was never whole is of no use to a later standby.
                if fed == nil { giveUp("its standby left before the guest's memory was whole") }
            }
        }
    }

    /// Takes no standby any more: the path is another helper's from here on.
    private func withdraw() {
        guard listener != nil else { return }
        unlink(path)
        listener = nil
    }

    // MARK: libxl

    /// The domain ended to be built while nobody asked for it.
    private func noticeOutcome() {
        isBuilt.drain()
        guard stage == .fed, !isDone, let result = outcome.withLock({ $0 }) else { return }
        switch result {
        case .success(let domid):
            // The feed did not end, so this is not known to be what was fed.
            builder.destroy(domid)
            fail("libxl ended before its stream did")
        case .failure(let error): fail(error.description)
        }
    }

    /// Waits for libxl to be done with a stream that has ended.
    private func awaitOutcome() -> Result<UInt32, XenError> {
        while true {
            if let result = outcome.withLock({ $0 }) { return result }
            _ = Poll.wait(isBuilt.descriptor.raw, milliseconds: 1000)
        }
    }

    /// Destroys the domain, whatever it is at, and ends.
    private func giveUp(_ reason: String) {
        withdraw()
        if let domid {
            builder.destroy(domid)
        } else {
            for _ in 0..<Self.abortTries where outcome.withLock({ $0 }) == nil {
                builder.abort()
                // Only when nobody reads any more: an end of the stream would finish the domain.
                stream = nil
                _ = Poll.wait(isBuilt.descriptor.raw, milliseconds: 100)
            }
            if case .success(let domid)? = outcome.withLock({ $0 }) { builder.destroy(domid) }
        }
        Self.say("gave the domain up: \(reason)")
        isDone = true
    }

    /// The domain is lost: says so to the standby, and ends.
    private func fail(_ reason: String) {
        Self.say("the domain is lost: \(reason)")
        let text = Array(reason.utf8.prefix(4000))
        answer(WarmMessage(.failed, length: text.count), text)
        isDone = true
    }

    private static func say(_ text: String) {
        let line = Array("warm-helper: \(text)\n".utf8)
        _ = Glibc.write(2, line, line.count)
    }

    // MARK: The standby

    private func answer(_ message: WarmMessage, _ body: [UInt8] = []) {
        guard let client else { return }
        try? UnixSocket.send(message.header + body, over: client)
    }

    /// Takes one message; false if the standby is gone or talks nonsense.
    private func serve() -> Bool {
        guard let client, let (message, file) = Self.receive(from: client) else { return false }
        switch message.kind {
        case .piece: return passOn(message.length, from: client)
        case .whole:
            fed = fed ?? 0
            answer(WarmMessage(.fed, epoch: 0))
        case .feed: return feed(message, file)
        case .ask: answer(WarmMessage(.state, epoch: fed.map { $0 + 1 } ?? 0, value: stage.rawValue))
        case .end: end()
        case .run: letRun()
        case .drop:
            giveUp("the standby said so")
            answer(WarmMessage(.dropped))
        default: return false
        }
        return true
    }

    private static func receive(from client: Descriptor) -> (WarmMessage, Descriptor?)? {
        var header: [UInt8] = []
        var file: Descriptor?
        while header.count < WarmMessage.headerSize {
            let room = WarmMessage.headerSize - header.count
            guard let (bytes, files) = try? UnixSocket.receive(from: client, capacity: room), !bytes.isEmpty
            else {
                return nil
            }
            header += bytes
            file = files.first ?? file
        }
        return WarmMessage(header: header).map { ($0, file) }
    }

    /// Hands bytes of epoch 0 to libxl.
    private func passOn(_ count: Int, from client: Descriptor) -> Bool {
        guard fed == nil else { return false }
        var buffer = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = buffer.withUnsafeMutableBytes {
                read(client.raw, $0.baseAddress?.advanced(by: done), count - done)
            }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { return false }
            done += got
        }
        buffer.withUnsafeBytes { write($0) }
        return true
    }

    /// Feeds one whole epoch. Again, if it was fed already, is nothing.
    private func feed(_ message: WarmMessage, _ file: Descriptor?) -> Bool {
        guard stage == .fed, let fed, let file else { return false }
        if message.epoch == fed + 1 {
            let length = Int(clamping: message.value)
            guard let mapping = try? Mapping.shared(file, count: max(length, 1), writable: false) else {
                return false
            }
            write(UnsafeRawBufferPointer(rebasing: mapping.bytes[..<length]))
            self.fed = message.epoch
        } else if message.epoch != fed {
            return false
        }
        answer(WarmMessage(.fed, epoch: message.epoch))
        return true
    }

    /// Writes to libxl. If it is gone, its outcome says why, and is noticed next.
    private func write(_ bytes: UnsafeRawBufferPointer) {
        guard let stream else { return }
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(stream.raw, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            done += count
        }
    }

    private func end() {
        if stage == .fed {
            guard fed != nil else {
                return giveUp("it was to be finished before the guest's memory was whole")
            }
            stream = nil
            switch awaitOutcome() {
            case .failure(let error): return fail(error.description)
            case .success(let built):
                domid = built
                stage = .built
            }
        }
        answer(WarmMessage(.built, value: UInt64(domid ?? 0)))
    }

    private func letRun() {
        guard let domid, stage != .fed else { return giveUp("it was to run before it was built") }
        if stage == .built {
            do {
                try builder.run(domid)
            } catch {
                builder.destroy(domid)
                return fail(error.description)
            }
            stage = .running
        }
        answer(WarmMessage(.running, value: UInt64(domid)))
        client = nil
        // The guest runs: nothing but its end is of interest any more.
        withdraw()
        builder.accompany(domid)
        isDone = true
    }
}
