import Checkpoint
import Daemon
import Glibc
import Synchronization
import SystemSupport
import Testing

@Suite struct ControlStreamTests {
    let directory: TemporaryDirectory
    let socket: String

    init() throws {
        directory = try TemporaryDirectory()
        socket = directory.file("standby.sock")
    }

    struct Broken: Error {}

    func server(_ produce: @escaping @Sendable (ControlResponse.Sink) throws -> Void) throws -> ControlServer
    {
        try ControlServer(path: socket) { _ in
            .stream(contentType: "application/octet-stream", produce: produce)
        }
    }

    func output() throws -> Descriptor {
        Descriptor(owning: open(directory.file("out"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600))
    }

    @Test(arguments: [0, 1, 4096, 256 << 10, (256 << 10) + 1, 20 << 20])
    func arrivesWhole(count: Int) throws {
        let server = try server { sink in
            var bytes = [UInt8](repeating: 0, count: count)
            for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 31 >> 3) }
            // In two pieces of different size.
            try bytes.withUnsafeBytes { try sink(UnsafeRawBufferPointer(rebasing: $0.prefix(count / 3))) }
            try bytes.withUnsafeBytes { try sink(UnsafeRawBufferPointer(rebasing: $0.dropFirst(count / 3))) }
        }
        defer { server.stop() }
        let out = try output()
        let last = Mutex<UInt64>(0)
        let bytes = try ControlClient(path: socket).download("/", to: out.raw) { now in
            last.withLock { $0 = now }
        }
        #expect(bytes == UInt64(count))
        #expect(last.withLock { $0 } == UInt64(count))
        let received = try #require(SmallFile.readBytes(directory.file("out")))
        #expect(received.count == count)
        #expect(received.indices.allSatisfy { received[$0] == UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
    }

    @Test(arguments: [1, 4096, 1 << 20])
    func aFailureInTheMiddleIsNeverAShortSuccess(count: Int) throws {
        let server = try server { sink in
            try [UInt8](repeating: 7, count: count).withUnsafeBytes { try sink($0) }
            throw Broken()
        }
        defer { server.stop() }
        let out = try output()
        #expect(throws: ControlClientError.brokeOff(socket: socket, received: UInt64(count))) {
            try ControlClient(path: socket).download("/", to: out.raw)
        }
        // The same seen by any other HTTP client: no last chunk.
        let raw = try RawConnection(socket)
        try raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        let answer = raw.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 200"))
        #expect(!answer.hasSuffix("0\r\n\r\n"))
    }

    @Test func aFailureBeforeTheFirstByteIsAnError() throws {
        let server = try server { _ in
            throw ControlFailure(status: 404, code: "no_image", message: "there is no image of web1 here")
        }
        defer { server.stop() }
        let out = try output()
        #expect(
            throws: ControlFailure(status: 404, code: "no_image", message: "there is no image of web1 here")
        ) {
            try ControlClient(path: socket).download("/", to: out.raw)
        }
    }

    /// Of another server: a body whose end is the connection's end might be cut anywhere.
    @Test func aBodyWithoutAnEndIsRefused() throws {
        let listener = try UnixSocket.listen(at: socket)
        let answering = Background {
            guard let connection = try TCP.accept(listener) else { return }
            _ = try UnixSocket.receive(from: connection, capacity: 4096)
            try UnixSocket.send(Array("HTTP/1.1 200 OK\r\n\r\nhalf".utf8), over: connection)
        }
        let out = try output()
        #expect(throws: ControlClientError.self) {
            try ControlClient(path: socket).download("/", to: out.raw)
        }
        try answering.value()
    }

    @Test func refusesToStreamOverHTTP10() throws {
        let server = try server { sink in try [UInt8](1...3).withUnsafeBytes { try sink($0) } }
        defer { server.stop() }
        let raw = try RawConnection(socket)
        try raw.send("GET / HTTP/1.0\r\n\r\n")
        #expect(raw.readToEnd().contains(" 505 "))
    }

    /// A client that does not read stops the producer after what fits into the socket and one piece.
    @Test func aClientThatDoesNotReadHoldsTheProducerBack() throws {
        let produced = Mutex<Int>(0)
        let stopped = EventGate()
        let piece = 64 << 10
        let server = try server { sink in
            defer { stopped.open() }
            let bytes = [UInt8](repeating: 1, count: piece)
            while true {
                try bytes.withUnsafeBytes { try sink($0) }
                produced.withLock { $0 += piece }
            }
        }
        defer { server.stop() }
        do {
            let raw = try RawConnection(socket)
            try raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            var byte: UInt8 = 0
            #expect(read(raw.socket.raw, &byte, 1) == 1)
            var before = -1
            while before != produced.withLock({ $0 }) {
                before = produced.withLock { $0 }
                usleep(200_000)
            }
            #expect(before < 16 << 20)
        }
        // The client is gone: so is the producer.
        stopped.wait()
    }

    @Test func aClientThatNeverReadsLosesItsConnection() throws {
        var limits = ControlServer.Limits()
        limits.writeMilliseconds = 100
        let stopped = EventGate()
        let server = try ControlServer(path: socket, limits: limits) { _ in
            .stream(contentType: "x/y") { sink in
                defer { stopped.open() }
                let bytes = [UInt8](repeating: 1, count: 64 << 10)
                while true { try bytes.withUnsafeBytes { try sink($0) } }
            }
        }
        defer { server.stop() }
        let raw = try RawConnection(socket)
        try raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stopped.wait()
        withExtendedLifetime(raw) {}
    }

    @Test func aFullDiskIsTheOutputsError() throws {
        let server = try server { sink in
            try [UInt8](repeating: 1, count: 1 << 20).withUnsafeBytes { try sink($0) }
        }
        defer { server.stop() }
        let full = Descriptor(owning: open("/dev/full", O_WRONLY | O_CLOEXEC))
        #expect(throws: ControlClientError.output(SystemError("write the received bytes", code: ENOSPC))) {
            try ControlClient(path: socket).download("/", to: full.raw)
        }
    }

    @Test func longStreamsDoNotHoldUpShortAnswers() throws {
        let gate = EventGate()
        let server = try ControlServer(path: socket) { request in
            guard request.path == "/stream" else { return .json(status: 200, body: []) }
            return .stream(contentType: "x/y") { sink in
                try [UInt8(1)].withUnsafeBytes { try sink($0) }
                gate.wait()
            }
        }
        defer { server.stop() }
        let path = socket
        let null = Descriptor(owning: open("/dev/null", O_WRONLY | O_CLOEXEC))
        let streams = (0..<3).map { _ in
            Background { try ControlClient(path: path).download("/stream", to: null.raw) }
        }
        #expect(try ControlClient(path: socket).get("/status").status == 200)
        gate.open()
        for stream in streams { #expect(try stream.value() == 1) }
        withExtendedLifetime(null) {}
    }
}
