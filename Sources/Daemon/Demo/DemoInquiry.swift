import Checkpoint
import SystemSupport

/// Asks the guest for everything that its clients ever wrote.
struct DemoInquiry {
    private let connection: DemoConnection
    private let patience: DemoPatience

    init(_ address: SocketAddress, _ patience: DemoPatience) throws {
        self.patience = patience
        connection = try patience.wait(
            for: "the guest at \(address) to accept a connection",
            atMost: .seconds(10)
        ) {
            DemoConnection(to: address)
        }
    }

    /// What the guest knows of the keys and counters of `ledgers`.
    func findings(_ ledgers: [DemoLedger]) throws -> DemoAudit.Findings {
        var findings = DemoAudit.Findings()
        findings.counters = try ask((0..<DemoLedger.counters).map { ["GET", DemoLedger.counter($0)] }).map {
            guard let bytes = try bytes($0) else { return 0 }
            return Int64(String(decoding: bytes, as: UTF8.self)) ?? -1
        }
        for ledger in ledgers {
            findings.values.append(try ask(ledger.sets.indices.map { ["GET", ledger.key($0)] }).map(bytes))
        }
        guard case .integer(let size)? = try ask([["DBSIZE"]]).first else {
            throw DemoError.unexpected("DBSIZE was not answered with a number")
        }
        findings.size = size
        return findings
    }

    private func bytes(_ reply: RESPReply) throws -> [UInt8]? {
        guard case .bulk(let bytes) = reply else { throw DemoError.unexpected("GET was answered \(reply)") }
        return bytes
    }

    private func ask(_ requests: [[String]]) throws -> [RESPReply] {
        var replies: [RESPReply] = []
        replies.reserveCapacity(requests.count)
        var next = 0
        while replies.count < requests.count {
            let before = replies.count
            _ = try patience.wait(for: "the guest to answer GET", atMost: .seconds(10)) {
                () throws -> Bool? in
                while next < requests.count, next - replies.count < 512 {
                    connection.add(requests[next])
                    next += 1
                }
                guard try connection.exchange(milliseconds: 20, { replies.append($0) }) else {
                    throw DemoError.unexpected(
                        "the guest closed the connection while it was asked for its keys"
                    )
                }
                return replies.count > before ? true : nil
            }
        }
        return replies
    }
}
