import Glibc
import SystemSupport

/// The other end of a socket that is tried for what it can carry: reads, and answers with a byte.
enum SinkRole {
    static let word = "sink"

    static func run(processor: Int) throws {
        try ProcessorPin.pin(to: processor)
        Signals.ignore([SIGPIPE])
        let lines = LineChannel(Descriptor(owning: HelperProcess.control), to: "the benchmark")
        let socket = Descriptor(owning: HelperProcess.connection)
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        room.initializeMemory(as: UInt8.self, repeating: 0)
        defer { room.deallocate() }
        try lines.say("ready")
        while let line = try lines.hear(seconds: 86_400) {
            let numbers = line.split(separator: " ").compactMap { Int($0) }
            guard numbers.count == 2 else { throw BenchError("the sink cannot '\(line)'") }
            for _ in 0..<numbers[1] {
                var left = numbers[0]
                while left > 0 {
                    let count = recv(socket.raw, room.baseAddress, min(left, room.count), 0)
                    guard count > 0 else { return }
                    left -= count
                }
                guard send(socket.raw, room.baseAddress, 1, Int32(MSG_NOSIGNAL)) == 1 else { return }
            }
        }
    }
}
