/// What OpenSSL moves by itself between two processes over TCP loopback (bench/tls-limit.c).
final class TLSLimit: TransferLimit {
    static let program = "tls-limit"

    let name = "OpenSSL itself"
    private let process: HelperProcess

    init(_ program: String, _ placement: Placement) throws {
        process = try HelperProcess(Self.program, program, ["\(placement.primary)", "\(placement.standby)"])
        _ = try process.lines.hear("ready", seconds: 30)
    }

    func play(_ order: EpochOrder) throws -> [Double] {
        try process.lines.say("move \(order.bytes) \(order.epochs) \(order.rest)")
        var times: [Double] = []
        for _ in 0..<order.epochs {
            guard let time = try process.lines.hear("sample", seconds: 60).first.flatMap({ Double($0) })
            else {
                throw BenchError("\(name) says no time")
            }
            times.append(time / 1000)
        }
        return times
    }

    func end() { process.end() }
}
