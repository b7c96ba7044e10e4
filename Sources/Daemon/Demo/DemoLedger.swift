import XenStream

/// What one connection has sent, and what it was told: the outside's view, kept outside.
struct DemoLedger: Sendable {
    /// A request on its way.
    enum Request: Equatable, Sendable {
        /// SET of the connection's n-th key.
        case set(Int)
        /// INCR of a counter that all connections share.
        case increment(Int)
    }

    static let counters = 8

    let connection: Int
    let seed: UInt64
    /// Most keys this connection makes: what is left of the guest's RAM is its own affair.
    let keyLimit: Int
    /// One entry a key: whether it was acknowledged.
    private(set) var sets: [Bool] = []
    /// How often each counter was sent an INCR.
    private(set) var increments = [Int](repeating: 0, count: counters)
    /// What the acknowledged ones answered, in order.
    private(set) var answers = [[Int64]](repeating: [], count: counters)
    /// Answers that make no sense.
    private(set) var problems: [String] = []

    init(connection: Int, seed: UInt64, keyLimit: Int) {
        self.connection = connection
        self.seed = seed
        self.keyLimit = keyLimit
    }

    /// Writes that were acknowledged.
    var acknowledgedSets: Int { sets.count { $0 } }
    var acknowledgedIncrements: Int { answers.reduce(0) { $0 + $1.count } }

    func key(_ n: Int) -> String { "k\(connection):\(n)" }
    static func counter(_ index: Int) -> String { "c\(index)" }

    /// A key's only value: told apart from every other's, of many lengths.
    func value(_ n: Int) -> String {
        var random = SplitMix(state: seed ^ UInt64(connection) << 40 ^ UInt64(n))
        let first = random.next()
        var text = String(first, radix: 36)
        for _ in 0..<first % 8 { text += String(random.next(), radix: 36) }
        return text
    }

    /// Chooses the next request and notes that it is sent.
    mutating func next(_ random: inout SplitMix) -> Request {
        if random.next() % 10 < 3 || sets.count >= keyLimit {
            let counter = Int(random.next() % UInt64(Self.counters))
            increments[counter] += 1
            return .increment(counter)
        }
        sets.append(false)
        return .set(sets.count - 1)
    }

    /// Its words.
    func parts(_ request: Request) -> [String] {
        switch request {
        case .set(let n): ["SET", key(n), value(n)]
        case .increment(let counter): ["INCR", Self.counter(counter)]
        }
    }

    /// Notes the answer to a request.
    mutating func answered(_ request: Request, _ reply: RESPReply) {
        switch (request, reply) {
        case (.set(let n), .simple("OK")): sets[n] = true
        case (.increment(let counter), .integer(let value)):
            // Within one connection a counter only rises, whoever answers.
            if let last = answers[counter].last, value <= last {
                note("\(Self.counter(counter)) answered \(value) after \(last)")
            }
            answers[counter].append(value)
        default: note("\(parts(request).joined(separator: " ")) was answered \(reply)")
        }
    }

    mutating func note(_ problem: String) {
        if problems.count < 5 { problems.append("connection \(connection): \(problem)") }
    }
}
