import Checkpoint
import Glibc
import SystemSupport

/// What an epoch's bytes take on their way by themselves.
protocol TransferLimit {
    /// For the table.
    var name: String { get }

    /// Microseconds that the bytes of each of `order.epochs` epochs take, from the first to the answer.
    func play(_ order: EpochOrder) throws -> [Double]

    func end()
}

extension EpochOrder {
    /// Bytes of one of its epochs, and a few.
    var bytes: Int { Staging.capacity(pages: pages, stateCapacity: ReadyState.size) }
}

/// What a socket carries by itself, between two processes on two processors: as many bytes as an epoch has, from one warm piece
/// of memory into another, and a byte back.
final class SocketLimit: TransferLimit {
    let name = "the socket itself"

    private let sink: HelperProcess
    private let socket: Descriptor
    private let placement: Placement

    init(_ link: LinkKind, _ placement: Placement) throws {
        self.placement = placement
        let (near, far) = try link == .unix ? UnixSocket.pairOfStreams() : Self.loopback()
        try TCP.makeSendRoom(near)
        try TCP.makeReceiveRoom(far)
        socket = near
        sink = try HelperProcess(
            "the sink",
            ChildProcess.ownPath,
            [BenchRole.word, SinkRole.word, "\(placement.standby)", link.rawValue, "-"],
            inherited: [HelperProcess.connection: far]
        )
        _ = try sink.lines.hear("ready", seconds: 30)
    }

    private static func loopback() throws -> (Descriptor, Descriptor) {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let near = try TCP.connect(to: TCP.localAddress(of: listener), milliseconds: 5000)
        guard let far = try TCP.accept(listener) else { throw BenchError("nobody connects over loopback") }
        try TCP.setOption(far, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        return (near, far)
    }

    func play(_ order: EpochOrder) throws -> [Double] {
        try sink.lines.say("\(order.bytes) \(order.epochs)")
        let job = SendJob(socket: socket, order: order)
        let processor = placement.primary
        try WorkerThread("send") { job.run(on: processor) }.join()
        guard job.times.count == order.epochs else { throw BenchError("the sink has ended") }
        return job.times
    }

    func end() { sink.end() }
}

/// One order's bytes, on a thread of their own.
///
/// Unchecked: one thread runs it, and then another reads it.
private final class SendJob: @unchecked Sendable {
    private let socket: Descriptor
    private let order: EpochOrder
    private(set) var times: [Double] = []

    init(socket: Descriptor, order: EpochOrder) {
        (self.socket, self.order) = (socket, order)
    }

    func run(on processor: Int) {
        guard (try? ProcessorPin.pin(to: processor)) != nil else { return }
        let bytes = order.bytes
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 7)
        defer { memory.deallocate() }
        for _ in 0..<order.epochs {
            if order.rest > 0 { usleep(order.rest) }
            let began = Clock.boot
            var done = 0
            while done < bytes {
                let count = send(
                    socket.raw,
                    memory.baseAddress.map { $0 + done },
                    bytes - done,
                    Int32(MSG_NOSIGNAL)
                )
                guard count > 0 else { return }
                done += count
            }
            var answer: UInt8 = 0
            guard recv(socket.raw, &answer, 1, 0) == 1 else { return }
            times.append(Double(Clock.boot - began) / 1000)
        }
    }
}
